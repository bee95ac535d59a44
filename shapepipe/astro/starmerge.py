"""Merge the star catalogues of many CCDs into one, reading and writing one at a time.

The merged table tells for each star the exposure (EXP_NAME) and the CCD (CCD_NB) it comes from.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from astropy.io import fits as afits
from astropy.table import Column, Table

from shapepipe.astro import ldac, psfresiduals
from shapepipe.astro.psftables import DESCRIPTIONS, SOURCES

SHAPES = [
    f"{name}_{what}_HSM" for what in ("PSF", "STAR") for name in ("E1", "E2", "SIGMA", "FLAG")
]
PLACE = ["X", "Y", "RA", "DEC"]
PIXELS = ["RMS_PIX", "RMS_PIX_CORE", "RESID_REL", "NOISE_PIX"]
TYPES = {"FLAG_PSF_HSM": np.int32, "FLAG_STAR_HSM": np.int32, "ACCEPTED": np.int16,
         "NUMBER": np.int32, "FLAGS": np.int32, "FLAGS_EXT": np.int32}  # fmt: skip
MOMENT_DESCRIPTIONS = {
    "EPS1": ("", "(a-b)/(a+b) cos 2 theta of the windowed moments"),
    "EPS2": ("", "(a-b)/(a+b) sin 2 theta of the windowed moments"),
    "CHI1": ("", "(a^2-b^2)/(a^2+b^2) cos 2 theta of the windowed moments"),
    "CHI2": ("", "(a^2-b^2)/(a^2+b^2) sin 2 theta of the windowed moments"),
    "SIZE": ("pix", "FLUX_RADIUS"),
    "FLAGS": ("", "FLAGS of SExtractor"),
    "FLAGS_EXT": ("", "IMAFLAGS_ISO"),
}
LABELS = {
    "EXP_NAME": ("", "exposure, from the name of the file"),
    "CCD_NB": ("", "CCD number, from the name of the file"),
}
BLOCK = 2880  # bytes


class Merger:
    """Collect tables of equal columns in a FITS file without holding them in memory.

    Parameters
    ----------
    body : Path
        Temporary file for the rows.
    """

    def __init__(self, body: Path):
        self.body, self.n_rows = body, 0
        self._header: afits.Header | None = None
        body.write_bytes(b"")

    def add(self, table: Table) -> None:
        """Append rows."""
        hdu = ldac.table_hdu(table, ldac.OBJECTS_HDU)
        if self._header is None:
            self._header = hdu.header
        rows = np.asarray(hdu.data)
        with self.body.open("ab") as stream:
            stream.write(rows.astype(rows.dtype.newbyteorder(">")).tobytes())
        self.n_rows += len(table)

    def write(self, path: Path) -> None:
        """Write what was collected as an LDAC catalogue, and remove the temporary file."""
        if self._header is None:
            raise ValueError("no table was added")
        self._header["NAXIS2"] = self.n_rows
        ldac.write(path, Table({"X": np.zeros(0)}))  # for its image header
        with afits.open(path) as hdus:
            objects_at = hdus[ldac.OBJECTS_HDU].fileinfo()["hdrLoc"]
        with path.open("r+b") as stream, self.body.open("rb") as rows:
            stream.truncate(objects_at)
            stream.seek(objects_at)
            stream.write(self._header.tostring().encode("ascii"))
            shutil.copyfileobj(rows, stream)
            stream.write(b"\0" * (-stream.tell() % BLOCK))
        self.body.unlink()


def split_number(number: str) -> tuple[str, int]:
    """Exposure and CCD of a number string: the last group of digits is the CCD.

    Examples
    --------
    >>> split_number("-2366993-18")
    ('2366993', 18)
    >>> split_number("-2366993")
    ('2366993', 0)
    """
    found = re.match(r"[^0-9A-Za-z]*(.*[0-9A-Za-z])[^0-9A-Za-z]+(\d+)$", number)
    if found:
        return found.group(1), int(found.group(2))
    return number.strip("-_. "), 0


def name_width(numbers: Iterable[str]) -> int:
    """Length of the longest exposure name, for a column of fixed width."""
    return max([len(split_number(number)[0]) for number in numbers] + [1])


def read_validation(path: Path) -> Table:
    """Read the stars of one CCD with the PSF model at their places.

    Raises
    ------
    BadInput
        If a column of positions or shapes is missing.
    """
    table = ldac.read(path)
    ldac.check_columns(path, table.colnames, PLACE + SHAPES)
    return _select(table, [*PLACE, *SHAPES, "MAG", "SNR", "ACCEPTED", "NUMBER", *PIXELS])


def read_moments(path: Path) -> Table:
    """Read the stars of one CCD with shapes from SExtractor's windowed moments.

    Raises
    ------
    BadInput
        If a column is missing.

    References
    ----------
    Bartelmann & Schneider 2001, Phys. Rep. 340, 291, eq. 4.4 (chi) and 4.10 (epsilon).
    """
    wanted = ["XWIN_IMAGE", "YWIN_IMAGE", "XWIN_WORLD", "YWIN_WORLD", "X2WIN_IMAGE", "Y2WIN_IMAGE",
              "XYWIN_IMAGE", "FLUX_RADIUS", "FLAGS", "MAG_AUTO", "SNR_WIN"]  # fmt: skip
    stars = ldac.read(path)
    ldac.check_columns(path, stars.colnames, wanted)
    q11, q22, q12 = (np.asarray(stars[f"{name}WIN_IMAGE"], float) for name in ("X2", "Y2", "XY"))
    with np.errstate(invalid="ignore", divide="ignore"):
        spin = q11 - q22 + 2j * q12
        chi = spin / (q11 + q22)
        epsilon = spin / (q11 + q22 + 2 * np.sqrt(q11 * q22 - q12**2))
    table = Table({name: stars[SOURCES[name][0]] for name in (*PLACE, "MAG", "SNR")})
    table["EPS1"], table["EPS2"] = epsilon.real, epsilon.imag
    table["CHI1"], table["CHI2"] = chi.real, chi.imag
    table["SIZE"], table["FLAGS"] = stars["FLUX_RADIUS"], stars["FLAGS"]
    if "IMAFLAGS_ISO" in stars.colnames:
        table["FLAGS_EXT"] = stars["IMAFLAGS_ISO"]
    return _select(table, [*PLACE, *MOMENT_DESCRIPTIONS, "MAG", "SNR"])


def label(table: Table, number: str, width: int) -> Table:
    """Add EXP_NAME and CCD_NB to all rows of the table."""
    exposure, ccd = split_number(number)
    table["EXP_NAME"] = np.full(len(table), exposure, dtype=f"S{width}")
    table["CCD_NB"] = np.full(len(table), ccd, np.int32)
    for name, (_, text) in LABELS.items():
        table[name].description = text
    return table


def shape_residuals(table: Table) -> np.ndarray:
    """Shapes and sizes of the stars fit for statistics: columns g*1, g*2, g1, g2, sigma*, sigma."""
    names = ("E1_STAR_HSM", "E2_STAR_HSM", "E1_PSF_HSM", "E2_PSF_HSM", "SIGMA_STAR_HSM",
             "SIGMA_PSF_HSM")  # fmt: skip
    values = [np.asarray(table[name], np.float32) for name in names]
    good = psfresiduals.usable(table["FLAG_PSF_HSM"], table["FLAG_STAR_HSM"], *values)
    return np.stack(values, axis=-1)[good]


def _select(table, names):
    """These columns in this order and of fixed type; what is absent is nan, or -1 for integers."""
    described = DESCRIPTIONS | MOMENT_DESCRIPTIONS
    result = Table()
    for name in names:
        dtype = TYPES.get(name, np.float64 if name in PLACE else np.float32)
        absent = -1 if name in TYPES else np.nan
        values = table[name] if name in table.colnames else np.full(len(table), absent)
        unit, text = described[name]
        result[name] = Column(np.asarray(values).astype(dtype), unit=unit or None, description=text)
    return result
