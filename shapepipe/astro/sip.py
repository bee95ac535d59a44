"""Turn the distortion of a TPV header into SIP, and prove it over the whole image.

The work is done by sip_tpv where that is exact to the tolerance; otherwise (radial terms, high
orders) a SIP polynomial is fitted to the TPV solution. Reading of headers is in `wcs`.

References
----------
Shupe et al. 2012, SPIE 8451, 84511M (conversion of TPV and SIP);
Shupe et al. 2005, ASP Conf. Ser. 347, 491, eqs. 1-4 (SIP).
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits as afits
from astropy.wcs import WCS

from shapepipe.astro import wcs as sky
from shapepipe.errors import BadInput

with warnings.catch_warnings():  # sip_tpv asks for its version in a way that setuptools disapproves
    warnings.simplefilter("ignore")
    try:
        from sip_tpv import pv_to_sip
    except ImportError:  # ... and that the newest setuptools has dropped: then all is fitted
        pv_to_sip = None

TOLERANCE = 1.0  # mas
_ORDERS = range(2, 10)  # wcslib stops at 9
_GRID = 33  # points per side on which a solution is fitted and judged
_PV_CARD = re.compile(r"PV[12]_\d+")


@dataclass(frozen=True)
class SipSolution:
    """A header with SIP distortion, and how true it is.

    Attributes
    ----------
    header : Header
        The cards given, with CTYPE ...-SIP and the polynomials A, B, AP, BP; no PV cards.
    wcs : WCS
        The same, read.
    worst : float
        Largest angle to the original solution over the image, in mas.
    method : str
        'sip_tpv' or 'fit of order N'.
    """

    header: afits.Header
    wcs: WCS
    worst: float
    method: str


def is_tpv(header: afits.Header) -> bool:
    """Tell whether the distortion of a header is in PV cards (CTYPE TPV, or TAN with PV)."""
    kind = str(header.get("CTYPE1", ""))
    return bool(pv_cards(header)) and (kind.endswith("TPV") or kind.endswith("TAN"))


def pv_cards(header: afits.Header) -> list[str]:
    """Names of the PV cards of a header."""
    return [name for name in header if _PV_CARD.fullmatch(name)]


def to_sip(
    header: afits.Header,
    shape: tuple[int, int],
    path: str | Path = "header",
    tolerance: float = TOLERANCE,
) -> SipSolution:
    """Convert a TPV header to SIP.

    Parameters
    ----------
    header : Header
        With TPV distortion; left as it is.
    shape : (ny, nx)
        Size of the image.
    path : str or Path, optional
        Named in the error.
    tolerance : float, optional
        Largest difference allowed, in mas, anywhere on the image.

    Raises
    ------
    BadInput
        No SIP polynomial reaches the tolerance.
    """
    truth = sky.from_header(header, path)
    best = _by_sip_tpv(header, truth, shape)
    for order in _ORDERS:
        if best is not None and best.worst <= tolerance:
            return best
        fitted = _by_fit(header, truth, shape, order)
        best = fitted if best is None or fitted.worst < best.worst else best
    if best.worst <= tolerance:
        return best
    raise BadInput(
        path, f"TPV distortion differs from SIP by {best.worst:.3g} mas ({best.method})",
        f"at most {tolerance:g} mas over the {shape[1]} x {shape[0]} pixels",
    )  # fmt: skip


def difference(one: WCS, other: WCS, shape: tuple[int, int]) -> float:
    """Largest angle between two solutions over an image of `shape` (ny, nx), in mas."""
    x, y = _grid(shape)
    there, here = sky.pixel_to_world(one, x, y), sky.pixel_to_world(other, x, y)
    apart = sky.separation(*there, *here).max() * 3.6e6
    return float(apart) if np.isfinite(apart) else np.inf


def _by_sip_tpv(header, truth, shape):
    if pv_to_sip is None:
        return None
    cards = header.copy()
    cards["NAXIS1"], cards["NAXIS2"] = shape[1], shape[0]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pv_to_sip(cards, add_reverse=False)  # its inverse takes four times as long as the rest
        cards.update(_inverse(sky.from_header(cards), shape, int(cards["A_ORDER"])))
        wcs = sky.from_header(cards)
    except Exception:  # symbolic algebra that met what it does not know: the fit takes over
        return None
    if "NAXIS1" not in header:
        del cards["NAXIS1"], cards["NAXIS2"]
    return SipSolution(cards, wcs, difference(truth, wcs, shape), "sip_tpv")


def _by_fit(header, truth, shape, order):
    """Fit A and B such that the linear TAN part of the header gives the sky of `truth`.

    With the intermediate pixel p' = p + f(p) and the TAN solution of the same CRVAL, CRPIX and CD,
    f is known at every point of a grid, and linear in the coefficients.
    """
    tan = WCS(naxis=2)
    tan.wcs.ctype = [f"{name[:4]}-TAN" for name in truth.wcs.ctype]
    tan.wcs.crval, tan.wcs.crpix = truth.wcs.crval, truth.wcs.crpix
    tan.wcs.cd = truth.pixel_scale_matrix
    x, y = _grid(shape)
    linear_x, linear_y = tan.wcs_world2pix(*sky.pixel_to_world(truth, x, y), 0)
    x0, y0 = truth.wcs.crpix - 1.0
    ahead = _polynomials(x - x0, y - y0, linear_x - x, linear_y - y, order)
    cards = _without_pv(header)
    cards.update(_sip_cards("A", "B", order, ahead))
    cards.update(_inverse(sky.from_header(cards), shape, order))
    wcs = sky.from_header(cards)
    return SipSolution(cards, wcs, difference(truth, wcs, shape), f"fit of order {order}")


def _inverse(wcs, shape, order):
    """AP and BP cards: what other readers start from (here the forward solution is inverted)."""
    x, y = _grid(shape)
    linear_x, linear_y = wcs.wcs_world2pix(*sky.pixel_to_world(wcs, x, y), 0)
    u, v = linear_x - (wcs.wcs.crpix[0] - 1.0), linear_y - (wcs.wcs.crpix[1] - 1.0)
    return _sip_cards("AP", "BP", order, _polynomials(u, v, x - linear_x, y - linear_y, order))


def _polynomials(u, v, du, dv, order):
    """Least-squares coefficients {(p, q): c} of du and dv as polynomials in u and v."""
    scale = max(np.abs(u).max(), np.abs(v).max())
    powers = [(p, q) for p in range(order + 1) for q in range(order + 1 - p)]
    design = np.stack([(u / scale) ** p * (v / scale) ** q for p, q in powers], axis=1)
    norm = np.linalg.norm(design, axis=0)
    found = np.linalg.lstsq(design / norm, np.stack([du, dv], 1), rcond=1e-15)[0] / norm[:, None]
    return [
        {pq: c / scale ** sum(pq) for pq, c in zip(powers, column, strict=True)}
        for column in found.T
    ]


def _sip_cards(first, second, order, polynomials):
    cards = {f"{first}_ORDER": order, f"{second}_ORDER": order}
    for name, terms in zip((first, second), polynomials, strict=True):
        cards.update({f"{name}_{p}_{q}": float(value) for (p, q), value in terms.items()})
    return cards


def _without_pv(header):
    """Copy of a header as TAN-SIP without PV cards."""
    cards = header.copy()
    for name in pv_cards(cards):
        del cards[name]
    for axis in (1, 2):
        kind = str(cards[f"CTYPE{axis}"])
        cards[f"CTYPE{axis}"] = f"{kind[:4]}-TAN-SIP"
    return cards


def _grid(shape):
    """Pixels that cover an image to its outer edges."""
    ny, nx = shape
    x, y = np.meshgrid(np.linspace(-0.5, nx - 0.5, _GRID), np.linspace(-0.5, ny - 0.5, _GRID))
    return x.ravel(), y.ravel()
