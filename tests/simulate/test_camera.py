"""Geometry: positions of CCDs, their orientation, and the distortion."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from shapepipe.simulate import astrometry, megacam
from shapepipe.simulate.camera import make_grid, make_megacam

POINTING = (30.0, 45.0)


def wcs_of(camera, index, angle=0.0, scatter=0.0):
    distortion = astrometry.draw_distortion(camera, scatter, np.random.default_rng(1))
    return WCS(astrometry.wcs_cards(camera, index, POINTING, angle, distortion))


def test_megacam_has_40_frames_half_of_them_rotated():
    camera = make_megacam()
    assert len(camera.chips) == 40
    assert camera.shape == (4644, 2112)
    assert camera.light == (32, 2080, 0, 4612)
    assert [i for i, chip in enumerate(camera.chips) if chip.rotated] == [*range(18), 36, 37]


@pytest.mark.parametrize(
    ("ccd", "crpix", "cd"),
    [  # header of CFHT exposure 2452990
        (0, (-7556.0426, 9805.7759), (5.102544e-5, 6.991717e-7, -1.874515e-7, -5.122557e-5)),
        (8, (9675.5756, 9813.6025), (5.103914e-5, -1.690626e-7, 7.607981e-7, -5.117718e-5)),
        (22, (1054.1820, 4630.1320), (-5.192097e-5, -3.041736e-7, -3.328599e-7, 5.187688e-5)),
        (36, (-9686.5438, 4693.4589), (5.083284e-5, 4.555704e-7, 6.075711e-8, -5.153463e-5)),
        (39, (-9706.7755, 4675.7568), (-5.076347e-5, -4.952847e-7, -5.073707e-8, 5.152580e-5)),
    ],
)
def test_megacam_agrees_with_a_real_header(ccd, crpix, cd):
    """Centre of a CCD within 3 arcsec of a local linear solution, across a field of 1.2 deg."""
    real = WCS(naxis=2)
    real.wcs.ctype, real.wcs.crval = ("RA---TAN", "DEC--TAN"), POINTING
    real.wcs.crpix, real.wcs.cd = crpix, np.reshape(cd, (2, 2))
    there = astrometry.to_plane(*real.all_pix2world(1055.5, 2305.5, 0), *POINTING)
    ours = wcs_of(make_megacam(), ccd, angle=-0.3138)  # the real camera is turned by so much
    here = astrometry.to_plane(*ours.all_pix2world(1055.5, 2305.5, 0), *POINTING)
    assert np.hypot(here[0] - there[0], here[1] - there[1]) * 3600 < 3.0


def test_ccds_of_megacam_do_not_overlap_and_gaps_are_real():
    camera = make_megacam()
    corners = np.array([(chip.x, chip.y) for chip in camera.chips])
    for i, (x, y) in enumerate(corners):
        others = np.delete(corners, i, axis=0)
        apart = (abs(others[:, 0] - x) >= megacam.WIDTH) | (abs(others[:, 1] - y) >= megacam.HEIGHT)
        assert apart.all()
    assert camera.radius == pytest.approx(0.75, abs=0.05)


@pytest.mark.parametrize("camera", [make_megacam(), make_grid(2, 2, 300, 200, 20, 0.187, -5.0)])
def test_axes_of_rotated_ccds_run_the_other_way(camera):
    for index, chip in enumerate(camera.chips):
        wcs = wcs_of(camera, index)
        ny, nx = camera.shape
        jacobian = astrometry.jacobians(wcs, [nx / 2], [ny / 2])[0]
        sign = -1 if chip.rotated else 1
        assert sign * jacobian[0, 0] > 0.17  # x to the west unless rotated
        assert sign * jacobian[1, 1] > 0.17  # y to the north unless rotated
        assert abs(jacobian[0, 1]) < 0.01 and abs(jacobian[1, 0]) < 0.01


def test_neighbours_in_a_row_are_a_gap_apart():
    """The last column of one CCD and the first of the next, in pixels of the focal plane."""
    camera = make_grid(2, 1, 300, 200, 20, 0.2, 0.0)
    first, second = wcs_of(camera, 0), wcs_of(camera, 1)
    a = astrometry.to_plane(*first.all_pix2world(299, 100, 0), *POINTING)
    b = astrometry.to_plane(*second.all_pix2world(0, 100, 0), *POINTING)
    assert (a[0] - b[0]) * 3600 / 0.2 == pytest.approx(21.0, abs=1e-6)


def test_distortion_is_the_radial_cubic():
    camera = make_grid(1, 1, 1000, 1000, 0, 0.2, -2.0)
    wcs = wcs_of(camera, 0)
    x = np.array([0.0, 250.0, 999.0])
    xi, eta = astrometry.to_plane(*wcs.all_pix2world(x, x, 0), *POINTING)
    flat = (x - 499.5) * 0.2 / 3600.0
    expected = flat * (1 - 2.0 * 2 * flat**2)
    assert eta == pytest.approx(expected, abs=1e-12)
    assert xi == pytest.approx(-expected, abs=1e-12)


def test_distortion_differs_between_exposures():
    camera = make_megacam()
    one, two = (
        astrometry.draw_distortion(camera, 0.05, np.random.default_rng(seed)) for seed in (1, 2)
    )
    assert all(one[name] != two[name] for name in ("PV1_1", "PV1_4", "PV1_7", "PV2_7"))
    assert one["PV1_7"] == pytest.approx(camera.cubic, rel=0.3)


@pytest.mark.parametrize("centre", [(0.0, 0.0), (359.99, 51.0), (10.0, 89.9), (200.0, -90.0)])
def test_plane_there_and_back(centre):
    rng = np.random.default_rng(3)
    xi, eta = rng.uniform(-1, 1, (2, 50))
    back = astrometry.to_plane(*astrometry.from_plane(xi, eta, *centre), *centre)
    assert back[0] == pytest.approx(xi, abs=1e-10)
    assert back[1] == pytest.approx(eta, abs=1e-10)


def test_headers_survive_a_file(tmp_path):
    camera = make_megacam()
    distortion = astrometry.draw_distortion(camera, 0.1, np.random.default_rng(5))
    cards = astrometry.wcs_cards(camera, 3, POINTING, 0.1, distortion)
    fits.PrimaryHDU(np.zeros((2, 2)), cards).writeto(tmp_path / "a.fits")
    again = WCS(fits.getheader(tmp_path / "a.fits"))
    x, y = np.array([0.0, 2111.0]), np.array([0.0, 4643.0])
    apart = np.subtract(WCS(cards).all_pix2world(x, y, 0), again.all_pix2world(x, y, 0))
    assert np.abs(apart).max() * 3600e3 < 1e-3  # mas
