"""psf_interp_runner on models and star stamps with known truth."""

import galsim
import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from shapepipe.astro import ldac
from shapepipe.errors import ConfigurationError
from shapepipe.modules.psf_interp_runner import psf_interp_runner
from shapepipe.testing import trial

SIZE = 41
NUMBER = "-2366993-18"


def draw(x, flux=1.0, dx=0.0, dy=0.0):
    """Truth: an ellipticity that grows along x (0-based pixel)."""
    profile = galsim.Gaussian(sigma=2.0, flux=flux).shear(g1=0.1 * (x / 1000 - 0.5), g2=0.02)
    return profile.shift(dx, dy).drawImage(nx=SIZE, ny=SIZE, scale=1, method="no_pixel").array


def write_model(path, accepted=80, chi2=1.05):
    """Model that is exact at three places along x, and quadratic in between."""
    places = np.array([0.0, 500.0, 1000.0])
    matrix = np.stack([((places + 1 - 500) / 1000) ** k for k in range(3)], axis=-1)
    images = np.array([draw(x) for x in places])
    in_x = np.linalg.solve(matrix, images.reshape(3, -1)).reshape(3, SIZE, SIZE)
    basis = np.zeros((6, SIZE, SIZE), np.float32)
    basis[:3] = in_x
    column = fits.Column("PSF_MASK", f"{basis.size}E", dim=f"({SIZE},{SIZE},6)", array=basis[None])
    hdu = fits.BinTableHDU.from_columns([column], name="PSF_DATA")
    hdu.header.update({
        "LOADED": 90, "ACCEPTED": accepted, "CHI2": chi2, "POLNAXIS": 2, "POLNGRP": 1,
        "POLNAME1": "XWIN_IMAGE", "POLZERO1": 500.0, "POLSCAL1": 1000.0, "POLGRP1": 1,
        "POLNAME2": "YWIN_IMAGE", "POLZERO2": 500.0, "POLSCAL2": 1000.0, "POLGRP2": 1,
        "POLDEG1": 2, "PSF_SAMP": 1.0, "PSF_FWHM": 4.7, "PSFAXIS3": 6,
    })  # fmt: skip
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path)
    return path


@pytest.fixture
def files(tmp_path):
    """Model, star catalogue and the catalogue of PSFEx; the third star was rejected by PSFEx."""
    rng = np.random.default_rng(11)
    n = 12
    x, y = rng.uniform(0, 1000, (2, n))
    dx, dy = rng.uniform(-0.5, 0.5, (2, n))
    stamps = np.array([draw(*star) for star in zip(x, np.full(n, 1e5), dx, dy, strict=True)])
    stamps += rng.normal(0, 2.0, stamps.shape)
    stamps[4, :5] = -1e30
    stamps[5, :, 20] = -1e30
    stars = Table({
        "NUMBER": np.arange(10, 10 + n), "XWIN_IMAGE": x + 1, "YWIN_IMAGE": y + 1,
        "XWIN_WORLD": 10 + x / 20000, "YWIN_WORLD": 20 + y / 20000,
        "MAG_AUTO": np.full(n, 18.0), "SNR_WIN": np.full(n, 300.0),
        "VIGNET": stamps.astype(np.float32),
    })  # fmt: skip
    ldac.write(tmp_path / "stars.fits", stars)
    seen = Table({
        "SOURCE_NUMBER": np.arange(1, n + 1), "FLAGS_PSF": np.zeros(n, np.int16),
        "X_IMAGE": (x + 1).astype(np.float32), "Y_IMAGE": (y + 1).astype(np.float32),
    })  # fmt: skip
    seen["FLAGS_PSF"][2] = 1
    ldac.write(tmp_path / "psfex.cat", seen[:-1])
    return {"psf": write_model(tmp_path / "star_selection.psf"), "stars": tmp_path / "stars.fits",
            "psfex_cat": tmp_path / "psfex.cat"}  # fmt: skip


def run(files, folder, roles, **options):
    inputs = {role: files["stars" if role == "objects" else role] for role in roles}
    return trial(psf_interp_runner, inputs, options, number=NUMBER, folder=folder)


def validate(files, folder, **options):
    return run(files, folder, ("psf", "stars", "psfex_cat"), MODE="VALIDATION", **options)


def test_validation_table(files, tmp_path):
    outcome = validate(files, tmp_path)
    assert outcome.status == "ok", outcome.error
    assert [path.name for path in outcome.products] == ["validation_psf-2366993-18.fits"]
    table = ldac.read(outcome.products[0])
    stars = ldac.read(files["stars"])
    np.testing.assert_array_equal(table["NUMBER"], stars["NUMBER"])
    for ours, theirs in (
        ("X", "XWIN_IMAGE"),
        ("Y", "YWIN_IMAGE"),
        ("RA", "XWIN_WORLD"),
        ("DEC", "YWIN_WORLD"),
        ("MAG", "MAG_AUTO"),
        ("SNR", "SNR_WIN"),
    ):
        np.testing.assert_array_equal(table[ours], stars[theirs])
    assert list(table["ACCEPTED"]) == [1, 1, 0] + [1] * 8 + [0]
    assert table["ACCEPTED"].dtype == np.int16
    truth = 0.1 * ((stars["XWIN_IMAGE"] - 1) / 1000 - 0.5)
    np.testing.assert_allclose(table["E1_PSF_HSM"], truth, atol=5e-4)
    np.testing.assert_allclose(table["E2_PSF_HSM"], 0.02, atol=5e-4)
    np.testing.assert_allclose(table["SIGMA_PSF_HSM"], 2.0, rtol=2e-3)
    assert list(table["FLAG_STAR_HSM"]) == [0] * 5 + [32] + [0] * 6
    good = table["FLAG_STAR_HSM"] == 0
    np.testing.assert_allclose(table["E1_STAR_HSM"][good], truth[good], atol=3e-3)
    assert np.median(table["NOISE_PIX"]) == pytest.approx(2e-5, rel=0.1)
    assert np.median(table["RMS_PIX_CORE"]) < 6e-5


def test_stars_kept_apart_from_the_fit_are_not_accepted(files, tmp_path):
    """Row numbers of PSFEx mean another catalogue when the test stars are a split of their own."""
    apart = ldac.read(files["stars"])[6:]
    ldac.write(tmp_path / "apart.fits", apart)
    outcome = validate(files | {"stars": tmp_path / "apart.fits"}, tmp_path)
    assert not ldac.read(outcome.products[0])["ACCEPTED"].any()


def test_classic_table(files, tmp_path):
    outcome = run(files, tmp_path, ("psf", "objects"), MODE="classic")
    assert outcome.status == "ok", outcome.error
    assert [path.name for path in outcome.products] == ["galaxy_psf-2366993-18.fits"]
    table = ldac.read(outcome.products[0])
    assert table.colnames == ["VIGNET", "E1_PSF_HSM", "E2_PSF_HSM", "SIGMA_PSF_HSM",
                              "FLAG_PSF_HSM", "NUMBER"]  # fmt: skip
    x = ldac.read(files["stars"])["XWIN_IMAGE"][3] - 1
    assert np.abs(table["VIGNET"][3] - draw(x)).max() < 2e-4 * draw(x).max()


def test_shapes_can_be_left_out(files, tmp_path):
    outcome = run(files, tmp_path, ("psf", "objects"), MODE="CLASSIC", GET_SHAPES="False")
    assert ldac.read(outcome.products[0]).colnames == ["VIGNET", "NUMBER"]


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ({"accepted": 19}, "19 stars accepted of 90, STAR_THRESH = 20"),
        ({"chi2": 2.4}, "chi2 = 2.400 with 80 stars, CHI2_THRESH = 2"),
    ],
)
def test_poor_model_is_expected_lack_of_data(files, tmp_path, model, said):
    path = write_model(tmp_path / "poor.psf", **model)
    outcome = validate(files | {"psf": path}, tmp_path)
    assert outcome.status == "empty"
    assert said in outcome.error


def test_model_without_chi2_is_not_trusted(files, tmp_path):
    with fits.open(files["psf"], mode="update") as hdus:
        del hdus[1].header["CHI2"]
    outcome = validate(files, tmp_path)
    assert outcome.status == "empty"
    assert "chi2 = nan" in outcome.error


def test_thresholds_can_be_lowered(files, tmp_path):
    path = write_model(tmp_path / "poor.psf", accepted=12, chi2=2.4)
    outcome = validate(files | {"psf": path}, tmp_path, STAR_THRESH="12", CHI2_THRESH="2.5")
    assert outcome.status == "ok"


def test_position_columns_can_be_named(files, tmp_path):
    ours = validate(files, tmp_path / "a", POSITION_PARAMS="YWIN_IMAGE, XWIN_IMAGE")
    usual = validate(files, tmp_path / "b")
    first, second = (ldac.read(outcome.products[0]) for outcome in (ours, usual))
    assert not np.allclose(first["E1_PSF_HSM"], second["E1_PSF_HSM"], atol=1e-3)
    wrong = validate(files, tmp_path / "c", POSITION_PARAMS="XWIN_IMAG, YWIN_IMAGE")
    assert wrong.status == "failed"
    assert "XWIN_IMAG is missing" in wrong.error and "XWIN_IMAGE" in wrong.error


def test_one_position_column_is_refused(files, tmp_path):
    with pytest.raises(ConfigurationError, match="1 columns given"):
        validate(files, tmp_path, POSITION_PARAMS="XWIN_IMAGE")


def test_no_star_is_expected_lack_of_data(files, tmp_path):
    ldac.write(tmp_path / "none.fits", ldac.read(files["stars"])[:0])
    outcome = validate(files | {"stars": tmp_path / "none.fits"}, tmp_path)
    assert outcome.status == "empty"
    assert "no star" in outcome.error


def test_catalogue_without_stamps_is_named(files, tmp_path):
    stars = ldac.read(files["stars"])
    stars.remove_column("VIGNET")
    ldac.write(tmp_path / "bare.fits", stars)
    outcome = validate(files | {"stars": tmp_path / "bare.fits"}, tmp_path)
    assert outcome.status == "failed"
    assert "bare.fits: column VIGNET is missing" in outcome.error


def test_damaged_model_is_named(files, tmp_path):
    (tmp_path / "bad.psf").write_bytes(files["psf"].read_bytes()[:6000])
    outcome = validate(files | {"psf": tmp_path / "bad.psf"}, tmp_path)
    assert outcome.status == "failed"
    assert "bad.psf" in outcome.error
