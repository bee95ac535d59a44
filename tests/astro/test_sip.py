"""TPV turned into SIP: true to 1 mas over the whole CCD, by sip_tpv or by a fit."""

import numpy as np
import pytest
from astropy.io import fits as afits

from shapepipe.astro import sip
from shapepipe.astro import wcs as sky
from shapepipe.errors import BadInput

SHAPE = (4612, 2048)

# Values of the size that SCAMP finds for MegaCam: up to 100 arcsec at half a degree.
TPV = {"PV1_0": 2e-4, "PV1_1": 1.0005, "PV1_2": 1e-4, "PV1_4": 3e-4, "PV1_5": -1e-4, "PV1_7": 0.02,
       "PV1_8": -1e-3, "PV1_9": 0.021, "PV2_0": -1e-4, "PV2_1": 0.9996, "PV2_4": 2e-4,
       "PV2_6": 1e-4, "PV2_7": 0.019, "PV2_9": 0.02, "PV2_10": -5e-4}  # fmt: skip


def header(kind="TPV", crpix=(-6000.0, 9000.0), **pv):
    """CCD of a mosaic, with the reference point far off the chip."""
    return afits.Header(
        {"NAXIS": 2, "NAXIS1": SHAPE[1], "NAXIS2": SHAPE[0], "CTYPE1": f"RA---{kind}",
         "CTYPE2": f"DEC--{kind}", "CRVAL1": 210.2, "CRVAL2": 54.1, "CRPIX1": crpix[0],
         "CRPIX2": crpix[1], "CD1_1": -5.17e-5, "CD1_2": 3e-8, "CD2_1": 2e-8, "CD2_2": 5.16e-5,
         "OBJECT": "W3", **pv}
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["TPV", "TAN"])
def test_conversion_is_true_and_keeps_other_cards(kind):
    original = header(kind, **TPV)
    text = original.tostring()
    found = sip.to_sip(original, SHAPE)
    assert found.worst < 1e-3
    assert found.header["CTYPE1"] == "RA---TAN-SIP" and found.header["OBJECT"] == "W3"
    assert not sip.pv_cards(found.header)
    assert original.tostring() == text
    assert sip.difference(sky.from_header(original), sky.from_header(found.header), SHAPE) < 1e-3


def test_distortion_is_not_small_in_this_test():
    tan = header("TAN")
    assert sip.difference(sky.from_header(header(**TPV)), sky.from_header(tan), SHAPE) > 10_000


@pytest.mark.parametrize("order", [3, 4, 5])
def test_fit_alone_reaches_the_tolerance(monkeypatch, order):
    monkeypatch.setattr(sip, "pv_to_sip", None)
    monkeypatch.setattr(sip, "_ORDERS", range(order, order + 1))
    found = sip.to_sip(header(**TPV), SHAPE)
    assert found.method == f"fit of order {order}" and found.worst < 1e-3


def test_radial_terms_are_fitted():
    """PV1_3 multiplies the radius, which no polynomial is: far from the centre a fit will do."""
    found = sip.to_sip(header(**TPV, PV1_3=1e-4, PV2_3=1e-4), SHAPE)
    assert found.method.startswith("fit") and found.worst < sip.TOLERANCE


def test_what_sip_cannot_follow_is_refused():
    with pytest.raises(BadInput, match=r"image-1 HDU 3: TPV .* differs from SIP by .* mas"):
        sip.to_sip(header(crpix=(1024.0, 2306.0), PV1_1=1.0, PV2_1=1.0, PV1_3=0.01), SHAPE,
                   "image-1 HDU 3")  # fmt: skip


def test_inverse_cards_start_other_readers_near():
    """AP and BP lead back to the pixel within 0.01 pixel."""
    wcs = sip.to_sip(header(**TPV), SHAPE).wcs
    x, y = np.random.default_rng(2).uniform(0, 2000, (2, 100))
    linear = wcs.wcs_world2pix(*sky.pixel_to_world(wcs, x, y), 0)
    u, v = linear[0] - (wcs.wcs.crpix[0] - 1), linear[1] - (wcs.wcs.crpix[1] - 1)
    powers = range(wcs.sip.ap_order + 1)
    for linear_at, terms, pixel in ((linear[0], wcs.sip.ap, x), (linear[1], wcs.sip.bp, y)):
        back = linear_at + sum(terms[p, q] * u**p * v**q for p in powers for q in powers)
        assert np.abs(back - pixel).max() < 0.01


def test_only_pv_headers_are_tpv():
    assert sip.is_tpv(header(**TPV)) and sip.is_tpv(header("TAN", **TPV))
    assert not sip.is_tpv(header("TAN"))
    assert not sip.is_tpv(header("ZPN", PV2_1=1.0, PV2_3=44.0))
