"""merge_starcat_runner and mean_shapes_runner: from catalogues per CCD to maps."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table

from shapepipe.astro import ldac, meanshapes
from shapepipe.modules.mean_shapes_runner import mean_shapes_runner
from shapepipe.modules.merge_starcat_runner import merge_starcat_runner
from shapepipe.testing import trial

SIZE, N_STARS = 400, 150
OFFSET = np.array([0.004, -0.002])  # of e1 and e2 of the stars


def stars_of(ccd, seed):
    """Stars of one CCD of two; the model is round, stars have an ellipticity and are larger."""
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(0, SIZE, (2, N_STARS))
    g = OFFSET + rng.normal(0, 0.005, (N_STARS, 2))
    zero = np.zeros(N_STARS)
    return Table({
        "X": x + 1, "Y": y + 1, "RA": 30 - (x + 420 * ccd) / 18000, "DEC": y / 18000,
        "E1_PSF_HSM": zero, "E2_PSF_HSM": zero, "SIGMA_PSF_HSM": zero + 2,
        "FLAG_PSF_HSM": zero.astype(int),
        "E1_STAR_HSM": g[:, 0], "E2_STAR_HSM": g[:, 1], "SIGMA_STAR_HSM": zero + 2.02,
        "FLAG_STAR_HSM": (rng.uniform(size=N_STARS) < 0.1).astype(int) * 4,
        "MAG": zero + 18, "SNR": zero + 100, "ACCEPTED": zero.astype(np.int16) + 1,
        "NUMBER": np.arange(N_STARS), "RMS_PIX": zero + 1e-4, "RMS_PIX_CORE": zero + 2e-4,
        "RESID_REL": zero + 0.02, "NOISE_PIX": zero + 1e-4,
    })  # fmt: skip


@pytest.fixture
def catalogues(tmp_path):
    paths = {}
    for seed, number in enumerate(("-900-0", "-900-1", "-901-0", "-901-1")):
        paths[number] = tmp_path / f"validation_psf{number}.fits"
        ldac.write(paths[number], stars_of(int(number[-1]), seed))
    return paths


def merge(paths, folder, role="validation_psf", **options):
    return trial(merge_starcat_runner, {role: paths}, options, folder=folder)


@pytest.fixture
def merged(catalogues, tmp_path):
    return merge(catalogues, tmp_path / "merge").products[0]


def test_all_stars_are_merged_with_their_origin(catalogues, tmp_path):
    outcome = merge(catalogues, tmp_path)
    assert outcome.status == "ok", outcome.error
    assert [path.name for path in outcome.products] == ["full_starcat.fits"]
    table = ldac.read(outcome.products[0])
    assert len(table) == 4 * N_STARS
    assert table["CCD_NB"].dtype.kind == "i"
    origin = set(zip(table["EXP_NAME"].astype(str), table["CCD_NB"], strict=True))
    assert origin == {("900", 0), ("900", 1), ("901", 0), ("901", 1)}
    assert outcome.metrics["de1_mean"] == pytest.approx(OFFSET[0], abs=1e-3)
    assert outcome.metrics["de2_mean"] == pytest.approx(OFFSET[1], abs=1e-3)
    assert outcome.metrics["dr2_mean"] == pytest.approx(1 - 1 / 1.01**2, abs=1e-6)
    assert outcome.metrics["rms_pix_core"] == pytest.approx(2e-4)
    assert "star - model of" in outcome.log


def test_order_of_the_inputs_does_not_matter(catalogues, tmp_path):
    first = merge(catalogues, tmp_path / "a").products[0]
    second = merge(dict(reversed(catalogues.items())), tmp_path / "b").products[0]
    assert first.read_bytes() == second.read_bytes()


def test_bad_catalogue_is_named_and_the_rest_is_kept(catalogues, tmp_path):
    bad = catalogues["-900-1"]
    bad.write_bytes(bad.read_bytes()[:12000])
    outcome = merge(catalogues, tmp_path)
    assert outcome.status == "ok"
    assert outcome.metrics["n_bad"] == 1
    assert outcome.metrics["bad"] == bad.name
    assert bad.name in outcome.log
    assert len(ldac.read(outcome.products[0])) == 3 * N_STARS


def test_only_bad_catalogues_is_a_failure(catalogues, tmp_path):
    for path in catalogues.values():
        path.write_text("no catalogue")
    outcome = merge(catalogues, tmp_path)
    assert outcome.status == "failed"
    assert "validation_psf-900-0.fits" in outcome.error


def test_copy_goes_to_output_path(catalogues, tmp_path):
    folder = tmp_path / "run" / "psf_validation"
    outcome = merge(catalogues, tmp_path, OUTPUT_PATH=str(folder))
    copy = folder / "full_starcat.fits"
    assert copy.read_bytes() == outcome.products[0].read_bytes()
    assert [path.name for path in folder.iterdir()] == ["full_starcat.fits"]


def test_stars_without_model_are_merged_from_moments(tmp_path):
    n = 9
    stars = Table({name: np.ones(n) for name in (
        "XWIN_IMAGE", "YWIN_IMAGE", "XWIN_WORLD", "YWIN_WORLD", "X2WIN_IMAGE", "Y2WIN_IMAGE",
        "FLUX_RADIUS", "MAG_AUTO", "SNR_WIN")})  # fmt: skip
    stars["XYWIN_IMAGE"], stars["FLAGS"] = np.zeros(n), np.zeros(n, np.int16)
    path = tmp_path / "star_selection-900-7.fits"
    ldac.write(path, stars)
    outcome = merge({"-900-7": path}, tmp_path, "star_selection", PSF_MODEL="setools")
    table = ldac.read(outcome.products[0])
    assert {"EPS1", "CHI2", "SIZE", "FLAGS_EXT", "CCD_NB"} <= set(table.colnames)
    assert (table["CCD_NB"] == 7).all() and (table["EPS1"] == 0).all()


def test_maps_and_rho_statistics_are_made(merged, tmp_path):
    outcome = trial(
        mean_shapes_runner, {"full_starcat": {"": merged}}, {"X_GRID": "4"}, folder=tmp_path
    )
    assert outcome.status == "ok", outcome.error
    names = {path.name for path in outcome.products}
    assert names == {f"{name}.png" for name in meanshapes.PLOTS} | {
        "rho_stats.fits", "rho_stats.png", "psf_residuals.txt"}  # fmt: skip
    assert outcome.metrics["de1_mean"] == pytest.approx(OFFSET[0], abs=1e-3)
    assert outcome.metrics["n_ccds"] == 2 and outcome.metrics["n_exposures"] == 2
    rho = ldac.read(next(path for path in outcome.products if path.name == "rho_stats.fits"))
    inside = rho["N_PAIRS"] > 3000
    np.testing.assert_allclose(rho["RHO1"][inside], OFFSET @ OFFSET, rtol=0.5)
    text = next(path for path in outcome.products if path.suffix == ".txt").read_text()
    assert text.count("\n") == 1


def test_without_sky_coordinates_maps_are_still_made(merged, tmp_path):
    table = ldac.read(merged)
    table["RA"] = np.nan
    ldac.write(tmp_path / "blind.fits", table)
    outcome = trial(mean_shapes_runner, {"full_starcat": {"": tmp_path / "blind.fits"}},
                    {"X_GRID": "2"}, folder=tmp_path)  # fmt: skip
    assert outcome.status == "ok", outcome.error
    assert "rho_stats.fits" not in {path.name for path in outcome.products}
    assert "rho statistics" in outcome.log


def test_only_flagged_stars_is_lack_of_data(merged, tmp_path):
    table = ldac.read(merged)
    table["FLAG_STAR_HSM"] = 4
    ldac.write(tmp_path / "flagged.fits", table)
    outcome = trial(mean_shapes_runner, {"full_starcat": {"": tmp_path / "flagged.fits"}},
                    folder=tmp_path)  # fmt: skip
    assert outcome.status == "empty"
    assert "600 with flags" in outcome.error


def test_maps_show_the_known_offset(merged):
    stars = meanshapes.read_stars([merged])
    _, layout = meanshapes.lay_out(stars, (SIZE, SIZE))
    assert layout.from_sky
    figures = meanshapes.draw_maps(stars, layout, 2)
    title = figures["e1res"].axes[0].get_title(loc="left")
    assert f"mean {np.mean(stars.g_star[:, 0]):.5f}" in title
    bar = figures["R2s"].axes[-1]
    assert "pixel" in bar.get_ylabel()


@pytest.mark.slow
def test_script_takes_the_arguments_of_the_tutorial(merged, tmp_path):
    script = Path(__file__).parents[2] / "scripts" / "MeanShapes"
    command = [sys.executable, str(script), "-o", str(tmp_path / "plots"), "-x", "3",
               "--max_e=0.05", "--max_d=0.005", "-i", str(merged), "-v"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "star - model of" in done.stdout
    made = {path.name for path in (tmp_path / "plots").iterdir()}
    assert {"e1s.png", "e2res.png", "R2m.png", "whisker_res.png", "rho_stats.png"} <= made
    failed = subprocess.run([*command[:-2], str(tmp_path / "none.fits")], capture_output=True,
                            text=True, check=False)  # fmt: skip
    assert failed.returncode == 1
    assert "no such file" in failed.stderr
