"""Tables of the truth: objects, epochs, exposures; and the star catalogue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from astropy.table import Table

from shapepipe.astro import starcat
from shapepipe.simulate.exposures import Exposure
from shapepipe.simulate.headers import flux_scale
from shapepipe.simulate.sky import OBJECT_COLUMNS, STAR

ABOUT = {
    "id": ("", "number of the object, the same in all tables"),
    "kind": ("", "0 star, 1 galaxy"),
    "ra": ("deg", "right ascension"),
    "dec": ("deg", "declination"),
    "mag": ("mag", "AB magnitude"),
    "sersic": ("", "Sersic index, 0 for a star"),
    "r50": ("arcsec", "half-light radius before shear"),
    "e1": ("", "intrinsic g1 = (a-b)/(a+b) cos 2phi, > 0 east-west"),
    "e2": ("", "intrinsic g2, > 0 from north-west to south-east"),
    "g1": ("", "shear, > 0 east-west"),
    "g2": ("", "shear, > 0 from north-west to south-east"),
    "ccd": ("", "CCD, counted from 0"),
    "x": ("pixel", "position along columns, 0 is the centre of the first pixel"),
    "y": ("pixel", "position along rows, 0 is the centre of the first pixel"),
    "flux": ("adu", "counts in this exposure"),
    "psf_fwhm": ("arcsec", "PSF: full width at half maximum of the profile"),
    "psf_g1": ("", "PSF: g1 of the profile, > 0 east-west"),
    "psf_g2": ("", "PSF: g2 of the profile, > 0 from north-west to south-east"),
    "psf_coma1": ("arcsec", "PSF: displacement of a fifth of the light to the west"),
    "psf_coma2": ("arcsec", "PSF: displacement of a fifth of the light to the north"),
}
"""Column to unit and meaning."""


def write_epochs(path: Path, truths: Sequence[np.ndarray], ccds: Sequence[int]) -> None:
    """Write what one exposure shows: a row for each source on each CCD.

    Parameters
    ----------
    path : Path
        FITS file to make.
    truths : sequence of ndarray
        Truth of each CCD.
    ccds : sequence of int
        Number of each CCD.
    """
    table = _table(np.concatenate(truths))
    numbers = np.repeat(np.array(ccds, dtype=np.int16), [len(part) for part in truths])
    table.add_column(numbers, index=1, name="ccd")
    _write(path, table)


def write_objects(path: Path, truths: Sequence[np.ndarray]) -> None:
    """Write every object that any of the epochs shows, once."""
    columns = list(OBJECT_COLUMNS)
    _, first = np.unique(np.concatenate([part["id"] for part in truths]), return_index=True)
    parts = [part[columns] for part in truths]
    _write(path, _table(np.concatenate(parts)[first]))


def write_exposures(path: Path, exposures: Sequence[Exposure]) -> None:
    """Write pointing, photometry, sky and PSF of the exposures."""
    rows = []
    for exposure in exposures:
        row = asdict(exposure)
        row.update({f"psf_{key}": value for key, value in row.pop("psf").items()})
        row.update(row.pop("distortion"))
        row["slope_u"], row["slope_v"] = row.pop("slope")
        rows.append({**row, "fscale": flux_scale(exposure)})
    _write(path, Table(rows))


def write_stars(path: Path, stars: np.ndarray) -> None:
    """Write a star catalogue as a table of ra, dec, mag."""
    _write(path, _table(stars[["ra", "dec", "mag"]]))


def write_star_text(path: Path, stars: np.ndarray) -> None:
    """Write a star catalogue as the text that GSC 2.2 queries give."""
    table = starcat.Stars(stars["ra"], stars["dec"], stars["mag"])
    starcat.write_gsc(path, table, "simulated stars")


def bright_stars(objects: np.ndarray, limit: float) -> np.ndarray:
    """Stars brighter than a magnitude, brightest first, each once."""
    stars = objects[(objects["kind"] == STAR) & (objects["mag"] < limit)]
    _, first = np.unique(stars["id"], return_index=True)
    stars = stars[first]
    return stars[np.argsort(stars["mag"], kind="stable")]


def _table(rows):
    table = Table(rows)
    for name in table.colnames:
        unit, meaning = ABOUT[name]
        table[name].unit, table[name].description = unit or None, meaning
    return table


def _write(path, table):
    table.write(path, format="fits", overwrite=True)
