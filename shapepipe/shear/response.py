"""How the gradient of the fit changes when the images are sheared, to first and second order.

Shearing is a flow: the image sheared by g is exp(g L) O with L O = dO/dg (see `metacal`).  To
first order the gradient sum w r m_k changes by g sum w m_k (L O).  To second order it changes by
g^2 / 2 sum w m_k (L L O), and because the adjoint of L only moves the model, to a Gaussian with

    dC/dg = -(B C + C B) - 2 s^2 B,    dx0/dg = -B x0      (C: seeing included, s^2: target kernel)

this is a sum over the first derivative L O with moments that one pass supplies; no second
derivative of an image is ever formed.  The noise field, turned by 90 degrees, is sheared the
other way: its L is -L, so the L O of the second-order term is that of the opposite noise.
(Weights that vary over the stamp enter the second-order term as if they followed the flow.)
"""

from __future__ import annotations

from .compilation import compiled
from .gaussian import covariance, covariance_slopes, tilt_moments
from .normal import log_slopes, moment_row, start_epoch


@compiled
def shear_slopes(p, tilts, axis, weight, epochs, table, work, slope, bend):
    """First and second derivative of -grad/2 with respect to shear `axis` (0 or 1).

    `tilts` are the shear derivative of the images, shape (E, ny, nx), and the same for the
    opposite noise field; see `normal.evaluate` for the rest.
    """
    tilt, partner = tilts
    moments, _, row, cov, shape, lin, first, second, poly, prod = work
    usable, jacobian, centre, extra, origin = epochs
    slope[:] = 0.0
    bend[:] = 0.0
    covariance_slopes(p[2], p[3], p[4], first, second)
    for e in range(tilt.shape[0]):
        if not usable[e]:
            continue
        det = covariance(p[2], p[3], p[4], extra[e], cov)
        amplitude = start_epoch(p, jacobian[e], centre[e], cov, det, shape, lin)
        tilt_moments(tilt[e], weight[e], shape, amplitude, table, moments, row)
        log_slopes(p, cov, det, lin, first, poly)
        for i in range(6):
            for k in range(6):
                slope[i] += poly[i, k] * moments[k]
        tilt_moments(partner[e], weight[e], shape, amplitude, table, moments, row)
        place = (jacobian[e], centre[e], origin[e], extra[e])
        _add_bend(p, axis, place, cov, det, moments, work, bend)


@compiled
def _add_bend(p, axis, place, cov, det, moments, work, bend):
    """Second-order part of one epoch; `place` is (jacobian, centre, shear origin, variance)."""
    jacobian, centre, origin, extra = place
    lin, first, poly, prod = work[5], work[6], work[8], work[9]
    a, b, c, d = lin[0, 0], lin[0, 1], lin[1, 0], lin[1, 1]
    pu, qv, rw = cov[1] / det, cov[0] / det, -cov[2] / det
    dx, dy = centre[0] - origin[0], centre[1] - origin[1]
    u = p[0] + jacobian[0, 0] * dx + jacobian[0, 1] * dy
    v = p[1] + jacobian[1, 0] * dx + jacobian[1, 1] * dy
    # the flow of the covariance (fu, fv, fw) and of the centre (hu, hv)
    if axis == 0:
        fu, fv, fw = -2.0 * (cov[0] + extra), 2.0 * (cov[1] + extra), 0.0
        hu, hv = -u, v
    else:
        fu = fv = -2.0 * cov[2]
        fw = -(cov[0] + cov[1] + 2.0 * extra)
        hu, hv = -v, -u
    # d ln m / dg under the flow, as a polynomial in the last row of the product matrix
    flow = prod[5]
    flow[0] = -(0.5 * (fu * pu + fv * qv) + fw * rw)
    flow[1], flow[2] = a * hu + c * hv, b * hu + d * hv
    flow[3] = 0.5 * (fu * a * a + fv * c * c) + fw * a * c
    flow[4] = fu * a * b + fv * c * d + fw * (a * d + b * c)
    flow[5] = 0.5 * (fu * b * b + fv * d * d) + fw * b * d
    moment_row(flow, moments, prod[0])
    for k in range(6):
        for j in range(6):
            bend[k] += poly[k, j] * prod[0, j]
    v0 = moments[0]
    yu, yv = a * moments[1] + b * moments[2], c * moments[1] + d * moments[2]
    xx, xy, yy = moments[3], moments[4], moments[5]
    yuu = a * a * xx + 2.0 * a * b * xy + b * b * yy
    yvv = c * c * xx + 2.0 * c * d * xy + d * d * yy
    yuv = a * c * xx + (a * d + b * c) * xy + b * d * yy
    # A F y, A h and B y
    su, sv = fu * yu + fw * yv, fw * yu + fv * yv
    gu, gv = pu * hu + rw * hv, rw * hu + qv * hv
    bu, bv = (yu, -yv) if axis == 0 else (yv, yu)
    bend[0] -= pu * su + rw * sv + gu * v0 + bu
    bend[1] -= rw * su + qv * sv + gv * v0 + bv
    # A F, for the change of the flow with the covariance
    m00, m01 = pu * fu + rw * fw, pu * fw + rw * fv
    m10, m11 = rw * fu + qv * fw, rw * fw + qv * fv
    for k in range(3):
        ku, kv, kw = first[k, 0], first[k, 1], first[k, 2]
        n00, n01 = ku * m00 + kw * m10, ku * m01 + kw * m11
        n10, n11 = kw * m00 + kv * m10, kw * m01 + kv * m11
        trace = pu * n00 + rw * (n01 + n10) + qv * n11
        value = 0.5 * trace * v0 - (n00 * yuu + (n01 + n10) * yuv + n11 * yvv)
        value -= yu * (ku * gu + kw * gv) + yv * (kw * gu + kv * gv)
        if axis == 0:
            tu, tv, tw = -2.0 * ku, 2.0 * kv, 0.0
        else:
            tu = tv = -2.0 * kw
            tw = -(ku + kv)
        value += 0.5 * tu * (yuu - pu * v0) + 0.5 * tv * (yvv - qv * v0) + tw * (yuv - rw * v0)
        bend[2 + k] += value
