"""What a FITS file of strangers is: which HDUs are images, and what their cards tell.

Pixels are looked at in `quicklook`; what is made of all this is not decided here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from astropy.io import fits as afits

from shapepipe.astro import fits, wcs
from shapepipe.errors import BadInput

GAIN = ("GAIN", "EGAIN", "GAINEFF", "HIERARCH ESO DET OUT1 CONAD")
SATURATION = ("SATURATE", "SATLEVEL", "SATURVAL", "SATUR", "SATURATA", "MAXLIN")
ZERO_POINT = ("PHOTZP", "MAGZP", "MAGZPT", "MAGZERO", "ZEROPT", "MAGZEROP", "ZPTMAG", "PHOT_ZP")
FILTER = ("FILTER", "FILTER1", "FILTNAM", "BAND", "INSFLNAM")
KIND = ("IMAGETYP", "OBSTYPE", "FRAME", "IMTYPE", "OBS_TYPE")
EXPOSURE = ("EXPTIME", "EXPOSURE", "ITIME")
ZERO_POINTS = (10.0, 40.0)  # mag; what a card of a zero point may say
CALIBRATION = {
    "bias": ("bias", "zero", "offset"),
    "dark": ("dark",),
    "flat": ("flat", "twiflat", "skyflat", "domeflat", "dflat", "sflat"),
}
WORDS = {
    "weight": ("weight", "weights", "wht", "wgt", "wt", "oow", "ivar", "invvar", "weightmap"),
    "flag": ("flag", "flags", "mask", "msk", "ood", "dq", "dqm", "bpm", "badpix"),
    "image": ("image", "img", "sci", "science", "ooi", "drz"),
}
"""Words in the name of a file or of an HDU that tell what its pixels are."""


@dataclass(frozen=True)
class Layer:
    """An HDU with an image.

    Attributes
    ----------
    hdu : int
        Its number; 0 is the primary.
    size : tuple of int
        Columns, rows.
    kind : str
        `f` or `i`: pixels are real or whole numbers.
    cards : dict
        Those that matter: gain, saturation, zero_point (as (name, value)), filter, exposure.
    scale : float or None
        Pixel scale in arcsec; None without a WCS.
    problem : str
        Why the WCS cannot be read, if it has one.
    """

    hdu: int
    name: str
    size: tuple[int, int]
    kind: str
    bits: int
    cards: dict[str, tuple[str, object]]
    scale: float | None = None
    projection: str = ""
    problem: str = ""
    overscan: bool = False


@dataclass(frozen=True)
class Frame:
    """A FITS file, as far as its headers tell."""

    path: Path
    layers: tuple[Layer, ...] = ()
    tables: tuple[str, ...] = ()
    frame_kind: str = ""
    date: str = ""
    compressed: bool = False
    problem: str = ""
    words: dict[str, str] = field(default_factory=dict)

    @property
    def is_mosaic(self) -> bool:
        """Whether the file holds several images of the same kind: CCDs or amplifiers."""
        return len(self.science) > 1

    @property
    def science(self) -> list[Layer]:
        """Image HDUs that are not weights or flags of others in the same file."""
        return [layer for layer in self.layers if role_in(layer.name) not in ("weight", "flag")]


def look(path: str | Path) -> Frame:
    """Read the headers of a file; one that cannot be read has a `problem`.

    Parameters
    ----------
    path : str or Path
        FITS file, plain, gzip or fpack.
    """
    path = Path(path)
    try:
        with fits.open_hdus(path) as hdus:
            primary = hdus[0].header
            layers = tuple(
                _layer(number, hdu, path) for number, hdu in enumerate(hdus) if _has_pixels(hdu)
            )
            tables = tuple(hdu.name for hdu in hdus if not hdu.is_image)
            first = hdus[layers[0].hdu].header if layers else primary
            kind = _card(first, KIND) or _card(primary, KIND)
            date = first.get("DATE-OBS", primary.get("DATE-OBS", ""))
            packed = any(isinstance(hdu, afits.CompImageHDU) for hdu in hdus)
    except BadInput as error:
        return Frame(path, problem=str(error).removeprefix(f"{path}: "))
    compressed = packed or path.suffix in (".gz", ".fz")
    shown = str(kind[1]).strip() if kind else ""
    return Frame(path, layers, tables, frame_kind(path, shown), str(date), compressed)


def frame_kind(path: Path, card: str) -> str:
    """Say `bias`, `dark`, `flat`, or `light`, by a header card or else by name and folder."""
    texts = [card] if card else [path.name, path.parent.name]
    for text in texts:
        words = _words(text)
        for kind, known in CALIBRATION.items():
            if any(word.startswith(known) for word in words):
                return kind
    return "light"


def role_in(name: str) -> str:
    """Say `image`, `weight` or `flag` if a word in a name does, else nothing.

    Of several, `img_12.mask` is a flag and not an image.
    """
    words = set(_words(name))
    return next((role for role, known in WORDS.items() if words & set(known)), "")


def role_of_pixels(data: np.ndarray, kind: str) -> str:
    """Guess what pixels are, for files whose names do not tell.

    Parameters
    ----------
    data : ndarray, shape (ny, nx)
        Pixels.
    kind : str
        `i` for whole numbers as stored.

    Returns
    -------
    str
        `flag`: few different whole numbers, mostly zero. `weight`: nowhere negative, and no noise
        around a level: neighbours are equal or nearly so. Else `image`.
    """
    part = np.asarray(data)[::3, ::3]
    part = part[np.isfinite(part)]
    if part.size == 0:
        return "image"
    if kind == "i" and np.mean(part == 0) > 0.5 and len(np.unique(part)) < 300:
        return "flag"
    positive = part[part > 0]
    spread = np.subtract(*np.percentile(positive, [84, 16])) if positive.size else 0
    if part.min() >= 0 and positive.size and spread < 1e-3 * np.median(positive):
        return "weight"
    return "image"


def _words(text: str) -> list[str]:
    return [word for word in re.split(r"[^a-z]+", text.lower()) if word]


def _has_pixels(hdu) -> bool:
    return hdu.is_image and hdu.header.get("NAXIS", 0) == 2 and 0 not in hdu.shape


def _layer(number, hdu, path) -> Layer:
    header = hdu.header
    name = "" if hdu.name in ("PRIMARY", "COMPRESSED_IMAGE") else hdu.name
    cards = {
        "gain": _card(header, GAIN, above=0),
        "saturation": _card(header, SATURATION, above=0),
        "zero_point": _card(header, ZERO_POINT, above=ZERO_POINTS[0], below=ZERO_POINTS[1]),
        "filter": _card(header, FILTER),
        "exposure": _card(header, EXPOSURE, above=0),
    }
    scale, problem = None, ""
    if str(header.get("CTYPE1", "")).strip():
        try:
            scale = wcs.pixel_scale(wcs.from_header(header, path))
        except BadInput as error:
            problem = error.problem
    stored = header.get("BZERO", 0), header.get("BSCALE", 1)
    whole = header["BITPIX"] > 0 and float(stored[1]) == 1 and float(stored[0]).is_integer()
    return Layer(
        hdu=number,
        name=name,
        size=(int(hdu.shape[1]), int(hdu.shape[0])),
        kind="i" if whole else "f",
        bits=abs(int(header["BITPIX"])),
        cards={key: card for key, card in cards.items() if card},
        scale=scale,
        projection=str(header.get("CTYPE1", ""))[5:].strip("-"),
        problem=problem,
        overscan=any(name in header for name in ("BIASSEC", "OVERSCAN")),
    )


def _card(header, names, above=None, below=None):
    """First of the cards that is there and, for a number, within bounds: (name, value)."""
    for name in names:
        try:
            value = header.get(name)
        except afits.VerifyError:  # a card that is not FITS, such as one with a decimal comma
            continue
        if value is None or isinstance(value, afits.card.Undefined) or str(value).strip() == "":
            continue
        if above is None:
            return name, value
        try:
            number = float(value)
        except (TypeError, ValueError):
            continue
        if number > above and (below is None or number < below):
            return name.removeprefix("HIERARCH "), number
    return None
