"""One file per CCD from the mosaics (image, weight, flag) of an exposure, and the WCS of all CCDs.

Sky coordinates with a distortion in PV cards (TPV) are written as SIP too, proven to agree to
better than 1 mas; `headers<number>.npy` holds them for `merge_headers_runner`.

Algorithm
---------
Each HDU becomes a file with the cards of the mosaic. TPV is turned into SIP by the algebra of
sip_tpv where that is exact, else by a polynomial that is fitted to the TPV solution; either is
compared with it on a grid over the CCD.

References
----------
Shupe et al. 2005, ASP Conf. Ser. 347, 491 (SIP); Shupe et al. 2012, SPIE 8451, 84511M (TPV to
SIP).
"""

from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import model_validator

from shapepipe import BadInput, Input, Options, Output, PartlyDone, option, runner
from shapepipe.astro import fits, sip
from shapepipe.astro import wcs as sky


class SplitExpOptions(Options):
    """Which extensions to take, and how to name what comes out."""

    output_suffix: list[str] = option(
        doc="Names of the products, one for each input mosaic. A name with `image` gets a WCS, one "
        "with `flag` is stored as integers."
    )
    n_hdu: int = option(
        at_least=1, doc="Number of CCDs; HDU i of a mosaic becomes the file of CCD i-1."
    )
    hdu_names: list[str] = option(
        [], doc="EXTNAMEs of the CCDs, in the order in which they are to be numbered; blank takes "
        "HDU 1 to N_HDU."
    )  # fmt: skip
    distortion: Literal["SIP+PV", "SIP", "PV"] = option(
        "SIP+PV",
        doc="Cards for a TPV distortion in the CCD images: programs such as SExtractor read PV "
        "alone, Python libraries prefer SIP; with SIP+PV both see the same sky.",
    )
    zp_key: str = option(
        "",
        doc="Card of each CCD with its zero point, from which FSCALE, the factor that brings "
        "counts to MAG_ZP, is written into the headers; blank leaves FSCALE as it is.",
    )
    mag_zp: float = option(30.0, unit="mag", doc="Common zero point, with ZP_KEY.")

    @model_validator(mode="after")
    def _consistent(self):
        if not 1 <= len(self.output_suffix) <= 3:
            raise ValueError(f"OUTPUT_SUFFIX has {len(self.output_suffix)} names (allowed: 1 to 3)")
        if self.hdu_names and len(self.hdu_names) != self.n_hdu:
            raise ValueError(f"HDU_NAMES has {len(self.hdu_names)} names, N_HDU is {self.n_hdu}")
        return self


def _ccds(opts):
    return [f"-{ccd}" for ccd in range(opts.n_hdu)]


def _has_image(opts):
    return any("image" in name for name in opts.output_suffix)


@runner(
    inputs=[
        Input("image", ext=".fz", doc="Mosaic, one CCD per HDU: plain, gzip or fpack."),
        Input("weight", ext=".fz", when=lambda o: len(o.output_suffix) > 1, doc="The same CCDs."),
        Input("flag", ext=".fz", when=lambda o: len(o.output_suffix) > 2, doc="The same CCDs."),
    ],
    outputs=[
        Output("ccd", lambda o: o.output_suffix, expand=_ccds, doc="One CCD, in the primary HDU."),
        Output("headers", ext=".npy", when=_has_image,
               doc="Per CCD a dict: WCS (astropy object) and header (text of the cards)."),
    ],
    after=["get_images_runner"],
    aliases=("split_exp_hdu_runner",),
)  # fmt: skip
def split_exp_runner(job, opts: SplitExpOptions):
    """Write each CCD of each mosaic to a file of its own.

    CCDs that stand before the first damage of a mosaic are written, and go on; the exposure counts
    as failed, and its headers are left out.
    """
    metrics = {"n_ccd": opts.n_hdu, "worst_sip_mas": 0.0}
    damage = None
    for name, mosaic in zip(opts.output_suffix, job.inputs.values(), strict=True):
        try:
            if "image" in name:
                metrics["worst_sip_mas"] = _split_image(job, opts, name, mosaic)
            else:
                _split_other(job, opts, name, mosaic)
        except BadInput as error:
            job.log.error("%s", error)
            damage = damage or error
    if damage:
        raise PartlyDone(damage.path, damage.problem, damage.allowed)
    return metrics


def _split_other(job, opts, name, mosaic):
    """Split a mosaic of weights or flags."""
    for ccd, (where, data, header) in enumerate(_read(job, opts, mosaic)):
        data = as_flags(where, data) if "flag" in name else data
        fits.write_image(_product(job, name, ccd), data, header)


def _split_image(job, opts, name, mosaic):
    """Split the image proper and collect its headers; gives the worst error of SIP, in mas."""
    entries = np.empty(opts.n_hdu, dtype=object)
    worst = 0.0
    for ccd, (where, data, header) in enumerate(_read(job, opts, mosaic)):
        if opts.zp_key:
            _set_flux_scale(header, opts, where)
        written, wcs = header, None
        if sip.is_tpv(header):
            solution = sip.to_sip(header, data.shape, where)
            worst, wcs = max(worst, solution.worst), solution.wcs
            job.log.info("CCD %d: SIP by %s, %.2g mas", ccd, solution.method, solution.worst)
            header = solution.header
            written = _with_distortion(opts.distortion, written, header)
        entries[ccd] = {"WCS": wcs or sky.from_header(header, where), "header": _text(header)}
        if data.dtype.kind == "f" and not np.isfinite(data).any():
            job.log.warning("CCD %d: no pixel is finite", ccd)
        fits.write_image(_product(job, name, ccd), data, written)
    np.save(job.output("headers"), entries, allow_pickle=True)
    return worst


def _set_flux_scale(header, opts, where):
    """Write FSCALE from the card with the zero point."""
    try:
        scale = 10 ** (0.4 * (opts.mag_zp - float(header[opts.zp_key])))
    except KeyError:
        raise BadInput(where, f"has no card {opts.zp_key} (ZP_KEY)") from None
    except (TypeError, ValueError):
        value = header[opts.zp_key]
        raise BadInput(where, f"{opts.zp_key} = {value!r} is not a number (ZP_KEY)") from None
    header["FSCALE"] = (scale, f"counts to zero point {opts.mag_zp:g}")


def _text(header):
    """Cards as they would stand in a file with this image alone, in one string."""
    cards = fits.image_cards(header)
    cards.remove("SIMPLE", ignore_missing=True)
    cards.insert(0, ("SIMPLE", True))
    return cards.tostring()


def _with_distortion(kind, original, converted):
    """Choose the cards that an image file gets."""
    if kind == "PV":
        return original
    cards = converted.copy()
    if kind == "SIP+PV":
        cards.update({name: original[name] for name in sip.pv_cards(original)})
    return cards


def _read(job, opts, mosaic: Path):
    """Give place (for messages), pixels and header of each CCD in turn."""
    hdus = opts.hdu_names or list(range(1, opts.n_hdu + 1))
    for hdu, (data, header) in zip(hdus, fits.read_images(mosaic, hdus, job.scratch), strict=True):
        yield f"{mosaic} HDU {hdu}", data, header


def _product(job, name, ccd):
    return job.output("ccd", pattern=name, suffix=f"-{ccd}")


def as_flags(path, data):
    """Store flags as int16, or as int32 where their bits ask for it.

    Raises
    ------
    BadInput
        Not whole numbers, or beyond 32 bit.
    """
    low, high = (data.min(), data.max()) if data.size else (0, 0)
    for kind in (np.int16, np.int32):
        limits = np.iinfo(kind)
        if limits.min <= low and high <= limits.max:
            flags = data.astype(kind, copy=False)
            if data.dtype.kind == "f" and not np.array_equal(flags, data):
                break
            return flags
    raise BadInput(path, f"flags from {low} to {high} are not whole numbers of 32 bit")
