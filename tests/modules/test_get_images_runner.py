"""get_images_runner: links, copies, downloads that fail, and nothing dangling."""

import os
import stat

import numpy as np
import pytest
from astropy.io import fits

from shapepipe.errors import ConfigurationError
from shapepipe.modules.get_images_runner import get_images_runner
from shapepipe.testing import trial

IDS = ["277.282", "277.283"]
NAMES = {f"CFIS_{kind}-{tile.replace('.', '-')}{ext}" for tile in IDS
         for kind, ext in (("image", ".fits"), ("weight", ".fitsfz"))}  # fmt: skip


@pytest.fixture
def archive(tmp_path):
    folder = tmp_path / "archive"
    folder.mkdir()
    for i, tile in enumerate(IDS):
        for name in (f"CFIS.{tile}.r.fits", f"CFIS.{tile}.r.weight.fits.fz"):
            fits.writeto(folder / name, np.full((50, 50), i + len(name), np.float32))
    (tmp_path / "tile_numbers.txt").write_text("\n".join(IDS))
    return folder


def run(archive, place=None, **options):
    place = place or archive
    options = {
        "INPUT_PATH": f"{place}, {place}",
        "INPUT_FILE_PATTERN": "CFIS.000.000.r, CFIS.000.000.r.weight",
        "INPUT_FILE_EXT": ".fits, .fits.fz",
        "INPUT_NUMBERING": r"\d{3}\.\d{3}",
        "OUTPUT_FILE_PATTERN": "CFIS_image-, CFIS_weight-",
    } | options
    inputs = {"ids": {"": archive.parent / "tile_numbers.txt"}}
    return trial(get_images_runner, inputs, options, folder=archive.parent)


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_links_lead_to_the_files(archive):
    outcome = run(archive, RETRIEVE="symlink")
    assert outcome.status == "ok", outcome.error
    assert {path.name for path in outcome.products} == NAMES
    for path in outcome.products:
        assert path.is_symlink() and path.resolve().parent == archive
    weight = archive.parent / "output" / "CFIS_weight-277-283.fitsfz"
    assert weight.read_bytes() == (archive / "CFIS.277.283.r.weight.fits.fz").read_bytes()


def test_copies_are_files_and_can_be_kept_elsewhere(archive, tmp_path):
    outcome = run(archive, RETRIEVE="copy")
    assert not any(path.is_symlink() for path in outcome.products)
    kept = tmp_path / "kept"
    outcome = run(archive, RETRIEVE="copy", OUTPUT_PATH=str(kept))
    assert outcome.status == "ok", outcome.error
    assert set(content(kept)) == NAMES
    assert all(path.resolve().parent == kept for path in outcome.products)


def test_links_are_kept_elsewhere_as_well(archive, tmp_path):
    kept = tmp_path / "kept"
    for _ in range(2):  # the second time they are there
        outcome = run(archive, RETRIEVE="symlink", OUTPUT_PATH=str(kept))
        assert outcome.status == "ok", outcome.error
        assert {path.name for path in kept.iterdir()} == NAMES
    assert all(path.readlink().parent == kept for path in outcome.products)
    assert all(path.readlink().parent == archive for path in kept.iterdir())


def test_a_missing_image_fails_and_leaves_nothing(archive):
    (archive / "CFIS.277.283.r.weight.fits.fz").unlink()
    outcome = run(archive, RETRIEVE="symlink")
    assert outcome.status == "failed"
    assert "1 of 4 images cannot be had: CFIS.277.283.r.weight.fits.fz" in outcome.error
    assert not list((archive.parent / "output").iterdir())


def test_others_are_taken_when_some_may_be_missing(archive):
    (archive / "CFIS.277.283.r.weight.fits.fz").unlink()
    outcome = run(archive, RETRIEVE="symlink", ALLOW_MISSING="True")
    assert outcome.status == "ok" and len(outcome.products) == 3
    assert outcome.metrics["missing"] == "CFIS.277.283.r.weight.fits.fz"


def test_a_link_to_nothing_is_no_source(archive):
    path = archive / "CFIS.277.283.r.fits"
    path.unlink()
    path.symlink_to(archive / "gone")
    outcome = run(archive, RETRIEVE="symlink")
    assert outcome.status == "failed"
    assert not list((archive.parent / "output").iterdir())


@pytest.fixture
def vcp(archive, tmp_path, monkeypatch):
    """A program vcp that gives broken files on its first calls, as many as `fail` tells."""
    folder = tmp_path / "bin"
    folder.mkdir()
    script = folder / "vcp"
    script.write_text(
        f"""#!/bin/sh
echo "$@" >> {tmp_path}/calls
for last; do :; done
for word; do case $word in vos:*) source={archive}/${{word##*/}};; esac; done
count=$(cat {tmp_path}/calls | wc -l)
if [ "$count" -le "$(cat {tmp_path}/fail)" ]; then head -c 5000 "$source" > "$last"; exit 0; fi
cp "$source" "$last"
"""
    )
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    (tmp_path / "fail").write_text("0")
    return tmp_path


def test_downloads_are_tried_again_until_they_are_whole(archive, vcp):
    (vcp / "fail").write_text("2")
    outcome = run(archive, "vos:cfis/tiles", RETRIEVE="vos", COPY_OPTIONS="--quick")
    assert outcome.status == "ok", outcome.error
    assert {path.name for path in outcome.products} == NAMES
    calls = (vcp / "calls").read_text().splitlines()
    assert len(calls) == 6 and calls[0].startswith("--quick vos:cfis/tiles/CFIS.277.282.r.fits ")


def test_a_download_that_never_comes_whole_leaves_nothing(archive, vcp):
    (vcp / "fail").write_text("99")
    kept = vcp / "kept"
    outcome = run(archive, "vos:cfis/tiles", RETRIEVE="vos", OUTPUT_PATH=str(kept), N_TRY="2")
    assert outcome.status == "failed" and "4 of 4 images cannot be had" in outcome.error
    assert not list(kept.iterdir()) and not list((vcp / "output").iterdir())


def test_what_is_kept_whole_is_not_fetched_again(archive, vcp):
    kept = vcp / "kept"
    run(archive, "vos:cfis/tiles", RETRIEVE="vos", OUTPUT_PATH=str(kept))
    (kept / "CFIS_image-277-282.fits").write_bytes(b"SIMPLE")
    outcome = run(archive, "vos:cfis/tiles", RETRIEVE="vos", OUTPUT_PATH=str(kept))
    assert outcome.status == "ok", outcome.error
    assert len((vcp / "calls").read_text().splitlines()) == 5


def test_files_below_another_directory_are_linked(archive, vcp):
    outcome = run(archive, "vos:cfis/tiles", RETRIEVE="vos", CHECK_EXISTING_DIR=str(archive))
    assert outcome.status == "ok" and not (vcp / "calls").exists()
    assert all(path.resolve().parent == archive for path in outcome.products)


@pytest.mark.parametrize(
    "options",
    [{"RETRIEVE": "ftp"}, {"INPUT_PATH": "a"}, {"INPUT_NUMBERING": "("}, {"INPUT_NUMBERING": "x"}],
)
def test_options_that_cannot_be_are_refused(archive, options):
    with pytest.raises(ConfigurationError):
        run(archive, **{"RETRIEVE": "symlink"} | options)
