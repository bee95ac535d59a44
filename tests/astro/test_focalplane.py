"""Layout of CCDs learned from stars, orientation of ellipticities, binned maps."""

import numpy as np
import pytest

from shapepipe.astro import focalplane

SIZE = (500, 1000)
SCALE = 0.2 / 3600  # degrees per pixel


def pointing(fx, fy, ra0, dec0, angle):
    """Sky positions of focal-plane pixels; x to the west for angle 0 (gnomonic projection)."""
    xi = np.radians((-fx * np.cos(angle) + fy * np.sin(angle)) * SCALE)
    eta = np.radians((fx * np.sin(angle) + fy * np.cos(angle)) * SCALE)
    dec0 = np.radians(dec0)
    depth = np.cos(dec0) - eta * np.sin(dec0)
    ra = ra0 + np.degrees(np.arctan2(xi, depth))
    dec = np.degrees(np.arctan2(np.sin(dec0) + eta * np.cos(dec0), np.hypot(xi, depth)))
    return ra % 360, dec


def camera(n=60, seed=4, dec0=60.0, tilt=0.4):
    """Stars of three exposures of six CCDs, three of them turned by 180 degrees, one by 90."""
    rng = np.random.default_rng(seed)
    rows = []
    for exposure in range(3):
        offset = rng.normal(0, 0.02, 2)
        for ccd in range(6):
            x, y = rng.uniform(0, SIZE[0], n), rng.uniform(0, SIZE[1], n)
            fx, fy = in_camera(ccd, x, y)
            ra, dec = pointing(fx, fy, 359.99 + offset[0], dec0 + offset[1], tilt * exposure)
            rows.append((np.full(n, f"exp{exposure}"), np.full(n, ccd), x, y, ra, dec, fx, fy))
    return tuple(np.concatenate(column) for column in zip(*rows, strict=True))


def in_camera(ccd, x, y):
    """Truth: where a pixel of a CCD lies."""
    corner = np.array([1.1 * SIZE[0] * (ccd % 3), 1.05 * SIZE[1] * (ccd // 3)]) - [800, 1050]
    if ccd < 3:
        x, y = SIZE[0] - x, SIZE[1] - y
    if ccd == 5:
        x, y = SIZE[1] / 2 + SIZE[0] / 2 - y, x
    return corner[0] + x, corner[1] + y


def fitted(dec0=60.0):
    exposure, ccd, x, y, ra, dec, fx, fy = camera(dec0=dec0)
    frames = focalplane.fit_frames(exposure, ccd, x, y, ra, dec)
    return frames, focalplane.lay_out(frames, SIZE), (ccd, x, y, fx, fy)


@pytest.mark.parametrize("dec0", [0.0, 60.0, -89.9])
def test_layout_is_that_of_the_camera(dec0):
    _, layout, (ccd, x, y, fx, fy) = fitted(dec0)
    assert layout.from_sky
    homogeneous = np.stack([x, y, np.ones(len(x))], axis=-1)
    places = np.einsum("nab,nb->na", layout.affine[ccd], homogeneous)
    truth = np.stack([fx, fy], axis=-1)
    # equal up to the choice of the reference CCD: all distances agree
    star = len(x) // 2
    np.testing.assert_allclose(
        np.hypot(*(places - places[star]).T), np.hypot(*(truth - truth[star]).T), atol=0.5
    )


def test_field_across_zero_ra_at_high_declination_has_the_right_size():
    _, layout, _ = fitted()
    corners = layout.corners()
    assert np.ptp(corners[..., 0]) < 2.5 * 1.1 * 3 * SIZE[0]


def test_drift_scan_ccds_go_side_by_side():
    exposure, ccd, x, y, _, _, _, _ = camera()
    ra, dec = pointing(x, y, 10.0, 20.0, 0.0)
    frames = focalplane.fit_frames(exposure, ccd, x, y, ra, dec)
    layout = focalplane.lay_out(frames, SIZE)
    assert not layout.from_sky
    boxes = np.array([[c.min(axis=0), c.max(axis=0)] for c in layout.corners()])
    for i in range(6):
        for j in range(i):
            apart = (boxes[i, 0] >= boxes[j, 1]) | (boxes[j, 0] >= boxes[i, 1])
            assert apart.any()


def test_ccd_with_too_few_stars_is_placed_below():
    exposure, ccd, x, y, ra, dec, _, _ = camera()
    kept = (ccd != 4) | (np.arange(len(ccd)) % 60 < 2)
    parts = [column[kept] for column in (exposure, ccd, x, y, ra, dec)]
    layout = focalplane.lay_out(focalplane.fit_frames(*parts), SIZE)
    assert layout.from_sky
    others = np.delete(layout.corners(), 4, axis=0)
    assert layout.corners()[4][:, 1].max() < others[..., 1].min()


def test_stars_on_a_line_or_without_sky_do_not_fix_a_frame():
    n = 50
    x, y = np.linspace(0, 500, n), np.linspace(0, 1000, n)
    other = np.random.default_rng(0).uniform(0, 500, n)
    stars = (np.repeat(["a"], 2 * n), np.repeat([1, 2], n), np.append(x, other),
             np.append(y, other[::-1]))  # fmt: skip
    ra, dec = pointing(stars[2], stars[3], 10, 10, 0)
    ra[n:] = np.nan
    frames = focalplane.fit_frames(*stars, ra, dec)
    assert np.isnan(frames.affine).all()


@pytest.mark.parametrize("parity", [1, -1])
def test_turned_ellipticity_follows_the_image(parity):
    """A shape drawn in pixels and mapped to the sky has the turned ellipticity."""
    g = np.array([[0.2, 0.1]])
    angle = 0.7
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = 3 * rotation @ np.diag([1, parity])
    total = 1 + (g**2).sum()
    moments = np.array([[total + 2 * g[0, 0], 2 * g[0, 1]], [2 * g[0, 1], total - 2 * g[0, 0]]])
    mapped = linear @ moments @ linear.T
    trace, det = np.trace(mapped), np.linalg.det(mapped)
    expected = np.array([mapped[0, 0] - mapped[1, 1], 2 * mapped[0, 1]]) / (trace + 2 * det**0.5)
    np.testing.assert_allclose(focalplane.turn(g, linear[None])[0], expected, atol=1e-12)


def test_one_sky_shape_is_the_same_from_all_ccds():
    """A constant ellipticity on the sky comes back, however the CCDs and the camera are turned."""
    exposure, ccd, x, y, ra, dec, _, _ = camera(dec0=1.0)
    frames = focalplane.fit_frames(exposure, ccd, x, y, ra, dec)
    truth = np.array([0.04, -0.02])
    to_sky = frames.affine[frames.of_star][:, :, :2] * [[-1.0], [1.0]]
    in_pixels = focalplane.turn(np.tile(truth, (len(x), 1)), np.linalg.inv(to_sky))
    assert np.ptp(in_pixels[:, 0]) > 0.01  # the frames do differ
    found = focalplane.sky_shapes(in_pixels, frames)
    np.testing.assert_allclose(found, np.tile(truth, (len(x), 1)), atol=1e-3)


def test_maps_are_means_of_cells():
    layout = focalplane.Layout(
        np.array([3, 7]), np.tile(np.eye(2, 3), (2, 1, 1)), (100.0, 200.0), False
    )
    ccd = np.array([3, 3, 7, 7])
    x, y = np.array([10, 20, 99.4, -0.5]), np.array([10, 20, 199.4, 150])
    cells = focalplane.bin_mean(layout, ccd, x, y, np.array([1.0, 3.0, 5.0, 7.0]), (2, 4))
    assert cells.shape == (2, 4, 2)
    assert cells[0, 0, 0] == 2.0 and cells[1, 3, 1] == 5.0 and cells[1, 3, 0] == 7.0
    assert np.isnan(cells).sum() == 16 - 3
    pairs = focalplane.bin_mean(layout, ccd, x, y, np.ones((4, 2)), (2, 4))
    assert pairs.shape == (2, 4, 2, 2)
