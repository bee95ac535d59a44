"""Names of images at the archive and here, and files that are whole."""

import numpy as np
import pytest
from astropy.io import fits

from shapepipe.astro import retrieval
from shapepipe.errors import BadInput


@pytest.mark.parametrize("template, numbering, ext, image_id, name", [
    ("CFIS.000.000.r", r"\d{3}\.\d{3}", ".fits", "277.282", "CFIS.277.282.r.fits"),
    ("CFIS.000.000.r.weight", r"\d{3}\.\d{3}", ".fits.fz", "277.282",
     "CFIS.277.282.r.weight.fits.fz"),
    ("000000.flag", r"\d{6}", ".fits.fz", "2366993p", "2366993p.flag.fits.fz"),
])  # fmt: skip
def test_the_id_takes_the_place_of_the_dummy_number(template, numbering, ext, image_id, name):
    assert retrieval.archive_name(template, numbering, ext, image_id) == name


def test_a_template_without_dummy_number_is_refused():
    with pytest.raises(ValueError, match="finds nothing"):
        retrieval.archive_name("CFIS.r", r"\d{3}", ".fits", "277")


def test_ids_are_read_once_each_from_all_files(tmp_path):
    (tmp_path / "a.txt").write_text("277.282\n\n# a comment\n277.283  # another\n")
    (tmp_path / "b.txt").write_text("277.283\n276.282")
    found = retrieval.read_ids([tmp_path / "a.txt", tmp_path / "b.txt"])
    assert found == ["277.282", "277.283", "276.282"]
    (tmp_path / "b.txt").write_text("277.283 276.282\n")
    with pytest.raises(BadInput, match="line 1"):
        retrieval.read_ids([tmp_path / "b.txt"])


def test_a_file_cut_short_is_not_whole(tmp_path):
    path = tmp_path / "image.fits"
    pixels = fits.ImageHDU(np.random.default_rng(1).normal(size=(100, 100)))
    fits.HDUList([fits.PrimaryHDU(), pixels, pixels.copy()]).writeto(path)
    retrieval.check_whole(path)
    path.write_bytes(path.read_bytes()[:-30000])
    with pytest.raises(BadInput):
        retrieval.check_whole(path)
    path.write_bytes(b"")
    with pytest.raises(BadInput):
        retrieval.check_whole(path)


def test_exposures_are_words_of_the_history_cards():
    header = fits.Header()
    for name in ("2366993p.fits", "2366994p.fits", "2366993p.fits"):
        header.add_history(f" input image {name} 40 extension(s)")
    header.add_history("short")
    assert retrieval.exposures_of(header, 3) == ["2366993p", "2366994p"]
    assert retrieval.exposures_of(header, 3, "2366") == ["993p", "994p"]
    assert retrieval.exposures_of(header, 9) == retrieval.exposures_of(fits.Header(), 3) == []
