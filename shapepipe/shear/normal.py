"""Gradient and Hessian of chi^2 of the multi-epoch Gaussian fit, priors included.

The parameters are (u0, v0, g1, g2, T, F): centre in arcsec, reduced shear, area in arcsec^2,
flux.  Half of chi^2 has the Hessian  sum w m_i m_j - sum w r m_ij ; the first part is the
Gauss-Newton matrix, from which the errors follow, the whole gives Newton steps and the analytic
response.  The pixel sums are in `gaussian`.
"""

from __future__ import annotations

import math

import numpy as np

from .compilation import compiled
from .gaussian import (
    covariance,
    covariance_slopes,
    pixel_shape,
    residual_moments,
)

TINY_FLUX = 1e-30


@compiled
def workspace():
    """Scratch arrays of one thread."""
    return (
        np.empty(15),  # moments of w m^2
        np.empty(15),  # moments of w m r
        np.empty(5),  # sums of one row
        np.empty(3),  # sky covariance
        np.empty(5),  # shape in pixels
        np.empty((2, 2)),  # linear forms y = A d
        np.empty((3, 3)),  # first derivatives of the covariance
        np.empty((3, 3, 3)),  # second derivatives of the covariance
        np.empty((6, 6)),  # derivatives of ln m as polynomials
        np.empty((6, 6)),  # product matrix
    )


@compiled
def evaluate(p, data, tilt, sign, push, model, work, grad, gauss, hess):
    """Chi^2 up to a constant; fills -grad/2, the Gauss-Newton matrix and the half Hessian.

    The image is `data` + `sign` x `tilt`; `model` is (weight, epochs, prior, table), in which
    `epochs` is (usable, jacobian, centre, target variance, shear origin); `prior` is (centre
    sigma, shape sigma, T low, T high, flux low, flux high); `push` is a constant part of -grad/2.
    Returns infinity outside the prior's range.
    """
    quad, resid, row, cov, shape, lin, first, second, poly, prod = work
    weight, epochs, prior, table = model
    usable, jacobian, centre, extra, _ = epochs
    grad[:] = push
    gauss[:] = 0.0
    hess[:] = 0.0
    if not _inside(p, prior):
        return np.inf
    covariance_slopes(p[2], p[3], p[4], first, second)
    chi2 = 0.0
    for i in range(6):
        chi2 -= 2.0 * push[i] * p[i]
    for e in range(data.shape[0]):
        if not usable[e]:
            continue
        det = covariance(p[2], p[3], p[4], extra[e], cov)
        if det <= 1e-12 or cov[0] <= 0.0:
            return np.inf
        amplitude = start_epoch(p, jacobian[e], centre[e], cov, det, shape, lin)
        residual_moments(
            data[e], tilt[e], sign, weight[e], shape, amplitude, table, quad, resid, row
        )
        chi2 -= 2.0 * resid[0] + quad[0]
        log_slopes(p, cov, det, lin, first, poly)
        _add_product(poly, quad, prod, gauss)
        _add_product(poly, resid, prod, hess)
        for i in range(6):
            for k in range(6):
                grad[i] += poly[i, k] * resid[k]
        _add_curvature(p, cov, det, lin, first, second, resid, hess)
    for i in range(6):
        for j in range(i + 1):
            hess[i, j] = gauss[i, j] - hess[i, j]
    chi2 += _add_prior(p, prior, grad, gauss, hess)
    return chi2


@compiled
def start_epoch(p, jacobian, centre, cov, det, shape, lin):
    """Pixel geometry of the model in one epoch; returns its peak in flux per pixel."""
    pixel_shape(cov, det, p, jacobian, centre, shape, lin)
    area = abs(jacobian[0, 0] * jacobian[1, 1] - jacobian[0, 1] * jacobian[1, 0])
    return p[5] * area / (2.0 * math.pi * math.sqrt(det))


@compiled
def log_slopes(p, cov, det, lin, first, poly):
    """d ln m / d p_i as coefficients of (1, dx, dy, dx^2, dx dy, dy^2)."""
    a, b, c, d = lin[0, 0], lin[0, 1], lin[1, 0], lin[1, 1]
    pu, qv, rw = cov[1] / det, cov[0] / det, -cov[2] / det
    poly[:] = 0.0
    poly[0, 1], poly[0, 2] = a, b
    poly[1, 1], poly[1, 2] = c, d
    poly[5, 0] = 1.0 / p[5]
    for k in range(3):
        du, dv, dw = 0.5 * first[k, 0], 0.5 * first[k, 1], first[k, 2]
        poly[2 + k, 0] = -(du * pu + dv * qv + dw * rw)
        poly[2 + k, 3] = du * a * a + dv * c * c + dw * a * c
        poly[2 + k, 4] = 2.0 * (du * a * b + dv * c * d) + dw * (a * d + b * c)
        poly[2 + k, 5] = du * b * b + dv * d * d + dw * b * d


@compiled
def _inside(p, prior):
    """Whether the parameters are within the range of the priors."""
    if not p[2] * p[2] + p[3] * p[3] < 0.9999:
        return False
    if not (prior[2] <= p[4] <= prior[3] and prior[4] <= p[5] <= prior[5]):
        return False
    return abs(p[5]) > TINY_FLUX and abs(p[0]) < 1e6 and abs(p[1]) < 1e6


@compiled
def moment_row(poly, moments, out):
    """out[k] = sum over j of poly[j] M[j, k], M the moment matrix of the six monomials."""
    out[0] = 0.0
    for j in range(6):
        out[0] += poly[j] * moments[j]
    out[1] = poly[0] * moments[1] + poly[1] * moments[3] + poly[2] * moments[4]
    out[1] += poly[3] * moments[6] + poly[4] * moments[7] + poly[5] * moments[8]
    out[2] = poly[0] * moments[2] + poly[1] * moments[4] + poly[2] * moments[5]
    out[2] += poly[3] * moments[7] + poly[4] * moments[8] + poly[5] * moments[9]
    for k in range(3):
        out[3 + k] = poly[0] * moments[3 + k] + poly[1] * moments[6 + k] + poly[2] * moments[7 + k]
        out[3 + k] += poly[3] * moments[10 + k] + poly[4] * moments[11 + k]
        out[3 + k] += poly[5] * moments[12 + k]


@compiled
def _add_product(poly, m, prod, out):
    """Add poly . M . poly^T (lower half).

    Centre rows of `poly` hold dx and dy only, shape rows 1 and second powers, the flux row 1.
    """
    for i in range(2, 5):
        row = prod[i]
        p0, p3, p4, p5 = poly[i, 0], poly[i, 3], poly[i, 4], poly[i, 5]
        row[0] = p0 * m[0] + p3 * m[3] + p4 * m[4] + p5 * m[5]
        row[1] = p0 * m[1] + p3 * m[6] + p4 * m[7] + p5 * m[8]
        row[2] = p0 * m[2] + p3 * m[7] + p4 * m[8] + p5 * m[9]
        row[3] = p0 * m[3] + p3 * m[10] + p4 * m[11] + p5 * m[12]
        row[4] = p0 * m[4] + p3 * m[11] + p4 * m[12] + p5 * m[13]
        row[5] = p0 * m[5] + p3 * m[12] + p4 * m[13] + p5 * m[14]
        for j in range(2):
            out[i, j] += row[1] * poly[j, 1] + row[2] * poly[j, 2]
        for j in range(2, i + 1):
            out[i, j] += row[0] * poly[j, 0] + row[3] * poly[j, 3]
            out[i, j] += row[4] * poly[j, 4] + row[5] * poly[j, 5]
        out[5, i] += poly[5, 0] * row[0]
    for i in range(2):
        a, b = poly[i, 1], poly[i, 2]
        for j in range(i + 1):
            c, d = poly[j, 1], poly[j, 2]
            out[i, j] += a * c * m[3] + (a * d + b * c) * m[4] + b * d * m[5]
        out[5, i] += poly[5, 0] * (a * m[1] + b * m[2])
    out[5, 5] += poly[5, 0] * poly[5, 0] * m[0]


@compiled
def _add_curvature(p, cov, det, lin, first, second, resid, hess):
    """Add sum w m r d^2 ln m / dp_i dp_j (lower half)."""
    pu, qv, rw = cov[1] / det, cov[0] / det, -cov[2] / det
    a, b, c, d = lin[0, 0], lin[0, 1], lin[1, 0], lin[1, 1]
    v0 = resid[0]
    yu, yv = a * resid[1] + b * resid[2], c * resid[1] + d * resid[2]
    xx, xy, yy = resid[3], resid[4], resid[5]
    yuu = a * a * xx + 2.0 * a * b * xy + b * b * yy
    yvv = c * c * xx + 2.0 * c * d * xy + d * d * yy
    yuv = a * c * xx + (a * d + b * c) * xy + b * d * yy
    hess[0, 0] -= pu * v0
    hess[1, 0] -= rw * v0
    hess[1, 1] -= qv * v0
    hess[5, 5] -= v0 / (p[5] * p[5])
    for k in range(3):
        ku, kv, kw = first[k, 0], first[k, 1], first[k, 2]
        # A dS y, the change of y with the covariance
        su, sv = ku * yu + kw * yv, kw * yu + kv * yv
        hess[2 + k, 0] -= pu * su + rw * sv
        hess[2 + k, 1] -= rw * su + qv * sv
        # B = A dS_k
        b00, b01 = pu * ku + rw * kw, pu * kw + rw * kv
        b10, b11 = rw * ku + qv * kw, rw * kw + qv * kv
        for j in range(k + 1):
            lu, lv, lw = first[j, 0], first[j, 1], first[j, 2]
            # dS_j B, whose quadratic form in y is needed, and tr(A dS_j A dS_k)
            m00, m01 = lu * b00 + lw * b10, lu * b01 + lw * b11
            m10, m11 = lw * b00 + lv * b10, lw * b01 + lv * b11
            trace = pu * m00 + rw * (m01 + m10) + qv * m11
            value = 0.5 * trace * v0 - (m00 * yuu + (m01 + m10) * yuv + m11 * yvv)
            tu, tv, tw = 0.5 * second[k, j, 0], 0.5 * second[k, j, 1], second[k, j, 2]
            value += tu * (yuu - pu * v0) + tv * (yvv - qv * v0) + tw * (yuv - rw * v0)
            hess[2 + k, 2 + j] += value


@compiled
def _add_prior(p, prior, grad, gauss, hess):
    """Gaussian centre prior and p(g) ~ (1 - g^2)^2 exp(-g^2 / 2 sigma^2); returns -2 ln p."""
    chi2 = 0.0
    if prior[0] > 0.0:
        w = 1.0 / (prior[0] * prior[0])
        for i in range(2):
            chi2 += p[i] * p[i] * w
            grad[i] -= p[i] * w
            gauss[i, i] += w
            hess[i, i] += w
    if prior[1] > 0.0:
        gg = p[2] * p[2] + p[3] * p[3]
        rest = 1.0 - gg
        slope = 1.0 / (prior[1] * prior[1]) + 4.0 / rest
        chi2 += gg / (prior[1] * prior[1]) - 4.0 * math.log(rest)
        for i in range(2, 4):
            grad[i] -= p[i] * slope
            gauss[i, i] += slope
            hess[i, i] += slope
            for j in range(2, i + 1):
                hess[i, j] += 8.0 * p[i] * p[j] / (rest * rest)
    return chi2
