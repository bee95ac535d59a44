"""Which CCD sees which object: against the WCS of every CCD asked for every object."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from shapepipe.astro import sightings, wcs

FRAME = sightings.Frame(33, 2080, 1, 4612)


def tan(ra, dec, angle=0.0):
    made = WCS(naxis=2)
    made.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    made.wcs.crval, made.wcs.crpix = (ra, dec), (1056, 2306)
    cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    made.wcs.cd = 5.17e-5 * np.array([[-cos, sin], [sin, cos]])
    return made


def around(ra, dec, radius, n, rng):
    """Positions at random around a place, also at the poles."""
    points = wcs.unit_vectors(ra, dec) + rng.uniform(-1, 1, (n, 3)) * np.radians(radius)
    points /= np.linalg.norm(points, axis=1)[:, None]
    right = np.degrees(np.arctan2(points[:, 1], points[:, 0])) % 360
    return right, np.degrees(np.arcsin(points[:, 2]))


@pytest.mark.parametrize("place", [(210.0, 52.0), (0.0, -12.0), (77.0, 89.99), (0.0, -90.0)])
def test_every_object_is_found_on_its_ccd(place):
    rng = np.random.default_rng(2)
    ra, dec = around(*place, 0.2, 3000, rng)
    exposures = {}
    for name, turn in (("100", 0.0), ("101", 180.0), ("102", 33.0)):
        centre = tan(*place, turn)
        pixels = np.array([[x, 2306] for x in (-1200, 1056, 3300)], float)
        centres = [wcs.pixel_to_world(centre, *pixel) for pixel in pixels]
        exposures[name] = [tan(float(a), float(b), turn) for a, b in centres]
    found = sightings.find_ccds(ra, dec, exposures, FRAME)
    for name, ccds in exposures.items():
        expected = np.full(len(ra), -1)
        for number, solution in reversed(list(enumerate(ccds))):
            expected[FRAME.holds(*wcs.world_to_pixel(solution, ra, dec))] = number
        assert (expected >= 0).sum() > 300
        assert np.array_equal(found[name], expected)
    counted = sightings.count_epochs(found, len(ra))
    assert counted.dtype == np.int32 and counted.max() == 3 and counted.min() == 0


def test_objects_without_position_and_exposures_without_wcs_see_nothing():
    ra, dec = np.array([210.0, np.nan, 210.0]), np.array([52.0, 52.0, np.inf])
    found = sightings.find_ccds(ra, dec, {"1": [tan(210, 52)], "2": []}, FRAME)
    assert found["1"].tolist() == [0, -1, -1] and found["2"].tolist() == [-1, -1, -1]
    nothing = sightings.find_ccds([], [], {"1": [tan(210, 52)]}, FRAME)
    assert nothing["1"].shape == (0,)
    assert sightings.count_epochs({}, 3).tolist() == [0, 0, 0]


def test_limits_of_the_frame_do_not_count():
    ra, dec = wcs.pixel_to_world(tan(210, 52), [33.0, 33.01], [100.0, 100.0])
    found = sightings.find_ccds(ra, dec, {"1": [tan(210, 52)]}, FRAME)["1"]
    assert found.tolist() == [-1, 0]


def test_exposures_are_named_by_the_history_cards():
    header = fits.Header()
    for name in ("2366993p.fits", "2366994p.fits", "2366993p.fits"):
        header.add_history(f" input image {name} 4 extension(s)")
    header.add_history("made by hand in 2019")
    assert sightings.exposure_names(header) == ["2366993", "2366994"]
    assert sightings.exposure_names(fits.Header()) == []
    assert sightings.exposure_names(header, r"23669\d\d") == ["2366993", "2366994"]


def test_tables_hold_all_objects_and_minus_one():
    tables = sightings.epoch_tables([4, 2], {"2366993": np.array([-1, 17])})
    ((name, table),) = tables.items()
    assert name == "EPOCH_0" and table.colnames == ["NUMBER", "EXP_NAME", "CCD_N"]
    assert table["CCD_N"].dtype == np.int32 and table["CCD_N"].tolist() == [-1, 17]
    assert table["EXP_NAME"].tolist() == ["2366993", "2366993"]
