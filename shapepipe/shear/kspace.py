"""Compiled pieces of the deconvolution, the shear derivative and the reconvolution.

An image and its noise field travel as real and imaginary part of one complex stamp, the noise
turned by 90 degrees; both are convolved with the same real kernel, so one complex transform
serves the two.  The driver, and the formulas, are in `metacal`.
"""

from __future__ import annotations

import math

import numpy as np

from .compilation import compiled, fast

CUT = 0.97  # of the Nyquist frequency: nothing beyond is kept
LOWEST_GAUSSIAN = 1e-9  # modes at which the target kernel is below this are dropped
LOWEST_PSF = 1e-5  # floor under |P(k)| / P(0), GalSim's k-value accuracy


@compiled
def fold_psf(psf, origin, size, out):
    """Sum a PSF stamp into size x size pixels with wrapping, its origin pixel at index 0.

    Folding keeps the Fourier transform at the frequencies of the smaller grid exact.
    """
    ny, nx = psf.shape[1:]
    for b in range(len(psf)):
        for i in range(ny):
            iy = (i - origin[b, 1]) % size
            for j in range(nx):
                out[b, iy, (j - origin[b, 0]) % size] += psf[b, i, j]


@fast
def multiplier(psf, jacobian, variance, shift, size, real, imag):
    """G(k) / P(k) on the full plane, of one epoch.

    `psf` is the half plane of the transform, (size, size / 2), `shift` the sub-pixel position of
    the PSF's centre.
    """
    half = size // 2
    unit = 2.0 * math.pi / size
    a, b, c, d = jacobian[0, 0], jacobian[0, 1], jacobian[1, 0], jacobian[1, 1]
    det = a * d - b * c
    scale = 0.5 * variance * unit * unit / (det * det)
    # |k_sky|^2 as a quadratic form of the integer wave numbers, k_sky = J^-T k_pixel
    qxx, qyy = scale * (d * d + b * b), scale * (c * c + a * a)
    qxy = -2.0 * scale * (c * d + a * b)
    total = psf[0, 0].real
    floor = (LOWEST_PSF * total) ** 2
    limit = (CUT * half) ** 2
    depth = -math.log(LOWEST_GAUSSIAN)
    real[:] = 0.0
    imag[:] = 0.0
    for iy in range(size):
        y = iy if iy < half else iy - size
        for ix in range(half):
            power = qxx * ix * ix + qxy * ix * y + qyy * y * y
            if ix * ix + y * y > limit or power > depth:
                continue
            pr, pi = float(psf[iy, ix].real), float(psf[iy, ix].imag)
            gain = math.exp(-power) * total / max(pr * pr + pi * pi, floor)
            pr, pi = pr * gain, -pi * gain
            if shift[0] != 0.0 or shift[1] != 0.0:
                angle = -unit * (ix * shift[0] + y * shift[1])
                cos, sin = math.cos(angle), math.sin(angle)
                pr, pi = pr * cos - pi * sin, pr * sin + pi * cos
            real[iy, ix], imag[iy, ix] = pr, pi
            if ix > 0:
                real[-iy % size, size - ix], imag[-iy % size, size - ix] = pr, -pi


@fast
def apply_operator(spectrum, real, imag, jacobian, variance, wave, held, out):
    """The five spectra of one epoch: O, dO/du, dO/dv and the two round-kernel terms.

    out[0] = O, out[1:3] = i k O, out[3] = s^2 (ku^2 - kv^2) O, out[4] = 2 s^2 ku kv O.
    `wave` holds the integer wave numbers and `held` five places, both in the pixel type.
    """
    size = spectrum.shape[0]
    unit = 2.0 * math.pi / size
    a, b, c, d = jacobian[0, 0], jacobian[0, 1], jacobian[1, 0], jacobian[1, 1]
    det = a * d - b * c
    held[0], held[1], held[2], held[3] = (
        unit * d / det,
        -unit * c / det,
        -unit * b / det,
        unit * a / det,
    )
    held[4] = variance
    ux, uy, vx, vy, s2 = held[0], held[1], held[2], held[3], held[4]
    for iy in range(size):
        y = wave[iy]
        src = spectrum[iy]
        o, du, dv = out[0, iy], out[1, iy], out[2, iy]
        k1, k2 = out[3, iy], out[4, iy]
        for ix in range(size):
            x = wave[ix]
            u = ux * x + uy * y
            v = vx * x + vy * y
            zr, zi = src[ix].real, src[ix].imag
            fr = zr * real[iy, ix] - zi * imag[iy, ix]
            fi = zr * imag[iy, ix] + zi * real[iy, ix]
            o[ix] = complex(fr, fi)
            du[ix] = complex(-u * fi, u * fr)
            dv[ix] = complex(-v * fi, v * fr)
            m1 = s2 * (u * u - v * v)
            m2 = s2 * (u + u) * v
            k1[ix] = complex(m1 * fr, m1 * fi)
            k2[ix] = complex(m2 * fr, m2 * fi)


@fast
def assemble(fields, jacobian, origin, turned, signs, out):
    """Images and shear derivatives of one epoch from the five transformed fields.

    Parameters
    ----------
    fields : complex ndarray, shape (5, rows, size)
        Real part: the image; imaginary part: the noise, turned by 90 degrees.
    origin, turned : ndarray, shape (2,)
        The point (x, y) about which image and turned noise are sheared, pixels.
    signs : ndarray, shape (H,)
        Signs with which the noise is added.
    out : ndarray, shape (H, 3, ny, nx)
    """
    ny, nx = out.shape[2:]
    a, b, c, d = jacobian[0, 0], jacobian[0, 1], jacobian[1, 0], jacobian[1, 1]
    for iy in range(ny):
        for ix in range(nx):
            x, y = ix - origin[0], iy - origin[1]
            u, v = a * x + b * y, c * x + d * y
            gu, gv = fields[1, iy, ix].real, fields[2, iy, ix].real
            image = fields[0, iy, ix].real
            tilt1 = fields[3, iy, ix].real - (u * gu - v * gv)
            tilt2 = fields[4, iy, ix].real - (u * gv + v * gu)
            jx, jy = iy, nx - 1 - ix
            x, y = jx - turned[0], jy - turned[1]
            u, v = a * x + b * y, c * x + d * y
            gu, gv = fields[1, jy, jx].imag, fields[2, jy, jx].imag
            noise = fields[0, jy, jx].imag
            noise1 = fields[3, jy, jx].imag - (u * gu - v * gv)
            noise2 = fields[4, jy, jx].imag - (u * gv + v * gu)
            for h in range(len(signs)):
                out[h, 0, iy, ix] = image + signs[h] * noise
                out[h, 1, iy, ix] = tilt1 + signs[h] * noise1
                out[h, 2, iy, ix] = tilt2 + signs[h] * noise2


@compiled
def transform_operators(spectra, psf, jacobian, variance, shift, wave, real, imag, out):
    """`multiplier` and `apply_operator` for each epoch; out is (n, 5, size, size)."""
    size = spectra.shape[1]
    held = np.empty(5, wave.dtype)
    for e in range(len(spectra)):
        multiplier(psf[e], jacobian[e], variance[e], shift[e], size, real, imag)
        apply_operator(spectra[e], real, imag, jacobian[e], variance[e], wave, held, out[e])


@compiled
def assemble_all(fields, jacobian, origin, turned, signs, out):
    """`assemble` for each epoch; out is (H, 3, n, ny, nx)."""
    for e in range(len(fields)):
        assemble(fields[e], jacobian[e], origin[e], turned[e], signs, out[:, :, e])
