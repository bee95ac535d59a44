"""Sky coordinates: to and fro in every projection, outlines across RA = 0 and at the poles."""

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits as afits

from shapepipe.astro import wcs as sky
from shapepipe.errors import BadInput

SHAPE = (400, 300)


def header(ra=150.0, dec=2.0, kind="TAN", scale=0.2, angle=10.0, **cards):
    """Header of an image of SHAPE with its reference pixel in the middle."""
    c, s = np.cos(np.radians(angle)) * scale / 3600, np.sin(np.radians(angle)) * scale / 3600
    return afits.Header(
        {"NAXIS": 2, "NAXIS1": SHAPE[1], "NAXIS2": SHAPE[0], "CTYPE1": f"RA---{kind}",
         "CTYPE2": f"DEC--{kind}", "CRVAL1": ra, "CRVAL2": dec, "CRPIX1": 150.5, "CRPIX2": 200.5,
         "CD1_1": -c, "CD1_2": s, "CD2_1": s, "CD2_2": c, **cards}
    )  # fmt: skip


TPV = {"PV1_1": 1.001, "PV1_4": 0.3, "PV1_7": -2.0, "PV2_1": 0.999, "PV2_6": 0.4, "PV2_10": 3.0}
SIP = {"A_ORDER": 2, "B_ORDER": 2, "A_2_0": 2e-6, "A_1_1": 1e-6, "B_0_2": -3e-6}
HEADERS = {
    "TAN": header(),
    "TPV": header(kind="TPV", **TPV),
    "TAN with PV": header(kind="TAN", **TPV),
    "SIP": header(kind="TAN-SIP", **SIP),
    "SIP and PV": header(kind="TAN-SIP", **SIP, **TPV),
    "ZPN": header(kind="ZPN", PV2_1=1.0, PV2_3=44.0, PV2_5=-10300.0),
}


@pytest.mark.parametrize("name", HEADERS)
def test_pixels_come_back(name):
    wcs = sky.from_header(HEADERS[name])
    x, y = np.random.default_rng(3).uniform(0, 300, (2, 200))
    there = sky.pixel_to_world(wcs, x, y)
    back = sky.world_to_pixel(wcs, *there)
    assert np.allclose(back, (x, y), atol=1e-4, rtol=0)


def test_the_reference_pixel_counts_from_zero():
    ra, dec = sky.pixel_to_world(sky.from_header(header()), 149.5, 199.5)
    assert (float(ra), float(dec)) == pytest.approx((150.0, 2.0), abs=1e-9)


def test_tan_with_pv_is_tpv_and_sip_wins_over_pv():
    x, y = np.mgrid[0:300:30, 0:400:30].reshape(2, -1)
    at = {
        name: np.array(sky.pixel_to_world(sky.from_header(h), x, y)) for name, h in HEADERS.items()
    }
    assert np.array_equal(at["TPV"], at["TAN with PV"])
    assert np.array_equal(at["SIP"], at["SIP and PV"])
    assert np.abs(at["TPV"] - at["TAN"]).max() * 3600 > 0.01


def test_header_may_be_text_and_arrays_may_be_empty_or_scalar():
    wcs = sky.from_header(header().tostring())
    assert sky.pixel_to_world(wcs, [], [])[0].shape == (0,)
    assert sky.world_to_pixel(wcs, np.empty((0, 2)), np.empty((0, 2)))[1].shape == (0, 2)
    assert sky.pixel_to_world(wcs, 3.0, [1.0, 2.0])[0].shape == (2,)


@pytest.mark.parametrize("name", ["TAN", "TPV", "SIP"])
def test_the_far_side_of_the_sky_has_no_pixel(name):
    x, y = sky.world_to_pixel(sky.from_header(HEADERS[name]), [330.0, 150.001], [-2.0, 2.001])
    assert np.isnan([x[0], y[0]]).all()
    assert np.isfinite([x[1], y[1]]).all()


@pytest.mark.parametrize(("cards", "problem"), [
    (afits.Header({"NAXIS": 2}), "has no sky coordinates"),
    (header(kind="TNX"), "CTYPE1 = 'RA---TNX' cannot be read"),
    (header(CD1_1=0.0, CD1_2=0.0), "WCS cannot be read"),
])  # fmt: skip
def test_headers_without_a_solution_are_named(cards, problem):
    with pytest.raises(BadInput, match=f"ccd3.fits: .*{problem}"):
        sky.from_header(cards, "ccd3.fits")


def test_pixel_scale():
    assert sky.pixel_scale(sky.from_header(header(scale=0.186))) == pytest.approx(0.186)


def test_separation_agrees_with_astropy():
    rng = np.random.default_rng(5)
    ra, dec = rng.uniform(0, 360, (2, 50)), rng.uniform(-90, 90, (2, 50))
    ra[1, :9], dec[1, :9] = ra[0, :9] + 1e-7, dec[0, :9]
    truth = SkyCoord(ra[0], dec[0], unit="deg").separation(SkyCoord(ra[1], dec[1], unit="deg"))
    assert np.allclose(
        sky.separation(ra[0], dec[0], ra[1], dec[1]), truth.deg, atol=1e-12, rtol=1e-9
    )


@pytest.mark.parametrize(
    "centre", [(150, 2), (0, 0), (359.999, 45), (12, 90), (77, -89.99), (180, 1)]
)
@pytest.mark.parametrize("kind", ["TAN", "TPV"])
def test_footprint_holds_its_pixels_and_no_others(centre, kind):
    """Large pixels, so that the image of 2.2 x 1.7 degrees covers a pole or RA = 0."""
    cards = {"PV1_1": 1.001, "PV1_4": 0.01, "PV2_1": 0.999, "PV2_6": 0.01} if kind == "TPV" else {}
    wcs = sky.from_header(header(*centre, kind=kind, scale=20.0, **cards))
    outline = sky.footprint(wcs, SHAPE)
    y, x = np.mgrid[-100:500:7, -100:400:7].astype(float)
    inside = (np.abs(x - 149.5) < 149.8) & (np.abs(y - 199.5) < 199.8)
    outside = (np.abs(x - 149.5) > 150.2) | (np.abs(y - 199.5) > 200.2)
    found = outline.contains(*sky.pixel_to_world(wcs, x, y))
    assert found[inside].all() and not found[outside].any()
    assert not outline.contains((centre[0] + 180) % 360, -centre[1])


def test_margin_and_outline_of_the_data_section():
    wcs = sky.from_header(header())
    just_off = sky.pixel_to_world(wcs, 304.0, 200.0)
    assert not sky.footprint(wcs, SHAPE).contains(*just_off)
    assert sky.footprint(wcs, SHAPE, margin=5).contains(*just_off)
    section = sky.outline(wcs, (32, 279), (0, 399))
    assert not section.contains(*sky.pixel_to_world(wcs, 20.0, 200.0))
    assert section.contains(*sky.pixel_to_world(wcs, 40.0, 200.0))


def test_overlap_is_never_missed():
    one = sky.footprint(sky.from_header(header(0.0, 0.0)), SHAPE)
    assert one.overlaps(sky.footprint(sky.from_header(header(359.99, 0.0)), SHAPE))
    assert not one.overlaps(sky.footprint(sky.from_header(header(359.0, 0.0)), SHAPE))


@pytest.mark.parametrize("name", HEADERS)
def test_a_pixel_does_not_depend_on_the_others_asked_for(name):
    wcs = sky.from_header(HEADERS[name])
    x, y = np.random.default_rng(3).uniform(-500, 900, (2, 60))
    there = sky.pixel_to_world(wcs, x, y)
    together = np.array(sky.world_to_pixel(wcs, *there))
    alone = [sky.world_to_pixel(wcs, ra, dec) for ra, dec in zip(*there, strict=True)]
    assert np.array_equal(together.T, np.array(alone))
