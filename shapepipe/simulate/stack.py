"""Stacks (tiles) of simulated exposures: SWarp makes them, their headers name what went in."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from astropy.io import fits

from shapepipe.errors import ProgramFailed
from shapepipe.simulate import mosaic
from shapepipe.simulate.astrometry import from_plane, outline, to_plane
from shapepipe.simulate.exposures import Frame, centre
from shapepipe.simulate.headers import STACK_ZERO_POINT
from shapepipe.simulate.survey import StackSection, Survey, tile_centre

_SETTINGS = {
    "WEIGHT_TYPE": "MAP_WEIGHT",
    "RESCALE_WEIGHTS": "N",
    "CELESTIAL_TYPE": "NATIVE",
    "PROJECTION_TYPE": "TAN",
    "CENTER_TYPE": "MANUAL",
    "PIXELSCALE_TYPE": "MANUAL",
    "RESAMPLING_TYPE": "LANCZOS3",
    "FSCALASTRO_TYPE": "VARIABLE",  # the counts of a source are kept, whatever its pixels' size
    "FSCALE_KEYWORD": "FSCALE",
    "GAIN_KEYWORD": "GAIN",
    "SATLEV_KEYWORD": "SATURATE",
    "DELETE_TMPFILES": "Y",
    "WRITE_XML": "N",
    "VERBOSE_TYPE": "QUIET",
    "NTHREADS": "1",
}
_EDGE = 30.0  # arcsec around a tile within which CCDs are taken
_KEPT = (
    "EQUINOX", "RADESYS", "CTYPE1", "CTYPE2", "CUNIT1", "CUNIT2", "CRVAL1", "CRVAL2", "CRPIX1",
    "CRPIX2", "CD1_1", "CD1_2", "CD2_1", "CD2_2", "GAIN", "SATURATE", "EXPTIME",
)  # fmt: skip


def make_tile(
    survey: Survey,
    tile: str,
    frames: Sequence[Frame],
    find: Callable[[str, int, int], Path],
    paths: Sequence[Path],
    scratch: Path,
    call: Callable[[Sequence[str], Path], object] | None = None,
) -> None:
    """Stack the CCDs that touch one tile.

    Parameters
    ----------
    survey : Survey
        Options.
    tile : str
        Number xxx.yyy.
    frames : sequence of Frame
        All CCDs of all exposures.
    find : callable
        File of a CCD from kind (image, weight), exposure number and CCD.
    paths : sequence of Path
        Image and weight to make.
    scratch : Path
        Directory for copies without compression.
    call : callable, optional
        Runs SWarp with arguments in a directory; default: the program that the survey names.

    Raises
    ------
    ProgramFailed
        SWarp is absent, or ends with an error.
    """
    place = tile_position(survey, tile)
    inputs: dict[int, list[int]] = {}
    for frame in frames:
        if touches(survey, frame, tile):
            inputs.setdefault(frame.exposure.number, []).append(frame.index)
    if not inputs:
        raise ProgramFailed(survey.stack.program, f"no exposure touches tile {tile}")
    with tempfile.TemporaryDirectory(dir=scratch, prefix="stack-") as folder:
        made = Path(folder)
        for number, ccds in inputs.items():
            for kind, plain in (("image", f"{number}p.fits"), ("weight", f"{number}p.weight.fits")):
                _copy_plain([find(kind, number, i) for i in ccds], made / plain)
        images = [f"{number}p.fits" for number in inputs]
        call_swarp(survey.stack, place, images, made, call)
        with fits.open(made / "coadd.fits") as coadd:
            counts = {number: len(ccds) for number, ccds in inputs.items()}
            cards = tile_cards(tile, coadd[0].header, counts)
            fits.PrimaryHDU(coadd[0].data, cards).writeto(paths[0], overwrite=True)
        with fits.open(made / "coadd.weight.fits") as coadd:
            _write_weight(paths[1], coadd[0].data, cards)


def tile_names(survey: Survey, tile: str) -> tuple[str, str]:
    """File names of a tile and of its weight."""
    extension = survey.files.extension
    if survey.files.names == "cfht":
        return f"CFIS.{tile}.r.fits", f"CFIS.{tile}.r.weight{extension}"
    number = tile.replace(".", "-")
    return f"CFIS_image-{number}.fits", f"CFIS_weight-{number}{extension}"


def tile_position(survey: Survey, tile: str) -> tuple[float, float]:
    """Centre of a tile, deg: the first is at the centre of the survey.

    Others are where their numbers tell if SPACING is 0.5 deg, as in the real survey; otherwise the
    difference of the numbers counts in units of SPACING on the sky.
    """
    first, ra, dec = survey.survey.tiles[0], *centre(survey)
    if tile == first:
        return ra, dec
    if survey.stack.spacing == 0.5 and survey.survey.ra is None and survey.survey.dec is None:
        return tile_centre(tile)
    steps = [int(a) - int(b) for a, b in zip(tile.split("."), first.split("."), strict=True)]
    away = (step * survey.stack.spacing for step in steps)
    ra, dec = from_plane(*away, ra, dec)
    return float(ra), float(dec)


def touches(survey: Survey, frame: Frame, tile: str) -> bool:
    """Whether the box around a CCD and a tile overlap in the tile's tangent plane."""
    xi, eta = to_plane(*outline(frame.wcs, frame.shape), *tile_position(survey, tile))
    half = (0.5 * survey.stack.size * survey.stack.pixel_scale + _EDGE) / 3600.0
    return all(
        axis.min() < half and axis.max() > -half and np.isfinite(axis).all() for axis in (xi, eta)
    )


def call_swarp(
    options: StackSection,
    place: tuple[float, float],
    images: Sequence[str],
    scratch: Path,
    call: Callable[[Sequence[str], Path], object] | None = None,
) -> None:
    """Run SWarp in a directory on images with weights beside them, to coadd.fits.

    Raises
    ------
    ProgramFailed
        SWarp is absent, or ends with an error.
    """
    settings = _SETTINGS | {
        "COMBINE_TYPE": options.combine,
        "CENTER": f"{place[0]:.10f},{place[1]:+.10f}",
        "PIXEL_SCALE": str(options.pixel_scale),
        "IMAGE_SIZE": f"{options.size},{options.size}",
        "SUBTRACT_BACK": "Y" if options.background else "N",
        "BACK_SIZE": str(max(options.background, 1)),
    }
    (scratch / "empty.swarp").write_text("", encoding="ascii")
    arguments = [*images, "-c", "empty.swarp"]
    for name, value in settings.items():
        arguments += [f"-{name}", value]
    (call or partial(_call, options.program))(arguments, scratch)


def _call(program, arguments, folder):
    """Run SWarp by itself."""
    command = [_program(program), *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ProgramFailed(program, f"exit code {done.returncode}: {done.stderr[-500:]}")


def _program(name: str) -> str:
    """Full path of SWarp, in capitals or not: distributions differ."""
    found = shutil.which(name) or shutil.which(name.lower())
    if found is None:
        raise ProgramFailed(name, "is not installed, or not on PATH")
    return found


def tile_cards(tile: str, header: fits.Header, inputs: dict[int, int]) -> fits.Header:
    """Header of a tile.

    A HISTORY card names each exposure as ``input image 2366993p.fits 4 extension(s)``; it begins
    with a blank, so that the name is word 3 of the card split at blanks, counted from 0.

    Parameters
    ----------
    tile : str
        Number xxx.yyy.
    header : Header
        As SWarp wrote it.
    inputs : dict of int to int
        Exposure number to number of CCDs that touch the tile.
    """
    cards = fits.Header()
    cards["OBJECT"] = (f"CFIS.{tile}", "Tile")
    cards["FILTER"] = ("r", "Filter")
    for name in _KEPT:
        if name in header:
            cards[name] = (header[name], header.comments[name])
    cards["PHOTZP"] = (STACK_ZERO_POINT, "Magnitude of one ADU")
    for number, n_ccds in inputs.items():
        cards.add_history(f" input image {number}p.fits {n_ccds} extension(s)")
    return cards


def _copy_plain(parts, plain):
    """Copy CCDs to a plain file, one at a time."""
    fits.PrimaryHDU().writeto(plain)
    for part in parts:
        with fits.open(part) as hdus:
            cards, pixels = hdus[1].header.copy(), hdus[1].data
        for name in ("BSCALE", "BZERO"):
            cards.remove(name, ignore_missing=True)
        fits.append(plain, pixels, cards)


def _write_weight(path, weight, cards):
    """Write the weight of a tile: plain in the primary HDU, or compressed in HDU 1."""
    if path.name.endswith("fz"):
        mosaic.write_part(path, mosaic.to_steps(weight), cards, packed=True)
    else:
        fits.PrimaryHDU(mosaic.to_steps(weight), cards).writeto(path, overwrite=True)
