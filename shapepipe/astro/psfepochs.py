"""The PSF of every exposure at every object of a stack."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from shapepipe.astro import moments, psfmodel, psftables
from shapepipe.astro.epochs import Views, find_files
from shapepipe.errors import BadInput, NoUsableData

CHUNK = 1000  # objects in memory at a time
EXT = ".psf"


def find_models(folders: Sequence[Path], pattern: str) -> dict[tuple[str, int], Path]:
    """PSF models ``<pattern>-<exposure>-<ccd>.psf`` below directories, by exposure and CCD."""
    return find_files(folders, pattern, EXT)


def load_models(
    views: Views,
    paths: dict[tuple[str, int], Path],
    star_threshold: int,
    chi2_threshold: float,
) -> tuple[dict[int, psfmodel.PSFModel], list[str]]:
    """Models of the CCDs that see objects, on image pixels, and why others are missing.

    Returns
    -------
    models : dict
        By index of the CCD in `views.names`.
    complaints : list of str
        One line for each CCD without a usable model.
    """
    models, complaints = {}, []
    for index in np.unique(views.ccd):
        exposure, ccd = views.names[index]
        path = paths.get((exposure, ccd))
        try:
            if path is None:
                raise NoUsableData("no PSF model found")
            model = psfmodel.read_psf(path)
            psftables.require_quality(model, star_threshold, chi2_threshold)
            models[int(index)] = model.on_pixels()
        except (NoUsableData, BadInput) as error:
            complaints.append(f"{exposure}-{ccd}: {error}")
    return models, complaints


def psf_epochs(
    numbers, views: Views, x, y, models: dict[int, psfmodel.PSFModel], with_shapes: bool = True
) -> Iterator[list[tuple[int, dict]]]:
    """PSF of each object on each of its CCDs, in chunks of objects.

    Parameters
    ----------
    numbers : numpy.ndarray
        NUMBER of the objects, shape (n,).
    views : Views
        Which CCD sees which object.
    x, y : numpy.ndarray
        0-based pixels of each view; nan leaves it out.
    models : dict
        Model by index of the CCD; views on other CCDs are left out.
    with_shapes : bool
        Add the moments.

    Yields
    ------
    list of (int, dict)
        Number and ``{"exposure-ccd": {"VIGNET": ..., "SHAPES": {...}}}`` of each object.
    """
    usable = np.isfinite(x) & np.isfinite(y) & np.isin(views.ccd, list(models))
    order = np.flatnonzero(usable)[np.lexsort((views.ccd[usable], views.row[usable]))]
    sorted_rows = views.row[order]
    for start in range(0, len(numbers), CHUNK):
        stop = min(start + CHUNK, len(numbers))
        here = order[np.searchsorted(sorted_rows, start) : np.searchsorted(sorted_rows, stop)]
        entries: list = [(int(number), {}) for number in numbers[start:stop]]
        for index in np.unique(views.ccd[here]):
            members = here[views.ccd[here] == index]
            label = "{}-{}".format(*views.names[index])
            stamps = models[int(index)].evaluate(x[members], y[members])
            values = _entries(stamps, with_shapes)
            for row, value in zip(views.row[members], values, strict=True):
                entries[row - start][1][label] = value
        yield entries


def _entries(stamps, with_shapes):
    """One dict per stamp."""
    if not with_shapes:
        return [{"VIGNET": stamp.copy()} for stamp in stamps]
    found = moments.measure(stamps)
    columns = (found.g1, found.g2, found.sigma, found.flag)
    names = [f"{name}_PSF_HSM" for name in psftables.SHAPE_COLUMNS]
    shapes = zip(*(column.tolist() for column in columns), strict=True)
    return [{"VIGNET": stamp.copy(), "SHAPES": dict(zip(names, shape, strict=True))}
            for stamp, shape in zip(stamps, shapes, strict=True)]  # fmt: skip
