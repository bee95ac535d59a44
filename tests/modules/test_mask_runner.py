"""The mask runner on files: options, products, and the failures that people meet."""

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS

from shapepipe.astro import starcat
from shapepipe.astro.flags import read_bits
from shapepipe.errors import ConfigurationError
from shapepipe.modules.mask_runner import mask_runner
from shapepipe.testing import trial

NUMBER = "-2113737-10"
SHAPE = (700, 600)
SCALE = 0.186 / 3600
STAR = (300.0, 350.0)
STARS_ON = """[BORDER_PARAMETERS]
BORDER_MAKE = True
BORDER_WIDTH = 20
[HALO_PARAMETERS]
HALO_MAKE = True
[SPIKE_PARAMETERS]
SPIKE_MAKE = True
"""


@pytest.fixture
def case(tmp_path):
    return Case(tmp_path)


class Case:
    """One CCD with a bright star, its files, and the way to run the module on it."""

    def __init__(self, folder):
        self.folder = folder
        self.wcs = WCS(naxis=2)
        self.wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
        self.wcs.wcs.crval, self.wcs.wcs.crpix = [10.68479, 41.0], [300, 350]
        self.wcs.wcs.cdelt = [-SCALE, SCALE]
        self.image = np.random.default_rng(1).normal(100, 5, SHAPE).astype("f4")
        self.weight = np.ones(SHAPE, "f4")
        self.flag = np.zeros(SHAPE, np.int16)
        ra, dec = self.wcs.all_pix2world(*STAR, 0)
        self.stars = Table({"ra": [float(ra)], "dec": [float(dec)], "mag": [12.0]})

    def run(self, masks, *roles, **options):
        folder = self.folder
        (folder / "config.mask").write_text(masks)
        inputs = {}
        for role in ("image", "weight", *roles):
            inputs[role] = folder / f"{role}{NUMBER}.fits"
            fits.writeto(inputs[role], getattr(self, role), self.wcs.to_header(), overwrite=True)
        if "STAR_CATALOGUE" not in options and "USE_EXT_STAR" not in options:
            self.stars.write(folder / "stars.fits", overwrite=True)
            options["STAR_CATALOGUE"] = str(folder / "stars.fits")
        if options.get("USE_EXT_STAR") == "True":
            inputs["star_cat"] = folder / f"star_cat{NUMBER}.cat"
            starcat.write_gsc(inputs["star_cat"], starcat.from_table(self.stars, "memory"))
        if options.get("USE_WEIGHT") == "False":
            del inputs["weight"]
        options = {"MASK_CONFIG_PATH": str(folder / "config.mask"), "PREFIX": "pipeline", **options}
        return trial(mask_runner, inputs, options, NUMBER, folder)

    def flags(self, name="pipeline_flag"):
        return fits.getdata(self.folder / "output" / f"{name}{NUMBER}.fits")

    def header(self):
        return fits.getheader(self.folder / "output" / f"pipeline_flag{NUMBER}.fits")


def test_a_bright_star_gets_halo_and_spikes_and_the_image_its_border(case):
    outcome = case.run(STARS_ON)
    assert outcome.status == "ok", outcome.error
    flags = case.flags()
    y, x = np.indices(SHAPE)
    distance, radius = np.hypot(x - STAR[0], y - STAR[1]), 270 * (1 + 0.05 * 1.8)
    inner = (x >= 20) & (x < 580) & (y >= 20) & (y < 680)
    assert flags.dtype == np.dtype(">i2")
    assert ((flags & 2) > 0)[distance < 0.995 * radius].all()
    assert not (flags & 2)[distance > 1.001 * radius].any()
    np.testing.assert_array_equal((flags & 4) > 0, ~inner)
    spike = 130 * (1 + 0.3 * 1.8)
    assert flags[350, round(300 + spike - 3)] & 128 and not flags[350, round(300 + spike + 3)] & 128
    assert not flags[380, 330] & 128
    assert not flags[350, 300] & ~(2 | 128)
    assert outcome.metrics["n_stars"] == 1


def test_the_header_has_wcs_bits_and_ratio(case):
    case.run(STARS_ON)
    header = case.header()
    assert read_bits(header) == {"MISSING": 1, "HALO": 2, "BORDER": 4, "SPIKE": 128}
    assert header["MRATIO"] == 0 and header["MFLAG"] is False
    assert WCS(header).wcs.compare(case.wcs.wcs) or np.allclose(
        WCS(header).all_pix2world(*STAR, 0), case.wcs.all_pix2world(*STAR, 0), atol=1e-10
    )


def test_same_input_gives_the_same_bytes(case):
    case.run(STARS_ON)
    product = case.folder / "output" / f"pipeline_flag{NUMBER}.fits"
    first = product.read_bytes()
    product.unlink()
    case.run(STARS_ON)
    assert product.read_bytes() == first


def test_neither_halos_nor_spikes_needs_no_star_catalogue(case):
    """An older version ended with a missing attribute here."""
    outcome = case.run("[BORDER_PARAMETERS]\nBORDER_MAKE = True\n", STAR_CATALOGUE="")
    assert outcome.status == "ok", outcome.error
    assert set(np.unique(case.flags())) == {0, 4}


def test_border_width_zero_masks_nothing(case):
    assert case.run("[BORDER_PARAMETERS]\nBORDER_MAKE = True\nBORDER_WIDTH = 0\n").status == "ok"
    assert not case.flags().any()


def test_flag_values_come_from_the_configuration(case):
    """BORDER_FLAG_VALUE used to be read, and 4 written."""
    text = STARS_ON.replace("WIDTH = 20", "WIDTH = 20\nBORDER_FLAG_VALUE = 8")
    case.run(text.replace("HALO_MAKE = True", "HALO_MAKE = True\nHALO_FLAG_VALUE = 65536"))
    assert set(np.unique(case.flags() & ~128)) == {0, 8, 65536, 65544}
    assert read_bits(case.header())["HALO"] == 65536


def test_external_flags_are_ored(case):
    case.flag[:, ::2] = 4 | 512
    outcome = case.run(STARS_ON, "flag", USE_EXT_FLAG="True")
    assert outcome.status == "ok", outcome.error
    flags = case.flags()
    assert (flags[:, ::2] & 516 == 516).all() and not (flags[:, 1::2] & 512).any()
    assert case.header()["EXTBITS"] == 516
    assert flags.max() <= 2 | 4 | 128 | 512


def test_flags_that_a_survey_gives_to_good_stars_need_not_be_kept(case):
    """On SDSS frames nearly every PSF star is flagged, as a bright object."""
    case.flag[:, ::2] = 4 | 16
    case.flag[0, 0] = -(2**15)
    case.run("[EXTERNAL_FLAG]\nEF_IGNORE = 65552\n", "flag", USE_EXT_FLAG="True")
    assert set(np.unique(case.flags())) == {0, 4, 2**15}
    assert case.header()["EXTBITS"] == 4 | 2**15


def test_external_flags_may_be_left_out_by_the_mask_configuration(case):
    case.flag[:] = 512
    case.run("[EXTERNAL_FLAG]\nEF_MAKE = False\n", "flag", USE_EXT_FLAG="True")
    assert not case.flags().any()


def test_per_image_star_catalogue(case):
    case.run(STARS_ON)
    from_table = case.flags()
    case.run(STARS_ON, USE_EXT_STAR="True")
    np.testing.assert_array_equal(case.flags(), from_table)


def test_star_without_magnitude_is_drawn_and_counted(case):
    case.stars["mag"] = np.nan
    assert case.run(STARS_ON).metrics["n_stars_no_mag"] == 1
    assert case.flags()[350, 300] & 2


def test_stars_may_be_asked_for_on_line(case, monkeypatch):
    module = ModuleType("fake_archive")
    asked = []

    def cone(*field):
        asked.append(field)
        return case.stars

    module.cone = cone
    monkeypatch.setitem(sys.modules, "fake_archive", module)
    case.run(STARS_ON)
    expected = case.flags()
    case.run(STARS_ON, STAR_CATALOGUE="", STAR_QUERY="fake_archive:cone")
    np.testing.assert_array_equal(case.flags(), expected)
    ra, dec, radius, faintest = asked[0]
    assert (ra, dec) == pytest.approx((10.68479, 41.0), abs=1e-3)
    assert faintest == 18.0
    corner = np.hypot(*SHAPE) / 2 * SCALE
    assert radius > corner + 270 * 1.5 * SCALE  # stars outside whose halo reaches in


def test_no_stars_to_be_had_is_said_before_the_run(case):
    with pytest.raises(ConfigurationError, match="STAR_CATALOGUE|local file"):
        case.run(STARS_ON, STAR_CATALOGUE="", STAR_QUERY="no_such_archive")


def test_messier_and_ngc_tables_come_with_the_package(case):
    """M31 (NGC 224) is larger than the image and fills it."""
    text = "[MESSIER_PARAMETERS]\nMESSIER_MAKE = True\n[NGC_PARAMETERS]\nNGC_MAKE = True\n"
    outcome = case.run(text)
    assert outcome.metrics["n_messier"] == 1 and outcome.metrics["messier_fraction"] == 1
    assert (case.flags() & 48 == 48).all()
    case.wcs.wcs.crval = [150.0, 2.0]
    assert case.run(text).metrics["n_messier"] == 0


def test_ngc_object_from_a_table_with_radii(case):
    table = Table({"ra": [10.68479], "dec": [41.0], "size_X": [50 * SCALE], "size_Y": [30 * SCALE]})
    table.write(case.folder / "large.fits")
    text = f"[NGC_PARAMETERS]\nNGC_MAKE = True\nNGC_CAT_PATH = {case.folder / 'large.fits'}\n"
    outcome = case.run(text)
    assert outcome.metrics["ngc_fraction"] == pytest.approx(
        np.pi * 50**2 / np.prod(SHAPE), rel=5e-3
    )


def test_missing_weight_is_an_option(case):
    case.image[:10] = 0
    case.image[10:20] = np.nan
    outcome = case.run("[BORDER_PARAMETERS]\n", USE_WEIGHT="False")
    assert outcome.status == "ok", outcome.error
    assert (case.flags()[:20] == 1).all() and not case.flags()[20:].any()


def test_image_without_data_is_masked_and_said(case):
    case.image[:] = np.nan
    outcome = case.run(STARS_ON)
    assert outcome.status == "ok", outcome.error
    assert outcome.metrics["masked_fraction"] == 1 and outcome.metrics["missing_ratio"] == 1
    assert (case.flags() & 1).all()
    assert case.header()["MRATIO"] == 1.0 and case.header()["MFLAG"] is True


@pytest.mark.parametrize("fraction, gone", [(0.5, False), (0.9, True)])
def test_md_remove_masks_the_images_that_are_to_go_and_only_those(case, fraction, gone):
    case.weight[: round(fraction * SHAPE[0])] = 0
    text = STARS_ON + "[MD_PARAMETERS]\nMD_MAKE = True\nMD_REMOVE = True\n"
    outcome = case.run(text)
    assert outcome.status == "ok", outcome.error
    flags = case.flags()
    assert ((flags & 1) > 0).all() == gone and (flags & 2).any() != gone
    assert case.header()["MREMOVED"] is gone and case.header()["MFLAG"] is True
    assert case.header()["MRATIO"] == pytest.approx(fraction)


def test_region_file_is_kept_on_request(case):
    outcome = case.run(STARS_ON + "[OTHER]\nKEEP_REG_FILE = True\n")
    text = (case.folder / "output" / f"pipeline_regions{NUMBER}.reg").read_text()
    assert text.count("polygon(") == 2 and len(outcome.products) == 2


def test_options_of_older_mask_configurations_are_accepted(case):
    text = """[PROGRAM_PATH]
WW_PATH = ww
WW_CONFIG_FILE = $NOWHERE/mask.ww
CDSCLIENT_PATH = findgsc2.2
[BORDER_PARAMETERS]
BORDER_MAKE = True
BORDER_WIDTH = 20
BORDER_FLAG_VALUE = 4
[HALO_PARAMETERS]
HALO_MAKE = False
HALO_REG_FILE = halo.reg
[SPIKE_PARAMETERS]
SPIKE_MAKE = no
SPIKE_REG_FILE = spike.reg
[MESSIER_PARAMETERS]
MESSIER_MAKE = False
MESSIER_PIXEL_SCALE = 0.187
[OTHER]
KEEP_INDIVIDUAL_MASK = False
TEMP_DIRECTORY = .temp
"""
    assert case.run(text).status == "ok"
    assert set(np.unique(case.flags())) == {0, 4}


@pytest.mark.parametrize("text, said", [
    ("[HALO_PARAMETERS]\nHALO_MAKE = True\nHALO_MAGLIM = 13\n",
     r"config\.mask:3 \[HALO_PARAMETERS\] HALO_MAGLIM: unknown option; did you mean HALO_MAG_LIM"),
    ("[HALO_PARAMETRES]\n", r"config\.mask:1 \[HALO_PARAMETRES\].*did you mean HALO_PARAMETERS"),
    ("[BORDER_PARAMETERS]\nBORDER_WIDTH = wide\n", r"config\.mask:2 .*BORDER_WIDTH: 'wide'"),
    ("[BORDER_PARAMETERS]\nBORDER_FLAG_VALUE = 3\n", "BORDER_FLAG_VALUE = 3 is not one bit"),
    ("[NGC_PARAMETERS]\nNGC_CAT_PATH = nowhere.fits\n", "nowhere.fits does not exist"),
])  # fmt: skip
def test_mistakes_in_the_mask_configuration_are_named_before_the_run(case, text, said):
    with pytest.raises(ConfigurationError, match=said):
        case.run(text)


@pytest.mark.parametrize("name", ["mask_exposure.mask", "mask_stack.mask"])
def test_example_mask_configurations_are_valid(case, name):
    text = (Path(__file__).parents[2] / "example" / "config" / name).read_text()
    outcome = case.run(text)
    assert outcome.status == "ok", outcome.error
    assert ("border_fraction" in outcome.metrics) == (name == "mask_exposure.mask")
    assert {"halo_fraction", "spike_fraction", "ngc_fraction"} <= outcome.metrics.keys()


def test_older_names_of_the_product(case):
    case.run("[OTHER]\n", PREFIX="", SUFFIX="mine", OUTNAME_BASE="mask")
    assert case.flags("mine_mask").shape == SHAPE


def test_weight_of_another_shape_is_named(case):
    case.weight = case.weight[:-1]
    outcome = case.run(STARS_ON)
    assert outcome.status == "failed"
    assert "weight-2113737-10.fits: has shape (699, 600)" in outcome.error


def test_image_without_wcs_is_named_only_where_the_sky_is_needed(case):
    case.wcs = WCS(naxis=2)
    case.stars["ra"], case.stars["dec"] = 1.0, 2.0
    assert case.run("[BORDER_PARAMETERS]\nBORDER_MAKE = True\n").status == "ok"
    outcome = case.run(STARS_ON)
    assert outcome.status == "failed" and "no sky coordinates" in outcome.error
