"""The estimators `wmom` and `admom`: Gaussian-weighted moments of reconvolved images.

They answer in the same arrays as the Gaussian fit.  `wmom` (fixed round weight at the expected
centre) gives g = e = (Muu - Mvv, 2 Muv) / (Muu + Mvv), T = (Muu + Mvv) / M0 under the weight and
flux = M0; `admom` gives the reduced shear and area of the adapted Gaussian, and flux = 2 M0.  No
PSF correction is needed in either: the response takes care of it.  Weights of pixels play no
role beyond the noise of each epoch, since masked pixels have been filled.

Errors take the noise as white and the weight as wide compared to a pixel; of the weighted
moments, sum of W^2 is pi sqrt(det C) / pixel area and the second moments of W^2 are C / 2.
"""

from __future__ import annotations

import math

import numpy as np

from .compilation import compiled
from .flags import ShapeFlag
from .gaussian import constants
from .metacal import fixed_variance
from .moments import CONVERGED, adapt, scratch_arrays, sky_moments

NOT_CONVERGED = int(ShapeFlag.NOT_CONVERGED)
NO_EPOCH = int(ShapeFlag.NO_EPOCH)
ADAPTIVE_TOLERANCE = 1e-7


def measured(images, share, sigma, epochs, offsets, settings):
    """Arrays of `fit.fit_objects` for all objects and shear types."""
    halves, b = len(settings.signs), len(offsets) - 1
    out = (
        np.full((halves, b, 5, 6), np.nan),
        np.full((halves, b, 5, 6), np.nan),
        np.full((halves, b, 5), np.nan),
        np.full((halves, b, 6, 2), np.nan),
        np.zeros((halves, b, 5), np.int32),
        np.ones((halves, b, 5), np.int32),
    )
    table = constants(np.float64, images.shape[-1])
    doubled = 2.0 if settings.fixnoise else 1.0
    averaged = 2.0 if halves == 2 else 1.0
    control = (settings.step, doubled, averaged, fixed_variance(settings.weight_fwhm))
    adaptive = settings.estimator == "admom"
    _measure(images, share, sigma, epochs, offsets, control, adaptive, table, out)
    return out


@compiled
def _measure(images, share, sigma, epochs, offsets, control, adaptive, table, out):
    """All objects; see `measured`."""
    scratch = scratch_arrays()
    cov, p, sums = np.empty(3), np.empty(2), np.empty(6)
    flags = out[4]
    for b in range(len(offsets) - 1):
        first, last = offsets[b], offsets[b + 1]
        usable = epochs[0][first:last]
        weights = share[first:last].copy()
        total = weights.sum()
        if not np.any(usable) or not total > 0.0:
            flags[:, b, :] = NO_EPOCH
            continue
        weights /= total
        noise = _noise_sum(weights, sigma[first:last], epochs[1][first:last])
        mine = (usable, epochs[1][first:last], epochs[2][first:last], epochs[3][first:last])
        for h in range(len(out[0])):
            own = (images[h, 0, first:last], images[h, 1, first:last], images[h, 2, first:last])
            result = (out[0][h, b], out[1][h, b], out[2][h, b], out[3][h, b], flags[h, b])
            if adaptive:
                _adaptive(own, weights, noise, mine, control, table, scratch, p, cov, sums, result)
            else:
                _weighted(own, weights, noise, mine, control, table, scratch, p, cov, sums, result)


@compiled
def _noise_sum(share, sigma, jacobian):
    """sum over epochs of share^2 sigma^2 / pixel area."""
    value = 0.0
    for e in range(len(share)):
        if share[e] > 0.0:
            j = jacobian[e]
            area = abs(j[0, 0] * j[1, 1] - j[0, 1] * j[1, 0])
            value += (share[e] * sigma[e]) ** 2 / area
    return value


@compiled
def _weighted(images, share, noise, epochs, control, table, scratch, p, cov, sums, result):
    """Fixed weight: the moments are linear in the image, so are those of the sheared types."""
    pars, variances, s2n, response, flags = result
    usable, jacobian, centre = epochs[:3]
    step, doubled, averaged, variance = control
    p[:] = 0.0
    cov[0] = cov[1] = variance
    cov[2] = 0.0
    base, tilt = np.empty(6), np.empty(6)
    sky_moments(images[0], share, usable, jacobian, centre, p, cov, table, scratch, base)
    response[:] = 0.0
    for axis in range(2):
        sky_moments(images[1 + axis], share, usable, jacobian, centre, p, cov, table, scratch, tilt)
        for t in range(5):
            if t == 0 or (t - 1) // 2 == axis:
                sign = 0.0 if t == 0 else (1.0 if t % 2 == 1 else -1.0)
                for i in range(6):
                    sums[i] = base[i] + sign * step * tilt[i]
                flags[t] = _ellipticity(sums, pars[t])
                spread = noise * math.pi * variance
                _moment_errors(pars[t], variance, spread, doubled, averaged, variances[t], s2n, t)
        size, d_size = base[3] + base[4], tilt[3] + tilt[4]
        response[2, axis] = (tilt[3] - tilt[4] - pars[0, 2] * d_size) / size
        response[3, axis] = (2.0 * tilt[5] - pars[0, 3] * d_size) / size
        response[4, axis] = (d_size - pars[0, 4] * tilt[0]) / base[0]
        response[5, axis] = tilt[0]


@compiled
def _ellipticity(sums, pars):
    """Ellipticity, area and flux from moments; a flag if they do not exist."""
    size = sums[3] + sums[4]
    if not (abs(sums[0]) > 0.0 and abs(size) > 0.0):
        return NOT_CONVERGED
    pars[0], pars[1] = sums[1] / sums[0], sums[2] / sums[0]
    pars[2], pars[3] = (sums[3] - sums[4]) / size, 2.0 * sums[5] / size
    pars[4], pars[5] = size / sums[0], sums[0]
    return 0


@compiled
def _moment_errors(pars, variance, spread, doubled, averaged, variances, s2n, t):
    """Errors for a round weight of the given variance; `spread` is the variance of M0."""
    full = spread * doubled
    own = full / averaged
    flux, T = pars[5], pars[4]
    s2n[t] = flux / math.sqrt(full)
    variances[0] = variances[1] = own * 0.5 * variance / flux**2
    variances[2] = variances[3] = own * (variance / (T * flux)) ** 2
    variances[4] = own * (2.0 * variance**2 - 2.0 * T * variance + T * T) / flux**2
    variances[5] = own


@compiled
def _adaptive(images, share, noise, epochs, control, table, scratch, p, cov, sums, result):
    """Adapted weight of each type; the response is the symmetric difference of the types."""
    pars, variances, s2n, response, flags = result
    usable, jacobian, centre, extra = epochs[:4]
    step, doubled, averaged, _ = control
    first = 0.0
    for e in range(len(usable)):
        if usable[e]:
            first = max(first, 1.3 * extra[e])
    image = images[0].copy()
    for t in range(5):
        axis, sign = (t - 1) // 2, 0.0 if t == 0 else (1.0 if t % 2 == 1 else -1.0)
        if t > 0:
            image[:] = images[0] + (images[1 + axis] * (sign * step)).astype(image.dtype)
        status = adapt(
            image,
            share,
            usable,
            jacobian,
            centre,
            first,
            ADAPTIVE_TOLERANCE,
            table,
            scratch,
            p,
            cov,
            sums,
        )
        if status != CONVERGED:
            flags[t] = NOT_CONVERGED
            continue
        _adapted(p, cov, sums[0], pars[t])
        variance = 0.5 * pars[t, 4]
        full = noise * math.pi * math.sqrt(cov[0] * cov[1] - cov[2] * cov[2]) * doubled
        own = full / averaged
        s2n[t] = sums[0] / math.sqrt(full)
        variances[t, 0] = variances[t, 1] = own * 2.0 * variance / sums[0] ** 2
        variances[t, 2] = variances[t, 3] = own / sums[0] ** 2
        variances[t, 4] = 4.0 * own * pars[t, 4] ** 2 / sums[0] ** 2
        variances[t, 5] = 8.0 * own
    for axis in range(2):
        response[:, axis] = (pars[1 + 2 * axis] - pars[2 + 2 * axis]) / (2.0 * step)


@compiled
def _adapted(p, cov, flux, pars):
    """Parameters of the adapted Gaussian."""
    T = cov[0] + cov[1]
    e1, e2 = (cov[0] - cov[1]) / T, 2.0 * cov[2] / T
    scale = 1.0 / (1.0 + math.sqrt(max(1.0 - e1 * e1 - e2 * e2, 0.0)))
    pars[0], pars[1] = p[0], p[1]
    pars[2], pars[3] = e1 * scale, e2 * scale
    pars[4], pars[5] = T, 2.0 * flux
