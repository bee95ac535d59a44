"""Star catalogues cut out for each image of a directory, for machines without network.

Written as the text that `starcat.read` takes; the command is `scripts/create_star_cat`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from astropy.io import fits as astropy_fits

from shapepipe.astro import fits, starcat, wcs
from shapepipe.astro.starcat import Stars
from shapepipe.astro.vicinity import Vicinity, angle_to
from shapepipe.errors import BadInput

SUFFIXES = (".fits", ".fit", ".fits.fz", ".fitsfz", ".fits.gz")
_NUMBER = re.compile(r"[-_]?\d+(?:[-_]\d+)*$")

Source = Callable[[float, float, float], Stars]
"""Stars around a position: of ra, dec, radius (deg)."""


@dataclass(frozen=True)
class Field:
    """One image that needs a star catalogue.

    Attributes
    ----------
    number : str
        Its number, with separators, as in the names of its files.
    vicinity : Vicinity
        Where it is.
    """

    number: str
    vicinity: Vicinity


def find_images(folder: str | Path, pattern: str = "image") -> list[Path]:
    """FITS images of a directory whose names hold `pattern`, sorted.

    Raises
    ------
    BadInput
        The directory is not there, or holds no such image.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise BadInput(folder, "there is no such directory")
    found = [path for path in sorted(folder.iterdir())
             if pattern in path.name and path.name.endswith(SUFFIXES)]  # fmt: skip
    if not found:
        raise BadInput(folder, f"no FITS image has {pattern!r} in its name", ", ".join(SUFFIXES))
    return found


def fields(path: Path, each_ccd: bool = False) -> Iterator[Field]:
    """Images of one file.

    Parameters
    ----------
    path : Path
        FITS image with its number in its name.
    each_ccd : bool
        The file holds the CCDs of an exposure: one field for each, numbered from 0 in the order of
        the HDUs, as when the exposure is split. Otherwise the first HDU with pixels is the image.

    Raises
    ------
    BadInput
        No number in the name, no image, or no WCS.
    """
    number = number_of(path)
    headers = _image_headers(path)
    for ccd, header in enumerate(headers if each_ccd else headers[:1]):
        shape = (header["NAXIS2"], header["NAXIS1"])
        name = f"{number}-{ccd}" if each_ccd else number
        yield Field(name, Vicinity(wcs.from_header(header, path), shape))


def number_of(path: Path) -> str:
    """Number at the end of a file name before its extension, with its separators.

    Raises
    ------
    BadInput
        There is none.
    """
    stem = next((path.name.removesuffix(s) for s in sorted(SUFFIXES, key=len, reverse=True)
                 if path.name.endswith(s)), path.stem)  # fmt: skip
    found = _NUMBER.search(stem)
    if not found:
        raise BadInput(path, "has no number in its name", "a name such as image-2113737.fits")
    return found.group()


def from_catalogue(stars: Stars) -> Source:
    """Source that cuts fields out of a catalogue in memory."""
    directions = wcs.unit_vectors(stars.ra, stars.dec)

    def around(ra, dec, radius):
        angle = angle_to(directions, wcs.unit_vectors(ra, dec))
        return stars[angle <= radius]

    return around


def write_fields(path: Path, out: Path, source: Source, margin: float, each_ccd: bool = False):
    """Write ``star_cat<number>.cat`` for each image of one file.

    Parameters
    ----------
    path : Path
        FITS image.
    out : Path
        Directory for the catalogues.
    source : callable
        Gives the stars around a position.
    margin : float
        Stars this far from the image (deg) are written too: their halos may reach into it.
    each_ccd : bool
        As for `fields`.

    Yields
    ------
    path : Path
        The file that was written.
    n_stars : int
        Number of stars in it.
    """
    for field in fields(path, each_ccd):
        ra, dec = field.vicinity.position
        stars = source(ra, dec, field.vicinity.radius + margin)
        target = out / f"star_cat{field.number}.cat"
        starcat.write_gsc(target, stars, f"bright stars around {path.name}")
        yield target, len(stars)


def _image_headers(path) -> list[astropy_fits.Header]:
    with fits.open_hdus(path) as hdus:
        found = [hdu.header.copy() for hdu in hdus if hdu.is_image and len(hdu.shape) >= 2]
    if not found:
        raise BadInput(path, "no HDU holds an image")
    return found
