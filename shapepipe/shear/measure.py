"""The whole measurement of a batch: screen, PSF, reconvolution, estimator, averaging.

This is the story; each step is told in its own module.
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from . import fit, metacal, momentfit, pixels
from .batch import Batch, per_object
from .flags import EPOCH_LOSS, NOTES, ShapeFlag
from .gaussian import constants
from .moments import adaptive_moments, shape_of
from .settings import Settings
from .shapes import Shapes

logger = logging.getLogger("shapepipe.shear")


def measure(batch: Batch, settings: Settings | None = None) -> Shapes:
    """Measure all objects of a batch with the five shear types.

    Every object comes back, in order; what failed says so in `flags` and holds NaN.  The result
    for one object depends on its own stamps, position and epochs alone.
    """
    settings = settings or Settings()
    _announce_compilation()
    shapes = Shapes.empty(len(batch))
    for place, part in batch.parts(settings.chunk):
        measured, own = _measure_part(part, settings)
        own.set_measured(measured)
        shapes[place] = own
    return shapes


def measure_halves(batch: Batch, settings: Settings | None = None) -> tuple[Shapes, Shapes]:
    """The two halves of the noise pair as catalogues of their own.

    A cut on averages over the pair is biased at low signal-to-noise ratio, since the added noise,
    which makes the noise of sheared images round again, has been averaged away from them.  Cuts on
    each half, whose sums `calibrate.group_sums` may be added, are not.
    """
    settings = settings or Settings()
    if len(settings.signs) != 2:
        raise ValueError("pair and fixnoise must be on for two halves")
    _, one, other = measure_with_halves(batch, settings)
    return one, other


def measure_with_halves(batch: Batch, settings: Settings | None = None) -> tuple[Shapes, ...]:
    """What `measure` gives, followed by the two halves of the noise pair if there is one."""
    settings = settings or Settings()
    _announce_compilation()
    found = [
        common.with_halves(measured)
        for measured, common in (
            _measure_part(part, settings) for _, part in batch.parts(settings.chunk)
        )
    ]
    empty = (Shapes.empty(0),) * settings.results
    return tuple(Shapes.joined(parts) for parts in zip(empty, *found, strict=True))


def _measure_part(batch: Batch, settings: Settings):
    """What the estimator found (see `fit.fit_objects`), and shapes with all other columns."""
    shapes = Shapes.empty(len(batch))
    good, status, sigma = pixels.screen(batch, settings.max_masked)
    usable = (status & int(EPOCH_LOSS)) == 0
    covariance, _, found = adaptive_moments(
        _as_floats(batch.psf), batch.jacobian, batch.psf_centre, usable
    )
    status[usable & ~found] |= int(ShapeFlag.BAD_PSF)
    usable &= found
    variance = np.where(usable, metacal.target_variance(covariance, settings.step), 1.0)
    variance = _shared_target(variance, usable, batch.offsets, settings.target)
    origin = _shear_origin(batch, settings)
    images, weight = _reconvolved(batch, usable, good, sigma, variance, origin, settings)
    share = np.where(usable, 1 / np.where(usable, sigma, 1) ** 2, 0.0)
    epochs = (usable, batch.jacobian, batch.centre, variance, origin)
    if settings.estimator == "fit":
        measured = _fitted(images, weight, epochs, batch.offsets, settings)
    else:
        measured = momentfit.measured(images, share, sigma, epochs, batch.offsets, settings)
    shapes.set_psf(*shape_of(covariance), variance, share, batch.offsets)
    lost = per_object(np.bitwise_or, status, batch.offsets)
    shapes.notes |= lost & int(EPOCH_LOSS | NOTES)
    shapes.n_epoch[:] = per_object(np.add, usable.astype(np.int64), batch.offsets)
    return measured, shapes


def _reconvolved(batch, usable, good, sigma, variance, origin, settings):
    """Images (H, 3, N, ny, nx) and fit weights; fixnoise doubles the variance of the pixels."""
    kind = np.float32 if settings.precision == "single" else np.float64
    shape = batch.image.shape[1:]
    size = metacal.transform_size(max(shape))
    signs = np.array([1.0, -1.0] if settings.fixnoise else [0.0])
    stamps = np.zeros((len(batch.image), max(shape), size), np.result_type(kind, np.complex64))
    weight = np.zeros(batch.image.shape, kind)
    pixels.pack(batch, usable, good, sigma, settings, stamps, weight)
    if settings.fixnoise:
        weight *= kind(0.5)
    if batch.neighbour is not None:
        weight[batch.neighbour] = 0
    images = np.zeros((len(signs), 3, len(stamps), *shape), kind)
    own = np.flatnonzero(usable)
    if len(own) == len(stamps):
        own = slice(None)
    made = images[:, :, own]
    metacal.reconvolve(
        stamps[own],
        batch.psf[own],
        batch.psf_centre[own],
        batch.jacobian[own],
        variance[own],
        origin[own],
        signs,
        shape,
        made,
    )
    images[:, :, own] = made
    return images, weight


def _shear_origin(batch, settings):
    """The point (N, 2) that shear leaves in place.

    A fit finds the centre again, so the middle of the stamp will do (ngmix does the same); the
    moments keep theirs fixed and need the object itself to stay.
    """
    if settings.estimator != "fit":
        return batch.centre
    middle = (np.array(batch.image.shape[:0:-1]) - 1) / 2
    return np.tile(middle, (len(batch.image), 1))


def _fitted(images, weight, epochs, offsets, settings):
    """Parameters and their companions from the Gaussian fit."""
    halves, b = len(settings.signs), len(offsets) - 1
    usable, jacobian = epochs[:2]
    scale = np.sqrt(np.abs(np.linalg.det(np.where(usable[:, None, None], jacobian, np.eye(2)))))
    count = np.maximum(per_object(np.add, usable.astype(float), offsets), 1)
    mean_scale = per_object(np.add, np.where(usable, scale, 0), offsets) / count
    width = settings.centre_sigma
    prior_sigma = mean_scale if width is None else np.full(b, float(width))
    prior = np.array([0.0, settings.shape_sigma, *settings.T_range, *settings.flux_range])
    out = (
        np.full((halves, b, 5, 6), np.nan),
        np.full((halves, b, 5, 6), np.nan),
        np.full((halves, b, 5), np.nan),
        np.full((halves, b, 6, 2), np.nan),
        np.zeros((halves, b, 5), np.int32),
        np.zeros((halves, b, 5), np.int32),
    )
    fit.fit_objects(
        images,
        weight,
        epochs,
        offsets,
        prior,
        prior_sigma,
        constants(images.dtype, images.shape[-1]),
        settings.step,
        settings.tolerance,
        settings.max_passes,
        2.0 if halves == 2 else 1.0,
        out,
    )
    return out


def _shared_target(variance, usable, offsets, target):
    """The target of each epoch: its own, the object's widest, or one for all."""
    if target == "epoch":
        return variance
    if target == "object":
        widest = per_object(np.maximum, np.where(usable, variance, 0), offsets)
        return np.where(usable, np.repeat(widest, np.diff(offsets)), 1.0)
    return np.full(len(variance), metacal.fixed_variance(target))


def _as_floats(array):
    """Single or double precision, contiguous, as the compiled code wants it."""
    kind = np.float64 if array.dtype.itemsize > 4 else np.float32
    return np.ascontiguousarray(array, dtype=kind)


def _announce_compilation():
    """Say so when this machine has no compiled code yet: the first call then takes a while."""
    kernel = fit.fit_objects
    if kernel.signatures:
        return
    folder = Path(kernel.stats.cache_path)
    if not any(folder.glob(f"fit.{kernel.__name__}-*.nbi")):
        logger.info("compiling the shape measurement, once on this machine; this takes a minute")
