"""Compiled pixel sums of an elliptical Gaussian and the derivatives of chi^2 that follow from them.

The model of one epoch is m = F a N(x; x0, C) with C the pre-seeing covariance plus the round target
kernel, a the pixel area.  Every derivative of m with respect to the six parameters
(u0, v0, g1, g2, T, F) is m times a polynomial in the pixel offsets (dx, dy), so one pass that
gathers moments of w m^2 and w m (d - m) gives gradient, Gauss-Newton matrix and full Hessian.
The solver is in `fit`.
"""

from __future__ import annotations

import math

import numpy as np

from .compilation import compiled, fast

WINDOW = 36.0  # the model is summed inside this squared Mahalanobis radius (m / peak > 1.5e-8)
LANES = 8  # rows of pixels are summed in multiples of this
SCALE = 32.0  # exp(y) is the 32nd power of a polynomial in y / 32
EXPONENTIAL = (1.0, 1.0, 1 / 2, 1 / 6, 1 / 24, 1 / 120, 1 / 720, 1 / 5040)  # Taylor coefficients


def constants(dtype, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Coefficients of the exponential, a ramp 0 .. width - 1, and four places for row constants.

    All are in the type of the pixels: anything else is double precision to the compiler and
    would widen single-precision loops.
    """
    return np.array(EXPONENTIAL, dtype), np.arange(width, dtype=dtype), np.empty(4, dtype)


@fast
def row_range(axx, axy, ayy, xc, yc, iy, ny, nx):
    """Columns of row `iy` inside the window, and the offset of the row's ridge from `xc`."""
    dy = iy - yc
    ridge = -axy * dy / axx
    rest = WINDOW - (axx * ayy - axy * axy) * dy * dy / axx
    if rest <= 0.0:
        return 0, 0, ridge, 0.0
    half = math.sqrt(rest / axx)
    first = int(max(0, math.ceil(xc + ridge - half)))
    stop = int(min(nx - 1, math.floor(xc + ridge + half))) + 1
    # whole vectors: the remainder of a vector loop costs as much as the rest of a short row
    stop = min(nx, first + (stop - first + LANES - 1) // LANES * LANES)
    first = max(0, stop - (stop - first + LANES - 1) // LANES * LANES)
    return first, stop, ridge, math.exp(-0.5 * (WINDOW - rest))


@fast
def rows_inside(axx, axy, ayy, yc, ny):
    """First and last + 1 row that the window touches."""
    half = math.sqrt(WINDOW * axx / (axx * ayy - axy * axy))
    return int(max(0, math.ceil(yc - half))), int(min(ny - 1, math.floor(yc + half))) + 1


@fast
def add_rows(sums, row, degree, dy):
    """Add a row's sums over dx^i to the moments over dx^i dy^j, ordered by degree, then by j."""
    k = 0
    for total in range(degree + 1):
        power = 1.0
        for j in range(total + 1):
            sums[k] += row[total - j] * power
            power *= dy
            k += 1


@fast
def residual_moments(data, tilt, sign, weight, shape, amplitude, table, quad, resid, row):
    """Moments of w m^2 (`quad`) and w m (d - m) (`resid`) to degree 4 about the model's centre.

    `data` + `sign` x `tilt` is the image; `shape` holds (axx, axy, ayy, xc, yc), the inverse
    covariance and the centre in pixels; `table` the `constants` of the pixel type.
    """
    ny, nx = data.shape
    axx, axy, ayy, xc, yc = shape[0], shape[1], shape[2], shape[3], shape[4]
    quad[:] = 0.0
    resid[:] = 0.0
    coef, ramp, held = table
    one = coef[0]
    c2, c3, c4, c5, c6, c7 = coef[2], coef[3], coef[4], coef[5], coef[6], coef[7]
    held[0], held[1] = sign, -0.5 * axx / SCALE
    step, curve = held[0], held[1]
    y0, y1 = rows_inside(axx, axy, ayy, yc, ny)
    for iy in range(y0, y1):
        x0, x1, ridge, height = row_range(axx, axy, ayy, xc, yc, iy, ny, nx)
        d_row, t_row, w_row = data[iy, x0:x1], tilt[iy, x0:x1], weight[iy, x0:x1]
        held[0], held[2], held[3] = amplitude * height, ridge, x0 - xc - ridge
        peak, off, start = held[0], held[2], held[3]
        g0 = g1 = g2 = g3 = g4 = h0 = h1 = h2 = h3 = h4 = one - one
        for i in range(x1 - x0):
            z = ramp[i] + start
            y = curve * z * z
            p = one + y * (one + y * (c2 + y * (c3 + y * (c4 + y * (c5 + y * (c6 + y * c7))))))
            p *= p
            p *= p
            p *= p
            p *= p
            p *= p
            m = peak * p
            h = w_row[i] * m
            g = h * m
            h *= d_row[i] + step * t_row[i] - m
            d = z + off
            g0 += g
            h0 += h
            g *= d
            h *= d
            g1 += g
            h1 += h
            g *= d
            h *= d
            g2 += g
            h2 += h
            g *= d
            h *= d
            g3 += g
            h3 += h
            g4 += g * d
            h4 += h * d
        dy = iy - yc
        row[0], row[1], row[2], row[3], row[4] = g0, g1, g2, g3, g4
        add_rows(quad, row, 4, dy)
        row[0], row[1], row[2], row[3], row[4] = h0, h1, h2, h3, h4
        add_rows(resid, row, 4, dy)


@fast
def tilt_moments(tilt, weight, shape, amplitude, table, moments, row):
    """Moments of w m D to degree 4, D the shear derivative of the image."""
    ny, nx = tilt.shape
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
        t_row, w_row = tilt[iy, x0:x1], weight[iy, x0:x1]
        held[0], held[2], held[3] = amplitude * height, ridge, x0 - xc - ridge
        peak, off, start = held[0], held[2], held[3]
        h0 = h1 = h2 = h3 = h4 = one - one
        for i in range(x1 - x0):
            z = ramp[i] + start
            y = curve * z * z
            p = one + y * (one + y * (c2 + y * (c3 + y * (c4 + y * (c5 + y * (c6 + y * c7))))))
            p *= p
            p *= p
            p *= p
            p *= p
            p *= p
            h = w_row[i] * t_row[i] * (peak * p)
            d = z + off
            h0 += h
            h *= d
            h1 += h
            h *= d
            h2 += h
            h *= d
            h3 += h
            h4 += h * d
        row[0], row[1], row[2], row[3], row[4] = h0, h1, h2, h3, h4
        add_rows(moments, row, 4, iy - yc)


@compiled
def covariance(g1, g2, T, extra, out):
    """Sky covariance (suu, svv, suv) of a Gaussian of shape g and area T, plus a round `extra`."""
    scale = 1.0 / (1.0 + g1 * g1 + g2 * g2)
    out[0] = 0.5 * T * (1.0 + 2.0 * g1 * scale) + extra
    out[1] = 0.5 * T * (1.0 - 2.0 * g1 * scale) + extra
    out[2] = T * g2 * scale
    return out[0] * out[1] - out[2] * out[2]


@compiled
def pixel_shape(cov, det, p, jacobian, centre, shape, lin):
    """Inverse covariance and centre in pixels, and the linear forms y = A d (`lin`, 2 x 2)."""
    pu, qv, rw = cov[1] / det, cov[0] / det, -cov[2] / det
    a, b, c, d = jacobian[0, 0], jacobian[0, 1], jacobian[1, 0], jacobian[1, 1]
    lin[0, 0] = pu * a + rw * c
    lin[0, 1] = pu * b + rw * d
    lin[1, 0] = rw * a + qv * c
    lin[1, 1] = rw * b + qv * d
    shape[0] = lin[0, 0] * a + lin[1, 0] * c
    shape[1] = lin[0, 0] * b + lin[1, 0] * d
    shape[2] = lin[0, 1] * b + lin[1, 1] * d
    area = a * d - b * c
    shape[3] = centre[0] + (d * p[0] - b * p[1]) / area
    shape[4] = centre[1] + (a * p[1] - c * p[0]) / area


@compiled
def covariance_slopes(g1, g2, T, first, second):
    """Derivatives of (suu, svv, suv) with respect to (g1, g2, T).

    `first` is (3, 3), parameter by element; `second` (3, 3, 3) is symmetric in the parameters.
    """
    s = 1.0 / (1.0 + g1 * g1 + g2 * g2)
    e1, e2 = 2.0 * g1 * s, 2.0 * g2 * s
    e11, e12, e22 = 2.0 * s - e1 * e1, -e1 * e2, 2.0 * s - e2 * e2  # de_i / dg_j
    first[0, 0], first[0, 2] = 0.5 * T * e11, 0.5 * T * e12
    first[1, 0], first[1, 2] = 0.5 * T * e12, 0.5 * T * e22
    first[2, 0], first[2, 2] = 0.5 * (1.0 + e1), 0.5 * e2
    first[0, 1], first[1, 1] = -first[0, 0], -first[1, 0]
    first[2, 1] = 0.5 * (1.0 - e1)
    # e_i is the gradient of ln(1 + g^2), so its second derivatives are symmetric in all indices
    e111, e222 = -2.0 * e1 * (s + e11), -2.0 * e2 * (s + e22)
    e112, e122 = -e11 * e2 - e1 * e12, -e12 * e2 - e1 * e22
    _set_pair(second, 0, 0, 0.5 * T * e111, 0.5 * T * e112)
    _set_pair(second, 0, 1, 0.5 * T * e112, 0.5 * T * e122)
    _set_pair(second, 1, 1, 0.5 * T * e122, 0.5 * T * e222)
    _set_pair(second, 0, 2, 0.5 * e11, 0.5 * e12)
    _set_pair(second, 1, 2, 0.5 * e12, 0.5 * e22)
    _set_pair(second, 2, 2, 0.0, 0.0)


@compiled
def _set_pair(second, i, j, du, dw):
    """Elements (suu, svv, suv) = (du, -du, dw) of a trace-free second derivative."""
    second[i, j, 0] = second[j, i, 0] = du
    second[i, j, 1] = second[j, i, 1] = -du
    second[i, j, 2] = second[j, i, 2] = dw
