"""From FITS headers to sky coordinates, without noise: read a WCS, go to and fro, outline an image.

Pixel positions are 0-based, x along columns. Angles are degrees. TPV to SIP is in `sip`.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits as afits
from astropy.wcs import WCS

from shapepipe.errors import BadInput

# IRAF's own projections, which wcslib would read as a plain TAN or ZPN, several arcsec off.
_UNREADABLE = ("TNX", "ZPX")
_ALLOWED = "celestial axes in a projection of the FITS standard, TPV or TAN-SIP"
_PV_CARD = re.compile(r"PV\d+_\d+")
_CONVERGED = 1e-6  # pixel; last step when a distortion is inverted
_FARTHEST = 1e6  # pixel; a step that tells of divergence
_MOST_STEPS = 30


def from_header(header: afits.Header | str, path: str | Path = "header") -> WCS:
    """Read the celestial WCS of an image header without warnings.

    SIP wins where a header has both SIP and PV distortion; TAN with PV cards is read as TPV.

    Parameters
    ----------
    header : Header or str
        Cards, or the text of them.
    path : str or Path, optional
        Named in the error.

    Raises
    ------
    BadInput
        No celestial axes, or a projection that cannot be read.
    """
    cards = afits.Header.fromstring(header) if isinstance(header, str) else header
    name = str(cards.get("CTYPE1", ""))
    if name[-3:] in _UNREADABLE:
        raise BadInput(path, f"CTYPE1 = {name!r} cannot be read", f"{_ALLOWED}; or convert to SIP")
    if name.endswith("-SIP"):
        cards = cards.copy()
        for card in [card for card in cards if _PV_CARD.fullmatch(card)]:
            del cards[card]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            wcs = WCS(cards, naxis=2)
            wcs = wcs if (wcs.wcs.lng, wcs.wcs.lat) == (0, 1) else wcs.celestial
        except Exception as error:  # wcslib and astropy raise a dozen unrelated classes
            raise BadInput(path, f"WCS cannot be read: {_first_line(error)}", _ALLOWED) from error
    if not wcs.has_celestial:
        raise BadInput(path, f"has no sky coordinates (CTYPE1 = {name!r})", _ALLOWED)
    return wcs


def pixel_to_world(wcs: WCS, x, y) -> tuple[np.ndarray, np.ndarray]:
    """Sky position of pixels.

    Parameters
    ----------
    wcs : WCS
        Of the image.
    x, y : array_like
        Pixels, 0-based.

    Returns
    -------
    ra, dec : ndarray
        Degrees; ra in [0, 360).
    """
    x, y = np.broadcast_arrays(np.asarray(x, float), np.asarray(y, float))
    if x.size == 0:
        return np.empty(x.shape), np.empty(x.shape)
    ra, dec = wcs.all_pix2world(x, y, 0)
    return np.mod(ra, 360.0), np.asarray(dec)


def world_to_pixel(wcs: WCS, ra, dec) -> tuple[np.ndarray, np.ndarray]:
    """Pixel of sky positions; the inverse of `pixel_to_world`.

    Parameters
    ----------
    wcs : WCS
        Of the image.
    ra, dec : array_like
        Degrees.

    Returns
    -------
    x, y : ndarray
        Pixels, 0-based, to 1e-6 pixel and the same whatever others are asked for; NaN for what
        has no image, as on the far side of the sky, or is so far off the chip that the distortion
        cannot be inverted.
    """
    ra, dec = np.broadcast_arrays(np.asarray(ra, float), np.asarray(dec, float))
    if ra.size == 0:
        return np.empty(ra.shape), np.empty(ra.shape)
    found = np.array(wcs.wcs_world2pix(ra.ravel(), dec.ravel(), 0))
    if wcs.sip is not None or wcs.det2im1 is not None or wcs.det2im2 is not None:
        with np.errstate(invalid="ignore", over="ignore"):
            found = _undistorted(wcs, found)
    return found[0].reshape(ra.shape), found[1].reshape(ra.shape)


def pixel_scale(wcs: WCS) -> float:
    """Side of a square pixel of the same area at the reference point, in arcsec."""
    return float(np.sqrt(abs(np.linalg.det(wcs.pixel_scale_matrix))) * 3600.0)


@dataclass(frozen=True)
class Footprint:
    """Outline of an image on the sky, as a polygon; sound across RA = 0 and at the poles.

    Attributes
    ----------
    ra, dec : ndarray, shape (n,)
        Vertices in degrees, in order around the image.
    centre : ndarray, shape (3,)
        Unit vector to the middle of the image.
    """

    ra: np.ndarray
    dec: np.ndarray
    centre: np.ndarray

    def contains(self, ra, dec) -> np.ndarray:
        """Tell which positions are inside.

        Tested on the plane that touches the sky at the centre, where great circles are straight.

        Parameters
        ----------
        ra, dec : array_like
            Degrees.

        Returns
        -------
        ndarray of bool
        """
        ra, dec = np.broadcast_arrays(np.asarray(ra, float), np.asarray(dec, float))
        inside = np.zeros(ra.shape, dtype=bool)
        points = unit_vectors(ra, dec)
        near = points @ self.centre > self._reach
        if near.any():
            inside[near] = _in_polygon(self._plane(points[near]), self._vertices)
        return inside

    def overlaps(self, other: Footprint) -> bool:
        """Tell whether two outlines may touch, from the circles around them (never a false no)."""
        apart = np.arccos(np.clip(self.centre @ other.centre, -1, 1))
        return bool(apart <= np.arccos(self._reach) + np.arccos(other._reach))

    @property
    def _reach(self):
        """Cosine of the radius around the centre that holds the outline."""
        return float((unit_vectors(self.ra, self.dec) @ self.centre).min()) - 1e-12

    @property
    def _vertices(self):
        return self._plane(unit_vectors(self.ra, self.dec))

    def _plane(self, points):
        """Gnomonic projection about the centre."""
        pole = np.eye(3)[np.argmin(np.abs(self.centre))]
        east = np.cross(pole, self.centre)
        east /= np.linalg.norm(east)
        north = np.cross(self.centre, east)
        return np.stack([points @ east, points @ north], -1) / (points @ self.centre)[..., None]


def footprint(
    wcs: WCS, shape: tuple[int, int], margin: float = 0.0, per_side: int = 8
) -> Footprint:
    """Outline of an image, along the outer edges of its pixels.

    Parameters
    ----------
    wcs : WCS
        Of the image.
    shape : (ny, nx)
        Size of the image.
    margin : float, optional
        Pixels added all around.
    per_side : int, optional
        Vertices per side, so that distorted edges are followed.
    """
    ny, nx = shape
    return outline(wcs, (-0.5 - margin, nx - 0.5 + margin), (-0.5 - margin, ny - 0.5 + margin),
                   per_side)  # fmt: skip


def outline(
    wcs: WCS, x: tuple[float, float], y: tuple[float, float], per_side: int = 8
) -> Footprint:
    """Outline of a rectangle of pixels, given by its limits in x and y (0-based)."""
    step = np.arange(per_side) / per_side
    ahead_x, ahead_y = x[0] + step * (x[1] - x[0]), y[0] + step * (y[1] - y[0])
    back_x, back_y = x[1] + step * (x[0] - x[1]), y[1] + step * (y[0] - y[1])
    full = np.full(per_side, 1.0)
    edge_x = np.concatenate([ahead_x, full * x[1], back_x, full * x[0]])
    edge_y = np.concatenate([full * y[0], ahead_y, full * y[1], back_y])
    ra, dec = pixel_to_world(wcs, edge_x, edge_y)
    middle = unit_vectors(*pixel_to_world(wcs, np.mean(x), np.mean(y)))
    return Footprint(ra, dec, middle)


def unit_vectors(ra, dec) -> np.ndarray:
    """Cartesian unit vectors of sky positions in degrees, shape (..., 3)."""
    ra, dec = np.radians(ra), np.radians(dec)
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], -1)


def separation(ra1, dec1, ra2, dec2) -> np.ndarray:
    """Angle between sky positions (degrees), exact for small angles as well; in degrees."""
    chord = np.linalg.norm(unit_vectors(ra1, dec1) - unit_vectors(ra2, dec2), axis=-1)
    return np.degrees(2.0 * np.arcsin(np.clip(chord / 2.0, 0.0, 1.0)))


def _undistorted(wcs, target):
    """Invert the distortion by fixed-point iteration, each position by itself.

    astropy's own inversion stops for all positions at once, so that a result would depend, at the
    level of its tolerance, on the others in the array.
    """
    found = target.copy()
    active = np.flatnonzero(np.isfinite(target).all(axis=0))
    for _ in range(_MOST_STEPS):
        step = np.array(wcs.pix2foc(*found[:, active], 0)) - target[:, active]
        found[:, active] -= step
        size = np.abs(step).max(axis=0)
        found[:, active[~(size < _FARTHEST)]] = np.nan
        active = active[(size >= _CONVERGED) & (size < _FARTHEST)]
        if not len(active):
            return found
    found[:, active] = np.nan
    return found


def _in_polygon(points, vertices):
    """Even-odd rule for points (n, 2) and a polygon (m, 2)."""
    px, py = points[:, 0, None], points[:, 1, None]
    (ax, ay), (bx, by) = vertices.T, np.roll(vertices, -1, axis=0).T
    crosses = (ay > py) != (by > py)
    with np.errstate(divide="ignore", invalid="ignore"):
        at = ax + (py - ay) * (bx - ax) / (by - ay)
    return (np.sum(crosses & (px < at), axis=1) % 2).astype(bool)


def _first_line(error):
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:160] if lines else type(error).__name__
