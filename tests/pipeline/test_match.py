"""File names to units: what is written with a scheme is read back, nothing drops in silence."""

from __future__ import annotations

import os
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shapepipe.pipeline import match
from shapepipe.pipeline.match import (
    AmbiguousPattern,
    Chosen,
    Listing,
    SchemeError,
    find_files,
    join_numbers,
    scheme_regex,
)


class Names(Listing):
    """A listing made of names alone, which counts how often each folder is asked for."""

    def __init__(self, folders: dict[str, list[str]]):
        super().__init__()
        self._names, self.asked = folders, 0

    def below(self, folder):
        self.asked += 1
        return [(folder, sorted(self._names[folder]))]


def numbers_of(names, pattern, ext, scheme, **how):
    return find_files(["d"], pattern, ext, scheme, listing=Names({"d": names}), **how)


@pytest.mark.parametrize(
    ("scheme", "number"),
    [
        ("_0", "_17"),
        ("-0000000", "-2366993"),
        ("-0000000-0", "-2366993-18"),
        ("-000-000", "-277-282"),
        ("000-0", "277-1"),
        ("0", "17"),
        ("", ""),
        (r"RE:\_\d+", "_5"),
        (r"RE:_v\d(a|b)", "_v1b"),
        ("-abcdefg-h", "-2366993-18"),
        (".0", ".4"),
        ("-0p", "-17"),
    ],
)
def test_schemes_of_the_manual(scheme, number):
    assert scheme_regex(scheme).fullmatch(number)


@pytest.mark.parametrize(
    ("scheme", "number"),
    [("-0000000", "-123"), ("_0", "-1"), ("-000-000", "-27-282"), ("", "1"), (".0", "x4")],
)
def test_schemes_do_not_fit_other_numbers(scheme, number):
    assert not scheme_regex(scheme).fullmatch(number)


def test_a_scheme_that_is_no_expression():
    with pytest.raises(SchemeError, match="RE:"):
        scheme_regex("RE:(")


digits = st.integers(1, 5)
separators = st.sampled_from("-_.+")
patterns = st.text("abcXYZ_-.", min_size=1, max_size=8).filter(lambda text: text.strip("."))
extensions = st.sampled_from([".fits", ".fits.fz", ".fitsfz", ".txt", ".cat", ""])


@st.composite
def surveys(draw):
    """Scheme, its numbers, pattern and extension."""
    parts = draw(st.lists(st.tuples(separators, digits), min_size=1, max_size=3))
    scheme = "".join(separator + "0" * width for separator, width in parts)
    values = st.integers(0, 99999)

    def write(row):
        words = []
        for (separator, width), value in zip(parts, row, strict=True):
            text = str(value) if width == 1 else str(value).zfill(width)[-width:]
            words.append(separator + text)
        return "".join(words)

    rows = draw(st.lists(st.tuples(*[values] * len(parts)), min_size=1, max_size=12))
    return scheme, sorted({write(row) for row in rows}), draw(patterns), draw(extensions)


@settings(max_examples=300, deadline=None)
@given(surveys(), st.lists(patterns, max_size=3))
def test_what_is_written_is_read_back(survey, others):
    scheme, numbers, pattern, ext = survey
    names = [f"{pattern}{number}{ext}" for number in numbers]
    noise = [f"{other}{number}{ext}x" for other in others for number in numbers]
    found = numbers_of([*names, *noise], pattern, ext, scheme)
    paths = {found.path(number) for number in found.index}
    assert {f"d/{name}" for name in names} <= paths
    assert all(re.fullmatch(re.escape(f"d/{pattern}") + ".*" + re.escape(ext), p) for p in paths)


@settings(max_examples=200, deadline=None)
@given(surveys(), patterns, patterns)
def test_an_exact_name_wins_over_names_that_hold_it(survey, before, after):
    scheme, numbers, pattern, _ = survey
    names = [f"{pattern}{number}.fits" for number in numbers]
    longer = [f"{before}z{pattern}{number}.fits" for number in numbers]
    found = numbers_of([*names, *longer], pattern, ".fits", scheme)
    assert found.prefix == pattern and not found.twice
    assert set(found.index) == set(numbers)


def test_a_part_of_the_name_is_enough_when_it_is_unique():
    names = [f"CFIS_image-{k:03d}-282.fits" for k in range(5)]
    found = numbers_of(names, "image", ".fits", "-000-000")
    assert found.prefix == "CFIS_image"
    assert [found.path(n) for n in sorted(found.index)] == [f"d/{name}" for name in names]
    assert not numbers_of(names, "image", ".fits", "-000-000", correct=False).index


def test_a_pattern_that_fits_two_kinds_equally():
    names = ["my_numbers-1.txt", "our_numbers-1.txt"]
    with pytest.raises(AmbiguousPattern, match="my_numbers.*our_numbers"):
        numbers_of(names, "numbers", ".txt", "-0")


def test_substring_patterns_are_ranked():
    names = ["my_numbers-1.txt", "numbers-1.txt", "numbers_all-1.txt"]
    found = numbers_of(names, "numbers", ".txt", "-0")
    assert found.prefix == "numbers"
    assert found.other_prefixes == {"my_numbers": 1, "numbers_all": 1}


def test_compressed_extensions_are_matched_as_they_are():
    names = ["image-1.fits", "image-2.fits.fz", "image-3.fitsfz", "image-4.fits.gz"]
    assert set(numbers_of(names, "image", ".fits", "-0").index) == {"-1"}
    assert set(numbers_of(names, "image", ".fits.fz", "-0").index) == {"-2"}
    assert set(numbers_of(names, "image", ".fitsfz", "-0").index) == {"-3"}
    assert set(numbers_of(names, "image", "fits.gz", "-0").index) == {"-4"}
    assert set(numbers_of(names, "image", ".fz", "-0").index) == set()


def test_exposures_and_ccds_in_one_directory_do_not_mix():
    names = ["image-2366993.fits", "image-2366993-18.fits", "image-2366993-19.fits"]
    assert set(numbers_of(names, "image", ".fits", "-0000000").index) == {"-2366993"}
    found = numbers_of(names, "image", ".fits", "-0000000-0")
    assert set(found.index) == {"-2366993-18", "-2366993-19"}


def test_files_without_a_number_are_named():
    found = numbers_of(["image-1.fits", "image.fits", "image-x.fits"], "image", ".fits", "-0")
    assert found.not_numbered == ["d/image-x.fits", "d/image.fits"]


def test_several_directories_are_searched_together(tmp_path):
    for k, name in enumerate(["x", "y", "y/deep"]):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"image-{k}.fits").touch()
    found = find_files([tmp_path / "x", tmp_path / "y"], "image", ".fits", "-0")
    assert [found.path(n) for n in sorted(found.index)] == [
        f"{tmp_path}/x/image-0.fits",
        f"{tmp_path}/y/image-1.fits",
        f"{tmp_path}/y/deep/image-2.fits",
    ]


def test_a_pattern_may_name_the_sub_directory(tmp_path):
    for name in ("mask", "new_cat"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "star_selection-1.fits").touch()
    found = find_files([tmp_path], "mask/star_selection", ".fits", "-0")
    assert [found.path(n) for n in found.index] == [f"{tmp_path}/mask/star_selection-1.fits"]
    assert len(find_files([tmp_path], "star_selection", ".fits", "-0").twice) == 1


def test_the_same_number_in_two_directories_is_reported(tmp_path):
    for name in ("x", "y"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "image-1.fits").touch()
    found = find_files([tmp_path / "x", tmp_path / "y"], "image", ".fits", "-0")
    assert found.twice == [(f"{tmp_path}/x/image-1.fits", f"{tmp_path}/y/image-1.fits")]
    newest = find_files([tmp_path / "y", tmp_path / "x"], "image", ".fits", "-0", newest_first=True)
    assert newest.path("-1") == f"{tmp_path}/y/image-1.fits"
    assert (newest.newer_won, newest.twice) == (1, [])


def test_a_directory_named_twice_is_searched_once(tmp_path):
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "image-1.fits").touch()
    (tmp_path / "link").symlink_to("x")
    for folders in (["x", "x"], [".", "x"], ["x", "link"], ["x/", "x/../x"]):
        found = find_files([tmp_path / name for name in folders], "image", ".fits", "-0")
        assert set(found.index) == {"-1"} and not found.twice, folders


def test_symlinks_that_lead_in_a_circle(tmp_path):
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "up").symlink_to(tmp_path)
    (tmp_path / "self").symlink_to("self")
    (tmp_path / "gone").symlink_to("nowhere")
    (tmp_path / "image-1.fits").touch()
    found = find_files([tmp_path], "image", ".fits", "-0")
    assert set(found.index) == {"-1"} and not found.twice


def test_a_directory_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        find_files([tmp_path / "x"], "image", ".fits", "-0")


def test_incomplete_sets_are_named():
    image, weight = dict.fromkeys(["-1", "-2", "-3"], 0), dict.fromkeys(["-2", "-3", "-4"], 0)
    complete, incomplete = join_numbers([image, weight], [image, weight])
    assert complete == ["-2", "-3"]
    assert incomplete == {"-1": [1], "-4": [0]}


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sets(st.integers(0, 30)), min_size=1, max_size=4))
def test_join_keeps_what_all_have_and_names_the_rest(columns):
    have = [{f"-{k}": 0 for k in column} for column in columns]
    complete, incomplete = join_numbers(have, have)
    everything = set().union(*have)
    assert set(complete) | set(incomplete) == everything
    assert not set(complete) & set(incomplete)
    for number, lacking in incomplete.items():
        assert lacking == [k for k, column in enumerate(have) if number not in column]


@pytest.mark.parametrize(
    ("number", "wanted", "chosen"),
    [
        ("-2366993-18", "-2366993-18", True),
        ("-2366993-18", "2366993-18", True),
        ("-2366993-18", "-2366993", True),
        ("-2366993", "-2366993-18", True),
        ("-2366993-18", "-2366993-1", False),
        ("-2366993-18", "-236699", False),
        ("-277-282", "277-282", True),
        ("", "277-282", False),
        ("-1", "", False),
    ],
)
def test_choice_of_units(number, wanted, chosen):
    assert (number in Chosen([wanted])) is chosen


@settings(max_examples=200, deadline=None)
@given(surveys(), st.data())
def test_choice_by_number_takes_it_and_its_parts(survey, data):
    _, numbers, _, _ = survey
    want = data.draw(st.sampled_from(numbers))
    chosen = {number for number in numbers if number in Chosen([want])}
    assert want in chosen
    bare = want.lstrip("-_")
    for number in chosen - {want}:
        short, long = sorted((bare, number.lstrip("-_")), key=len)
        assert long.startswith(short)


def count_calls(monkeypatch, names) -> int:
    """Number of look-ups that matching costs: calls of the function that files a number."""
    calls = 0
    add = match._add

    def counted(*arguments):
        nonlocal calls
        calls += 1
        return add(*arguments)

    monkeypatch.setattr(match, "_add", counted)
    numbers_of(names, "image", ".fits", "-0")
    monkeypatch.setattr(match, "_add", add)
    return calls


def test_cost_is_linear_in_the_number_of_files(monkeypatch):
    few = [f"image-{k}.fits" for k in range(100)]
    many = [f"image-{k}.fits" for k in range(1000)]
    assert count_calls(monkeypatch, few) == 100
    assert count_calls(monkeypatch, many) == 1000


def test_a_directory_is_read_once_for_all_inputs(tmp_path, monkeypatch):
    for k in range(5):
        for name in ("image", "weight", "flag"):
            (tmp_path / f"{name}-{k}.fits").touch()
    reads, scandir = [], os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: reads.append(path) or scandir(path))
    listing = Listing()
    for name in ("image", "weight", "flag"):
        assert len(find_files([tmp_path], name, ".fits", "-0", listing=listing).index) == 5
    assert len(reads) == 1


def test_numbers_that_no_unit_belongs_to_are_told():
    chosen = Chosen(["-1", "3", "-4"])
    assert [number for number in ("-1", "-3-7", "-5") if number in chosen] == ["-1", "-3-7"]
    assert chosen.never_seen() == ["-4"]
