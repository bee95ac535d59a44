"""Adaptive moments of stamps: centroid, ellipticity and size of stars and PSFs, with flags.

The measure is the adaptive elliptical Gaussian of GalSim's `hsm`; ellipticities are reduced shears
g = (a - b) / (a + b), sizes are sigma in pixels, both before any correction. Galaxy shear is not
measured here.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntFlag

import galsim
import numpy as np

MASKED_BELOW = -1e29  # SExtractor fills masked pixels of a VIGNET with -1e30
GUESSES = (3.0, 1.0, 6.0)  # first sizes to start from, pixels; the next one is for failures only
CORE_LOSS = 0.01  # largest tolerated share of the weighted flux under masked pixels


class MomentFlag(IntFlag):
    """Why moments are missing or not to be trusted."""

    EMPTY = 1
    """No usable pixel, or pixels that are not finite."""
    NO_SIGNAL = 2
    """No pixel, or not the fitted flux, is positive; values are nan."""
    NOT_CONVERGED = 4
    """The iteration failed, as it does below a FWHM of about 1.8 pixels; values are nan."""
    OFF_CENTRE = 8
    """The centroid lies more than a quarter of the stamp from its centre."""
    TOO_LARGE = 16
    """Sigma exceeds a quarter of the stamp, so that the wings are cut."""
    MASKED_CORE = 32
    """Masked pixels take more than 1 % of the weighted flux; values are biased."""


@dataclass(frozen=True)
class Moments:
    """Adaptive moments of n stamps.

    Attributes
    ----------
    g1, g2 : numpy.ndarray
        Reduced shear, shape (n,), along x (columns) and the diagonal; nan where not measured.
    sigma : numpy.ndarray
        Fourth root of the determinant of the moment matrix, shape (n,), pixels.
    x, y : numpy.ndarray
        Centroid, shape (n,), 0-based pixels of the stamp.
    flux : numpy.ndarray
        Flux of the best Gaussian, shape (n,).
    flag : numpy.ndarray
        Bits of `MomentFlag`, shape (n,), int32.
    """

    g1: np.ndarray
    g2: np.ndarray
    sigma: np.ndarray
    x: np.ndarray
    y: np.ndarray
    flux: np.ndarray
    flag: np.ndarray


def measure(stamps) -> Moments:
    """Measure each stamp; a failure is a flag, never an exception.

    Parameters
    ----------
    stamps : numpy.ndarray
        Background-subtracted images, shape (n, ny, nx); pixels below -1e29 are masked.

    References
    ----------
    Bernstein & Jarvis 2002, AJ 123, 583 (adaptive moments); Hirata & Seljak 2003, MNRAS 343, 459.
    """
    table = np.array([_measure_one(stamp) for stamp in np.asarray(stamps)]).reshape(-1, 7)
    return Moments(*table[:, :6].T, flag=table[:, 6].astype(np.int32))


def masked_pixels(stamps) -> np.ndarray:
    """Pixels that SExtractor masked (-1e30) or that are not finite; shape of the stamps, bool."""
    return ~(np.asarray(stamps) > MASKED_BELOW) | ~np.isfinite(stamps)


def _measure_one(stamp):
    """Row of g1, g2, sigma, x, y, flux, flag."""
    nothing = [np.nan] * 6
    masked = masked_pixels(stamp)
    if masked.all() or np.isnan(stamp).any() or np.isposinf(stamp).any():
        return [*nothing, MomentFlag.EMPTY]
    pixels = np.where(masked, 0.0, stamp)
    if not (pixels > 0).any():
        return [*nothing, MomentFlag.NO_SIGNAL]
    shape = _adaptive(pixels, masked)
    if shape is None:
        return [*nothing, MomentFlag.NOT_CONVERGED]
    if shape.moments_amp <= 0:
        return [*nothing, MomentFlag.NO_SIGNAL]
    g, sigma, centre = shape.observed_shape, shape.moments_sigma, shape.moments_centroid
    flag = _doubts(masked, centre.x, centre.y, sigma)
    return [g.g1, g.g2, sigma, centre.x, centre.y, shape.moments_amp, flag]


def _adaptive(pixels, masked):
    """Result of GalSim from the first starting size that works, or None."""
    image = galsim.ImageD(np.ascontiguousarray(pixels, float), xmin=0, ymin=0)
    bad = galsim.ImageS(masked.astype(np.int16), xmin=0, ymin=0) if masked.any() else None
    for guess in GUESSES:
        shape = galsim.hsm.FindAdaptiveMom(image, badpix=bad, guess_sig=guess, strict=False)
        if shape.moments_status == 0 and shape.moments_sigma > 0:
            return shape
    return None


def _doubts(masked, x, y, sigma) -> int:
    """Bits for results that came out but should not be trusted."""
    ny, nx = masked.shape
    flag = 0
    if np.hypot(x - nx // 2, y - ny // 2) > min(nx, ny) / 4:
        flag |= MomentFlag.OFF_CENTRE
    if sigma > min(nx, ny) / 4:
        flag |= MomentFlag.TOO_LARGE
    if masked.any():
        rows, columns = np.nonzero(masked)
        # weight and profile are both Gaussians of this sigma: their product has half the variance
        lost = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / sigma**2).sum()
        if lost > CORE_LOSS * np.pi * sigma**2:
            flag |= MomentFlag.MASKED_CORE
    return int(flag)
