"""World coordinates of simulated frames: TPV headers, and the geometry that follows from a WCS.

The tangent plane of a position has u to the west and v to the north, both in arcsec, as in GalSim
and TreeCorr. Pixel positions are 0-based, x along columns.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

from shapepipe.simulate.camera import Camera

_QUADRATIC = (4, 5, 6)
_CUBIC = (7, 9)  # x^3 and x y^2: together r^2 x


def draw_distortion(camera: Camera, scatter: float, rng: np.random.Generator) -> dict[str, float]:
    """PV cards of one exposure: the camera's cubic distortion, and a bit that differs each time.

    Parameters
    ----------
    camera : Camera
        Gives the cubic coefficient.
    scatter : float
        Size of the change, relative to the cubic term at the edge of the field.
    rng : Generator
        Stream of the exposure.

    Returns
    -------
    dict of str to float
        PV1_0 ... PV2_10; polynomial of degree 3 in degrees (TPV convention of Calabretta et al.,
        "Representations of distortions in FITS world coordinate systems").
    """
    edge = camera.radius
    cards = {f"PV{axis}_{k}": 0.0 for axis in (1, 2) for k in (*range(11),) if k != 3}
    for axis in (1, 2):
        draws = scatter * camera.cubic * rng.standard_normal(6)
        cards[f"PV{axis}_1"] = 1.0 + 0.1 * edge**2 * draws[0]
        cards[f"PV{axis}_2"] = 0.1 * edge**2 * draws[1]
        for k, draw in zip(_QUADRATIC, draws[2:5], strict=True):
            cards[f"PV{axis}_{k}"] = edge * draw
        for k in _CUBIC:
            cards[f"PV{axis}_{k}"] = camera.cubic + draws[5]
    return cards


def wcs_cards(
    camera: Camera, index: int, pointing: tuple[float, float], angle: float, distortion: Mapping
) -> fits.Header:
    """Cards of the TPV world coordinates of one CCD of one exposure.

    Parameters
    ----------
    camera : Camera
        Geometry.
    index : int
        Which CCD.
    pointing : tuple of float
        Right ascension and declination of the axis, deg.
    angle : float
        Rotation of the camera, deg.
    distortion : mapping of str to float
        PV cards.
    """
    crpix, cd = camera.linear(index, angle)
    cards = fits.Header()
    cards["EQUINOX"] = (2000.0, "Equinox of coordinates")
    cards["RADESYS"] = ("ICRS", "Coordinate system")
    for axis, (name, value) in enumerate(zip(("RA---TPV", "DEC--TPV"), pointing, strict=True), 1):
        cards[f"CTYPE{axis}"] = (name, "WCS projection type for this axis")
        cards[f"CUNIT{axis}"] = ("deg", "Axis unit")
        cards[f"CRVAL{axis}"] = (float(value), "World coordinate on this axis")
        cards[f"CRPIX{axis}"] = (float(crpix[axis - 1]), "Reference pixel on this axis")
        for other in (1, 2):
            cards[f"CD{axis}_{other}"] = (
                float(cd[axis - 1, other - 1]), "Linear projection matrix",
            )  # fmt: skip
    for name, value in distortion.items():
        cards[name] = (float(value), "Projection distortion parameter")
    return cards


def to_plane(ra, dec, ra0: float, dec0: float) -> tuple[np.ndarray, np.ndarray]:
    """Gnomonic projection about (`ra0`, `dec0`): east and north standard coordinates.

    Parameters
    ----------
    ra, dec : array-like of float
        Positions, deg, within 90 deg of the centre.
    ra0, dec0 : float
        Centre, deg.

    Returns
    -------
    xi, eta : ndarray of float
        Degrees to the east and to the north.
    """
    ra, dec, ra0, dec0 = (np.radians(value) for value in (ra, dec, ra0, dec0))
    away = np.cos(dec0) * np.cos(dec) * np.cos(ra - ra0) + np.sin(dec0) * np.sin(dec)
    xi = np.cos(dec) * np.sin(ra - ra0) / away
    eta = (np.cos(dec0) * np.sin(dec) - np.sin(dec0) * np.cos(dec) * np.cos(ra - ra0)) / away
    return np.degrees(xi), np.degrees(eta)


def from_plane(xi, eta, ra0: float, dec0: float) -> tuple[np.ndarray, np.ndarray]:
    """Inverse of `to_plane`: right ascension in [0, 360) and declination, deg."""
    xi, eta, dec0 = (np.radians(value) for value in (xi, eta, dec0))
    height = np.cos(dec0) - eta * np.sin(dec0)
    ra = np.radians(ra0) + np.arctan2(xi, height)
    dec = np.arctan2(np.sin(dec0) + eta * np.cos(dec0), np.hypot(xi, height))
    return np.degrees(ra) % 360.0, np.degrees(dec)


def jacobians(wcs: WCS, x, y) -> np.ndarray:
    """Local scale of the sky at pixel positions.

    Parameters
    ----------
    wcs : WCS
        World coordinates of the frame.
    x, y : ndarray, shape (n,), float
        0-based pixel positions.

    Returns
    -------
    ndarray, shape (n, 2, 2), float
        d(u, v) / d(x, y) in arcsec per pixel: u to the west, v to the north.
    """
    x, y = np.asarray(x, float), np.asarray(y, float)
    ra0, dec0 = wcs.all_pix2world(x, y, 0)
    result = np.empty((x.size, 2, 2))
    for axis, (dx, dy) in enumerate(((0.5, 0.0), (0.0, 0.5))):
        ahead = to_plane(*wcs.all_pix2world(x + dx, y + dy, 0), ra0, dec0)
        behind = to_plane(*wcs.all_pix2world(x - dx, y - dy, 0), ra0, dec0)
        result[:, 0, axis] = -(ahead[0] - behind[0]) * 3600.0
        result[:, 1, axis] = (ahead[1] - behind[1]) * 3600.0
    return result


def outline(wcs: WCS, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Sky positions along the outer edge of a frame, deg."""
    ny, nx = shape
    along_x, along_y = np.linspace(-0.5, nx - 0.5, 9), np.linspace(-0.5, ny - 0.5, 9)
    x = np.concatenate([along_x, along_x, np.full(9, -0.5), np.full(9, nx - 0.5)])
    y = np.concatenate([np.full(9, -0.5), np.full(9, ny - 0.5), along_y, along_y])
    return wcs.all_pix2world(x, y, 0)
