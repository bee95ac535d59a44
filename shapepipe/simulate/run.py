"""Simulate a survey: from its options to a folder of files.

::

    exposures/   image, weight and flag mosaics
    star_cat.fits, star_cat/   bright stars: one table; text files, one for each CCD
    tiles/       stacks, if asked for
    truth/       objects.fits, epochs-<number>.fits, exposures.fits
    survey.ini   every option with its value

Here are the pieces of the work, and `simulate_survey`, which does them one after the other. The
chain of runners that shares them out among workers is in `chain`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from astropy.io import fits

from shapepipe.simulate import headers, mosaic, stack, truth
from shapepipe.simulate.astrometry import outline, wcs_cards
from shapepipe.simulate.camera import Camera
from shapepipe.simulate.detector import Defect
from shapepipe.simulate.exposures import (
    EPOCH_COLUMNS,
    Ccd,
    Exposure,
    Frame,
    draw_ccd,
    make_camera,
    make_sky,
    plan_exposures,
)
from shapepipe.simulate.sky import OBJECT_COLUMNS
from shapepipe.simulate.survey import Survey, write_survey

_HALO = 120.0  # arcsec: stars this far outside of a CCD are in its text catalogue


def simulate_survey(survey: Survey, folder: str | Path) -> None:
    """Simulate a survey into a folder, one CCD after the other, in this process.

    Parameters
    ----------
    survey : Survey
        Options.
    folder : str or Path
        Where to write; made if it is not there.
    """
    folder, camera = Path(folder), make_camera(survey.camera)
    exposures = plan_exposures(survey, camera)
    frames = frames_of(camera, exposures)
    with tempfile.TemporaryDirectory(dir=_made(folder), prefix=".parts-") as scratch:
        find = partial(part_path, Path(scratch))
        truths = [draw_files(survey, camera, parts_of(find, frame), frame) for frame in frames]
        n = len(camera.chips)
        for i, exposure in enumerate(exposures):
            targets = mosaic_paths(survey, _made(folder / "exposures"), exposure.number)
            join_exposure(
                targets, exposure_cards(survey, camera, exposure), exposure, range(n), find
            )
            path = _made(folder / "truth") / f"epochs-{exposure.number}.fits"
            truth.write_epochs(path, truths[i * n : (i + 1) * n], range(n))
        for tile in survey.survey.tiles if survey.stack.make else ():
            paths = [_made(folder / "tiles") / name for name in stack.tile_names(survey, tile)]
            stack.make_tile(survey, tile, frames, find, paths, Path(scratch))
    truth.write_objects(folder / "truth" / "objects.fits", truths)
    truth.write_exposures(folder / "truth" / "exposures.fits", exposures)
    write_lists(survey, frames, folder)


def write_lists(survey: Survey, frames: Sequence[Frame], folder: Path) -> None:
    """Write what is known before a pixel is drawn: options, star catalogues, numbers of tiles."""
    write_survey(survey, _made(folder) / "survey.ini")
    write_star_catalogues(survey, frames, folder)
    if survey.stack.make:
        _write_numbers(folder / "tile_numbers.txt", survey.survey.tiles)
        units = [f"-{tile.replace('.', '-')}" for tile in survey.survey.tiles]
        units += [f"-{f.exposure.number}-{f.index}" for f in frames if _on_a_tile(survey, f)]
        _write_numbers(folder / "tile_units.txt", units)


def _write_numbers(path: Path, numbers: Sequence[str]) -> None:
    path.write_text("\n".join(numbers) + "\n", encoding="ascii")


def _on_a_tile(survey: Survey, frame: Frame) -> bool:
    return any(stack.touches(survey, frame, tile) for tile in survey.survey.tiles)


def frames_of(camera: Camera, exposures: Sequence[Exposure]) -> list[Frame]:
    """All CCDs of all exposures, exposure by exposure."""
    return [frame_of(camera, item, i) for item in exposures for i in range(len(camera.chips))]


def frame_of(camera: Camera, exposure: Exposure, index: int) -> Frame:
    """One CCD of an exposure."""
    chip = camera.chips[index]
    return Frame(
        exposure=exposure,
        index=index,
        wcs_cards=wcs_cards(
            camera, index, (exposure.ra, exposure.dec), exposure.angle, exposure.distortion
        ),
        shape=camera.shape,
        light=camera.light,
        gain=chip.gain,
        read_noise=chip.read_noise,
        saturation=min(chip.saturation, 65535.0),
    )


def draw_files(survey: Survey, camera: Camera, paths: dict[str, Path], frame: Frame) -> np.ndarray:
    """Draw one CCD, write its three parts, and return the truth about it."""
    dark = survey.exposures.ccds == "tiles" and not _on_a_tile(survey, frame)
    ccd = dark_ccd(frame) if dark else draw_ccd(survey, frame)
    cards = headers.ccd_cards(frame, camera, survey.exposures.filter)
    cards["SKYLEVEL"] = (round(ccd.sky, 3), "Sky at the centre (ADU)")
    write_parts(survey, paths, ccd, cards)
    return ccd.truth


def dark_ccd(frame: Frame) -> Ccd:
    """A CCD that saw no light: no counts, no weight, no sources."""
    blank = np.zeros(frame.shape, np.float32)
    flag = np.full(frame.shape, int(Defect.UNEXPOSED), np.int16)
    columns = [*OBJECT_COLUMNS.items(), *EPOCH_COLUMNS.items()]
    return Ccd(blank, blank, flag, np.zeros(0, dtype=columns), 0.0)


def write_parts(survey: Survey, paths: dict[str, Path], ccd, cards: fits.Header) -> None:
    """Write image, weight and flag of one CCD as parts of their mosaics."""
    packed = "fz" in survey.files.extension
    flags = cards.copy()
    flags.update(headers.flag_cards())
    pixels = {
        "image": mosaic.to_counts(ccd.image),
        "weight": mosaic.to_steps(ccd.weight),
        "flag": ccd.flag,
    }
    for kind in mosaic.KINDS:
        mosaic.write_part(paths[kind], pixels[kind], flags if kind == "flag" else cards, packed)


def part_path(folder: Path, kind: str, number: int, index: int) -> Path:
    """File of one CCD, from which mosaics and stacks are made."""
    return folder / f"{kind}-{number}-{index}.fits"


def parts_of(find: Callable[[str, int, int], Path], frame: Frame) -> dict[str, Path]:
    """Files of one CCD by their kind."""
    return {kind: find(kind, frame.exposure.number, frame.index) for kind in mosaic.KINDS}


def mosaic_paths(survey: Survey, folder: Path, number: int) -> dict[str, Path]:
    """Mosaics of an exposure by their kind."""
    files = survey.files
    return {
        kind: folder / mosaic.mosaic_name(kind, number, files.names, files.extension)
        for kind in mosaic.KINDS
    }


def exposure_cards(survey: Survey, camera: Camera, exposure: Exposure) -> fits.Header:
    """Primary header of an exposure's mosaics."""
    n_ccds = len(camera.chips)
    return headers.primary_cards(exposure, camera.name, survey.exposures.filter, n_ccds)


def join_exposure(
    targets: dict[str, Path],
    cards: fits.Header,
    exposure: Exposure,
    ccds: Sequence[int],
    find: Callable[[str, int, int], Path],
) -> None:
    """Join the parts of one exposure to its three mosaics.

    Parameters
    ----------
    targets : dict of str to Path
        Mosaics to make, by their kind.
    cards : Header
        Primary header.
    exposure : Exposure
        Which one.
    ccds : sequence of int
        Its CCDs, in the order of the extensions.
    find : callable
        File of a CCD from kind, exposure number and CCD.
    """
    for kind, target in targets.items():
        mosaic.join_parts(target, cards, [find(kind, exposure.number, i) for i in ccds])


def write_star_catalogues(survey: Survey, frames: Sequence[Frame], folder: Path) -> None:
    """Write the bright stars of all frames as one table, and those of each CCD as text."""
    sky, found = make_sky(survey), []
    for frame in frames:
        objects = sky.objects(*outline(frame.wcs, frame.shape), margin=_HALO)
        stars = truth.bright_stars(objects, survey.stars.catalogue_limit)
        found.append(stars)
        if survey.files.star_text:
            name = f"star_cat-{frame.exposure.number}-{frame.index}.cat"
            truth.write_star_text(_made(folder / "star_cat") / name, stars)
    stars = truth.bright_stars(np.concatenate(found), survey.stars.catalogue_limit)
    truth.write_stars(folder / "star_cat.fits", stars)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
