"""From raw stamps to stamps that can be transformed: which pixels and epochs count, and fills.

A pixel is masked when its weight is not positive, not finite or below `NEGLIGIBLE` of the mean,
or when its value is not finite.  Masked pixels keep weight zero; only so that the transform sees
no hole they take the value of the pixel opposite through the object's centre (its own noise with
it), or Gaussian noise where that one is masked too.
"""

from __future__ import annotations

import math

import numpy as np

from .compilation import compiled
from .flags import ShapeFlag
from .noise import FILL, FIXNOISE, WhiteFields

NEGLIGIBLE = 1e-6
ZERO_WEIGHT = int(ShapeFlag.ZERO_WEIGHT)
MASKED = int(ShapeFlag.MASKED)
EMPTY_STAMP = int(ShapeFlag.EMPTY_STAMP)
BAD_JACOBIAN = int(ShapeFlag.BAD_JACOBIAN)
NONFINITE = int(ShapeFlag.NONFINITE_PIXELS)


@compiled
def _screen(image, weight, jacobian, centre, max_masked, good, status, sigma):
    """Good pixels, flag bits and typical noise (from the mean weight) of each epoch."""
    ny, nx = image.shape[1:]
    for e in range(len(image)):
        total, count = 0.0, 0
        for i in range(ny):
            for j in range(nx):
                w = weight[e, i, j]
                if w > 0.0 and np.isfinite(w):
                    total += w
                    count += 1
        mean = total / max(count, 1)
        status[e] = 0
        n_good, any_signal = 0, False
        for i in range(ny):
            for j in range(nx):
                w, value = weight[e, i, j], image[e, i, j]
                finite = np.isfinite(value)
                ok = finite and np.isfinite(w) and w > NEGLIGIBLE * mean
                good[e, i, j] = ok
                n_good += ok
                any_signal |= ok and value != 0.0
                if not finite:
                    status[e] |= NONFINITE
        sigma[e] = 1.0 / math.sqrt(mean) if mean > 0.0 else 0.0
        if count == 0:
            status[e] |= ZERO_WEIGHT
        elif ny * nx - n_good > max_masked * ny * nx:
            status[e] |= MASKED
        elif not any_signal:
            status[e] |= EMPTY_STAMP
        j = jacobian[e]
        det = j[0, 0] * j[1, 1] - j[0, 1] * j[1, 0]
        square = j[0, 0] ** 2 + j[0, 1] ** 2 + j[1, 0] ** 2 + j[1, 1] ** 2
        inside = -0.5 <= centre[e, 0] <= nx - 0.5 and -0.5 <= centre[e, 1] <= ny - 0.5
        if not (abs(det) > 1e-4 * square and np.isfinite(square) and inside):
            status[e] |= BAD_JACOBIAN


@compiled
def _opposite(i, j, centre):
    """The pixel opposite (i, j) through the centre."""
    return int(round(2.0 * centre[1] - i)), int(round(2.0 * centre[0] - j))


@compiled
def _unfilled(good, centre, mirror):
    """How many masked pixels of a stamp cannot be filled from their counterpart."""
    ny, nx = good.shape
    count = 0
    for i in range(ny):
        for j in range(nx):
            if good[i, j]:
                continue
            k, m = _opposite(i, j, centre)
            count += not (mirror and 0 <= k < ny and 0 <= m < nx and good[k, m])
    return count


@compiled
def _pack(image, weight, good, centre, mirror, sigma, own_noise, noise, fill, stamp, fit_weight):
    """One epoch: complex stamp (image, turned noise) and weight of the fit.

    The weight comes in and goes out as inverse variance; `noise` has unit variance unless
    `own_noise`; `fill` is noise of unit variance for masked pixels.
    """
    ny, nx = image.shape
    for i in range(ny):
        for j in range(nx):
            spread = sigma
            if good[i, j]:
                w = weight[i, j]
                value = image[i, j]
                spread = 1.0 / math.sqrt(w)
                fit_weight[i, j] = w
            else:
                fit_weight[i, j] = 0.0
                k, m = _opposite(i, j, centre)
                if mirror and 0 <= k < ny and 0 <= m < nx and good[k, m]:
                    value = image[k, m]
                else:
                    value = sigma * fill[i, j]
            field = noise[i, j] if own_noise else noise[i, j] * spread
            stamp[i, j] += value
            stamp[nx - 1 - j, i] += 1j * field


def screen(batch, max_masked: float):
    """Judge pixels and epochs.

    Returns
    -------
    good : ndarray of bool, shape (N, ny, nx)
    status : ndarray of int32, shape (N,)
        Flag bits; an epoch with any bit but NONFINITE_PIXELS cannot be used.
    sigma : ndarray, shape (N,)
        Noise that stands for the whole stamp, from its mean weight.
    """
    n = len(batch.image)
    good, status = np.empty(batch.image.shape, bool), np.empty(n, np.int32)
    sigma = np.empty(n)
    _screen(
        batch.image,
        batch.weight,
        batch.jacobian,
        batch.centre,
        max_masked,
        good,
        status,
        sigma,
    )
    return good, status, sigma


def pack(batch, usable, good, sigma, settings, stamps, fit_weight):
    """Fill `stamps` (N, rows, size) and `fit_weight` (N, ny, nx) of the usable epochs.

    Each stamp holds the image (masked pixels filled) in its real part and the noise field, turned
    by 90 degrees, in its imaginary part, both in the corner of the array.
    """
    owner = np.repeat(np.arange(len(batch)), np.diff(batch.offsets))
    mirror = settings.fill == "mirror"
    shape = batch.image.shape[1:]
    nothing = np.zeros(shape, np.float32)
    own_noise = batch.noise is not None
    fields = WhiteFields()
    for e in np.flatnonzero(usable):
        seed = (shape, batch.ra[owner[e]], batch.dec[owner[e]], batch.epoch[e])
        noise = fill = nothing
        if settings.fixnoise:
            noise = batch.noise[e] if own_noise else fields.field(*seed, FIXNOISE)
        if not good[e].all() and _unfilled(good[e], batch.centre[e], mirror):
            fill = fields.field(*seed, FILL)
        _pack(
            batch.image[e],
            batch.weight[e],
            good[e],
            batch.centre[e],
            mirror,
            sigma[e],
            own_noise,
            noise,
            fill,
            stamps[e],
            fit_weight[e],
        )
