"""SPREAD_MODEL: is an object wider than the PSF? With the PSF of a stack, from those of its epochs.

Stamps in, numbers out; stars come out around 0, galaxies above, cosmic rays below. The classes made
of it are in `finalcat`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntFlag

import numpy as np
from astropy.wcs import WCS
from scipy import fft

from shapepipe.astro import moments, wcs

FWHM_PER_SIGMA = 2.0 * np.sqrt(2.0 * np.log(2.0))
DISC_SCALE = 1.0 / 16.0  # scale length of the galaxy template, in FWHM of the PSF


class SpreadFlag(IntFlag):
    """Why SPREAD_MODEL or its error are not to be used."""

    NO_PSF = 1
    """No epoch has a PSF; SPREAD_MODEL = -1, SPREADERR_MODEL = 1."""
    NO_PIXEL = 2
    """No pixel has data and weight; SPREAD_MODEL = 1, SPREADERR_MODEL = 1."""
    NEGATIVE = 4
    """The product of image and PSF is not positive; SPREAD_MODEL = 1, SPREADERR_MODEL = 1."""
    NO_ERROR = 8
    """The variance is not positive; SPREADERR_MODEL = 1."""


@dataclass(frozen=True)
class Spread:
    """Result for n objects: SPREAD_MODEL, SPREADERR_MODEL, SPREAD_FLAG, each of shape (n,)."""

    model: np.ndarray
    error: np.ndarray
    flag: np.ndarray


def spread_model(images, weights, psfs, templates) -> Spread:
    """Compare each image with the PSF and with a galaxy template.

    Parameters
    ----------
    images : ndarray, shape (n, ny, nx)
        Stamps of the stack; masked pixels are below -1e29 or not finite.
    weights : ndarray, shape (n, ny, nx)
        Inverse variance; pixels without positive weight are left out.
    psfs, templates : ndarray, shape (n, ny, nx)
        PSF and galaxy at the place of the object, of unit flux; NaN where there is no PSF.

    References
    ----------
    Desai et al. 2012, ApJ 757, 83; manual of SExtractor, "SPREAD_MODEL".
    """
    images, weights, psfs, templates = (
        np.asarray(a, float).reshape(len(a), -1) for a in (images, weights, psfs, templates)
    )
    with_psf = np.isfinite(psfs).all(axis=1) & np.isfinite(templates).all(axis=1)
    good = (images > moments.MASKED_BELOW) & np.isfinite(images) & (weights > 0)
    good &= np.isfinite(weights)
    g, p, t = (np.where(good & with_psf[:, None], a, 0.0) for a in (images, psfs, templates))
    v = np.divide(1.0, weights, out=np.zeros_like(weights), where=good)
    pg, tg, tp, pp = ((a * b).sum(axis=1) for a, b in ((p, g), (t, g), (t, p), (p, p)))
    tvt, pvp, tvp = ((a * v * b).sum(axis=1) for a, b in ((t, t), (p, p), (t, p)))
    flag = np.select(
        [~with_psf, ~good.any(axis=1), pg <= 0],
        [SpreadFlag.NO_PSF, SpreadFlag.NO_PIXEL, SpreadFlag.NEGATIVE],
        0,
    ).astype(np.int16)
    usable = flag == 0
    with np.errstate(divide="ignore", invalid="ignore"):
        model = np.where(usable, tg / pg - tp / pp, np.where(with_psf, 1.0, -1.0))
        variance = (tvt * pg**2 + pvp * tg**2 - 2 * tvp * pg * tg) / pg**4
    known = usable & (variance > 0)
    flag[usable & ~known] = SpreadFlag.NO_ERROR
    error = np.sqrt(variance, where=known, out=np.ones_like(pg))
    return Spread(model, error, flag)


def templates(psfs, fwhm, dx, dy, smear: float = DISC_SCALE) -> tuple[np.ndarray, np.ndarray]:
    """Move PSFs to the places of the objects, and convolve them with a small disc.

    Parameters
    ----------
    psfs : ndarray, shape (n, ny, nx)
        PSF of unit flux, centred on its stamp; NaN stays NaN.
    fwhm : ndarray, shape (n,)
        FWHM of the PSF, pixels.
    dx, dy : ndarray, shape (n,)
        Place of the object from the middle of the stamp, pixels.
    smear : float
        Scale length of the exponential disc, in FWHM of the PSF.

    Returns
    -------
    psfs, templates : ndarray, shape (n, ny, nx)
        PSF and galaxy, of unit flux.
    """
    ny, nx = psfs.shape[1:]
    rows, columns = (fft.next_fast_len(n + n // 4, real=True) for n in (ny, nx))
    kx = 2 * np.pi * fft.rfftfreq(columns)[None, None, :]
    ky = 2 * np.pi * fft.fftfreq(rows)[None, :, None]
    along_x, along_y, scale = (np.asarray(a, float)[:, None, None] for a in (dx, dy, fwhm))
    spectrum = fft.rfft2(psfs, (rows, columns)) * np.exp(-1j * (kx * along_x + ky * along_y))
    disc = (1.0 + (kx**2 + ky**2) * (smear * scale) ** 2) ** -1.5  # a thin exponential disc
    moved, wider = (
        fft.irfft2(s, (rows, columns))[:, :ny, :nx] for s in (spectrum, spectrum * disc)
    )
    return moved, wider


def gaussian_psfs(sigma, shape: tuple[int, int]) -> np.ndarray:
    """Round Gaussians of unit flux, integrated over pixels, centred on their stamps.

    Parameters
    ----------
    sigma : ndarray, shape (n,)
        Pixels; NaN gives NaN.
    shape : (ny, nx)
        Of the stamps.
    """
    sigma = np.asarray(sigma, float)[:, None, None]
    ky = 2 * np.pi * fft.fftfreq(shape[0])[None, :, None]
    kx = 2 * np.pi * fft.rfftfreq(shape[1])[None, None, :]
    spectrum = np.exp(-0.5 * (kx**2 + ky**2) * sigma**2)
    spectrum = spectrum * np.sinc(kx / (2 * np.pi)) * np.sinc(ky / (2 * np.pi))
    spectrum = spectrum * np.exp(-1j * (kx * (shape[1] // 2) + ky * (shape[0] // 2)))
    return fft.irfft2(spectrum, shape)


def stacked_psf(stamps: Sequence[np.ndarray], weights: Sequence[float]) -> np.ndarray:
    """Weighted sum of the PSFs of the epochs, each first brought to unit flux, of unit flux.

    Parameters
    ----------
    stamps : sequence of ndarray, shape (ny, nx)
        PSF of each epoch, in the orientation of the stack.
    weights : sequence of float
        Weight of each epoch in the stack; equal ones are taken where none is positive.

    Returns
    -------
    ndarray, shape (ny, nx)
    """
    weights = np.nan_to_num(np.asarray(weights, float), posinf=0.0).clip(min=0.0)
    if not weights.any():
        weights = np.ones(len(stamps))
    total = sum(w * s / s.sum() for w, s in zip(weights, np.asarray(stamps, float), strict=True))
    return total / weights.sum()


def orientation(ccd: WCS, stack: WCS, ra: float, dec: float) -> np.ndarray:
    """Turn or mirror image, by quarters of a turn, that brings pixels of a CCD to those of a stack.

    Parameters
    ----------
    ccd, stack : WCS
        Of the two images.
    ra, dec : float
        Place on the sky, degrees.

    Returns
    -------
    ndarray of int, shape (2, 2)
        Matrix that takes steps (dx, dy) on the CCD to steps on the stack, rounded to the nearest
        of the eight symmetries of a square.
    """
    x, y = wcs.world_to_pixel(ccd, ra, dec)
    around = wcs.pixel_to_world(ccd, x + np.array([1, -1, 0, 0]), y + np.array([0, 0, 1, -1]))
    places = np.array(wcs.world_to_pixel(stack, *around))
    step = np.stack([places[:, 0] - places[:, 1], places[:, 2] - places[:, 3]], axis=1)
    straight = abs(step[0, 0] * step[1, 1]) >= abs(step[0, 1] * step[1, 0])
    kept = np.eye(2) if straight else 1 - np.eye(2)
    return (np.sign(step) * kept).astype(int)


def turn(stamp: np.ndarray, step: np.ndarray) -> np.ndarray:
    """Turn a stamp by a matrix of `orientation`; the pixel at the middle (n // 2) stays there."""
    if step[0, 0] == 0:
        stamp = stamp.T
        signs = step[0, 1], step[1, 0]
    else:
        signs = step[0, 0], step[1, 1]
    for axis, sign in ((1, signs[0]), (0, signs[1])):
        if sign < 0:
            stamp = np.flip(stamp, axis)
            if stamp.shape[axis] % 2 == 0:
                stamp = np.roll(stamp, 1, axis)
    return stamp
