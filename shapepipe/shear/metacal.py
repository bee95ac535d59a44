"""Sheared versions of images: deconvolved, sheared, reconvolved with a round Gaussian.

With I and P the transforms of image and PSF and G = exp(-s^2 k^2 / 2) the target kernel, the
reconvolved image is O = G I / P.  Its derivative with respect to a shear of the deconvolved
image, at fixed kernel, is exact and local in O:

    dO/dg_i = -(B_i x) . grad O - s^2 (B_i grad) . grad O,

with B_1 = diag(1, -1) and B_2 = antidiag(1, 1): the first term shears everything, the second
takes the shear of the kernel back.  The sheared images are O + step dO/dg_i, equal to a finite
shear up to terms of order step^2, so one deconvolution serves all five types.

References
----------
Huff & Mandelbaum 2017, arXiv:1702.02600 (metacalibration); Sheldon & Huff 2017, ApJ 841, 24,
section 2 (reconvolution kernel, correlated noise cured by a counter-rotated noise image).
"""

from __future__ import annotations

import numpy as np
import scipy.fft

from . import kspace
from .settings import SHEAR_TYPES

TRANSFORM_GROUP = 8  # epochs per transform: the arrays stay in the cache
MAX_DILATION = 1.1
FWHM_PER_SIGMA = 2.3548200450309493


def transform_size(longest: int) -> int:
    """Side of the transform for a stamp: a fifth of margin, up to a fast multiple of 32.

    A multiple of 32 also keeps the lines of one stamp together in the vector units, so that no
    value depends on which other stamps are transformed in the same call.
    """
    size = 32
    while size < 1.2 * longest:
        size += 32
    while scipy.fft.next_fast_len(size) != size:
        size += 32
    return size


def target_variance(covariance, step: float) -> np.ndarray:
    """Variance (arcsec^2) of the round Gaussian that replaces each PSF.

    It is as wide as the long axis of the PSF's Gaussian, by at most a factor of 1.1 in area, and
    wider by 2 x `step` in size, so that the sheared deconvolved image holds no mode that the PSF
    has erased.

    Parameters
    ----------
    covariance : ndarray, shape (N, 3)
        (suu, svv, suv) of the PSF, arcsec^2.
    """
    suu, svv, suv = np.moveaxis(covariance, -1, 0)
    T = suu + svv
    with np.errstate(invalid="ignore", divide="ignore"):
        ellipticity = np.hypot(suu - svv, 2 * suv) / T
        dilation = np.minimum(2 * np.sqrt(1 + ellipticity) - 1, MAX_DILATION)
    return 0.5 * T * dilation * (1 + 2 * step) ** 2


def fixed_variance(fwhm: float) -> float:
    """Variance of a Gaussian from its FWHM."""
    return (fwhm / FWHM_PER_SIGMA) ** 2


def reconvolve(stamps, psf, psf_centre, jacobian, variance, origin, signs, shape, out):
    """Reconvolved images and shear derivatives of a set of epochs.

    Parameters
    ----------
    stamps : complex ndarray, shape (N, rows, size)
        Image and turned noise from `pixels.pack`.
    psf : ndarray, shape (N, py, px)
    psf_centre : ndarray, shape (N, 2)
        (x, y), 0-based pixels.
    jacobian : ndarray, shape (N, 2, 2)
    variance : ndarray, shape (N,)
        Variance of the target, arcsec^2.
    origin : ndarray, shape (N, 2)
        Point about which the image is sheared, (x, y) in pixels.
    signs : ndarray, shape (H,)
        Signs of the noise field.
    shape : tuple of int
        (ny, nx) of the stamps.
    out : ndarray, shape (H, 3, N, ny, nx)
        O, dO/dg1 and dO/dg2 for each sign.
    """
    rows, size = stamps.shape[1:]
    kind = out.dtype
    whole = np.rint(psf_centre).astype(np.int64)
    shift = psf_centre - whole
    turned = _turned_origin(origin, shape)
    wave = np.fft.fftfreq(size, 1 / size).astype(kind)
    real, imag = np.empty((2, size, size), kind)
    for start in range(0, len(stamps), TRANSFORM_GROUP):
        own = slice(start, start + TRANSFORM_GROUP)
        spectra = scipy.fft.fft(stamps[own], axis=-1)
        spectra = scipy.fft.fft(spectra, n=size, axis=-2)
        folded = np.zeros((len(spectra), size, size), kind)
        kspace.fold_psf(psf[own], whole[own], size, folded)
        half = scipy.fft.rfft(folded, axis=-1)[:, :, : size // 2]
        half = scipy.fft.fft(half, axis=-2)
        fields = np.empty((len(spectra), 5, size, size), spectra.dtype)
        kspace.transform_operators(
            spectra, half, jacobian[own], variance[own], shift[own], wave, real, imag, fields
        )
        fields = scipy.fft.ifft(fields, axis=-2, overwrite_x=True)[:, :, :rows]
        fields = scipy.fft.ifft(fields, axis=-1)
        kspace.assemble_all(fields, jacobian[own], origin[own], turned[own], signs, out[:, :, own])


def sheared_images(images, step: float) -> dict[str, np.ndarray]:
    """The five shear types from O, dO/dg1, dO/dg2 (leading axis 3)."""
    base, tilt1, tilt2 = images
    made = (
        base,
        base + step * tilt1,
        base - step * tilt1,
        base + step * tilt2,
        base - step * tilt2,
    )
    return dict(zip(SHEAR_TYPES, made, strict=True))


def _turned_origin(origin, shape) -> np.ndarray:
    """Shear origin of the noise in its turned frame.

    The middle of the stamp turns into the middle; elsewhere the noise, which is sheared the other
    way once turned back, must move with the image.
    """
    ny, nx = shape
    dx, dy = (origin - (np.array([nx, ny]) - 1) / 2).T
    return np.column_stack([(ny - 1) / 2 - dy, (nx - 1) / 2 + dx])
