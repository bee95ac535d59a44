"""Which sky positions lie on or near an image, and which pixels lie near a sky position.

Everything rests on the way from pixel to sky, which exists for every WCS (TAN, TPV, SIP, ZPN ...)
at every pixel of the image; the way back is found by iteration from there. Directions are unit
vectors, so that right ascension 0 and the poles are places like any other.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from astropy.wcs import WCS

from shapepipe.astro.wcs import unit_vectors

BLOCK = 32
"""Side of the blocks (pixels) that are judged as a whole when a circle on the sky is drawn."""

_ITERATIONS = 50
_CONVERGED = 1e-6  # pixel


@dataclass(frozen=True)
class Vicinity:
    """An image on the sky.

    Attributes
    ----------
    wcs : astropy.wcs.WCS
        Celestial WCS with two axes.
    shape : (ny, nx)
        Size of the image.
    """

    wcs: WCS
    shape: tuple[int, int]

    @property
    def centre(self) -> np.ndarray:
        """Unit vector, shape (3,), near the middle of the image."""
        mean = np.nanmean(self._lattice, axis=(0, 1))
        return mean / np.linalg.norm(mean)

    @property
    def position(self) -> tuple[float, float]:
        """Right ascension and declination (deg) of `centre`."""
        x, y, z = self.centre
        return float(np.degrees(np.arctan2(y, x)) % 360), float(np.degrees(np.arcsin(z)))

    @property
    def radius(self) -> float:
        """Angle (deg) from `centre` to the farthest corner of the image."""
        return float(np.nanmax(angle_to(self._lattice, self.centre)))

    @property
    def pixel_size(self) -> float:
        """Largest side of a pixel (deg) over the image."""
        return float(max(self._steps(axis).max() for axis in (0, 1)))

    def near(self, ra, dec, margin) -> np.ndarray:
        """Indices of the positions within `radius + margin` of the centre.

        Parameters
        ----------
        ra, dec : ndarray, shape (n,)
            Positions (deg); NaN is never near.
        margin : float or ndarray, shape (n,)
            Distance from the image that is still near (deg).
        """
        reach = self.radius + margin
        dec_centre = np.degrees(np.arcsin(self.centre[2].clip(-1, 1)))
        strip = np.flatnonzero(np.abs(np.asarray(dec) - dec_centre) <= reach)  # cheap first cut
        angle = angle_to(unit_vectors(np.asarray(ra)[strip], np.asarray(dec)[strip]), self.centre)
        return strip[angle <= np.broadcast_to(reach, np.shape(ra))[strip]]

    def pixel_of(self, ra, dec) -> tuple[np.ndarray, np.ndarray]:
        """Pixel positions of sky positions on or near the image.

        Parameters
        ----------
        ra, dec : ndarray, shape (n,)
            Positions (deg), less than 90 deg from the centre.

        Returns
        -------
        x, y : ndarray, shape (n,)
            Pixel, 0-based; beyond the edges the distortion is extrapolated.

        Notes ----- Newton's method on the tangent plane of the centre, with the mean Jacobian of
        the image. Where a wild distortion keeps it from converging, the linear solution stands, so
        that nothing is lost.
        """
        target = self._project(unit_vectors(ra, dec))
        start = target @ self._linear[1:] + self._linear[0]
        pixel = start.copy()
        for _ in range(_ITERATIONS):
            found = self._project(self._directions(pixel[:, 0], pixel[:, 1]))
            step = (target - found) @ self._linear[1:]
            pixel += np.where(np.isfinite(step), step, 0)
            if not (np.abs(step) > _CONVERGED).any():
                break
        lost = ~(np.abs(step) <= 0.01).all(axis=1) if len(pixel) else []
        pixel[lost] = start[lost]
        return pixel[:, 0], pixel[:, 1]

    def draw_circle(
        self, flags: np.ndarray, bit: int, ra: float, dec: float, radius: float
    ) -> bool:
        """OR `bit` into the pixels whose centres lie within an angle of a position.

        Blocks of pixels that lie wholly inside or outside are told by their corners; only in blocks
        that the circle cuts is every pixel taken to the sky.

        Parameters
        ----------
        flags : ndarray of integers, shape (ny, nx)
            Changed in place.
        bit : int
            Value to set.
        ra, dec, radius : float
            Centre and radius of the circle (deg), on or off the image.

        Returns
        -------
        bool
            Whether any pixel lies inside.
        """
        there = unit_vectors(ra, dec)
        middle, half = self._blocks
        reach, away = _chord(radius), np.linalg.norm(middle - there, axis=-1)
        full = away + half < reach
        for row, column in np.argwhere(full):
            flags[_block(row), _block(column)] |= bit
        y, x = _pixels(np.argwhere(~full & (away - half <= reach)), self.shape)
        inside = np.linalg.norm(self._directions(x, y) - there, axis=-1) <= reach
        flags[y[inside], x[inside]] |= bit
        return bool(full.any() or inside.any())

    def _directions(self, x, y):
        return unit_vectors(*self.wcs.all_pix2world(np.ravel(x), np.ravel(y), 0)).reshape(
            *np.shape(x), 3
        )

    @cached_property
    def _edges(self):
        """Pixel positions of the corners of the blocks: x and y."""
        return tuple(np.append(np.arange(0, n, BLOCK), n) - 0.5 for n in reversed(self.shape))

    @cached_property
    def _lattice(self):
        """Directions of the corners of all blocks, shape (by + 1, bx + 1, 3)."""
        return self._directions(*np.meshgrid(*self._edges))

    @cached_property
    def _blocks(self):
        """Middle of each block, and the chord from there that holds it with its curvature."""
        a = self._lattice
        corners = np.stack((a[:-1, :-1], a[:-1, 1:], a[1:, :-1], a[1:, 1:]))
        middle = corners.mean(axis=0)
        return middle, 1.1 * np.linalg.norm(corners - middle, axis=-1).max(axis=0)

    def _steps(self, axis):
        """Angles per pixel along one axis of the lattice."""
        chord = np.linalg.norm(np.diff(self._lattice, axis=axis), axis=-1)
        width = np.diff(self._edges[1 - axis])
        return np.degrees(chord) / (width[:, None] if axis == 0 else width)

    @cached_property
    def _basis(self):
        """Two unit vectors that span the tangent plane at the centre, shape (2, 3)."""
        axis = np.eye(3)[np.abs(self.centre).argmin()]
        first = np.cross(axis, self.centre)
        first /= np.linalg.norm(first)
        return np.stack((first, np.cross(self.centre, first)))

    def _project(self, vectors):
        """Gnomonic projection about the centre, shape (n, 2); NaN behind the tangent plane."""
        depth = vectors @ self.centre
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(depth > 0, (vectors @ self._basis.T).T / depth, np.nan).T

    @cached_property
    def _linear(self):
        """Pixel as a linear function of the tangent plane: rows 1, xi, eta; least squares."""
        x, y = (grid.ravel() for grid in np.meshgrid(*self._edges))
        plane = self._project(self._lattice.reshape(-1, 3))
        known = np.isfinite(plane).all(axis=1)
        terms = np.column_stack((np.ones(known.sum()), plane[known]))
        return np.linalg.lstsq(terms, np.column_stack((x, y))[known], rcond=None)[0]


def angle_to(vectors: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """Angle (deg) between unit vectors, shape (..., 3), and a direction; exact if small."""
    half_chord = np.linalg.norm(vectors - direction, axis=-1) / 2
    return np.degrees(2 * np.arcsin(half_chord.clip(0, 1)))


def _chord(angle):
    """Length of the chord that spans an angle (deg)."""
    return 2 * np.sin(np.radians(min(angle, 180.0)) / 2)


def _block(number):
    return slice(number * BLOCK, (number + 1) * BLOCK)


def _pixels(blocks, shape):
    """Rows and columns of all pixels in some blocks, shape (n, 2), of an image."""
    step = np.arange(BLOCK)
    y = (blocks[:, 0, None, None] * BLOCK + step[:, None] + 0 * step).ravel()
    x = (blocks[:, 1, None, None] * BLOCK + 0 * step[:, None] + step).ravel()
    real = (y < shape[0]) & (x < shape[1])
    return y[real], x[real]
