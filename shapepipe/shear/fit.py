"""The Gaussian fit of a batch: damped Newton steps, sheared types from the predicted solution.

The unsheared image is fitted from a round start.  The full Hessian at the solution and the shear
derivative of the gradient give the analytic response dp/dg by one linear solve; it predicts the
solutions of the sheared images so well that one or two further passes complete each of them.
Derivatives are in `normal`; images come from `metacal`.
"""

from __future__ import annotations

import math

import numpy as np

from .flags import ShapeFlag
from .gaussian import compiled
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
    work = workspace()
    solver = (np.empty(6), np.empty(6), np.empty(6), np.empty(6), np.empty((6, 6)))
    shears = (np.empty((2, 6)), np.empty((2, 6)), np.zeros(6))
    matrices = (np.empty((6, 6)), np.empty((6, 6)), np.empty((6, 6)), np.empty((6, 6)))
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
        for h in range(len(pars)):
            if not np.any(mine[0]):
                flags[h, b, :] = NO_EPOCH
                continue
            result = (
                pars[h, b],
                variances[h, b],
                s2n[h, b],
                response[h, b],
                flags[h, b],
                passes[h, b],
            )
            guess = pars[0, b, 0]
            _fit_types(
                images[h, :, first:last],
                images[len(images) - 1 - h, :, first:last],
                weight[first:last],
                mine,
                own,
                table,
                (step, tolerance, limit, gain),
                (h > 0 and flags[0, b, 0] == 0, guess),
                work,
                solver,
                matrices,
                shears,
                result,
            )


@compiled
def _fit_types(
    images,
    partner,
    weight,
    epochs,
    prior,
    table,
    control,
    start,
    work,
    solver,
    matrices,
    shears,
    out,
):
    """The five types of one object for one half of the noise pair; `partner` is the other half."""
    step, tolerance, limit, gain = control
    pars, variances, s2n, response, flags, passes = out
    data = images[0]
    gauss, hess = matrices[0], matrices[1]
    p = pars[0]
    if start[0]:
        p[:] = start[1]
    else:
        _round_start(p, data, weight, epochs, prior, table, work, solver, matrices)
    none = shears[2]
    flags[0], passes[0] = _solve(
        p,
        data,
        data,
        0.0,
        none,
        weight,
        epochs,
        prior,
        table,
        tolerance,
        limit,
        work,
        solver,
        matrices,
    )
    if flags[0] == 0:
        _errors(p, gauss, prior, gain, variances, s2n, 0, matrices[2])
    known = flags[0] == 0 and _factor(hess, 0.0, matrices[3])
    if flags[0] == 0 and not known:
        flags[0] |= NO_RESPONSE
    push, curve = shears[0], shears[1]
    push[:] = 0.0
    curve[:] = 0.0
    response[:] = 0.0
    for axis in range(2):
        if known:
            shear_slopes(
                p,
                images[1 + axis],
                partner[1 + axis],
                axis,
                weight,
                epochs,
                table,
                work,
                solver[3],
                push[axis],
            )
            _substitute(matrices[3], solver[3], solver[1])
            response[:, axis] = solver[1]
            push[axis] *= 0.5 * step * step
            _substitute(matrices[3], push[axis], curve[axis])
    for t in range(1, 5):
        axis, sign = (t - 1) // 2, 1.0 if t % 2 == 1 else -1.0
        q = pars[t]
        for i in range(6):
            # the minus type starts from the plus type: all second-order terms are then included
            if sign < 0.0 and flags[t - 1] == 0:
                q[i] = pars[t - 1, i] - 2.0 * step * response[i, axis]
            else:
                q[i] = p[i] + sign * step * response[i, axis] + curve[axis, i]
        flags[t], passes[t] = _solve(
            q,
            data,
            images[1 + axis],
            sign * step,
            push[axis],
            weight,
            epochs,
            prior,
            table,
            tolerance,
            limit,
            work,
            solver,
            matrices,
        )
        if flags[t] == 0:
            _errors(q, gauss, prior, gain, variances, s2n, t, matrices[2])


@compiled
def _round_start(p, data, weight, epochs, prior, table, work, solver, matrices):
    """A round object at the expected centre, with the flux that fits best."""
    p[:] = 0.0
    p[4], p[5] = START_AREA, 1.0
    wide = prior.copy()
    wide[1] = wide[0] = 0.0
    wide[2], wide[3], wide[4], wide[5] = -np.inf, np.inf, -np.inf, np.inf
    grad, gauss, hess = solver[0], matrices[0], matrices[1]
    evaluate(p, data, data, 0.0, np.zeros(6), weight, epochs, wide, table, work, grad, gauss, hess)
    flux = 1.0 + grad[5] / gauss[5, 5]
    p[5] = flux if abs(flux) > 1e-6 * math.sqrt(1.0 / gauss[5, 5]) else 1e-6


@compiled
def _solve(
    p,
    data,
    tilt,
    sign,
    push,
    weight,
    epochs,
    prior,
    table,
    tolerance,
    limit,
    work,
    solver,
    matrices,
):
    """Damped Newton steps to the minimum, in place; returns (flags, passes).

    On return matrices[0] and [1] hold the Gauss-Newton matrix and the Hessian of the last pass.
    """
    grad, x, q, other, chol = solver
    gauss, hess, gauss2, hess2 = matrices
    chi2 = evaluate(
        p, data, tilt, sign, push, weight, epochs, prior, table, work, grad, gauss, hess
    )
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
        trial = evaluate(
            q, data, tilt, sign, push, weight, epochs, prior, table, work, other, gauss2, hess2
        )
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
