"""The Gaussian fit of a batch: damped Newton steps, sheared types from the predicted solution.

The unsheared image is fitted from its weighted moments.  The full Hessian at the solution and the
shear derivative of the gradient give the analytic response dp/dg by one linear solve; it predicts
the solutions of the sheared images so well that one or two passes complete each of them.
Derivatives are in `normal`; images come from `metacal`.
"""

from __future__ import annotations

import math

import numpy as np

from .compilation import compiled
from .flags import ShapeFlag
from .moments import scratch_arrays, sky_moments
from .normal import evaluate, workspace
from .response import shear_slopes

NOT_CONVERGED = int(ShapeFlag.NOT_CONVERGED)
OUT_OF_RANGE = int(ShapeFlag.OUT_OF_RANGE)
NO_RESPONSE = int(ShapeFlag.NO_RESPONSE)
NO_EPOCH = int(ShapeFlag.NO_EPOCH)
MAX_DAMPING = 1e8
NOISE_FREE = 1e-4  # chi^2 gains below this fraction of chi^2 are relative to it (S/N above 100)
START_AREA = 0.25  # arcsec^2, T of a galaxy with a half-light radius of 0.4 arcsec


@compiled
def fit_objects(
    images, weight, epochs, offsets, prior, prior_sigma, table, step, tolerance, limit, gain, out
):
    """Fit all objects, both halves of the noise pair and all shear types.

    Parameters
    ----------
    images : ndarray, shape (H, 3, N, ny, nx)
        Reconvolved image and its two shear derivatives, with the noise added and subtracted (or
        H = 1: no noise); as many halves are fitted as `out` has room for.
    weight : ndarray, shape (N, ny, nx)
    epochs : tuple
        (usable, jacobian, centre, target variance, shear origin) with leading axis N.
    offsets : ndarray of int, shape (B + 1,)
    prior : ndarray, shape (6,)
        See `normal.evaluate`; its first element is set from `prior_sigma`, shape (B,).
    table : tuple
        `gaussian.constants`.
    gain : float
        Weight of the data in the errors, 2 when a pair is averaged.
    out : tuple
        Arrays (H, B, 5, 6) parameters, (H, B, 5, 6) variances, (H, B, 5) s2n, (H, B, 6, 2)
        responses, (H, B, 5) flags, (H, B, 5) passes.
    """
    pars, variances, s2n, response, flags, passes = out
    solver = (np.empty(6), np.empty(6), np.empty(6), np.empty(6), np.empty((6, 6)))
    matrices = (np.empty((6, 6)), np.empty((6, 6)), np.empty((6, 6)), np.empty((6, 6)))
    tools = (workspace(), solver, matrices, scratch_arrays())
    own = prior.copy()
    for b in range(len(offsets) - 1):
        first, last = offsets[b], offsets[b + 1]
        mine = (
            epochs[0][first:last],
            epochs[1][first:last],
            epochs[2][first:last],
            epochs[3][first:last],
            epochs[4][first:last],
        )
        own[0] = prior_sigma[b]
        model = (weight[first:last], mine, own, table)
        for h in range(len(pars)):
            if not np.any(mine[0]):
                flags[h, b, :] = NO_EPOCH
                continue
            # slices taken one by one stay contiguous to the compiler, which vectorises the rows
            other = images[len(images) - 1 - h]
            _fit_types(
                (images[h, 0, first:last], images[h, 1, first:last], images[h, 2, first:last]),
                (other[0, first:last], other[1, first:last], other[2, first:last]),
                model,
                (step, tolerance, limit, gain),
                tools,
                (
                    pars[h, b],
                    variances[h, b],
                    s2n[h, b],
                    response[h, b],
                    flags[h, b],
                    passes[h, b],
                ),
            )


@compiled
def _fit_types(images, partner, model, control, tools, out):
    """The five types of one object for one half of the noise pair; `partner` is the other half."""
    step, _, _, gain = control
    pars, variances, s2n, response, flags, passes = out
    _, solver, matrices, _ = tools
    weight, epochs, prior, table = model
    data, p = images[0], pars[0]
    gauss, hess, chol = matrices[0], matrices[1], matrices[3]
    none = np.zeros(6)
    _first_guess(p, data, model, tools)
    flags[0], passes[0] = _solve(p, data, data, 0.0, none, model, control, tools)
    if flags[0] == 0:
        _errors(p, gauss, prior, gain, variances, s2n, 0, matrices[2])
    known = flags[0] == 0 and _factor(hess, 0.0, chol)
    if flags[0] == 0 and not known:
        flags[0] |= NO_RESPONSE
    push, curve, slope = np.zeros((2, 6)), np.zeros((2, 6)), solver[3]
    response[:] = 0.0
    for axis in range(2):
        if known:
            tilts = (images[1 + axis], partner[1 + axis])
            shear_slopes(p, tilts, axis, weight, epochs, table, tools[0], slope, push[axis])
            _substitute(chol, slope, solver[1])
            response[:, axis] = solver[1]
            push[axis] *= 0.5 * step * step
            _substitute(chol, push[axis], curve[axis])
    for t in range(1, 5):
        axis, sign = (t - 1) // 2, 1.0 if t % 2 == 1 else -1.0
        q, tilt = pars[t], images[1 + axis]
        for i in range(6):
            # the minus type starts from the plus type: all second-order terms are then included
            if sign < 0.0 and flags[t - 1] == 0:
                q[i] = pars[t - 1, i] - 2.0 * step * response[i, axis]
            else:
                q[i] = p[i] + sign * step * response[i, axis] + curve[axis, i]
        flags[t], passes[t] = _solve(q, data, tilt, sign * step, push[axis], model, control, tools)
        if flags[t] == 0:
            _errors(q, gauss, prior, gain, variances, s2n, t, matrices[2])


@compiled
def _first_guess(p, data, model, tools):
    """Start from the moments under a round weight, or from a round object if they make no sense.

    The moments are those of weight x image, so the image's covariance is (M^-1 - W^-1)^-1.
    """
    work, solver, _, scratch = tools
    _, epochs, _, table = model
    usable, jacobian, centre, extra, _ = epochs
    cov, sums = work[3], solver[3]
    kernel, count = 0.0, 0
    for e in range(len(usable)):
        if usable[e]:
            kernel += extra[e]
            count += 1
    kernel /= count
    wide = kernel + 0.5 * START_AREA
    cov[0] = cov[1] = wide
    cov[2] = 0.0
    p[:] = 0.0
    share = np.full(len(usable), 1.0 / count)
    sky_moments(data, share, usable, jacobian, centre, p, cov, table, scratch, sums)
    du, dv = sums[1] / sums[0], sums[2] / sums[0]
    muu, mvv = sums[3] / sums[0] - du * du, sums[4] / sums[0] - dv * dv
    muv = sums[5] / sums[0] - du * dv
    inner = muu * mvv - muv * muv
    if sums[0] > 0.0 and inner > 0.0 and muu > 0.0:
        nu, nv, nw = mvv / inner - 1.0 / wide, muu / inner - 1.0 / wide, -muv / inner
        outer = nu * nv - nw * nw
        suu, svv, suv = nv / outer - kernel, nu / outer - kernel, -nw / outer
        T = suu + svv
        e1, e2 = (suu - svv) / T, 2.0 * suv / T
        if outer > 0.0 and nu > 0.0 and 0.02 < T < 20.0 * wide and e1 * e1 + e2 * e2 < 0.8:
            scale = 1.0 / (1.0 + math.sqrt(1.0 - e1 * e1 - e2 * e2))
            p[0], p[1], p[2], p[3], p[4] = 2.0 * du, 2.0 * dv, e1 * scale, e2 * scale, T
            both = (nv / outer + wide) * (nu / outer + wide) - suv * suv
            p[5] = sums[0] * math.sqrt(both) / wide
            return
    _round_start(p, data, model, tools)


@compiled
def _round_start(p, data, model, tools):
    """A round object at the expected centre, with the flux that fits best."""
    work, solver, matrices, _ = tools
    weight, epochs, _, table = model
    p[:] = 0.0
    p[4], p[5] = START_AREA, 1.0
    free = np.array([0.0, 0.0, -np.inf, np.inf, -np.inf, np.inf])
    grad, gauss, hess = solver[0], matrices[0], matrices[1]
    none = np.zeros(6)
    evaluate(p, data, data, 0.0, none, (weight, epochs, free, table), work, grad, gauss, hess)
    flux = 1.0 + grad[5] / gauss[5, 5]
    p[5] = flux if abs(flux) > 1e-6 * math.sqrt(1.0 / gauss[5, 5]) else 1e-6


@compiled
def _solve(p, data, tilt, sign, push, model, control, tools):
    """Damped Newton steps to the minimum, in place; returns (flags, passes).

    On return matrices[0] and [1] hold the Gauss-Newton matrix and the Hessian of the last pass.
    """
    _, tolerance, limit, _ = control
    work, solver, matrices, _ = tools
    grad, x, q, other, chol = solver
    gauss, hess, gauss2, hess2 = matrices
    chi2 = evaluate(p, data, tilt, sign, push, model, work, grad, gauss, hess)
    if not np.isfinite(chi2):
        return OUT_OF_RANGE, 1
    damping = 0.0
    passes = 1
    while passes < limit:
        newton = _factor(hess, damping, chol)
        if not newton and not _factor(gauss, damping, chol):
            damping = max(10.0 * damping, 1e-3)
            if damping > MAX_DAMPING:
                return NOT_CONVERGED, passes
            continue
        _substitute(chol, grad, x)
        gain = 0.0
        for i in range(6):
            gain += x[i] * grad[i]
            q[i] = p[i] + x[i]
        # Newton steps converge quadratically: after the step taken here the error is negligible
        scale = 1.0 + NOISE_FREE * abs(chi2)
        if damping == 0.0 and gain < scale * (tolerance if newton else 1e-3 * tolerance):
            p[:] = q
            return 0, passes
        trial = evaluate(q, data, tilt, sign, push, model, work, other, gauss2, hess2)
        passes += 1
        for i in range(6):
            gain += damping * x[i] * x[i] * (hess[i, i] if newton else gauss[i, i])
        ratio = (chi2 - trial) / gain if np.isfinite(trial) else -1.0
        # close to the minimum chi2 cannot tell good steps from rounding in single precision
        close = newton and gain < 1e-2 * scale and np.isfinite(trial)
        if ratio > 0.0 or close:
            chi2 = trial
            p[:] = q
            grad[:] = other
            gauss[:] = gauss2
            hess[:] = hess2
            if ratio > 0.75 or close:
                damping = 0.1 * damping if damping > 1e-2 else 0.0
            elif ratio < 0.25:
                damping = max(3.0 * damping, 0.3)
        else:
            damping = max(10.0 * damping, 0.1)
            if damping > MAX_DAMPING:
                return NOT_CONVERGED, passes
    return NOT_CONVERGED, passes


@compiled
def _errors(p, gauss, prior, gain, variances, s2n, t, chol):
    """Diagonal of the inverse Gauss-Newton matrix, and F / sigma(F) at fixed shape."""
    s2n[t] = p[5] * math.sqrt(gauss[5, 5])
    scaled = gauss.copy()
    for i in range(6):
        for j in range(i + 1):
            scaled[i, j] *= gain
    if gain != 1.0:
        rest = 1.0 - p[2] * p[2] - p[3] * p[3]
        for i in range(2):
            if prior[0] > 0.0:
                scaled[i, i] -= (gain - 1.0) / (prior[0] * prior[0])
            if prior[1] > 0.0:
                shape = 1.0 / (prior[1] * prior[1]) + 4.0 / rest
                scaled[2 + i, 2 + i] -= (gain - 1.0) * shape
    unit, column = np.zeros(6), np.empty(6)
    if not _factor(scaled, 0.0, chol):
        variances[t, :] = np.nan
        return
    for i in range(6):
        unit[:] = 0.0
        unit[i] = 1.0
        _substitute(chol, unit, column)
        variances[t, i] = column[i]


@compiled
def _factor(matrix, damping, chol):
    """Cholesky factor of matrix + damping diag(matrix), lower half; False if not positive."""
    for i in range(6):
        for j in range(i + 1):
            value = matrix[i, j]
            if i == j:
                value *= 1.0 + damping
            for k in range(j):
                value -= chol[i, k] * chol[j, k]
            if i == j:
                if not value > 0.0:
                    return False
                chol[i, i] = math.sqrt(value)
            else:
                chol[i, j] = value / chol[j, j]
    return True


@compiled
def _substitute(chol, right, x):
    """Solve chol chol^T x = right."""
    for i in range(6):
        value = right[i]
        for k in range(i):
            value -= chol[i, k] * x[k]
        x[i] = value / chol[i, i]
    for i in range(5, -1, -1):
        value = x[i]
        for k in range(i + 1, 6):
            value -= chol[k, i] * x[k]
        x[i] = value / chol[i, i]
