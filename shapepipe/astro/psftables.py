"""Tables of PSFs: models interpolated to objects, and compared with stars.

All ellipticities are reduced shears and all sizes sigma in pixels (see `moments`), in the pixel
frame of the CCD. What the columns mean stands in `DESCRIPTIONS` and goes with the table.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from astropy.table import Table

from shapepipe.astro import moments, psfresiduals
from shapepipe.astro.psfmodel import PSFModel
from shapepipe.errors import NoUsableData

SHAPE_COLUMNS = ("E1", "E2", "SIGMA", "FLAG")
DESCRIPTIONS = {
    "VIGNET": ("", "PSF model at the object, centred on the stamp"),
    "E1_PSF_HSM": ("", "PSF: reduced shear g1, adaptive moments, pixel frame"),
    "E2_PSF_HSM": ("", "PSF: reduced shear g2, adaptive moments, pixel frame"),
    "SIGMA_PSF_HSM": ("pix", "PSF: sigma, adaptive moments"),
    "FLAG_PSF_HSM": ("", "PSF: bits of failed moments, 0 is good"),
    "E1_STAR_HSM": ("", "star: reduced shear g1, adaptive moments, pixel frame"),
    "E2_STAR_HSM": ("", "star: reduced shear g2, adaptive moments, pixel frame"),
    "SIGMA_STAR_HSM": ("pix", "star: sigma, adaptive moments"),
    "FLAG_STAR_HSM": ("", "star: bits of failed moments, 0 is good"),
    "NUMBER": ("", "number of the object in the source catalogue"),
    "X": ("pix", "position along columns, first pixel is 1"),
    "Y": ("pix", "position along rows, first pixel is 1"),
    "RA": ("deg", "right ascension"),
    "DEC": ("deg", "declination"),
    "MAG": ("mag", "MAG_AUTO"),
    "SNR": ("", "SNR_WIN"),
    "ACCEPTED": ("", "1 if PSFEx kept the star in its fit"),
    "RMS_PIX": ("", "rms pixel residual / flux of the star"),
    "RMS_PIX_CORE": ("", "the same within 10 pixels of the centre"),
    "RESID_REL": ("", "norm of residual / norm of model within 10 pixels"),
    "NOISE_PIX": ("", "scatter per pixel beyond 10 pixels / flux of the star"),
}
# Columns of the catalogue that fill one of ours, best first.
SOURCES = {
    "X": ("XWIN_IMAGE", "X_IMAGE"),
    "Y": ("YWIN_IMAGE", "Y_IMAGE"),
    "RA": ("XWIN_WORLD", "ALPHAWIN_J2000", "X_WORLD", "ALPHA_J2000"),
    "DEC": ("YWIN_WORLD", "DELTAWIN_J2000", "Y_WORLD", "DELTA_J2000"),
    "MAG": ("MAG_AUTO",),
    "SNR": ("SNR_WIN",),
}


def require_quality(model: PSFModel, star_threshold: int, chi2_threshold: float) -> None:
    """Reject a model from too few stars, or that fits them badly.

    Raises
    ------
    NoUsableData
        With the figures.
    """
    if model.accepted < star_threshold:
        raise NoUsableData(
            f"PSF model rejected: {model.accepted} stars accepted of {model.loaded}, "
            f"STAR_THRESH = {star_threshold}"
        )
    if not model.chi2 <= chi2_threshold:
        raise NoUsableData(
            f"PSF model rejected: chi2 = {model.chi2:.3f} with {model.accepted} stars, "
            f"CHI2_THRESH = {chi2_threshold:g}"
        )


def position_columns(model: PSFModel, asked: Sequence[str], available: Sequence[str]) -> list[str]:
    """Names of the two position columns: those asked for, else the model's, else SExtractor's."""
    if asked:
        return list(asked)
    if model.names:
        return list(model.names)
    return [next((name for name in SOURCES[axis] if name in available), SOURCES[axis][0])
            for axis in "XY"]  # fmt: skip


def interpolated(model: PSFModel, x, y, with_shapes: bool = True) -> Table:
    """PSF at each object.

    Parameters
    ----------
    model : PSFModel
        Model of the CCD.
    x, y : numpy.ndarray
        Positions, shape (n,), 0-based pixels.
    with_shapes : bool
        Add the moments.

    Returns
    -------
    Table
        VIGNET (n, ny, nx) float32 and, if asked for, E1, E2, SIGMA and FLAG of the PSF.
    """
    stamps = model.on_pixels().evaluate(x, y)
    table = Table({"VIGNET": stamps}, copy=False)
    if with_shapes:
        _add_shapes(table, moments.measure(stamps), "PSF")
    return _described(table)


def validation(model: PSFModel, stars: Table, x, y, used_rows) -> Table:
    """Stars and the model at their places, side by side.

    Parameters
    ----------
    model : PSFModel
        Model of the CCD.
    stars : Table
        Catalogue of the stars, with VIGNET stamps.
    x, y : numpy.ndarray
        Positions for the model, shape (n,), 0-based pixels.
    used_rows : numpy.ndarray
        Rows (0-based) of the catalogue that PSFEx kept.

    Returns
    -------
    Table
        One row per star with the columns of `DESCRIPTIONS` but VIGNET; what the catalogue lacks
        is nan.
    """
    stamps = np.asarray(stars["VIGNET"])
    psfs = model.on_pixels(stamps.shape[1:]).evaluate(x, y)
    of_psf, of_star = moments.measure(psfs), moments.measure(stamps)
    table = Table()
    _add_shapes(table, of_psf, "PSF")
    _add_shapes(table, of_star, "STAR")
    numbers = stars["NUMBER"] if "NUMBER" in stars.colnames else np.arange(1, len(stars) + 1)
    table["NUMBER"] = np.asarray(numbers, np.int32)
    for name, choices in SOURCES.items():
        source = next((choice for choice in choices if choice in stars.colnames), None)
        table[name] = np.asarray(stars[source]) if source else np.full(len(stars), np.nan)
    table["ACCEPTED"] = np.isin(np.arange(len(stars)), used_rows).astype(np.int16)
    found = psfresiduals.pixel_residuals(
        stamps, psfs, of_star.x - of_psf.x, of_star.y - of_psf.y
    )  # fmt: skip
    for name, values in (("RMS_PIX", found.rms), ("RMS_PIX_CORE", found.rms_core),
                         ("RESID_REL", found.relative), ("NOISE_PIX", found.noise)):  # fmt: skip
        table[name] = values.astype(np.float32)
    return _described(table)


def _add_shapes(table, measured, what):
    values = (measured.g1, measured.g2, measured.sigma, measured.flag)
    for name, value in zip(SHAPE_COLUMNS, values, strict=True):
        table[f"{name}_{what}_HSM"] = value


def _described(table):
    for name in table.colnames:
        unit, text = DESCRIPTIONS[name]
        table[name].description = text
        table[name].unit = unit or None
    if "FLAG_PSF_HSM" in table.colnames:
        table.meta |= {f"HSMBIT{flag.value}": flag.name for flag in moments.MomentFlag}
    return table
