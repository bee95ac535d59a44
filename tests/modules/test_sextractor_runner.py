"""SExtractor on small images with known stars: what it finds, what it is told, how it fails."""

from pathlib import Path

import galsim
import numpy as np
import pytest
from astropy.io import fits as afits

from shapepipe.astro import fits, ldac, undated
from shapepipe.astro import wcs as sky
from shapepipe.modules.sextractor_runner import sextractor_runner
from shapepipe.testing import trial

pytestmark = pytest.mark.programs("sextractor")
CONFIG = Path(__file__).parents[2] / "example" / "config"
FILES = {f"DOT_{kind}_FILE".upper(): str(CONFIG / f"default.{kind}") for kind in
         ("sex", "param", "conv")}  # fmt: skip
IMAGE_ONLY = {"WEIGHT_IMAGE": "False", "FLAG_IMAGE": "False"}
SIZE, FLUX, FWHM, NUMBER = 400, 5e4, 3.5, "-2366993-7"
STARS = [(x + 0.3 * y / SIZE, y - 0.2) for x in range(60, SIZE, 70) for y in range(60, SIZE, 70)]

HEADER = afits.Header(
    {"CTYPE1": "RA---TPV", "CTYPE2": "DEC--TPV", "CRVAL1": 210.0, "CRVAL2": 54.0,
     "CRPIX1": -3000.0, "CRPIX2": 5000.0, "CD1_1": -5.2e-5, "CD1_2": 0.0, "CD2_1": 0.0,
     "CD2_2": 5.2e-5, "PV1_1": 1.001, "PV1_7": 0.5, "PV2_1": 0.999, "PV2_10": -0.3,
     "GAIN": 1.5, "SATURATE": 65000.0, "PHOTZP": 26.5, "SKYLEVEL": 100.0}
)  # fmt: skip


@pytest.fixture(scope="module")
def exposure(tmp_path_factory):
    """Image, weight and flag of a CCD with 25 stars; the first star is flagged with bit 8."""
    folder = tmp_path_factory.mktemp("with blanks, and a comma")
    image = galsim.ImageF(SIZE, SIZE)
    for x, y in STARS:
        star = galsim.Moffat(beta=3.5, fwhm=FWHM, flux=FLUX)
        star.drawImage(image, center=(x + 1, y + 1), scale=1.0, add_to_image=True)
    noise = np.random.default_rng(8).normal(100, 8, (SIZE, SIZE))
    flag = np.zeros((SIZE, SIZE), np.int16)
    flag[50:70, 50:70] = 8
    fits.write_image(folder / "image.fits", (image.array + noise).astype("f4"), HEADER)
    fits.write_image(folder / "weight.fits", np.full((SIZE, SIZE), 1 / 64, "f4"))
    fits.write_image(folder / "flag.fits", flag)
    return {role: folder / f"{role}.fits" for role in ("image", "weight", "flag")}


def extract(folder, inputs, **options):
    return trial(sextractor_runner, inputs, FILES | options, NUMBER, folder)


def nearest(table, x, y):
    """Row next to a position (0-based)."""
    return table[np.argmin(np.hypot(table["XWIN_IMAGE"] - 1 - x, table["YWIN_IMAGE"] - 1 - y))]


def test_all_stars_are_found_where_they_are(exposure, tmp_path):
    outcome = extract(tmp_path / "a b", exposure, PREFIX="sexcat", CHECKIMAGE="BACKGROUND")
    assert outcome.status == "ok", outcome.error
    names = [path.name for path in outcome.products]
    assert names == [f"sexcat_sexcat{NUMBER}.fits", f"sexcat_background{NUMBER}.fits"]
    table = ldac.read(outcome.products[0])
    assert outcome.metrics["n_sources"] == len(table) == len(STARS)
    truth = sky.from_header(HEADER)
    for x, y in STARS:
        row = nearest(table, x, y)
        assert row["XWIN_IMAGE"] - 1 == pytest.approx(x, abs=0.05)
        assert row["YWIN_IMAGE"] - 1 == pytest.approx(y, abs=0.05)
        assert row["FLUX_AUTO"] == pytest.approx(FLUX, rel=0.1)
        there = sky.pixel_to_world(truth, row["XWIN_IMAGE"] - 1, row["YWIN_IMAGE"] - 1)
        assert sky.separation(*there, row["XWIN_WORLD"], row["YWIN_WORLD"]) * 3.6e6 < 1
    assert np.unique(table["IMAFLAGS_ISO"]).tolist() == [0, 8]
    assert table["VIGNET"].shape == (len(table), 51, 51)
    assert fits.read_image(outcome.products[1]) == pytest.approx(100, abs=2)
    assert ldac.read_header(outcome.products[0])["PHOTZP"] == 26.5


def test_products_have_the_same_bytes_in_every_run(exposure, tmp_path):
    runs = [extract(tmp_path / name, exposure, CHECKIMAGE="SEGMENTATION") for name in ("a", "b c")]
    for one, other in zip(*(run.products for run in runs), strict=True):
        assert one.read_bytes() == other.read_bytes()
    header = ldac.read_header(runs[0].products[0])
    assert (header["SEXDATE"], header["SEXTIME"]) == ("00/00/0000", "00:00:00")


def test_dates_are_all_that_is_taken_out(exposure, tmp_path):
    path = extract(tmp_path, exposure).products[0]
    before = path.read_bytes()
    assert undated.forget_dates(path) == 3
    assert path.read_bytes() == before


def test_zero_point_and_background_come_from_the_header(exposure, tmp_path):
    image = {"image": exposure["image"]}
    plain = extract(tmp_path / "a", image, **IMAGE_ONLY)
    told = extract(tmp_path / "b", image, ZP_FROM_HEADER="True", ZP_KEY="PHOTZP",
                   BKG_FROM_HEADER="yes", BKG_KEY="SKYLEVEL", **IMAGE_ONLY)  # fmt: skip
    one, other = (nearest(ldac.read(run.products[0]), *STARS[7]) for run in (plain, told))
    assert one["MAG_AUTO"] - other["MAG_AUTO"] == pytest.approx(30 - 26.5, abs=0.02)
    assert ldac.read_header(told.products[0])["SEXBKGND"] == 100


def test_flag_columns_are_left_out_without_a_flag_image(exposure, tmp_path):
    outcome = extract(tmp_path, {"image": exposure["image"]}, **IMAGE_ONLY)
    assert "IMAFLAGS_ISO" not in ldac.read(outcome.products[0]).colnames
    assert "FLAGS" in ldac.read(outcome.products[0]).colnames


def test_detection_on_another_image_measures_here(exposure, tmp_path):
    """One star only is on the detection image; it is measured on the other."""
    data, header = fits.read(exposure["image"])
    data[:, 100:] = np.random.default_rng(9).normal(100, 8, (SIZE, SIZE - 100))
    data[100:] = np.random.default_rng(10).normal(100, 8, (SIZE - 100, SIZE))
    fits.write_image(tmp_path / "detect.fits", data / 2, header)
    inputs = exposure | {"detection_image": tmp_path / "detect.fits",
                         "detection_weight": exposure["weight"]}  # fmt: skip
    outcome = extract(tmp_path, inputs, DETECTION_IMAGE="True", DETECTION_WEIGHT="True")
    table = ldac.read(outcome.products[0])
    assert len(table) == 1
    assert table["FLUX_AUTO"][0] == pytest.approx(FLUX, rel=0.1)


def failing(kind, exposure, folder):
    """Spoil one input."""
    shape = (SIZE, SIZE)
    spoilt = {"nan": np.full(shape, np.nan), "noise": np.zeros(shape), "masked": np.zeros(shape),
              "small": np.ones((10, 10))}  # fmt: skip
    inputs = dict(exposure)
    role = "weight" if kind in ("masked", "small") else "image"
    inputs[role] = folder / f"{kind}.fits{'.gz' if kind == 'packed' else ''}"
    if kind == "packed":
        fits.write_image(inputs[role], *fits.read(exposure[role]))
    elif kind not in spoilt:
        inputs[role].write_bytes(exposure[role].read_bytes()[:200_000])
    else:
        fits.write_image(inputs[role], spoilt[kind].astype("f4"))
    return inputs


@pytest.mark.parametrize(("kind", "status", "words"), [
    ("nan", "failed", ["nan.fits", "no finite pixel"]),
    ("noise", "empty", ["no source", "noise.fits"]),
    ("masked", "empty", ["no pixel has a weight above 0", "masked.fits"]),
    ("small", "failed", ["exit code 1", "different sizes"]),
    ("cut", "failed", ["cut.fits", "cut short"]),
    ("packed", "failed", ["packed.fits.gz", "is packed", "uncompress_fits_runner"]),
])  # fmt: skip
def test_bad_images_give_one_clear_line(exposure, tmp_path, kind, status, words):
    outcome = extract(tmp_path, failing(kind, exposure, tmp_path))
    assert outcome.status == status
    assert all(word in outcome.error for word in words) and "\n" not in outcome.error
    assert not list((tmp_path / "output").iterdir())


@pytest.mark.parametrize(
    ("key", "words"), [("ZP", "no card ZP"), ("OBJECT", "'M31' is not a number")]
)
def test_missing_or_odd_zero_point_is_named(exposure, tmp_path, key, words):
    data, header = fits.read(exposure["image"])
    header["OBJECT"] = "M31"
    fits.write_image(tmp_path / "i.fits", data, header)
    outcome = extract(tmp_path, {"image": tmp_path / "i.fits"}, ZP_FROM_HEADER="True", ZP_KEY=key,
                      **IMAGE_ONLY)  # fmt: skip
    assert outcome.status == "failed" and words in outcome.error


def test_wrong_parameter_file_is_told_in_the_programs_words(exposure, tmp_path):
    (tmp_path / "bad.sex").write_text("DETECT_TRESH 2\n")
    outcome = extract(tmp_path, exposure, DOT_SEX_FILE=str(tmp_path / "bad.sex"))
    assert outcome.status == "ok"  # an unknown key is only a warning to SExtractor
    (tmp_path / "bad.param").write_text("NUMBER\nFLUX_AUTOS\n")
    outcome = extract(tmp_path / "b", exposure, DOT_PARAM_FILE=str(tmp_path / "bad.param"))
    assert outcome.status == "failed" and "FLUX_AUTOS" in outcome.error
