"""Geometry of a camera: CCDs in the focal plane, and the linear part of the world coordinates.

Focal-plane coordinates are pixels of the mosaic as in DETSEC: the first is 1, x to the west and y
to the north at position angle zero. Distortion, and what changes from one exposure to the next, is
in `astrometry`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from shapepipe.simulate import megacam


@dataclass(frozen=True)
class Chip:
    """One CCD: lowest corner in the focal plane (pixel), sense of its axes, and its amplifier."""

    name: str
    x: float
    y: float
    rotated: bool
    gain: float  # e-/ADU
    read_noise: float  # e-
    saturation: float  # ADU


@dataclass(frozen=True)
class Camera:
    """All CCDs of a camera, their common frame, and the optics in front of them."""

    name: str
    chips: tuple[Chip, ...]
    width: int  # light-sensitive pixels
    height: int
    margins: tuple[int, int, int, int]  # pixels left, right, below, above them
    scale: float  # arcsec / pixel on the axis
    centre: tuple[float, float]  # optical axis, focal plane
    cubic: float  # deg^-2

    @property
    def shape(self) -> tuple[int, int]:
        """Shape (ny, nx) of a frame, margins included."""
        left, right, below, above = self.margins
        return self.height + below + above, self.width + left + right

    @property
    def light(self) -> tuple[int, int, int, int]:
        """Light-sensitive part of a frame: x0, x1, y0, y1, 0-based, ends excluded."""
        left, _, below, _ = self.margins
        return left, left + self.width, below, below + self.height

    @property
    def radius(self) -> float:
        """Distance from the axis to the farthest corner, deg."""
        cx, cy = self.centre
        far = max(
            math.hypot(x - cx, y - cy)
            for chip in self.chips
            for x in (chip.x, chip.x + self.width)
            for y in (chip.y, chip.y + self.height)
        )
        return far * self.scale / 3600.0

    def linear(self, index: int, angle: float) -> tuple[np.ndarray, np.ndarray]:
        """CRPIX and CD of a CCD before distortion.

        Parameters
        ----------
        index : int
            Which CCD.
        angle : float
            Rotation of the camera, deg, north towards east.

        Returns
        -------
        crpix : ndarray, shape (2,), float
            Position of the optical axis, FITS pixels (first pixel centred on 1).
        cd : ndarray, shape (2, 2), float
            Degrees (east, north) per pixel.
        """
        chip, (left, _, below, _) = self.chips[index], self.margins
        sign = -1.0 if chip.rotated else 1.0
        first = np.array([chip.x, chip.y])
        if chip.rotated:
            first += (self.width - 1, self.height - 1)
        crpix = sign * (np.array(self.centre) - first) + (left + 1, below + 1)
        turn = math.radians(angle)
        rotation = np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
        return crpix, rotation @ np.diag([-sign, sign]) * (self.scale / 3600.0)


def make_megacam() -> Camera:
    """Build MegaCam: 40 CCDs of 2112 x 4644 pixels, 20 of them rotated by 180 degrees."""
    chips = tuple(
        Chip(f"ccd{i:02d}", x, y, i in megacam.ROTATED, gain, noise, saturation)
        for i, (x, y, gain, noise, saturation) in enumerate(megacam.CHIPS)
    )
    margins = (megacam.LEFT, megacam.RIGHT, 0, megacam.TOP)
    return Camera(
        "MegaPrime", chips, megacam.WIDTH, megacam.HEIGHT, margins,
        megacam.SCALE, megacam.CENTRE, megacam.CUBIC,
    )  # fmt: skip


def make_grid(
    columns: int, rows: int, width: int, height: int, gap: int, scale: float, cubic: float
) -> Camera:
    """Build a rectangular mosaic, the upper half of its rows rotated by 180 degrees.

    Parameters
    ----------
    columns, rows : int
        Number of CCDs along x and y; numbered from the north-east, row by row, as in MegaCam.
    width, height : int
        Pixels of a CCD.
    gap : int
        Pixels between neighbours.
    scale : float
        Arcsec per pixel.
    cubic : float
        Cubic distortion, deg^-2.
    """
    chips = tuple(
        Chip(
            name=f"ccd{row * columns + column:02d}",
            x=1 + column * (width + gap),
            y=1 + (rows - 1 - row) * (height + gap),
            rotated=2 * row + 1 < rows,
            gain=1.6,
            read_noise=4.0,
            saturation=65000.0,
        )
        for row in range(rows)
        for column in range(columns)
    )
    size = columns * (width + gap) - gap, rows * (height + gap) - gap
    centre = ((size[0] + 1) / 2.0, (size[1] + 1) / 2.0)
    return Camera("Grid", chips, width, height, (0, 0, 0, 0), scale, centre, cubic)
