"""PSFEx on stamps of known stars: the model, its products, and what happens without stars."""

from pathlib import Path

import galsim
import numpy as np
import pytest
from astropy.io import fits as afits
from astropy.table import Table

from shapepipe.astro import ldac, psfmodel
from shapepipe.modules.psfex_runner import polynomial_terms, psfex_runner
from shapepipe.testing import trial

pytestmark = pytest.mark.programs("psfex")
CONFIG = Path(__file__).parents[2] / "example" / "config"
NUMBER, SIDE = "-2366993-7", 25


@pytest.fixture
def settings(tmp_path):
    """The example settings with smaller stamps and basis, which takes seconds less."""
    text = (CONFIG / "default.psfex").read_text()
    text = text.replace("51,51", f"{SIDE},{SIDE}").replace(
        "BASIS_NUMBER      14", "BASIS_NUMBER 10"
    )
    path = tmp_path / "with, blanks and.psfex"
    path.write_text(text)
    return path


def stars(n=40, sigma=1.6, noise=2.0):
    """Catalogue of round Gaussian stars of one size, with stamps."""
    rng = np.random.default_rng(12)
    x, y = rng.uniform(20, 2000, n), rng.uniform(20, 4000, n)
    flux = rng.uniform(2e4, 8e4, n)
    stamps = np.empty((n, SIDE, SIDE), "f4")
    for i in range(n):
        off = (x[i] - np.round(x[i]), y[i] - np.round(y[i]))
        star = galsim.Gaussian(sigma=sigma, flux=flux[i]).shift(*off)
        stamps[i] = star.drawImage(nx=SIDE, ny=SIDE, scale=1.0).array
    stamps += rng.normal(0, noise, stamps.shape).astype("f4")
    return Table(
        {"NUMBER": np.arange(1, n + 1), "XWIN_IMAGE": x, "YWIN_IMAGE": y,
         "FLUX_AUTO": flux.astype("f4"), "FLUXERR_AUTO": np.full(n, 60, "f4"),
         "FLUX_RADIUS": np.full(n, 1.1774 * sigma, "f4"), "ELONGATION": np.ones(n, "f4"),
         "SNR_WIN": (flux / 60).astype("f4"), "FLAGS": np.zeros(n, "i2"), "VIGNET": stamps}
    )  # fmt: skip


def model(tmp_path, settings, table, folder="run", **options):
    path = tmp_path / f"star selection{NUMBER}.fits"
    ldac.write(path, table, header=afits.Header({"SEXBKDEV": 2.0, "SEXGAIN": 1.5}))
    options = {"DOT_PSFEX_FILE": str(settings)} | options
    return trial(psfex_runner, {"star_selection": path}, options, NUMBER, tmp_path / folder)


def test_model_has_the_size_of_the_stars(tmp_path, settings):
    outcome = model(tmp_path, settings, stars())
    assert outcome.status == "ok", outcome.error
    names = [path.name for path in outcome.products]
    assert names == [f"star_selection{NUMBER}.psf", f"psfex_cat{NUMBER}.cat"]
    assert outcome.metrics["n_accepted"] == outcome.metrics["n_stars"] == 40
    assert 0.5 < outcome.metrics["chi2"] < 2
    psf = psfmodel.read_psf(outcome.products[0])
    stamp = psf.on_pixels().evaluate(np.array([1000.0]), np.array([2000.0]))[0]
    found = galsim.hsm.FindAdaptiveMom(galsim.Image(np.ascontiguousarray(stamp, dtype=float)))
    assert found.moments_sigma == pytest.approx(1.6, rel=0.01)
    assert len(ldac.read(outcome.products[1])) == 40


def test_products_have_the_same_bytes_in_every_run(tmp_path, settings):
    runs = [model(tmp_path, settings, stars(20), name, CHECKIMAGE="RESIDUALS") for name in "ab"]
    assert runs[0].products[2].name == f"star_selection_residuals{NUMBER}.fits"
    for one, other in zip(*(run.products for run in runs), strict=True):
        assert one.read_bytes() == other.read_bytes()


def test_snapshots_are_as_many_as_the_settings_say(tmp_path, settings):
    settings.write_text(settings.read_text() + "PSFVAR_NSNAP 2\n")
    outcome = model(tmp_path, settings, stars(12), CHECKIMAGE="SNAPSHOTS")
    plain = model(tmp_path, settings, stars(12), "plain")
    assert afits.getdata(outcome.products[2]).size >= (2 * SIDE) ** 2
    assert outcome.products[0].read_bytes() == plain.products[0].read_bytes()


def test_model_is_named_after_the_pattern_of_its_input(tmp_path, settings):
    outcome = model(tmp_path, settings, stars(12), FILE_PATTERN="mask/star_split_80")
    assert outcome.products[0].name == f"star_split_80{NUMBER}.psf"


def flagged(table):
    table["FLAGS"] = 16


def masked(table):
    table["VIGNET"] = np.float32(-1e30)


def invalid(table):
    table["VIGNET"][3, 4, 5] = np.nan


@pytest.mark.parametrize(("n", "change", "status", "words"), [
    (0, None, "empty", ["0 stars", "6 needed"]),
    (5, None, "empty", ["5 stars", "6 needed"]),
    (12, flagged, "empty", ["accepted 0 of 12 stars"]),
    (12, masked, "empty", ["all pixels of all 12 stars"]),
    (12, invalid, "failed", ["VIGNET of 1 of 12 stars holds NaN"]),
])  # fmt: skip
def test_stars_that_make_no_model_are_told_with_counts(
    tmp_path, settings, n, change, status, words
):
    table = stars(12)[:n]
    if change:
        change(table)
    outcome = model(tmp_path, settings, table)
    assert outcome.status == status
    assert all(word in outcome.error for word in words)
    assert not list((tmp_path / "run/output").iterdir())


def test_missing_column_is_told_in_the_programs_words(tmp_path, settings):
    table = stars(12)
    table.remove_column("FLUX_AUTO")
    outcome = model(tmp_path, settings, table)
    assert outcome.status == "failed" and "FLUX_AUTO" in outcome.error


@pytest.mark.parametrize(("text", "terms"), [
    ("", 6), ("PSFVAR_DEGREES 3", 10), ("PSFVAR_KEYS X,Y\nPSFVAR_DEGREES 0", 1),
    ("PSFVAR_GROUPS 1,1,2\nPSFVAR_DEGREES 2,1 # magnitude", 12),
])  # fmt: skip
def test_terms_of_the_polynomial_are_counted(tmp_path, text, terms):
    (tmp_path / "a.psfex").write_text(text + "\n")
    assert polynomial_terms(tmp_path / "a.psfex") == terms
