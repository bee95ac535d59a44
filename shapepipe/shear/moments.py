"""Adaptive and fixed-weight Gaussian moments of the stamps of one object, all epochs together.

Both serve two ends: shapes of PSFs (one epoch at a time) and the estimators `admom` and `wmom` on
reconvolved images.  Sizes are areas T = suu + svv of the sky covariance, arcsec^2.

References
----------
Bernstein & Jarvis 2002, AJ 123, 583, section 3 (adaptive moments); Hirata & Seljak 2003,
MNRAS 343, 459 (the fixed point that GalSim's HSM finds too).
"""

from __future__ import annotations

import math

import numpy as np

from .compilation import compiled, fast
from .gaussian import (
    SCALE,
    add_rows,
    constants,
    pixel_shape,
    row_range,
    rows_inside,
)

MAX_STEPS = 200
FIRST_VARIANCE = 2.5  # pixel areas: the weight at the start, FWHM 3.7 pixels
CONVERGED, FAILED = 0, 1


@fast
def weighted_moments(data, shape, table, moments, row):
    """Moments of (Gaussian weight) x data to degree 2 about the weight's centre, in pixels."""
    ny, nx = data.shape
    axx, axy, ayy, xc, yc = shape[0], shape[1], shape[2], shape[3], shape[4]
    moments[:] = 0.0
    coef, ramp, held = table
    one = coef[0]
    c2, c3, c4, c5, c6, c7 = coef[2], coef[3], coef[4], coef[5], coef[6], coef[7]
    held[1] = -0.5 * axx / SCALE
    curve = held[1]
    y0, y1 = rows_inside(axx, axy, ayy, yc, ny)
    for iy in range(y0, y1):
        x0, x1, ridge, height = row_range(axx, axy, ayy, xc, yc, iy, ny, nx)
        d_row = data[iy, x0:x1]
        held[2], held[3] = ridge, x0 - xc - ridge
        off, start = held[2], held[3]
        h0 = h1 = h2 = one - one
        for i in range(x1 - x0):
            z = ramp[i] + start
            y = curve * z * z
            p = one + y * (one + y * (c2 + y * (c3 + y * (c4 + y * (c5 + y * (c6 + y * c7))))))
            p *= p
            p *= p
            p *= p
            p *= p
            p *= p
            h = d_row[i] * p
            d = z + off
            h0 += h
            h1 += h * d
            h2 += h * d * d
        row[0], row[1], row[2] = h0 * height, h1 * height, h2 * height
        add_rows(moments, row, 2, iy - yc)


@compiled
def sky_moments(data, share, usable, jacobian, centre, p, cov, table, scratch, out):
    """Sums over epochs of weighted sky moments (1, u, v, uu, vv, uv) about (p[0], p[1])."""
    shape, lin, moments, row = scratch
    det = cov[0] * cov[1] - cov[2] * cov[2]
    out[:] = 0.0
    for e in range(data.shape[0]):
        if not usable[e]:
            continue
        j = jacobian[e]
        pixel_shape(cov, det, p, j, centre[e], shape, lin)
        weighted_moments(data[e], shape, table, moments, row)
        a, b, c, d = j[0, 0], j[0, 1], j[1, 0], j[1, 1]
        xx, xy, yy = moments[3], moments[4], moments[5]
        out[0] += share[e] * moments[0]
        out[1] += share[e] * (a * moments[1] + b * moments[2])
        out[2] += share[e] * (c * moments[1] + d * moments[2])
        out[3] += share[e] * (a * a * xx + 2.0 * a * b * xy + b * b * yy)
        out[4] += share[e] * (c * c * xx + 2.0 * c * d * xy + d * d * yy)
        out[5] += share[e] * (a * c * xx + (a * d + b * c) * xy + b * d * yy)


@compiled
def scratch_arrays():
    """Work space of `sky_moments`."""
    return np.empty(5), np.empty((2, 2)), np.empty(6), np.empty(3)


@compiled
def adapt(data, share, usable, jacobian, centre, first, tolerance, table, scratch, p, cov, sums):
    """Find the Gaussian weight that agrees with the moments it measures.

    Fills `p` (offset u, v), `cov` (suu, svv, suv) and `sums`; returns CONVERGED or FAILED.
    """
    cov[0] = cov[1] = first
    cov[2] = 0.0
    p[:] = 0.0
    for _ in range(MAX_STEPS):
        det = cov[0] * cov[1] - cov[2] * cov[2]
        if not (det > 0.0 and cov[0] > 0.0 and cov[0] + cov[1] < 1e4):
            return FAILED
        sky_moments(data, share, usable, jacobian, centre, p, cov, table, scratch, sums)
        if not sums[0] > 0.0:
            return FAILED
        du, dv = sums[1] / sums[0], sums[2] / sums[0]
        muu, mvv = sums[3] / sums[0] - du * du, sums[4] / sums[0] - dv * dv
        muv = sums[5] / sums[0] - du * dv
        # the moments are those of weight x image: C_new^-1 = M^-1 - C^-1
        inner = muu * mvv - muv * muv
        if not inner > 0.0:
            return FAILED
        nu, nv = mvv / inner - cov[1] / det, muu / inner - cov[0] / det
        nw = -muv / inner + cov[2] / det
        outer = nu * nv - nw * nw
        if not (outer > 0.0 and nu > 0.0):
            return FAILED
        suu, svv, suv = nv / outer, nu / outer, -nw / outer
        change = abs(suu - cov[0]) + abs(svv - cov[1]) + abs(suv - cov[2])
        size = cov[0] + cov[1]
        shift = abs(du) + abs(dv)
        p[0] += 2.0 * du
        p[1] += 2.0 * dv
        cov[0], cov[1], cov[2] = suu, svv, suv
        if change < tolerance * size and shift < tolerance * math.sqrt(size):
            return CONVERGED
    return FAILED


@compiled
def _adapt_each(stamps, usable, jacobian, centre, tolerance, table, out):
    """Adaptive moments of each stamp alone: (u, v, suu, svv, suv, status)."""
    scratch = scratch_arrays()
    p, cov, sums, share = np.empty(2), np.empty(3), np.empty(6), np.ones(1)
    for e in range(len(stamps)):
        out[e, :] = np.nan
        out[e, 5] = FAILED
        if not usable[e]:
            continue
        own = slice(e, e + 1)
        j = jacobian[e]
        area = abs(j[0, 0] * j[1, 1] - j[0, 1] * j[1, 0])
        out[e, 5] = adapt(
            stamps[own],
            share,
            usable[own],
            jacobian[own],
            centre[own],
            FIRST_VARIANCE * area,
            tolerance,
            table,
            scratch,
            p,
            cov,
            sums,
        )
        out[e, :2] = p
        out[e, 2:5] = cov


def adaptive_moments(stamps, jacobian, centre, usable=None, tolerance=1e-7):
    """Adaptive moments of single stamps.

    Parameters
    ----------
    stamps : ndarray, shape (N, ny, nx)
    jacobian : ndarray, shape (N, 2, 2)
        arcsec per pixel.
    centre : ndarray, shape (N, 2)
        First guess (x, y), 0-based pixels.
    usable : ndarray of bool, shape (N,), optional
        Stamps to measure.
    tolerance : float
        Relative change of the moments at which to stop.

    Returns
    -------
    covariance : ndarray, shape (N, 3)
        (suu, svv, suv), arcsec^2; NaN where it failed.
    offset : ndarray, shape (N, 2)
        Centroid relative to `centre`, (u, v) in arcsec.
    good : ndarray of bool, shape (N,)
    """
    usable = np.ones(len(stamps), bool) if usable is None else usable
    out = np.empty((len(stamps), 6))
    table = constants(np.float64, stamps.shape[-1])  # sums in single precision do not settle
    _adapt_each(stamps, usable, jacobian, centre, tolerance, table, out)
    good = out[:, 5] == CONVERGED
    out[~good, :5] = np.nan
    return out[:, 2:5], out[:, :2], good


def shape_of(covariance):
    """Reduced shear g1, g2 and area T of covariances (..., 3) = (suu, svv, suv).

    The ellipticity e = (suu - svv, 2 suv) / T is turned into g = e / (1 + sqrt(1 - e^2)).
    """
    suu, svv, suv = np.moveaxis(covariance, -1, 0)
    T = suu + svv
    with np.errstate(invalid="ignore", divide="ignore"):
        e1, e2 = (suu - svv) / T, 2 * suv / T
        scale = 1 / (1 + np.sqrt(np.maximum(1 - e1**2 - e2**2, 0)))
    return e1 * scale, e2 * scale, T
