"""Sky positions around images of every projection, at every place on the sky."""

import numpy as np
import pytest
from astropy import units
from astropy.coordinates import SkyCoord
from astropy.io import fits

from shapepipe.astro.vicinity import Vicinity
from shapepipe.astro.wcs import from_header

SHAPE = (400, 300)
SCALE = 0.2 / 3600


def header(projection="TAN", ra=150.0, dec=2.0, angle=0.3, **cards):
    cos, sin = np.cos(angle), np.sin(angle)
    base = {"CTYPE1": f"RA---{projection}", "CTYPE2": f"DEC--{projection}",
            "CRVAL1": ra, "CRVAL2": dec, "CRPIX1": -200.0, "CRPIX2": 700.0,
            "CUNIT1": "deg", "CUNIT2": "deg", "CD1_1": -SCALE * cos, "CD1_2": SCALE * sin,
            "CD2_1": SCALE * sin, "CD2_2": SCALE * cos}  # fmt: skip
    return fits.Header({**base, **cards})


TPV = {"PV1_0": 0.0, "PV1_1": 1.01, "PV1_2": 1e-3, "PV1_4": 0.03, "PV1_7": 0.8,
       "PV2_0": 0.0, "PV2_1": 0.99, "PV2_2": -1e-3, "PV2_4": -0.02, "PV2_7": 0.7}  # fmt: skip
SIP = {"A_ORDER": 2, "B_ORDER": 2, "A_2_0": 2e-6, "A_1_1": -1e-6, "B_0_2": 2e-6, "B_2_0": 1e-6}
ZPN = {"PV2_1": 1.0, "PV2_3": 42.0}

HEADERS = {
    "TAN": header(),
    "TPV": header("TPV", **TPV),
    "SIP": header("TAN-SIP", **SIP),
    "ZPN": header("ZPN", **ZPN),
    "RA wrap": header(ra=0.001),
    "pole": header(dec=90.0),
    "near pole": header("TPV", ra=80.0, dec=-89.97, **TPV),
}


@pytest.fixture(params=HEADERS, scope="module")
def vicinity(request):
    return Vicinity(from_header(HEADERS[request.param]), SHAPE)


def test_positions_on_and_around_the_image_return_to_their_pixels(vicinity):
    rng = np.random.default_rng(1)
    x, y = rng.uniform(-200, 500, 300), rng.uniform(-200, 600, 300)
    found = vicinity.pixel_of(*vicinity.wcs.all_pix2world(x, y, 0))
    np.testing.assert_allclose(found, (x, y), atol=1e-5)


def test_near_finds_all_on_the_image_and_none_far_away(vicinity):
    rng = np.random.default_rng(2)
    x, y = rng.uniform(0, 299, 100), rng.uniform(0, 399, 100)
    ra, dec = vicinity.wcs.all_pix2world(x, y, 0)
    assert len(vicinity.near(ra, dec, 0.0)) == 100
    centre = SkyCoord(*vicinity.position, unit="deg")
    far = centre.directional_offset_by(rng.uniform(0, 360, 100) * units.deg,
                                       1.02 * vicinity.radius * units.deg)  # fmt: skip
    assert len(vicinity.near(far.ra.deg, far.dec.deg, 0.0)) == 0
    assert len(vicinity.near(far.ra.deg, far.dec.deg, 0.03 * vicinity.radius)) == 100
    assert len(vicinity.near(np.array([np.nan]), np.array([np.nan]), 0.0)) == 0


@pytest.mark.parametrize("radius_px", [3, 40, 150, 1000])
def test_circles_hold_the_pixels_within_their_radius(vicinity, radius_px):
    """Blocks told as a whole give the same as every pixel's separation from the centre."""
    x, y = np.meshgrid(np.arange(SHAPE[1]), np.arange(SHAPE[0]))
    sky = SkyCoord(*vicinity.wcs.all_pix2world(x, y, 0), unit="deg")
    radius = radius_px * SCALE
    for place in ((150.3, 200.7), (-30.0, 20.0), (299.0, 399.0), (130.0, 900.0)):
        ra, dec = (float(v) for v in vicinity.wcs.all_pix2world(*place, 0))
        inside = sky.separation(SkyCoord(ra, dec, unit="deg")).deg <= radius
        flags = np.zeros(SHAPE, np.int16)
        assert vicinity.draw_circle(flags, 16, ra, dec, radius) == inside.any()
        np.testing.assert_array_equal(flags, 16 * inside)
