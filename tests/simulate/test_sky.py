"""The sky: the same whoever looks, with the counts, shapes and shear that were asked for."""

from __future__ import annotations

import numpy as np
import pytest

from shapepipe.simulate.astrometry import to_plane
from shapepipe.simulate.sky import GALAXY, STAR, Sky, half_light_radius
from shapepipe.simulate.survey import GalaxySection, StarSection

RA, DEC = 220.0, 51.0


def box(half, ra=RA, dec=DEC):
    """Corners of a square, `half` a side in deg."""
    away = half / np.cos(np.radians(dec))
    return np.array([ra - away, ra + away]), np.array([dec - half, dec + half])


def sky(**galaxies):
    return Sky(7, RA, DEC, StarSection(density=4), GalaxySection(**galaxies))


def test_a_part_of_the_sky_is_the_same_seen_alone():
    whole, part = sky().objects(*box(0.2), 0.0), sky().objects(*box(0.05, dec=DEC + 0.1), 0.0)
    both = np.isin(part["id"], whole["id"])
    assert both.sum() > 300
    whole = whole[np.isin(whole["id"], part["id"])]
    assert np.array_equal(np.sort(whole, order="id"), np.sort(part[both], order="id"))
    assert len(np.unique(whole["id"])) == len(whole)


def test_counts():
    objects = sky(density=20.0).objects(*box(0.25), 0.0)
    stars, galaxies = (objects[objects["kind"] == kind] for kind in (STAR, GALAXY))
    xi, eta = to_plane(objects["ra"], objects["dec"], RA, DEC)
    area = np.ptp(xi) * np.ptp(eta) * 3600.0  # arcmin^2
    assert len(stars) == pytest.approx(4 * area, rel=0.03)
    assert len(galaxies) == pytest.approx(20 * area, rel=0.02)
    bright = (galaxies["mag"] < 24.0).mean()
    assert bright == pytest.approx(10 ** (0.33 * (24 - 25)), rel=0.05)


def test_sizes_follow_the_relation():
    galaxies = sky(density=40.0).objects(*box(0.1), 0.0)
    galaxies = galaxies[galaxies["kind"] == GALAXY]
    ratio = np.log(galaxies["r50"] / half_light_radius(galaxies["mag"]))
    assert ratio.mean() == pytest.approx(0.0, abs=0.02)
    assert ratio.std() == pytest.approx(0.3, rel=0.05)
    assert half_light_radius(23.5) == pytest.approx(0.534, abs=0.001)


def test_shapes_have_the_scatter_asked_for_and_no_mean():
    galaxies = sky(density=100.0, ellipticity=0.2).objects(*box(0.1), 0.0)
    galaxies = galaxies[galaxies["kind"] == GALAXY]
    for name in ("e1", "e2"):
        assert galaxies[name].mean() == pytest.approx(0.0, abs=0.01)
        assert galaxies[name].std() == pytest.approx(0.2, rel=0.03)
    assert np.hypot(galaxies["e1"], galaxies["e2"]).max() < 0.7


def test_grid_is_a_grid_across_cells():
    galaxies = sky(layout="grid", spacing=10.0).objects(*box(0.1), 0.0)
    galaxies = galaxies[galaxies["kind"] == GALAXY]
    xi, eta = to_plane(galaxies["ra"], galaxies["dec"], RA, DEC)
    for axis in (xi, eta):
        node = axis * 3600 / 10.0 - 0.5
        assert np.abs(node - np.rint(node)).max() <= 0.0101
    nodes = {(round(a), round(b)) for a, b in zip(xi * 360 - 0.5, eta * 360 - 0.5, strict=True)}
    width = max(a for a, _ in nodes) - min(a for a, _ in nodes) + 1
    height = max(b for _, b in nodes) - min(b for _, b in nodes) + 1
    assert len(nodes) == len(galaxies) == width * height


def test_pairs_cancel_shape_noise():
    galaxies = sky(layout="grid", pairs=True).objects(*box(0.1), 0.0)
    galaxies = galaxies[galaxies["kind"] == GALAXY]
    assert np.abs(galaxies["e1"]).max() > 0.3
    assert galaxies["e1"].sum() == pytest.approx(0.0, abs=1e-9)
    assert np.array_equal(galaxies["mag"][::2], galaxies["mag"][1::2])


def test_stars_take_nodes_of_the_grid():
    grid = {"layout": "grid", "spacing": 10.0}
    alone = sky(**grid).objects(*box(0.1), 0.0)
    stars = StarSection(layout="grid", share=0.2)
    shared = Sky(7, RA, DEC, stars, GalaxySection(**grid)).objects(*box(0.1), 0.0)
    xi, eta = to_plane(shared["ra"], shared["dec"], RA, DEC)
    nodes = set(zip(np.rint(xi * 360 - 0.5), np.rint(eta * 360 - 0.5), strict=True))
    assert len(nodes) == len(shared) == (alone["kind"] == GALAXY).sum()
    assert (shared["kind"] == STAR).mean() == pytest.approx(0.2, abs=0.03)


def test_a_turned_sky_is_the_same_but_for_the_intrinsic_shapes():
    plain, turned = (sky(turn=turn, g1=0.03).objects(*box(0.05), 0.0) for turn in (False, True))
    for name in ("e1", "e2"):
        assert plain[name].any() and np.array_equal(turned[name], -plain[name])
    same = [name for name in plain.dtype.names if name not in ("e1", "e2")]
    assert all(np.array_equal(plain[name], turned[name]) for name in same)


def test_shear_of_patches():
    options = {"shear": "patches", "amplitude": 0.08, "patch_size": 3.0, "g1": 0.0}
    objects = sky(**options).objects(*box(0.25), 0.0)
    galaxies = objects[objects["kind"] == GALAXY]
    size = np.hypot(galaxies["g1"], galaxies["g2"])
    assert size.max() < 0.08 and size.max() > 0.06
    xi, eta = to_plane(galaxies["ra"], galaxies["dec"], RA, DEC)
    inside = (np.floor(xi * 20) == 1) & (np.floor(eta * 20) == 2)
    assert inside.sum() > 100
    assert np.ptp(galaxies["g1"][inside]) == 0.0
    assert len(np.unique(galaxies["g1"])) > 80
    assert not objects[objects["kind"] == STAR]["g1"].any()
