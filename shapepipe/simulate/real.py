"""Simulated pixels on the headers of a real exposure, with its real bad pixels.

The world coordinates, the frames and the amplifiers are those of the headers; sky, sources, PSF and
defects are those of a survey. Headers are text: one card a line, END after each HDU, plain or gzip.
"""

from __future__ import annotations

import gzip
import re
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS, FITSFixedWarning

from shapepipe.errors import BadInput
from shapepipe.simulate import headers, truth
from shapepipe.simulate.astrometry import outline, to_plane
from shapepipe.simulate.exposures import Exposure, Frame, draw_ccd, draw_exposure, make_camera
from shapepipe.simulate.run import (
    join_exposure,
    mosaic_paths,
    part_path,
    parts_of,
    write_parts,
    write_star_catalogues,
)
from shapepipe.simulate.survey import Survey

_WORLD = re.compile(r"(CTYPE|CUNIT|CRVAL|CRPIX|CDELT|CROTA)\d$|(CD|PC|PV)\d_\d+$|EQUINOX|RADESYS")
_COMPRESSION = re.compile(
    r"Z(IMAGE|BITPIX|NAXIS\d*|TILE\d+|CMPTYPE|NAME\d+|VAL\d+|QUANTIZ|DITHER0|SIMPLE|EXTEND)$"
)
_STORAGE = re.compile(
    r"XTENSION|BITPIX|NAXIS\d*|PCOUNT|GCOUNT|TFIELDS|TTYPE\d+|TFORM\d+|BZERO|BSCALE|SIMPLE|EXTEND|"
    r"CHECKSUM|DATASUM|THEAP|ZHECKSUM|ZDATASUM|INHERIT"
)


@dataclass(frozen=True)
class RealExposure:
    """Headers of an exposure: the primary one, and those of its CCDs."""

    number: int
    primary: fits.Header
    ccds: tuple[fits.Header, ...]


def simulate_on_headers(
    survey: Survey,
    text: str | Path,
    folder: str | Path,
    bad_pixels: str | Path | None = None,
    ccds: Sequence[int] | None = None,
) -> int:
    """Simulate an exposure on the headers of a real one; files as from `simulate_survey`.

    Parameters
    ----------
    survey : Survey
        Sky, PSF and defects; its camera and pointings are not used. The centre of the sky is the
        pointing of the headers.
    text : str or Path
        Headers as text.
    folder : str or Path
        Where to write; made if it is not there.
    bad_pixels : str or Path, optional
        Mosaic of 1 for good and 0 for bad pixels, with an extension for each CCD; instead of bad
        columns.
    ccds : sequence of int, optional
        Only these CCDs, counted from 0; default all.

    Returns
    -------
    int
        Exposure number.
    """
    real, folder = read_headers(text), Path(folder)
    exposure = exposure_of(survey, real)
    centre = {"ra": exposure.ra, "dec": exposure.dec}
    survey = replace(survey, survey=survey.survey.model_copy(update=centre))
    for name in ("exposures", "truth"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    chosen = range(len(real.ccds)) if ccds is None else ccds
    frames = [frame_on(exposure, real.ccds[i], i) for i in chosen]
    if bad_pixels is not None:
        frames = add_bad_pixels(frames, bad_pixels)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".parts-") as scratch:
        find = partial(part_path, Path(scratch))
        truths = [_draw_files(survey, real, parts_of(find, frame), frame) for frame in frames]
        targets = mosaic_paths(survey, folder / "exposures", exposure.number)
        join_exposure(targets, _kept(real.primary), exposure, chosen, find)
    truth.write_epochs(folder / "truth" / f"epochs-{exposure.number}.fits", truths, chosen)
    truth.write_objects(folder / "truth" / "objects.fits", truths)
    truth.write_exposures(folder / "truth" / "exposures.fits", [exposure])
    write_star_catalogues(survey, frames, folder)
    return exposure.number


def read_headers(path: str | Path) -> RealExposure:
    """Read the headers of all HDUs of a file from text; lines that begin with # are notes.

    Raises
    ------
    BadInput
        No extension, or no exposure number.
    """
    path = Path(path)
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="latin-1") as lines:
        units = re.split(r"^END\s*$", lines.read(), flags=re.MULTILINE)
    parsed = [fits.Header.fromstring(text, sep="\n") for unit in units if (text := _cards(unit))]
    if len(parsed) < 2:
        raise BadInput(
            path, f"holds {len(parsed)} header(s)", "a primary one, and one for each CCD"
        )
    number = next((h["EXPNUM"] for h in parsed if "EXPNUM" in h), None)
    if number is None:
        raise BadInput(path, "no header has a card EXPNUM")
    return RealExposure(int(number), parsed[0], tuple(parsed[1:]))


def _cards(unit: str) -> str:
    """Lines of one header, without blank ones and notes (#)."""
    return "\n".join(
        line for line in unit.splitlines() if line.strip() and not line.startswith("#")
    )


def exposure_of(survey: Survey, real: RealExposure) -> Exposure:
    """Sky and PSF of a survey over the field of a real exposure."""
    drawn = draw_exposure(survey, make_camera(survey.camera), 0)
    first = real.ccds[0]
    ra, dec = float(first["CRVAL1"]), float(first["CRVAL2"])
    edges = [to_plane(*outline(_wcs(ccd), _shape(ccd)), ra, dec) for ccd in real.ccds]
    return replace(
        drawn,
        number=real.number,
        ra=ra,
        dec=dec,
        time=float(first.get("EXPTIME", drawn.time)),
        radius=float(max(np.hypot(*edge).max() for edge in edges)),
        distortion={},
    )


def frame_on(exposure: Exposure, cards: fits.Header, index: int) -> Frame:
    """One CCD as its real header describes it."""
    shape = _shape(cards)
    return Frame(
        exposure=exposure,
        index=index,
        wcs_cards=_world_cards(cards),
        shape=shape,
        light=_section(cards.get("DATASEC"), shape),
        gain=float(cards.get("GAIN", 1.6)),
        read_noise=float(cards.get("RDNOISE", 4.0)),
        saturation=min(float(cards.get("SATURATE", 65535.0)), 65535.0),
    )


def add_bad_pixels(frames: Sequence[Frame], path: str | Path) -> list[Frame]:
    """Take the bad pixels (0) of a mosaic, HDU by HDU.

    Raises
    ------
    BadInput
        An HDU is missing, or has another shape than its CCD.
    """
    done = []
    with fits.open(path) as hdus:
        for frame in frames:
            if frame.index + 1 >= len(hdus):
                raise BadInput(path, f"HDU {frame.index + 1} is missing", f"{len(hdus)} HDUs")
            bad = hdus[frame.index + 1].data == 0
            if bad.shape != frame.shape:
                raise BadInput(
                    path, f"HDU {frame.index + 1} has shape {bad.shape}", f"{frame.shape}"
                )
            done.append(replace(frame, bad=np.packbits(bad)))
            del hdus[frame.index + 1].data
    return done


def _draw_files(survey, real, paths, frame) -> np.ndarray:
    """Draw one CCD, write its parts, and return the truth about it."""
    ccd = draw_ccd(survey, frame)
    cards = _kept(real.ccds[frame.index])
    cards.update(headers.photometry_cards(frame.exposure))
    write_parts(survey, paths, ccd, cards)
    return ccd.truth


def _shape(cards) -> tuple[int, int]:
    prefix = "ZNAXIS" if "ZNAXIS1" in cards else "NAXIS"
    return int(cards[f"{prefix}2"]), int(cards[f"{prefix}1"])


def _section(text, shape) -> tuple[int, int, int, int]:
    """Bounds [x1:x2,y1:y2] of FITS as x0, x1, y0, y1; the whole frame if there are none."""
    numbers = [int(number) for number in re.findall(r"\d+", text or "")]
    if len(numbers) != 4:
        return 0, shape[1], 0, shape[0]
    x0, x1, y0, y1 = numbers
    return x0 - 1, x1, y0 - 1, y1


def _world_cards(cards) -> fits.Header:
    """The cards that make the world coordinates, and no other."""
    found = fits.Header()
    for card in cards.cards:
        if _WORLD.match(card.keyword):
            found[card.keyword] = card.value
    return found


def _wcs(cards) -> WCS:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FITSFixedWarning)
        return WCS(_world_cards(cards))


def _kept(cards) -> fits.Header:
    """Cards of a real header but for those that tell how its pixels were stored."""
    found = fits.Header()
    for card in cards.cards:
        if not (_STORAGE.fullmatch(card.keyword) or _COMPRESSION.match(card.keyword)):
            found.append(card)
    return found
