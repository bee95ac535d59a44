"""The sky: stars and galaxies, drawn cell by cell, and the shear that acts on the galaxies.

The sky is a plane tangent at the centre of the survey, divided into square cells; what a cell holds
depends on the seed and the cell alone. Magnitudes are AB in the filter of the survey. Shapes are
g = (a - b)/(a + b) with g1 > 0 along east-west and g2 > 0 from north-west to south-east: u to the
west, v to the north, the convention of GalSim and TreeCorr.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shapepipe.simulate.astrometry import from_plane, to_plane
from shapepipe.simulate.streams import Stream, stream
from shapepipe.simulate.survey import GalaxySection, StarSection

CELL = 0.05
"""Side of a cell of the sky, deg."""
STAR, GALAXY = 0, 1
"""Values of the column `kind`."""

OBJECT_COLUMNS = {
    "id": np.int64, "kind": np.int16, "ra": float, "dec": float, "mag": float, "sersic": float,
    "r50": float, "e1": float, "e2": float, "g1": float, "g2": float,
}  # fmt: skip
"""Columns of the table of objects, and their types; units in `truth`."""


@dataclass(frozen=True)
class Sky:
    """Everything above the telescope; `objects` gives what is in a part of it."""

    seed: int
    ra: float  # deg, centre of the survey
    dec: float
    stars: StarSection
    galaxies: GalaxySection

    def objects(self, ra, dec, margin: float) -> np.ndarray:
        """All objects in the cells that cover a region.

        Parameters
        ----------
        ra, dec : ndarray of float
            Positions around the region, deg.
        margin : float
            Arcsec added on all sides.

        Returns
        -------
        ndarray, structured
            Columns `OBJECT_COLUMNS`: more objects than there are in the region, none missing.
        """
        parts = []
        for kind, draw in ((STAR, self._draw_stars), (GALAXY, self._draw_galaxies)):
            parts += [draw(i, j) for i, j in self._cells(kind, ra, dec, margin)]
        return np.concatenate(parts) if parts else _table(0)

    def shear(self, xi, eta) -> tuple[np.ndarray, np.ndarray]:
        """Shear (g1, g2) at positions of the plane, deg."""
        g1 = np.full(np.shape(xi), self.galaxies.g1)
        g2 = np.full(np.shape(xi), self.galaxies.g2)
        if self.galaxies.shear == "constant":
            return g1, g2
        side = self.galaxies.patch_size / 60.0
        places = np.stack([np.floor(xi / side), np.floor(eta / side)], axis=-1).astype(int)
        patches, which = np.unique(places, axis=0, return_inverse=True)
        drawn = np.array([self._patch_shear(*patch) for patch in patches]).reshape(-1, 2)
        return g1 + drawn[which.ravel(), 0], g2 + drawn[which.ravel(), 1]

    def _patch_shear(self, i, j):
        rng = stream(self.seed, Stream.SHEAR, i, j)
        size, phase = self.galaxies.amplitude * np.sqrt(rng.random()), 2 * np.pi * rng.random()
        return size * np.cos(phase), size * np.sin(phase)

    def _cells(self, kind, ra, dec, margin):
        xi, eta = to_plane(ra, dec, self.ra, self.dec)
        side, more = self._side(kind), margin / 3600.0
        low = np.floor((np.array([xi.min(), eta.min()]) - more) / side).astype(int)
        high = np.floor((np.array([xi.max(), eta.max()]) + more) / side).astype(int)
        return [(i, j) for i in range(low[0], high[0] + 1) for j in range(low[1], high[1] + 1)]

    def _side(self, kind) -> float:
        """Side of a cell, deg; on a grid an even number of nodes fits in exactly."""
        if (self.stars if kind == STAR else self.galaxies).layout == "random":
            return CELL
        pair = 2.0 * self.galaxies.spacing / 3600.0
        return pair * max(1, round(CELL / pair))

    def _draw_stars(self, i, j):
        rng, side = stream(self.seed, Stream.STARS, i, j), self._side(STAR)
        if self.stars.layout == "grid":
            places = _grid(rng, side, self.galaxies.spacing)[:, self._star_nodes(i, j)]
            table = _table(places.shape[1])
        else:
            table = _table(rng.poisson(self.stars.density * (60.0 * side) ** 2))
            places = rng.random((2, table.size))
        table["mag"] = _magnitudes(rng, table.size, self.stars)
        return self._finish(table, STAR, i, j, places, side)

    def _star_nodes(self, i, j):
        """Which nodes of a cell of the grid hold a star."""
        n = round(self._side(GALAXY) * 3600.0 / self.galaxies.spacing) ** 2
        share = self.stars.share if self.stars.layout == "grid" else 0.0
        return stream(self.seed, Stream.NODES, i, j).random(n) < share

    def _draw_galaxies(self, i, j):
        rng, options = stream(self.seed, Stream.GALAXIES, i, j), self.galaxies
        side = self._side(GALAXY)
        if options.layout == "grid":
            places = _grid(rng, side, options.spacing)[:, ~self._star_nodes(i, j)]
            n = places.shape[1]
        else:
            n = rng.poisson(options.density * (60.0 * side) ** 2)
            places = rng.random((2, n))
        table = _table(n)
        table["mag"] = _magnitudes(rng, n, options)
        weights = np.array(options.sersic_weights) / sum(options.sersic_weights)
        table["sersic"] = rng.choice(options.sersic, size=n, p=weights)
        table["r50"] = half_light_radius(table["mag"], options.size_factor) * np.exp(
            options.size_scatter * rng.standard_normal(n)
        )
        table["e1"], table["e2"] = _ellipticities(rng, n, options.ellipticity)
        if options.pairs:
            _pair(table)
        if options.turn:
            table["e1"], table["e2"] = -table["e1"], -table["e2"]
        return self._finish(table, GALAXY, i, j, places, side)

    def _finish(self, table, kind, i, j, places, side):
        xi, eta = (i + places[0]) * side, (j + places[1]) * side
        table["kind"] = kind
        table["id"] = (kind + 1) * 10**12 + (5000 + i) * 10**8 + (5000 + j) * 10**4
        table["id"] += np.arange(table.size)
        table["ra"], table["dec"] = from_plane(xi, eta, self.ra, self.dec)
        if kind == GALAXY:
            table["g1"], table["g2"] = self.shear(xi, eta)
        return table


def half_light_radius(mag, factor: float = 1.0) -> np.ndarray:
    """Median half-light radius of galaxies, arcsec.

    Disc scale length ln r = -1.145 - 0.269 (i - 23) of Miller et al. 2013 (MNRAS 429, 2858),
    with r - i = 0.5 and 1.678 scale lengths to the half-light radius of an exponential disc.
    """
    return factor * 1.678 * np.exp(-1.145 - 0.269 * (np.asarray(mag) - 23.5))


def _table(n):
    return np.zeros(n, dtype=list(OBJECT_COLUMNS.items()))


def _magnitudes(rng, n, options):
    """Counts that grow as 10^(slope m) between the two limits."""
    low, high = (10.0 ** (options.slope * m) for m in (options.mag_bright, options.mag_faint))
    return np.log10(low + (high - low) * rng.random(n)) / options.slope


def _ellipticities(rng, n, sigma):
    """Gaussian of width `sigma` per component, cut at |g| = 0.7."""
    if sigma == 0:
        return np.zeros((2, n))
    most = 1.0 - np.exp(-(0.7**2) / (2 * sigma**2))
    size = sigma * np.sqrt(-2.0 * np.log1p(-most * rng.random(n)))
    phase = 2 * np.pi * rng.random(n)
    return size * np.cos(phase), size * np.sin(phase)


def _grid(rng, side, spacing):
    """Nodes along x first, as fractions of the cell, each displaced by up to 0.1 arcsec."""
    n = round(side * 3600.0 / spacing)
    nodes = (np.arange(n) + 0.5) / n
    x, y = (axis.ravel() for axis in np.meshgrid(nodes, nodes))
    jitter = 0.2 / 3600.0 / side
    return np.stack([x, y]) + jitter * (rng.random((2, x.size)) - 0.5)


def _pair(table):
    """Make every second galaxy the twin of the one before, turned by 90 degrees."""
    even = table.size - table.size % 2
    for name in ("mag", "sersic", "r50"):
        table[name][1:even:2] = table[name][:even:2]
    for name in ("e1", "e2"):
        table[name][1:even:2] = -table[name][:even:2]
