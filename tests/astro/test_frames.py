"""What headers and names of strangers' files tell."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from shapepipe.astro import frames

SKY_CARDS = {
    "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 150.0, "CRVAL2": 2.0, "CRPIX1": 16.0,
    "CRPIX2": 16.0, "CD1_1": -0.3 / 3600, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": 0.3 / 3600,
}  # fmt: skip


def image(cards=(), dtype=np.float32, name=""):
    header = fits.Header({**SKY_CARDS, **dict(cards)})
    hdu = fits.ImageHDU(np.zeros((32, 40), dtype), header)
    hdu.name = name
    return hdu


def test_cards_of_a_plain_image(tmp_path):
    path = tmp_path / "a.fits"
    cards = {
        "EGAIN": 1.5,
        "SATURATE": 60000,
        "MAGZP": 27.5,
        "FILTER": "r",
        "DATE-OBS": "2020-01-02",
    }
    hdu = image(cards)
    fits.PrimaryHDU(hdu.data, hdu.header).writeto(path)
    frame = frames.look(path)
    (layer,) = frame.layers
    assert layer.cards["gain"] == ("EGAIN", 1.5)
    assert layer.cards["saturation"] == ("SATURATE", 60000)
    assert layer.cards["zero_point"] == ("MAGZP", 27.5)
    assert layer.size == (40, 32)
    assert layer.scale == pytest.approx(0.3)
    assert (layer.kind, layer.hdu, frame.compressed, frame.is_mosaic) == ("f", 0, False, False)
    assert frame.date == "2020-01-02"


def test_useless_cards_are_passed_over(tmp_path):
    path = tmp_path / "a.fits"
    hdu = image({"GAIN": 0.0, "EGAIN": 2.0, "MAGZP": -99.0, "MAXLIN": "unknown"})
    fits.PrimaryHDU(hdu.data, hdu.header).writeto(path)
    cards = frames.look(path).layers[0].cards
    assert cards == {"gain": ("EGAIN", 2.0)}


def test_a_card_that_is_no_fits_is_passed_over(tmp_path):
    path = tmp_path / "a.fits"
    fits.PrimaryHDU(np.zeros((8, 8), np.int16), fits.Header({"EXPTIME": 1.0})).writeto(path)
    raw = path.read_bytes()
    at = raw.index(b"EXPTIME")
    card = b"EXPTIME =              3,2E-05".ljust(80)
    path.write_bytes(raw[:at] + card + raw[at + 80 :])
    frame = frames.look(path)
    assert not frame.problem
    assert len(frame.layers) == 1


def test_mosaic_with_weight_and_table(tmp_path):
    path = tmp_path / "m.fits.fz"
    table = fits.BinTableHDU.from_columns([fits.Column("A", "J", array=[1])], name="CAT")
    packed = fits.CompImageHDU(np.zeros((32, 40), np.int16), name="CCD1")
    hdus = [fits.PrimaryHDU(), packed, image(name="CCD2"), image(name="WEIGHT"), table]
    fits.HDUList(hdus).writeto(path)
    frame = frames.look(path)
    assert [layer.name for layer in frame.science] == ["CCD1", "CCD2"]
    assert frame.is_mosaic
    assert frame.compressed
    assert frame.tables == ("CAT",)
    assert [layer.kind for layer in frame.layers] == ["i", "f", "f"]
    assert frame.layers[0].scale is None


def test_what_cannot_be_read_has_a_problem(tmp_path):
    path = tmp_path / "a.fits"
    path.write_bytes(b"no FITS at all" * 10)
    assert "not a FITS file" in frames.look(path).problem


@pytest.mark.parametrize(
    ("path", "card", "kind"),
    [
        ("x/a_1.fits", "Light Frame", "light"),
        ("x/a_1.fits", "Dark Frame", "dark"),
        ("x/a_1.fits", "twilight flat", "flat"),
        ("x/dark_1.fits", "OBJECT", "light"),
        ("x/bias_1.fits", "", "bias"),
        ("flats/a_1.fits", "", "flat"),
        ("x/m51_1.fits", "", "light"),
    ],
)
def test_kind_of_frame(path, card, kind):
    assert frames.frame_kind(Path(path), card) == kind


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("exp-004192-weight.fits.fz", "weight"),
        ("c4d_150411_oow_z", "weight"),
        ("img_12.mask", "flag"),
        ("CFIS.205.267.r.weight", "weight"),
        ("image_1", "image"),
        ("M51_I_001", ""),
        ("reduced-sci-cat-bpm", "flag"),
        ("unweighted_1", ""),
    ],
)
def test_role_in_a_name(name, role):
    assert frames.role_in(name) == role


def test_role_of_pixels():
    rng = np.random.default_rng(1)
    flag = np.zeros((64, 64), np.int16)
    flag[3:6] = 4
    assert frames.role_of_pixels(flag, "i") == "flag"
    weight = np.full((64, 64), 0.25, np.float32)
    weight[:5] = 0
    assert frames.role_of_pixels(weight, "f") == "weight"
    assert frames.role_of_pixels(rng.normal(100, 5, (64, 64)), "f") == "image"
    assert frames.role_of_pixels(rng.poisson(100, (64, 64)), "i") == "image"
