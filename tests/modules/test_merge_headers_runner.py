"""Headers of exposures in one table: keys, order, copies, repetition; what is no header file."""

import numpy as np
import pytest
from astropy.io import fits as afits
from sqlitedict import SqliteDict

from shapepipe.astro import wcs as sky
from shapepipe.modules.merge_headers_runner import merge_headers_runner
from shapepipe.testing import trial

NUMBERS = ["-2366994", "-0366993"]


def headers(folder, number, n_ccd=2):
    """File as split_exp_runner writes it; the CCD and the exposure can be told from CRPIX."""
    entries = np.empty(n_ccd, dtype=object)
    for ccd in range(n_ccd):
        header = afits.Header({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 10.0,
                               "CRVAL2": 20.0, "CRPIX1": float(ccd), "CRPIX2": float(number),
                               "CDELT1": -1e-4, "CDELT2": 1e-4})  # fmt: skip
        entries[ccd] = {"WCS": sky.from_header(header), "header": header.tostring()}
    path = folder / f"headers{number}.npy"
    np.save(path, entries, allow_pickle=True)
    return path


def merge(tmp_path, numbers=NUMBERS, folder="run", **options):
    inputs = {"headers": {number: headers(tmp_path, number) for number in numbers}}
    return trial(merge_headers_runner, inputs, options, "", tmp_path / folder)


def test_all_exposures_are_found_by_their_digits(tmp_path):
    outcome = merge(tmp_path)
    assert outcome.status == "ok", outcome.error
    assert outcome.metrics == {"n_exposures": 2, "n_ccd": 4}
    (path,) = outcome.products
    assert path.name == "log_exp_headers.sqlite"
    with SqliteDict(path, flag="r") as table:
        assert list(table) == ["0366993", "2366994"]
        for key in table:
            for ccd, entry in enumerate(table[key]):
                assert tuple(entry["WCS"].wcs.crpix) == (ccd, -float(key))
                assert afits.Header.fromstring(entry["header"])["CRPIX1"] == ccd


def test_same_bytes_whatever_the_order_and_whoever_ran_before(tmp_path):
    one = merge(tmp_path).products[0].read_bytes()
    other = merge(tmp_path, NUMBERS[::-1], "again").products[0].read_bytes()
    assert one == other


def test_copy_replaces_that_of_an_earlier_run(tmp_path):
    place = tmp_path / "for stacks" / "here"
    merge(tmp_path, OUTPUT_PATH=str(place))
    outcome = merge(tmp_path, NUMBERS[:1], "again", OUTPUT_PATH=str(place))
    assert [path.name for path in place.iterdir()] == ["log_exp_headers.sqlite"]
    copy = place / "log_exp_headers.sqlite"
    assert copy.read_bytes() == outcome.products[0].read_bytes()


@pytest.mark.parametrize("content", ["text", "numbers", "no wcs"])
def test_other_files_are_named(tmp_path, content):
    path = tmp_path / "headers-2366993.npy"
    if content == "text":
        path.write_text("not an array")
    elif content == "numbers":
        np.save(path, np.arange(3))
    else:
        np.save(path, np.array([{"header": ""}], dtype=object))
    outcome = trial(merge_headers_runner, {"headers": {"-2366993": path}}, {}, "", tmp_path / "run")
    assert outcome.status == "failed"
    assert "headers-2366993.npy" in outcome.error and "split_exp_runner" in outcome.error
