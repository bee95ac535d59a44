"""Draw sources on a frame: arrays in, arrays out; GalSim makes each stamp."""

from __future__ import annotations

import galsim
import numpy as np
from scipy.special import gamma

from shapepipe.simulate import psf

_SMALLEST, _LARGEST = 12, 400  # half width of a stamp, pixels


def draw_sources(
    shape: tuple[int, int],
    sources: np.ndarray,
    jacobians: np.ndarray,
    profile: str,
    beta: float,
    level: float,
) -> np.ndarray:
    """Image of stars and galaxies, without sky or noise.

    Parameters
    ----------
    shape : tuple of int
        (ny, nx) of the frame.
    sources : ndarray, structured, shape (n,)
        Columns `x`, `y` (0-based pixel), `flux` (ADU), `sersic` (0 for a star), `r50` (arcsec),
        `e1`, `e2` (intrinsic g), `g1`, `g2` (shear), and the columns of `PsfField.at`.
    jacobians : ndarray, shape (n, 2, 2), float
        d(u, v) / d(x, y) at each source, arcsec per pixel, u to the west and v to the north.
    profile, beta : str, float
        Kind of PSF, see `psf.make_profile`.
    level : float
        Surface brightness (ADU per pixel) below which a source is cut off.

    Returns
    -------
    ndarray, shape (ny, nx), float32
        ADU; a source whose centre is outside still sheds its light on the frame.
    """
    image = galsim.ImageF(np.zeros(shape, np.float32), xmin=0, ymin=0)
    halves = half_widths(sources, jacobians, profile, beta, level)
    for source, jacobian, half in zip(sources, jacobians, halves, strict=True):
        column, row = round(float(source["x"])), round(float(source["y"]))
        bounds = galsim.BoundsI(column - half, column + half, row - half, row + half) & image.bounds
        if not bounds.isDefined():
            continue
        light = make_source(source, profile, beta)
        stamp = galsim.ImageF(bounds)
        centre = galsim.PositionD(float(source["x"]), float(source["y"]))
        light.drawImage(image=stamp, wcs=galsim.JacobianWCS(*jacobian.ravel()), center=centre)
        image[bounds] += stamp
    return image.array


def make_source(source, profile: str, beta: float) -> galsim.GSObject:
    """Sheared source seen through the PSF, before the pixel (arguments as in `draw_sources`)."""
    light = psf.make_profile(profile, beta, *_psf_values(source))
    if source["sersic"] > 0:
        galaxy = galsim.Sersic(float(source["sersic"]), half_light_radius=float(source["r50"]))
        galaxy = galaxy.shear(g1=float(source["e1"]), g2=float(source["e2"]))
        galaxy = galaxy.shear(g1=float(source["g1"]), g2=float(source["g2"]))
        light = galsim.Convolve(galaxy, light)
    return light.withFlux(float(source["flux"]))


def draw_psfs(rows, jacobians: np.ndarray, profile: str, beta: float, size: int) -> np.ndarray:
    """Draw the true PSF at each row of a truth table, the pixel included.

    Parameters
    ----------
    rows : ndarray or Table, shape (n,)
        Columns of `PsfField.at`.
    jacobians : ndarray, shape (n, 2, 2), float
        As in `draw_sources`; see `astrometry.jacobians`.
    profile, beta : str, float
        Kind of PSF; in `truth/exposures.fits` as `psf_profile` and `psf_beta`.
    size : int
        Odd side of a stamp, pixels.

    Returns
    -------
    ndarray, shape (n, size, size), float32
        Unit flux, the centroid in the middle of the central pixel.
    """
    stamps = np.empty((len(rows), size, size), np.float32)
    for row, jacobian, stamp in zip(rows, jacobians, stamps, strict=True):
        light = psf.make_profile(profile, beta, *_psf_values(row))
        light.drawImage(galsim.ImageF(stamp), wcs=galsim.JacobianWCS(*jacobian.ravel()))
    return stamps


def _psf_values(row):
    names = ("psf_fwhm", "psf_g1", "psf_g2", "psf_coma1", "psf_coma2")
    return tuple(float(row[name]) for name in names)


def half_widths(sources, jacobians, profile: str, beta: float, level: float) -> np.ndarray:
    """Half width of the stamp of each source, pixels, from where it falls below `level`.

    The Sersic profile falls to a surface brightness S at
    r = r_e (1 + ln(S_e / S) / b)^n, with b = 2 n - 1/3 + 4 / (405 n)
    (Ciotti & Bertin 1999, A&A 352, 447, eq. 18).
    """
    area = np.abs(np.linalg.det(jacobians))
    per_area = level / area
    radius = psf.reach(profile, beta, sources["psf_fwhm"], sources["flux"], per_area)
    n = np.maximum(sources["sersic"], 0.5)
    b = 2.0 * n - 1.0 / 3.0 + 4.0 / (405.0 * n)
    size = np.maximum(sources["r50"], 1e-3)
    effective = sources["flux"] * b ** (2 * n) * np.exp(-b)
    effective = effective / (2 * np.pi * n * gamma(2 * n) * size**2)
    fall = np.maximum(1.0 + np.log(effective / per_area) / b, 0.0) ** n
    stretch = np.sqrt((1 + np.hypot(sources["e1"], sources["e2"])) / 0.9)
    wide = np.where(sources["sersic"] > 0, size * np.maximum(fall, 4.5) * stretch, 0.0)
    half = np.ceil(np.hypot(radius, wide) / np.sqrt(area)).astype(int)
    return np.clip(half, _SMALLEST, _LARGEST)
