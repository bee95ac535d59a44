"""PSFs of a store against the truth: right ones agree, wrong size, place and orientation show."""

import json

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS
from sqlitedict import SqliteDict

from shapepipe.astro import ldac, moments, stampstore
from shapepipe.judge import psf, psfplots
from shapepipe.judge.case import Case
from shapepipe.simulate.astrometry import jacobians
from shapepipe.simulate.draw import draw_psfs
from shapepipe.simulate.survey import Survey, write_survey

SIZE, N, SIDE = 1000, 60, 41
NAMES = ("psf_fwhm", "psf_g1", "psf_g2", "psf_coma1", "psf_coma2")


def solution(angle):
    """World coordinates of a CCD that is turned by an angle (deg); 0: x to the west, y north."""
    turned = np.radians(angle)
    header = fits.Header({
        "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 10.0, "CRVAL2": 20.0,
        "CRPIX1": 500.0, "CRPIX2": 500.0, "CD1_1": -np.cos(turned), "CD1_2": np.sin(turned),
        "CD2_1": np.sin(turned), "CD2_2": np.cos(turned),
    })  # fmt: skip
    for name in ("CD1_1", "CD1_2", "CD2_1", "CD2_2"):
        header[name] *= 0.187 / 3600
    return WCS(header)


def true_rows(wcs):
    """Galaxies on one CCD, with a PSF that grows along x and has a shape."""
    rng = np.random.default_rng(8)
    x, y = rng.uniform(30, SIZE - 30, (2, N))
    ra, dec = wcs.all_pix2world(x, y, 0)
    rows = Table({"id": np.arange(N) + 500, "ccd": np.full(N, 4), "kind": np.ones(N, int),
                  "ra": ra, "dec": dec, "mag": rng.uniform(20, 23, N), "x": x, "y": y})  # fmt: skip
    values = (0.68 + 0.05 * (x / SIZE - 0.5), 0.01, 0.03, 0.0, 0.0)
    for name, value in zip(NAMES, values, strict=True):
        rows[name] = value
    return rows


def draw(rows, wcs):
    return draw_psfs(rows, jacobians(wcs, rows["x"], rows["y"]), "moffat", 3.5, SIDE)


def a_case(folder, wcs, rows, stamps):
    """Survey and run as far as PSFs are judged; NUMBER is the `id` less 499."""
    output = folder / "run" / "some_runner" / "output"
    output.mkdir(parents=True)
    (folder / "truth").mkdir()
    (folder / "run" / "run.json").write_text(json.dumps({}))
    write_survey(Survey(), folder / "survey.ini")
    rows.write(folder / "truth" / "objects.fits")
    rows.write(folder / "truth" / "epochs-2366993.fits")
    numbers = np.asarray(rows["id"]) - 499
    catalogue = {"NUMBER": numbers, "XWIN_WORLD": rows["ra"], "YWIN_WORLD": rows["dec"]}
    ldac.write(output / "sexcat-277-282.fits", Table(catalogue))
    with SqliteDict(output / "log_exp_headers.sqlite", autocommit=True) as table:
        table["2366993"] = [{"WCS": wcs}] * 5
    with stampstore.StampWriter(output / "galaxy_psf-277-282.sqlite") as store:
        entries = zip(numbers.tolist(), stamps, strict=True)
        store.add([(number, {"2366993-4": {"VIGNET": stamp}}) for number, stamp in entries])
    return Case(folder, (folder / "run",))


@pytest.mark.parametrize("angle", [0, 180, 90])
def test_the_true_psf_agrees_with_itself_however_the_ccd_is_turned(tmp_path, angle):
    wcs = solution(angle)
    rows = true_rows(wcs)
    views = psf.gather(a_case(tmp_path, wcs, rows, draw(rows, wcs)))
    figures = psf.summarise(views)
    assert (figures["n_psfs"], figures["n_flagged"], figures["n_ccds"]) == (N, 0, 1)
    for name in psf.RESIDUALS:
        assert abs(figures[f"{name}_mean"]) < 1e-6
        assert figures[f"{name}_scatter"] < 1e-5
    assert np.median(views["g1_sky"]) == pytest.approx(0.01, abs=2e-3)
    assert np.median(views["g2_sky"]) == pytest.approx(0.03, abs=2e-3)


def test_a_psf_that_is_too_large_shows_by_how_much(tmp_path):
    wcs = solution(180)
    rows = true_rows(wcs)
    wide = rows.copy()
    wide["psf_fwhm"] *= 1.01
    expected = [moments.measure(draw(table, wcs)).sigma ** 2 for table in (rows, wide)]
    verdict = psf.judge(a_case(tmp_path, wcs, rows, draw(wide, wcs)))
    figures = verdict.figures
    assert set(verdict.plots) == {"psf_residuals", "psf_map_dt", "psf_map_de1", "psf_map_de2",
                                  "psf_rho"}  # fmt: skip
    assert figures["dt_mean"] == pytest.approx(np.mean(expected[1] / expected[0] - 1), rel=1e-4)
    assert 0.015 < figures["dt_mean"] < 0.021


def test_a_flip_shows_in_one_component(tmp_path):
    wcs = solution(0)
    rows = true_rows(wcs)
    figures = psf.judge(a_case(tmp_path, wcs, rows, draw(rows, wcs)[:, :, ::-1])).figures
    assert figures["de2_mean"] == pytest.approx(-0.06, abs=0.005)
    assert abs(figures["de1_mean"]) < 1e-4


def test_psfs_of_other_places_show_as_scatter(tmp_path):
    wcs = solution(0)
    rows = true_rows(wcs)
    mirrored = rows.copy()
    mirrored["psf_fwhm"] = 0.68 - 0.05 * (rows["x"] / SIZE - 0.5)
    figures = psf.judge(a_case(tmp_path, wcs, rows, draw(mirrored, wcs))).figures
    assert figures["dt_scatter"] > 0.05


def test_runs_without_psfs_of_stacks_are_not_judged(tmp_path):
    (tmp_path / "run").mkdir()
    assert psf.judge(Case(tmp_path, (tmp_path / "run",))) is None


@pytest.mark.parametrize("name", ["sexcat-277-282.fits", "log_exp_headers.sqlite"])
def test_psfs_without_their_catalogue_or_headers_are_not_judged(tmp_path, name):
    wcs = solution(0)
    rows = true_rows(wcs)[:5]
    case = a_case(tmp_path, wcs, rows, draw(rows, wcs))
    (tmp_path / "run/some_runner/output" / name).unlink()
    assert psf.judge(case) is None


def test_stars_tell_their_own_error_from_that_of_the_model():
    rng = np.random.default_rng(2)
    mag = np.repeat([18.2, 20.7], 200)
    t = rng.uniform(6, 7, 400)
    noise = rng.normal(0, 0.01, 400)
    stars = Table({"mag": mag, "t": t, "t_model": t * 1.003,
                   "t_star": t * (1 + noise - 0.004 * (mag > 20))})  # fmt: skip
    found = psf.by_magnitude(stars)
    assert found["n"].tolist() == [200, 200]
    np.testing.assert_allclose(found["model_true"], 0.003, atol=1e-9)
    np.testing.assert_allclose(found["star_true"], [0, -0.004], atol=3e-3)
    np.testing.assert_allclose(found["star_model"], [-0.003, -0.007], atol=3e-3)
    assert psfplots.draw_magnitudes(found).axes[0].get_legend_handles_labels()[1] == [
        "star - model", "star - truth", "model - truth",
    ]  # fmt: skip
