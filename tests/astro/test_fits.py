"""Images in plain, gzip and fpack files: what is written comes back; what is broken is named."""

import gzip
import time

import numpy as np
import pytest
from astropy.io import fits as afits

from shapepipe.astro import fits
from shapepipe.errors import BadInput

NAMES = ["image.fits", "image.fits.gz", "image.fits.fz"]


def ramp(kind, shape=(60, 90)):
    """Whole numbers that any type of FITS pixels can hold."""
    return (np.arange(np.prod(shape)).reshape(shape) % 250).astype(kind)


def mosaic(path, n_ccd=3, names=None, shape=(20, 30)):
    """Mosaic whose CCD i is filled with i."""
    hdus = [afits.PrimaryHDU()]
    for ccd in range(n_ccd):
        hdus.append(afits.ImageHDU(np.full(shape, ccd, np.float32), afits.Header({"CCD": ccd})))
        if names:
            hdus[-1].name = names[ccd]
    afits.HDUList(hdus).writeto(path)
    return path


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["u1", "i2", "u2", "i4", "f4", "f8"])
def test_pixels_and_cards_survive_writing_and_reading(tmp_path, name, kind):
    path = tmp_path / name
    fits.write_image(path, ramp(kind), {"GAIN": 1.5, "OBJECT": "M31"})
    data, header = fits.read(path)
    assert data.dtype == np.dtype(kind) and data.dtype.isnative and data.flags.owndata
    assert np.array_equal(data, ramp(kind))
    assert (header["GAIN"], header["OBJECT"]) == (1.5, "M31")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("checksum", [False, True])
def test_same_content_gives_same_bytes_at_another_time(tmp_path, name, checksum):
    once, again = tmp_path / "a" / name, tmp_path / "b" / name
    for path in (once, again):
        path.parent.mkdir()
        fits.write_image(path, ramp("f4"), {"GAIN": 1.5}, checksum)
        time.sleep(1.1 if name.endswith("gz") and path is once else 0)  # gzip dates have seconds
    assert once.read_bytes() == again.read_bytes()


def test_checksums_are_right(tmp_path):
    fits.write_image(tmp_path / "a.fits", ramp("i2"), checksum=True)
    with afits.open(tmp_path / "a.fits", checksum=True) as hdus:
        assert hdus[0].verify_checksum() == hdus[0].verify_datasum() == 1


def test_float_noise_is_kept_without_loss_in_fpack(tmp_path):
    noise = np.random.default_rng(1).normal(size=(100, 100)).astype(np.float32)
    fits.write_image(tmp_path / "a.fits.fz", noise)
    assert np.array_equal(fits.read_image(tmp_path / "a.fits.fz"), noise)


def test_scaled_image_is_written_back_with_its_values(tmp_path):
    """BZERO of the file that was read must not be applied to the pixels that are written."""
    fits.write_image(tmp_path / "a.fits.fz", ramp("u2"))
    data, header = fits.read(tmp_path / "a.fits.fz")
    fits.write_image(tmp_path / "b.fits", data.astype(np.float32), header)
    assert np.array_equal(fits.read_image(tmp_path / "b.fits"), ramp("f4"))


def test_default_is_the_first_hdu_with_pixels_and_names_work(tmp_path):
    path = mosaic(tmp_path / "m.fits", names=["ccd00", "ccd01", "ccd02"])
    assert fits.read_image(path).max() == 0
    assert fits.read_image(path, "CCD02").min() == 2
    assert fits.read_header(path, 2)["CCD"] == 1


def test_masks_are_stored_as_bytes(tmp_path):
    fits.write_image(tmp_path / "a.fits", ramp("i2") > 100)
    assert fits.read_image(tmp_path / "a.fits").dtype == np.uint8


@pytest.mark.parametrize("pack", [False, True])
def test_mosaic_is_read_ccd_by_ccd(tmp_path, pack):
    path = mosaic(tmp_path / "m.fits", n_ccd=5)
    if pack:
        path = path.with_suffix(".fits.gz")
        path.write_bytes(gzip.compress((tmp_path / "m.fits").read_bytes()))
    found = [(data.mean(), header["CCD"]) for data, header in fits.read_images(path, [1, 5, 2])]
    assert found == [(0, 0), (4, 4), (1, 1)]


def test_errors_of_the_caller_are_not_taken_for_damage(tmp_path):
    with pytest.raises(ValueError, match="mine"):
        for _ in fits.read_images(mosaic(tmp_path / "m.fits"), [1, 2]):
            raise ValueError("mine")


@pytest.mark.parametrize(("hdu", "problem"), [
    (7, r"HDU 7 is missing \(allowed: one of 0 \(no data\), 1 CCD00 \(30 x 20\)"),
    ("CCD_X", "HDU CCD_X is missing"),
    (0, "HDU 0 holds no image"),
])  # fmt: skip
def test_missing_hdu_is_named_with_what_is_there(tmp_path, hdu, problem):
    path = mosaic(tmp_path / "m.fits", names=["ccd00", "ccd01", "ccd02"])
    with pytest.raises(BadInput, match=problem):
        fits.read_image(path, hdu)


@pytest.mark.parametrize("name", NAMES)
def test_cut_file_is_reported(tmp_path, name):
    path = tmp_path / name
    noise = np.random.default_rng(1).normal(size=(200, 200)).astype(np.float32)
    fits.write_image(path, noise)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    with pytest.raises(BadInput, match=f"{name}.*cut short"):
        fits.read_image(path)


def test_missing_hdu_of_a_cut_file_is_put_down_to_the_cut(tmp_path):
    path = mosaic(tmp_path / "m.fits", n_ccd=2, shape=(100, 100))
    path.write_bytes(path.read_bytes()[:20_000])
    with pytest.raises(BadInput, match="HDU 2 is missing; the last HDU is cut short"):
        fits.read_image(path, 2)


def test_file_that_lacks_only_padding_is_read(tmp_path):
    path = tmp_path / "a.fits"
    fits.write_image(path, ramp("f4"))
    path.write_bytes(path.read_bytes()[: 2880 + ramp("f4").nbytes])
    assert np.array_equal(fits.read_image(path), ramp("f4"))


def test_files_that_are_no_fits_say_what_they_are(tmp_path):
    (tmp_path / "html.fits.fz").write_bytes(b"<html>404</html>" * 300)
    (tmp_path / "empty.fits").touch()
    (tmp_path / "page.fits.gz").write_bytes(gzip.compress(b"<html>404</html>" * 300))
    said = {
        "page.fits.gz": "gzip file of something that is not FITS",
        "html.fits.fz": "not a FITS file; it begins with b'<html>",
        "empty.fits": "is empty",
        "none.fits": "no such file",
        ".": "is a directory",
    }
    for name, problem in said.items():
        with pytest.raises(BadInput, match=problem):
            fits.read_image(tmp_path / name)


def test_header_saved_as_text_is_not_called_empty_or_corrupt(tmp_path):
    path = tmp_path / "image.fits.fz"
    path.write_text(afits.Header({"SIMPLE": True, "NAXIS": 0}).tostring(sep="\n") + "\n")
    with pytest.raises(BadInput, match="not FITS but text"):
        fits.read_image(path, 1)


@pytest.mark.parametrize(("name", "packed"), [("a.fits", False), ("a.fits.gz", True),
                                              ("a.fits.fz", True)])  # fmt: skip
def test_packed_files_are_told_from_plain_ones(tmp_path, name, packed):
    fits.write_image(tmp_path / name, ramp("i2"))
    assert fits.is_packed(tmp_path / name) is packed


def test_header_without_end_card_is_reported(tmp_path):
    path = tmp_path / "a.fits"
    fits.write_image(path, ramp("i2"))
    path.write_bytes(path.read_bytes().replace(b"END     ", b"ENT     ", 1))
    with pytest.raises(BadInput, match="END"):
        fits.read_image(path)


def test_image_of_nothing_but_nan_is_refused_unless_asked_for(tmp_path):
    path = tmp_path / "a.fits"
    fits.write_image(path, np.full((50, 50), np.nan, np.float32))
    with pytest.raises(BadInput, match="no finite pixel"):
        fits.read_image(path)
    assert np.isnan(fits.read_image(path, finite=False)).all()
    one = np.full((50, 50), np.nan, np.float32)
    one[31, 17] = 0
    fits.write_image(path, one)
    assert fits.read_image(path)[31, 17] == 0


def test_table_only_file_has_no_image(tmp_path):
    table = afits.BinTableHDU.from_columns([afits.Column("A", "1E", array=[1.0])], name="OBJ")
    afits.HDUList([afits.PrimaryHDU(), table]).writeto(tmp_path / "t.fits")
    with pytest.raises(BadInput, match=r"no HDU holds an image.*1 OBJ \(table of 1 rows\)"):
        fits.read_image(tmp_path / "t.fits")


def test_storage_cards_are_left_behind():
    header = afits.Header({"XTENSION": "IMAGE", "PCOUNT": 0, "EXTNAME": "COMPRESSED_IMAGE", "A": 1})
    assert list(fits.image_cards(header)) == ["A"]
