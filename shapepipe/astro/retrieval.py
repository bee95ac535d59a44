"""Names of images at an archive and in the pipeline, lists of their numbers, and whole files.

Fetching is the business of `get_images_runner`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from astropy.io.fits import Header

from shapepipe.astro import fits
from shapepipe.errors import BadInput

KEEP_NAME = "*"
"""Output pattern that stands for the name at the archive."""


def read_ids(paths: Iterable[Path]) -> list[str]:
    """Image IDs from text files, one a line; each once, in the order of the files.

    Raises
    ------
    BadInput
        A file that is no text, or a line with several words.
    """
    found: dict[str, None] = {}
    for path in paths:
        try:
            lines = Path(path).read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:
            raise BadInput(path, "is not a text file", "one image ID a line") from None
        for number, line in enumerate(lines, 1):
            text = line.partition("#")[0].strip()
            if len(text.split()) > 1:
                raise BadInput(path, f"line {number}: {text!r}", "one image ID a line")
            if text:
                found[text] = None
    return list(found)


def archive_name(template: str, numbering: str, ext: str, image_id: str) -> str:
    """Name of an image at the archive.

    Parameters
    ----------
    template : str
        Name with a dummy number, such as ``CFIS.000.000.r``.
    numbering : str
        Regular expression that finds the dummy number.
    ext : str
        Extension, such as ``.fits.fz``.
    image_id : str
        What takes the place of the dummy number.

    Raises
    ------
    ValueError
        The expression does not find the dummy number.
    """
    name, count = re.subn(numbering, lambda _: image_id, template, count=1)
    if not count:
        raise ValueError(f"INPUT_NUMBERING {numbering!r} finds nothing in {template!r}")
    return name + ext


def pipeline_name(pattern: str, image_id: str, ext: str) -> str:
    """Name of an image in the pipeline: a number without letters, one dot before the extension.

    >>> pipeline_name("CFIS_weight-", "277.282", ".fits.fz")
    'CFIS_weight-277-282.fitsfz'
    >>> pipeline_name("image-", "2366993p", ".fits.fz")
    'image-2366993.fitsfz'
    """
    number = re.sub(r"[A-Za-z_]", "", image_id.replace(".", "-"))
    return f"{pattern}{number}.{ext.replace('.', '')}"


def check_whole(path: Path) -> None:
    """Raise `BadInput` unless a file is there whole: not empty and, if FITS, with all its HDUs."""
    if not path.is_file() or path.stat().st_size == 0:
        raise BadInput(path, "is empty or not there")
    if ".fit" in path.name.lower():
        with fits.open_hdus(path, memmap=True) as hdus:
            for hdu in hdus:
                fits.check_complete(path, hdus, hdu)


def exposures_of(header: Header, column: int, prefix: str = "") -> list[str]:
    """Exposures that the HISTORY cards of a stack name, each once, in the order of the cards.

    Parameters
    ----------
    header : Header
        Of the stack.
    column : int
        Word of the card that is the name, counted from 0 when split at single blanks.
    prefix : str
        Left out of the beginning of the name.

    Returns
    -------
    list of str
        Names without extension, such as ``2366993p``; cards of fewer words are passed over.
    """
    found: dict[str, None] = {}
    for card in header["HISTORY"] if "HISTORY" in header else ():
        words = str(card).split(" ")
        if column < len(words):
            name = words[column].rpartition(".")[0] or words[column]
            found[name.removeprefix(prefix)] = None
    found.pop("", None)
    return list(found)
