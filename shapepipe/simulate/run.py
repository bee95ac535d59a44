"""Simulate a survey: from its options to a folder of files.

::

    exposures/   image, weight and flag mosaics
    star_cat.fits, star_cat/   bright stars: one table; text files, one for each CCD
    tiles/       stacks, if asked for
    truth/       objects.fits, epochs-<number>.fits, exposures.fits
    survey.ini   every option with its value
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from astropy.io import fits

from shapepipe.simulate import headers, mosaic, stack, truth
from shapepipe.simulate.astrometry import outline, wcs_cards
from shapepipe.simulate.camera import Camera
from shapepipe.simulate.exposures import (
    Exposure,
    Frame,
    draw_ccd,
    make_camera,
    make_sky,
    plan_exposures,
)
from shapepipe.simulate.survey import Survey, read_survey, write_survey

_HALO = 120.0  # arcsec: stars this far outside of a CCD are in its text catalogue


def simulate(path: str | Path, folder: str | Path | None = None, workers: int = 1) -> Path:
    """Simulate the survey that an INI file describes.

    Parameters
    ----------
    path : str or Path
        INI file, see `survey`.
    folder : str or Path, optional
        Where to write; default a folder here, named as the INI file without its ending.
    workers : int
        Number of processes; the result does not depend on it.

    Returns
    -------
    Path
        The folder.
    """
    folder = Path(Path(path).stem) if folder is None else Path(folder)
    simulate_survey(read_survey(path), folder, workers)
    return folder


def simulate_survey(
    survey: Survey, folder: str | Path, workers: int = 1, mapper: Callable | None = None
) -> None:
    """Simulate a survey into a folder, CCD by CCD.

    Parameters
    ----------
    survey : Survey
        Options.
    folder : str or Path
        Where to write; made if it is not there.
    workers : int
        Number of processes.
    mapper : callable, optional
        Used instead of processes of our own: as `map`, with the results in order.
    """
    folder, camera = Path(folder), make_camera(survey.camera)
    for name in ("exposures", "truth"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    write_survey(survey, folder / "survey.ini")
    exposures = plan_exposures(survey, camera)
    frames = [frame_of(camera, exposure, i) for exposure in exposures
              for i in range(len(camera.chips))]  # fmt: skip
    work = partial(draw_files, survey, camera, folder / "exposures")
    truths = map_frames(work, frames, workers, mapper, partial(_join, survey, camera, folder))
    truth.write_objects(folder / "truth" / "objects.fits", truths)
    truth.write_exposures(folder / "truth" / "exposures.fits", exposures)
    write_star_catalogues(survey, frames, folder)
    if survey.stack.make:
        stack.make_tiles(survey, folder, exposures)


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


def draw_files(survey: Survey, camera: Camera, folder: Path, frame: Frame) -> np.ndarray:
    """Draw one CCD, write its three parts, and return the truth about it."""
    ccd = draw_ccd(survey, frame)
    cards = headers.ccd_cards(frame, camera, survey.exposures.filter)
    cards["SKYLEVEL"] = (round(ccd.sky, 3), "Sky at the centre (ADU)")
    write_parts(survey, folder, frame, ccd, cards)
    return ccd.truth


def write_parts(survey: Survey, folder: Path, frame: Frame, ccd, cards: fits.Header) -> None:
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
        path = part_path(folder, kind, frame.exposure.number, frame.index)
        mosaic.write_part(path, pixels[kind], flags if kind == "flag" else cards, packed)


def part_path(folder: Path, kind: str, number: int, index: int) -> Path:
    """File of one CCD until its mosaic is complete."""
    return folder / f".{kind}-{number}-{index}.fits"


def join_exposure(
    survey: Survey, folder: Path, number: int, cards: fits.Header, ccds: Sequence[int]
) -> None:
    """Join the parts of one exposure to its three mosaics."""
    for kind in mosaic.KINDS:
        parts = [part_path(folder, kind, number, i) for i in ccds]
        name = mosaic.mosaic_name(kind, number, survey.files.names, survey.files.extension)
        mosaic.join_parts(folder / name, cards, parts)


def write_star_catalogues(survey: Survey, frames: Sequence[Frame], folder: Path) -> None:
    """Write the bright stars of all frames as one table, and those of each CCD as text."""
    sky, found = make_sky(survey), []
    texts = folder / "star_cat"
    if survey.files.star_text:
        texts.mkdir(exist_ok=True)
    for frame in frames:
        objects = sky.objects(*outline(frame.wcs, frame.shape), margin=_HALO)
        stars = truth.bright_stars(objects, survey.stars.catalogue_limit)
        found.append(stars)
        if survey.files.star_text:
            name = f"star_cat-{frame.exposure.number}-{frame.index}.cat"
            truth.write_star_text(texts / name, stars)
    stars = truth.bright_stars(np.concatenate(found), survey.stars.catalogue_limit)
    truth.write_stars(folder / "star_cat.fits", stars)


def map_frames(
    work: Callable,
    frames: Sequence[Frame],
    workers: int = 1,
    mapper: Callable | None = None,
    done: Callable | None = None,
) -> list[np.ndarray]:
    """Do `work` for all frames, and tell `done` of each in order.

    Parameters
    ----------
    work : callable
        Of a frame; returns the truth about it.
    frames : sequence of Frame
        All CCDs of all exposures.
    workers, mapper
        As in `simulate_survey`.
    done : callable, optional
        Given a frame, and the truth about all up to this one.
    """
    if mapper is not None or workers == 1:
        return _collect((mapper or map)(work, frames), frames, done)
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        return _collect(pool.map(work, frames), frames, done)


def _collect(results: Iterable[np.ndarray], frames, done):
    truths = []
    for frame, result in zip(frames, results, strict=True):
        truths.append(result)
        if done is not None:
            done(frame, truths)
    return truths


def _join(survey, camera, folder, frame, truths):
    """Write an exposure whose last CCD has just arrived."""
    n, exposure = len(camera.chips), frame.exposure
    if frame.index != n - 1:
        return
    cards = headers.primary_cards(exposure, camera.name, survey.exposures.filter, n)
    join_exposure(survey, folder / "exposures", exposure.number, cards, range(n))
    path = folder / "truth" / f"epochs-{exposure.number}.fits"
    truth.write_epochs(path, truths[-n:], range(n))
