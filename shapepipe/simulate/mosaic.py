"""Write mosaics CCD by CCD: each is a part of its own, and parts are joined byte by byte.

So the memory needed is that of one CCD, and whoever draws a CCD also compresses it.
"""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from astropy.io import fits

KINDS = ("image", "weight", "flag")
"""The three mosaics of an exposure."""
_ARCHIVE = {"image": "", "weight": ".weight", "flag": ".flag"}
_BLOCK = 2880  # bytes; the unit of FITS


def mosaic_name(kind: str, number: int, names: str, extension: str) -> str:
    """File name of a mosaic: `image-2366993.fits.fz`, or `2366993p.fits.fz` as from the archive."""
    if names == "cfht":
        return f"{number}p{_ARCHIVE[kind]}{extension}"
    return f"{kind}-{number}{extension}"


def write_part(path: Path, pixels: np.ndarray, cards: fits.Header, packed: bool) -> None:
    """Write one CCD as a file with an empty primary HDU of one block.

    Parameters
    ----------
    path : Path
        File to make.
    pixels : ndarray, shape (ny, nx)
        uint16 and int16 keep every bit; floats must come from `to_steps` to do so.
    cards : Header
        Header of the CCD.
    packed : bool
        Compress by tiles, one row each.
    """
    if not packed:
        hdu = fits.ImageHDU(pixels, cards)
    else:
        hdu = fits.CompImageHDU(pixels, cards, compression_type="RICE_1")
    if packed and pixels.dtype.kind == "f":
        hdu.scale("int16", bscale=_step(pixels))
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path, overwrite=True)


def join_parts(path: Path, cards: fits.Header, parts: Sequence[Path]) -> None:
    """Make a mosaic of parts, in their order.

    Parameters
    ----------
    path : Path
        File to make; `.gz` is compressed as a whole.
    cards : Header
        Primary header.
    parts : sequence of Path
        Files of `write_part`.
    """
    unfinished = path.with_name(path.name + ".part")
    primary = fits.PrimaryHDU(header=cards)
    with _opened(unfinished, path.suffix == ".gz") as mosaic:
        mosaic.write(primary.header.tostring().encode("ascii"))
        for part in parts:
            with part.open("rb") as pixels:
                pixels.seek(_BLOCK)
                shutil.copyfileobj(pixels, mosaic, 1 << 20)
    unfinished.replace(path)


def to_counts(image: np.ndarray) -> np.ndarray:
    """Digitise: whole ADU between 0 and 65535, uint16."""
    return np.clip(np.rint(image), 0, 65535).astype(np.uint16)


def to_steps(weight: np.ndarray) -> np.ndarray:
    """Round to a ten-thousandth of the largest value, so that 16 bits hold it, float32."""
    step = np.float32(_step(weight))
    steps = weight.astype(np.float32)
    steps /= step
    np.rint(steps, out=steps)
    steps *= step
    return steps


def _step(pixels):
    most = float(np.max(pixels))
    return float(f"{most / 1e4:.3e}") if most > 0 else 1.0


@contextmanager
def _opened(path, gzipped):
    """Give the file to write; gzip without name and date, so that equal content is equal bytes."""
    with path.open("wb") as raw:
        if not gzipped:
            yield raw
            return
        with gzip.GzipFile("", "wb", 6, raw, mtime=0) as packed:
            yield packed
