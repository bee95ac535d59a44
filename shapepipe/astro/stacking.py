"""What SWarp is told to make a stack (tile) of exposures, and the cards that say what went in.

Calling the program is left to `stack_runner` and to the simulator.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from astropy.io import fits

SETTINGS = {
    "COMBINE_TYPE": "WEIGHTED",  # by inverse variance: the PSF is a linear sum of those that go in
    "CELESTIAL_TYPE": "NATIVE",
    "PROJECTION_TYPE": "TAN",
    "RESAMPLING_TYPE": "LANCZOS3",
    "FSCALASTRO_TYPE": "VARIABLE",  # the counts of a source are kept, whatever its pixels' size
    "FSCALE_KEYWORD": "FSCALE",
    "GAIN_KEYWORD": "GAIN",
    "SATLEV_KEYWORD": "SATURATE",
}
"""How ShapePipe stacks, where no file of settings says otherwise."""
_RUN = {
    "DELETE_TMPFILES": "Y",
    "WRITE_XML": "N",
    "VERBOSE_TYPE": "QUIET",
    "NTHREADS": "1",
    "IMAGEOUT_NAME": "coadd.fits",
    "WEIGHTOUT_NAME": "coadd.weight.fits",
    "HEADER_ONLY": "N",
    "RESAMPLE": "Y",
    "COMBINE": "Y",
    "RESAMPLE_DIR": ".",
    "SUBTRACT_BACK": "Y",
}
_KEPT = (
    "EQUINOX", "RADESYS", "CTYPE1", "CTYPE2", "CUNIT1", "CUNIT2", "CRVAL1", "CRVAL2", "CRPIX1",
    "CRPIX2", "CD1_1", "CD1_2", "CD2_1", "CD2_2", "GAIN", "SATURATE", "EXPTIME",
)  # fmt: skip


def arguments(images: Sequence[str], settings: Mapping[str, object], parameters: str) -> list[str]:
    """Command line of SWarp without its name; products are coadd.fits and coadd.weight.fits.

    Parameters
    ----------
    images : sequence of str
        Names in the working directory.
    settings : mapping
        SWarp settings by name; these win over the file.
    parameters : str
        File of SWarp settings; an empty one for SWarp's own.
    """
    words = [*images, "-c", parameters]
    for name, value in (_RUN | dict(settings)).items():
        words += [f"-{name}", str(value)]
    return words


def outline_settings(
    centre: tuple[float, float] | None, size: int | None, pixel_scale: float | None
) -> dict[str, str]:
    """SWarp settings of where a stack lies; what is None follows from the images.

    Parameters
    ----------
    centre : tuple of float, optional
        RA and Dec, degrees.
    size : int, optional
        Side, pixels.
    pixel_scale : float, optional
        Arcsec.
    """
    made = {}
    if centre:
        made |= {"CENTER_TYPE": "MANUAL", "CENTER": f"{centre[0]:.10f},{centre[1]:+.10f}"}
    if size:
        made["IMAGE_SIZE"] = f"{size},{size}"
    if pixel_scale:
        made |= {"PIXELSCALE_TYPE": "MANUAL", "PIXEL_SCALE": str(pixel_scale)}
    return made


def history_cards(counts: Mapping[str, int]) -> list[str]:
    """Texts of HISTORY cards, such as `` input image 2366993p.fits 4 extension(s)``.

    They begin with a blank, so that the name is word 3 of the card split at blanks, counted from 0.

    Parameters
    ----------
    counts : mapping of str to int
        Name of each exposure to the number of its CCDs in the stack.
    """
    return [f" input image {name}.fits {n} extension(s)" for name, n in counts.items()]


def stack_header(
    header: fits.Header, counts: Mapping[str, int], further: Iterable[tuple] = ()
) -> fits.Header:
    """Cards of a stack: its place on the sky, gain and saturation, and what went in.

    Parameters
    ----------
    header : Header
        As SWarp wrote it.
    counts : mapping of str to int
        Name of each exposure to the number of its CCDs in the stack.
    further : iterable of tuple
        Cards of the caller's own: name, value, comment.
    """
    cards = fits.Header()
    for name in _KEPT:
        if name in header:
            cards[name] = (header[name], header.comments[name])
    for card in further:
        cards.append(card)
    for text in history_cards(counts):
        cards.add_history(text)
    return cards


def usable_weight(weight, flag) -> np.ndarray:
    """Weight of the pixels of a CCD in a stack, 0 where flagged; float32.

    Parameters
    ----------
    weight : ndarray or None
        Weight image; None: all pixels weigh the same.
    flag : ndarray
        Flag image, of the same shape; not 0: the pixel is not to be used.
    """
    kept = np.ones(flag.shape, np.float32) if weight is None else weight.astype(np.float32)
    kept[flag != 0] = 0
    return kept
