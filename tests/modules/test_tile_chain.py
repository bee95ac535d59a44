"""Stamps of a simulated survey against its truth: a flip, half a pixel or a lost FSCALE shows."""

import numpy as np
import pytest
from astropy.table import Table
from sqlitedict import SqliteDict

from shapepipe.astro import epochs, ldac, moments, sightings, stamps
from shapepipe.modules.merge_headers_runner import merge_headers_runner
from shapepipe.modules.split_exp_runner import split_exp_runner
from shapepipe.modules.vignetmaker_runner import vignetmaker_runner
from shapepipe.simulate import read_survey, simulate_survey
from shapepipe.testing import trial

SURVEY = """
[SURVEY]
SEED = 4
{place}
[CAMERA]
GEOMETRY = grid
COLUMNS = 2
ROWS = 2
WIDTH = 400
HEIGHT = 400
[EXPOSURES]
COUNT = 2
DITHER = 10
ZERO_POINT_SCATTER = 0.3
[STARS]
DENSITY = 20
MAG_BRIGHT = 18.5
MAG_FAINT = 20.5
[GALAXIES]
DENSITY = 0
[DETECTOR]
NOISE = False
BLEEDING = False
BAD_COLUMNS = 0
COSMIC_RAYS = 0
TRAILS = 0
[FILES]
EXTENSION = .fits
"""
EXPOSURES = ("2366993", "2366994")
SIZE = 41
PLACES = {"ordinary": "", "ra_0": "RA = 0\nDEC = -30", "pole": "RA = 40\nDEC = 89.999"}


@pytest.fixture(scope="module", params=PLACES.values(), ids=PLACES)
def survey(request, tmp_path_factory):
    """A survey whose stars, with their true positions, are the objects of a stack."""
    folder = tmp_path_factory.mktemp("survey")
    (folder / "survey.ini").write_text(SURVEY.format(place=request.param))
    simulate_survey(read_survey(folder / "survey.ini"), folder / "sky")
    headers = {}
    for number in EXPOSURES:
        inputs = {kind: folder / "sky" / "exposures" / f"{kind}-{number}.fits"
                  for kind in ("image", "weight", "flag")}  # fmt: skip
        options = {"OUTPUT_SUFFIX": "image, weight, flag", "N_HDU": "4"}
        outcome = trial(split_exp_runner, inputs, options, f"-{number}", folder)
        assert outcome.status == "ok", outcome.error
        headers[f"-{number}"] = folder / "output" / f"headers-{number}.npy"
    outcome = trial(merge_headers_runner, {"headers": headers}, {}, "", folder)
    assert outcome.status == "ok", outcome.error
    truth = Table.read(folder / "sky" / "truth" / "objects.fits")
    log = folder / "output" / "log_exp_headers.sqlite"
    frame = sightings.Frame(0, 399, 0, 399)
    seen = sightings.find_ccds(truth["ra"], truth["dec"], epochs.read_wcs(log, EXPOSURES), frame)
    numbers = np.arange(1, len(truth) + 1)
    objects = Table({"NUMBER": numbers, "XWIN_WORLD": truth["ra"], "YWIN_WORLD": truth["dec"]})
    ldac.write(folder / "sexcat.fits", objects, extra=sightings.epoch_tables(numbers, seen))
    options = {"MODE": "MULTI-EPOCH", "STAMP_SIZE": str(SIZE), "ME_IMAGE_PATTERN": "image, flag",
               "ME_IMAGE_DIR": str(folder / "output"), "ME_LOG_WCS": str(log)}  # fmt: skip
    outcome = trial(vignetmaker_runner, {"catalogue": folder / "sexcat.fits"}, options, "-1-1",
                    folder)  # fmt: skip
    assert outcome.status == "ok", outcome.error
    return folder, truth, seen


def lonely_stars(folder, exposure):
    """Truth of an exposure without stars that have others near them."""
    rows = Table.read(folder / "sky" / "truth" / f"epochs-{exposure}.fits")
    x, y, ccd = (np.asarray(rows[name]) for name in ("x", "y", "ccd"))
    apart = np.hypot(x - x[:, None], y - y[:, None])
    apart[ccd != ccd[:, None]] = np.inf
    return rows[np.sort(apart, axis=1)[:, 1] > 30]


def test_stars_are_seen_by_the_ccds_that_show_them(survey):
    folder, truth, seen = survey
    for exposure in EXPOSURES:
        rows = Table.read(folder / "sky" / "truth" / f"epochs-{exposure}.fits")
        on = (rows["x"] > 0.1) & (rows["x"] < 398.9) & (rows["y"] > 0.1) & (rows["y"] < 398.9)
        ccd = dict(zip(rows["id"][on], rows["ccd"][on], strict=True))
        found = dict(zip(truth["id"], seen[exposure], strict=True))
        shared = set(ccd) & set(found)
        assert len(shared) > 20 and {ccd[name] for name in shared} == {0, 1, 2, 3}
        assert all(found[name] == ccd[name] for name in shared)


def test_a_star_is_where_its_pixel_says_with_the_flux_of_its_magnitude(survey):
    folder, truth, _ = survey
    log = folder / "output" / "log_exp_headers.sqlite"
    scales = epochs.read_flux_scales(log, EXPOSURES)
    assert len({round(scale, 3) for scale in scales.values()}) == 2
    place, flux, n_ccds = [], [], set()
    with (
        SqliteDict(folder / "output" / "image_vignet-1-1.sqlite", flag="r") as images,
        SqliteDict(folder / "output" / "flag_vignet-1-1.sqlite", flag="r") as flags,
    ):
        for exposure in EXPOSURES:
            for row in lonely_stars(folder, exposure):
                number = np.flatnonzero(truth["id"] == row["id"])
                label = f"{exposure}-{row['ccd']}"
                if not len(number) or label not in images[str(number[0] + 1)]:
                    continue
                stamp = images[str(number[0] + 1)][label]["VIGNET"].astype(float)
                if flags[str(number[0] + 1)][label]["VIGNET"].any():
                    continue  # it reaches beyond the CCD
                stamp -= np.median(stamp)
                star = moments.measure(stamp[None])
                middle = [SIZE // 2 + row[a] - stamps.middle_pixel(row[a]) for a in "xy"]
                place.append((star.x[0] - middle[0], star.y[0] - middle[1]))
                near = np.hypot(*(np.indices(stamp.shape) - SIZE // 2)) < 16
                flux.append(stamp[near].sum() * scales[exposure, row["ccd"]]
                            / 10 ** (0.4 * (30 - row["mag"])))  # fmt: skip
                n_ccds.add(label)
    place, flux = np.array(place), np.array(flux)
    assert len(place) > 80 and len(n_ccds) == 8
    assert np.abs(np.median(place, axis=0)).max() < 1e-3 and np.abs(place).max() < 0.02
    assert np.median(flux) == pytest.approx(0.995, abs=0.005)  # some light falls farther out
    assert flux.std() < 0.02
