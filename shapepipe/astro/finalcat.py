"""Columns of the final catalogue of a stack: classes, shapes, and the epochs behind each object.

Every object of the detection catalogue has one row, in its order, whatever was measured. Files are
read and written by `make_cat_runner`; catalogues of many stacks are joined in `finalmerge`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import IntEnum

import numpy as np
from astropy.table import Column, Table

from shapepipe.astro.epochs import Views
from shapepipe.astro.spread import FWHM_PER_SIGMA
from shapepipe.errors import BadInput

NOT_MEASURED = 1 << 20
"""Bit of NGMIX_FLAGS_<K>, NGMIX_MCAL_FLAGS, GALSIM_FLAGS_<K> of an object without measurement."""
SHEAR_TYPES = ("1M", "1P", "2M", "2P", "NOSHEAR")
NO_SHAPE = -10.0
TEMPLATE_COLUMNS = ("VIGNET",)


class SpreadClass(IntEnum):
    """Values of SPREAD_CLASS."""

    STAR = 0
    GALAXY = 1
    OTHER = 2


# Name in the final catalogue, before _<K>: columns of the shape catalogue, value if not measured,
# unit, meaning.
SHAPE_COLUMNS = {
    "ELL": (("g1", "g2"), NO_SHAPE, "", "reduced shear g1, g2"),
    "ELL_ERR": (("g1_err", "g2_err"), NO_SHAPE, "", "standard errors of g1, g2"),
    "T": (("T",), 0.0, "arcsec2", "size of the object before the PSF"),
    "T_ERR": (("T_err",), 1e30, "arcsec2", "standard error of T"),
    "Tpsf": (("Tpsf",), 0.0, "arcsec2", "size of the reconvolved PSF"),
    "SNR": (("s2n",), 0.0, "", "signal-to-noise ratio of the fit"),
    "FLUX": (("flux",), 0.0, "adu", "flux of the fit, at the common zero point"),
    "FLUX_ERR": (("flux_err",), -1.0, "adu", "standard error of FLUX"),
    "MAG": (("mag",), 0.0, "mag", "magnitude of the fit"),
    "MAG_ERR": (("mag_err",), -1.0, "mag", "standard error of MAG"),
    "FLAGS": (("flags",), NOT_MEASURED, "", "why the shape is not to be used, 0 is good"),
    "ELL_PSFo": (("g1_psfo_ngmix", "g2_psfo_ngmix"), NO_SHAPE, "", "g1, g2 of the original PSF"),
    "T_PSFo": (("T_psfo_ngmix",), 0.0, "arcsec2", "size of the original PSF"),
}
OBJECT_COLUMNS = {
    "N_EPOCH": ("n_epoch_model", 0, "number of epochs in the fit"),
    "MOM_FAIL": ("moments_fail", 0, "number of epochs whose moments failed"),
    "MCAL_FLAGS": ("mcal_flags", NOT_MEASURED, "flags of all shear types, OR-ed"),
}
GALSIM_COLUMNS = {
    "GAL_ELL": (("gal_g1", "gal_g2"), NO_SHAPE),
    "GAL_ELL_ERR": (("gal_g1_err", "gal_g2_err"), NO_SHAPE),
    "GAL_ELL_UNCORR": (("gal_uncorr_g1", "gal_uncorr_g2"), NO_SHAPE),
    "GAL_SIGMA": (("gal_sigma",), 0.0),
    "PSF_ELL": (("psf_g1", "psf_g2"), NO_SHAPE),
    "PSF_SIGMA": (("psf_sigma",), 0.0),
    "FLUX": (("gal_flux",), 0.0),
    "FLUX_ERR": (("gal_flux_err",), -1.0),
    "MAG": (("gal_mag",), 0.0),
    "MAG_ERR": (("gal_mag_err",), -1.0),
    "FLAGS": (("gal_flag",), NOT_MEASURED),
    "RES": (("gal_resolution",), -1.0),
}


def classify(model, error, flag, star: float, galaxy: float, factor: float) -> np.ndarray:
    """Class of each object from its spread model.

    Parameters
    ----------
    model, error, flag : ndarray, shape (n,)
        SPREAD_MODEL, SPREADERR_MODEL, SPREAD_FLAG.
    star, galaxy : float
        With c = model + factor error: |c| < star is a star, c > galaxy a galaxy.
    factor : float
        Weight of the error.

    Returns
    -------
    ndarray of int16, shape (n,)
        `SpreadClass`; flagged objects are OTHER.
    """
    value = np.asarray(model) + factor * np.asarray(error)
    kinds = [SpreadClass.OTHER, SpreadClass.STAR, SpreadClass.GALAXY]
    found = np.select([np.asarray(flag) != 0, np.abs(value) < star, value > galaxy], kinds,
                      SpreadClass.OTHER)  # fmt: skip
    return found.astype(np.int16)


def rows_of(numbers, wanted, path) -> np.ndarray:
    """Row in `numbers` of each wanted object number.

    Raises
    ------
    BadInput
        A number that is not there, or twice; `path` is the file that asked for it.
    """
    order = np.argsort(numbers, kind="stable")
    at = np.searchsorted(numbers, wanted, sorter=order)
    rows = order[np.minimum(at, len(order) - 1)] if len(order) else np.zeros(0, int)
    unknown = np.asarray(wanted)[numbers[rows] != wanted] if len(order) else np.asarray(wanted)
    if len(unknown):
        raise BadInput(path, f"object {unknown[0]} is not in the detection catalogue")
    values, counts = np.unique(wanted, return_counts=True)
    if (counts > 1).any():
        raise BadInput(path, f"object {values[counts > 1][0]} stands there more than once")
    return rows


def shape_columns(tables: Mapping[str, Table], numbers, path) -> list[Column]:
    """Columns NGMIX_... of the shape catalogue, for all objects.

    Parameters
    ----------
    tables : mapping of str to Table
        Table of each shear type (`SHEAR_TYPES`).
    numbers : ndarray, shape (n,)
        NUMBER of all objects.
    path : Path
        File of the tables, for messages.
    """
    made, n = [], len(numbers)
    for kind in SHEAR_TYPES:
        table = tables[kind]
        rows = rows_of(numbers, np.asarray(table["id"]), path)
        if kind == SHEAR_TYPES[0]:
            for name, (source, fill, meaning) in OBJECT_COLUMNS.items():
                if source in table.colnames:
                    made.append(_spread_out(f"NGMIX_{name}", table, (source,), fill, n, rows))
                    made[-1].description = meaning
        for name, (sources, fill, unit, meaning) in SHAPE_COLUMNS.items():
            if set(sources) <= set(table.colnames):
                column = _spread_out(f"NGMIX_{name}_{kind}", table, sources, fill, n, rows)
                column.unit = table[sources[0]].unit or unit or None
                column.description = f"{meaning} ({kind})"
                made.append(column)
        made += _further(table, kind, n, rows)
    return made


def _further(table, kind, n, rows):
    """Columns that the lists do not know, under their own names.

    What was not measured has NaN, NOT_MEASURED in flags (as `flags_a`), 0 in other whole numbers.
    """
    known = {name for item in SHAPE_COLUMNS.values() for name in item[0]}
    known |= {item[0] for item in OBJECT_COLUMNS.values()} | {"id"}
    made = []
    for name in table.colnames:
        if name not in known:
            fill = NOT_MEASURED if name.startswith("flags") else 0
            fill = np.nan if table[name].dtype.kind == "f" else fill
            column = _spread_out(f"NGMIX_{name.upper()}_{kind}", table, (name,), fill, n, rows)
            column.unit, column.description = table[name].unit, table[name].description
            made.append(column)
    return made


def galsim_columns(tables: Mapping[str, Table], numbers, path) -> list[Column]:
    """Columns GALSIM_... of a catalogue of moments, for all objects; see `shape_columns`."""
    made = []
    for kind, table in tables.items():
        rows = rows_of(numbers, np.asarray(table["id"]), path)
        for name, (sources, fill) in GALSIM_COLUMNS.items():
            if set(sources) <= set(table.colnames):
                label = f"GALSIM_{name}_{kind}"
                made.append(_spread_out(label, table, sources, fill, len(numbers), rows))
    return made


def _spread_out(name, table, sources, fill, n, rows):
    """Column of all objects, of those measured with their values; two sources make a vector."""
    values = [np.asarray(table[source]) for source in sources]
    values = values[0] if len(values) == 1 else np.stack(values, axis=-1)
    kind = values.dtype
    if kind.kind in "iu":  # flags may need more bits than those measured
        kind = np.result_type(kind, np.min_scalar_type(fill), np.int16)
    full = np.full((n, *values.shape[1:]), fill, kind)
    full[rows] = values
    return Column(full, name)


def epoch_columns(views: Views, n: int, exposures: Sequence[str] = ()) -> list[Column]:
    """Columns EXP_NAME_<i> and CCD_N_<i>: which exposures and CCDs see each object.

    Parameters
    ----------
    views : Views
        Which CCD sees which object.
    n : int
        Number of objects.
    exposures : sequence of str
        Names of all exposures of the stack, for the width of the column.
    """
    place, width = epoch_places(views), _width(views, exposures)
    made = []
    for i in range(place.max(initial=-1) + 1):
        name, ccd = np.full(n, "", width), np.full(n, -1, np.int32)
        here = place == i
        name[views.row[here]] = [views.names[k][0] for k in views.ccd[here]]
        ccd[views.row[here]] = [views.names[k][1] for k in views.ccd[here]]
        about = f"epoch {i + 1} of the object"
        made.append(Column(name, f"EXP_NAME_{i + 1}", description=f"{about}: exposure"))
        made.append(Column(ccd, f"CCD_N_{i + 1}", description=f"{about}: CCD; -1: there is none"))
    return made


def epoch_places(views: Views) -> np.ndarray:
    """Which epoch of its object each view is, counted from 0, in the order of the exposures."""
    order = np.lexsort((views.ccd, views.row))
    sorted_rows = views.row[order]
    place = np.empty(len(order), int)
    place[order] = np.arange(len(order)) - np.searchsorted(sorted_rows, sorted_rows)
    return place


def psf_columns(views: Views, n: int, entries: Iterable[tuple[int, dict]]) -> list[Column]:
    """Columns PSF_ELL_<i>, PSF_FWHM_<i>, PSF_FLAG_<i> of the epochs that `epoch_columns` names.

    Parameters
    ----------
    views : Views
        Which CCD sees which object.
    n : int
        Number of objects.
    entries : iterable of (int, dict)
        PSFs of the objects, in the order of the catalogue.
    """
    place = epoch_places(views)
    count = place.max(initial=-1) + 1
    ell, fwhm = np.full((count, n, 2), NO_SHAPE), np.zeros((count, n))
    flag = np.ones((count, n), np.int16)
    numbered = zip(views.row, views.ccd, place, strict=True)
    at = {(row, views.names[ccd]): i for row, ccd, i in numbered}
    for row, (_, seen) in enumerate(entries):
        for label, entry in seen.items():
            exposure, _, ccd = label.rpartition("-")
            i, shape = at.get((row, (exposure, int(ccd)))), entry.get("SHAPES")
            if i is not None and shape:
                flag[i, row] = shape["FLAG_PSF_HSM"]
                if np.isfinite(shape["SIGMA_PSF_HSM"]):
                    ell[i, row] = shape["E1_PSF_HSM"], shape["E2_PSF_HSM"]
                    fwhm[i, row] = FWHM_PER_SIGMA * shape["SIGMA_PSF_HSM"]
    made = []
    for i in range(count):
        about = f"PSF of epoch {i + 1}"
        made += [
            Column(ell[i], f"PSF_ELL_{i + 1}", description=f"{about}: g1, g2, pixel frame"),
            Column(fwhm[i], f"PSF_FWHM_{i + 1}", unit="pix", description=f"{about}: FWHM"),
            Column(flag[i], f"PSF_FLAG_{i + 1}", description=f"{about}: 0 is good"),
        ]
    return made  # fmt: skip


def _width(views, exposures):
    names = [name for name, _ in views.names] + list(exposures)
    return f"U{max((len(name) for name in names), default=1)}"
