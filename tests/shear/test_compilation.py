"""Machine code that was made of other sources is not used again."""

from shapepipe.shear.compilation import drop_outdated


def test_a_change_of_any_source_drops_the_code_of_all(tmp_path):
    cache, sources = tmp_path / "cache", [tmp_path / "a.py", tmp_path / "b.py"]
    cache.mkdir()
    for path in sources:
        path.write_text("x = 1\n")
    index = cache / "a.f-1.py311.nbi"
    index.write_text("code")
    assert drop_outdated(cache, sources) and not index.exists()
    index.write_text("code")
    assert not drop_outdated(cache, sources) and index.exists()
    sources[1].write_text("x = 2\n")
    assert drop_outdated(cache, sources) and not index.exists()


def test_a_cache_that_is_not_there_is_left_alone(tmp_path):
    (tmp_path / "a.py").write_text("x = 1\n")
    assert not drop_outdated(tmp_path / "none", [tmp_path / "a.py"])
