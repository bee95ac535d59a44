"""Sheared images of a whole cell of a coadd, on which objects can be detected anew.

Detection on each sheared image (metadetection) includes the shear dependence of the detection
itself in the response.  The operator is that of single stamps; a cell has one PSF and one
Jacobian.

References
----------
Sheldon et al. 2020, ApJ 902, 138.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from . import metacal, pixels
from .batch import Batch
from .moments import adaptive_moments
from .noise import epoch_identity
from .settings import Settings


class ShearedCell(NamedTuple):
    """Sheared images of a cell, what they are convolved with, and their weight."""

    images: dict[str, np.ndarray]  # by shear type, each (ny, nx)
    weight: np.ndarray  # inverse variance, fixnoise included, 0 where masked; (ny, nx)
    psf_variance: float  # of the round Gaussian target, arcsec^2
    status: int  # ShapeFlag bits of the cell


def sheared_cell(
    image, weight, psf, jacobian, ra: float, dec: float, name: str, settings: Settings | None = None
) -> ShearedCell:
    """The five shear types of one cell.

    Parameters
    ----------
    image, weight : ndarray, shape (ny, nx)
        Coadd and inverse variance; masked pixels have weight 0.
    psf : ndarray, shape (py, px)
    jacobian : ndarray, shape (2, 2)
        [[du/dx, du/dy], [dv/dx, dv/dy]], arcsec per pixel.
    ra, dec : float
        Centre of the cell in degrees; with `name` the seed of the noise field.
    name : str
        What distinguishes this coadd from others at the same place, such as its band.
    settings : Settings, optional
        `step`, `fixnoise`, `target` (a FWHM, or the dilated PSF), `precision` and `fill` matter.
        The noise field is added once; the antithetic image follows from a call with its negative.
    """
    settings = settings or Settings()
    middle = (np.array(np.shape(image)[::-1]) - 1) / 2
    parts = (image, weight, psf, jacobian, middle)
    parts = (np.asarray(part)[None, None] for part in parts)
    epoch = np.array([[epoch_identity(name)]], np.uint64)
    batch = Batch.regular(*parts, ra=[ra], dec=[dec], epoch=epoch)
    kind = np.float32 if settings.precision == "single" else np.float64
    good, status, sigma = pixels.screen(batch, settings.max_masked)
    if isinstance(settings.target, str):
        covariance, _, _ = adaptive_moments(
            np.asarray(batch.psf, float), batch.jacobian, batch.psf_centre
        )
        variance = metacal.target_variance(covariance, settings.step)
    else:
        variance = np.array([metacal.fixed_variance(settings.target)])
    shape = batch.image.shape[1:]
    size = metacal.transform_size(max(shape))
    stamps = np.zeros((1, max(shape), size), np.result_type(kind, np.complex64))
    fit_weight = np.zeros((1, *shape), kind)
    pixels.pack(batch, np.ones(1, bool), good, sigma, settings, stamps, fit_weight)
    signs = np.array(settings.signs[:1])
    out = np.zeros((1, 3, 1, *shape), kind)
    metacal.reconvolve(
        stamps,
        np.ascontiguousarray(batch.psf),
        batch.psf_centre,
        batch.jacobian,
        variance,
        middle[None],
        signs,
        shape,
        out,
    )
    images = metacal.sheared_images(out[0, :, 0], settings.step)
    doubled = kind(0.5 if settings.fixnoise else 1.0)
    return ShearedCell(images, fit_weight[0] * doubled, float(variance[0]), int(status[0]))
