"""Compose the flag image of a CCD or stack: which masks, in which order, what the header says.

The masks themselves are drawn in `masks`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from astropy.io import fits

from shapepipe.astro import masks, polygons
from shapepipe.astro.deepsky import DeepSky
from shapepipe.astro.flags import MaskBit, as_bits, bit_cards, pixel_dtype, used_bits
from shapepipe.astro.starcat import Stars
from shapepipe.astro.vicinity import Vicinity

_WCS_CARD = re.compile(
    r"(WCSAXES|(CTYPE|CRVAL|CRPIX|CDELT|CUNIT|CROTA)[12]|(CD|PC)[12]_[12]|PV[12]_\d+|PROJP\d+"
    r"|LONPOLE|LATPOLE|RADESYS|RADECSYS|EQUINOX|[AB]P?_(ORDER|DMAX|\d_\d)|WAT[012]_\d+)$"
)


@dataclass(frozen=True)
class Circles:
    """Deep-sky objects of one catalogue: what, how much larger, which bit."""

    objects: DeepSky
    size_plus: float
    bit: int


@dataclass(frozen=True)
class Recipe:
    """Masks to draw.

    Attributes
    ----------
    border : (width, bit) or None
        Width in pixels.
    marks : mapping of str to StarMark
        Marks of bright stars by the name of their bit.
    circles : mapping of str to Circles
        Deep-sky objects by the name of their bit.
    flag_above, remove_above : float or None
        Ratios of missing pixels from which the image is marked, or masked as a whole.
    """

    border: tuple[int, int] | None = None
    marks: Mapping[str, masks.StarMark] = field(default_factory=dict)
    circles: Mapping[str, Circles] = field(default_factory=dict)
    flag_above: float | None = None
    remove_above: float | None = None

    @property
    def bits(self) -> dict[str, int]:
        """Value of each bit that may be set, by name."""
        border = {MaskBit.BORDER.name: self.border[1]} if self.border else {}
        return {
            MaskBit.MISSING.name: int(MaskBit.MISSING),
            **border,
            **{name: mark.bit for name, mark in self.marks.items()},
            **{name: circles.bit for name, circles in self.circles.items()},
        }


@dataclass(frozen=True)
class FlagImage:
    """A flag image, and what is known about it.

    Attributes
    ----------
    flags : ndarray of int16 or int32, shape (ny, nx)
        Pixels: bits OR-ed.
    bits : dict of str to int
        Value of each named bit.
    external : int
        OR of all bits of the external flags.
    ratio : float
        Fraction of pixels without data.
    bad : bool
        Whether so many are missing that the image is marked.
    removed : bool
        Whether so many are missing that the image is masked as a whole.
    outlines : tuple of ndarray, shape (n, n_vertices, 2)
        Polygons that were drawn (pixel, 0-based).
    circles : dict of str to list of (ra, dec, radius)
        Deep-sky objects that were drawn (deg), by the name of their bit.
    stars : ndarray of float64, shape (n_stars,)
        Magnitudes of the stars near enough to be drawn.
    fractions : dict of str to float
        Fraction of pixels with each named bit, without external flags, and with any bit at all
        (`masked`).
    """

    flags: np.ndarray
    bits: dict[str, int]
    external: int
    ratio: float
    bad: bool
    removed: bool
    outlines: tuple[np.ndarray, ...]
    circles: dict[str, list[tuple]]
    stars: np.ndarray
    fractions: dict[str, float]

    def header(self, image: fits.Header) -> fits.Header:
        """WCS of the image, names of the bits, and the ratio of missing pixels."""
        cards = [card for card in image.cards if _WCS_CARD.match(card.keyword)]
        header = fits.Header(cards)
        header.extend(bit_cards(self.bits, self.external))
        header["MRATIO"] = (self.ratio, "fraction of pixels without data")
        header["MFLAG"] = (self.bad, "many pixels are without data")
        header["MREMOVED"] = (self.removed, "masked as a whole for want of data")
        return header

    def regions(self) -> str:
        """All shapes as a DS9 region file."""
        circles = [circle for found in self.circles.values() for circle in found]
        return polygons.region_text((one for group in self.outlines for one in group), circles)

    def shared(self) -> list[str]:
        """Named bits that the external flags use as well, perhaps with another meaning."""
        return [name for name, bit in self.bits.items() if bit & self.external]


def compose(
    recipe: Recipe,
    image: np.ndarray,
    weight: np.ndarray | None = None,
    external: np.ndarray | None = None,
    vicinity: Vicinity | None = None,
    stars: Stars | None = None,
) -> FlagImage:
    """Draw all masks of a recipe.

    Parameters
    ----------
    recipe : Recipe
        What to draw.
    image : ndarray, shape (ny, nx)
        Pixels; 0 and NaN are no data.
    weight : ndarray, shape (ny, nx), optional
        Weights; 0 or less is no data.
    external : ndarray of integers, shape (ny, nx), optional
        Flags that are there already.
    vicinity : Vicinity, optional
        Where the image is; needed for stars and deep-sky objects.
    stars : Stars, optional
        Catalogue; needed for marks.
    """
    missing = masks.missing_pixels(image, weight)
    ratio = masks.missing_ratio(image, missing)
    removed = recipe.remove_above is not None and ratio >= recipe.remove_above
    came = used_bits(external) if external is not None else 0
    dtype = pixel_dtype(int(np.bitwise_or.reduce([came, *recipe.bits.values()])))
    flags = np.zeros(image.shape, dtype)
    flags[... if removed else missing] |= int(MaskBit.MISSING)
    outlines, circles, mags = (), {}, np.zeros(0)
    if not removed:
        if recipe.border:
            masks.draw_border(flags, *recipe.border)
        if recipe.marks:
            outlines, mags = _draw_stars(flags, recipe, vicinity, stars)
        circles = _draw_circles(flags, recipe, vicinity)
    fractions = {name.lower(): _fraction(flags, bit) for name, bit in recipe.bits.items()}
    if external is not None:
        flags |= as_bits(external).astype(dtype)
    fractions["masked"] = _fraction(flags)
    return FlagImage(
        flags=flags,
        bits=recipe.bits,
        external=came,
        ratio=ratio,
        bad=recipe.flag_above is not None and ratio >= recipe.flag_above,
        removed=removed,
        outlines=outlines,
        circles=circles,
        stars=mags,
        fractions=fractions,
    )


def _fraction(flags, bit=-1):
    return float(np.count_nonzero(flags & flags.dtype.type(bit)) / flags.size)


def _draw_stars(flags, recipe, vicinity, stars):
    x, y, mag = masks.place_stars(stars, vicinity, list(recipe.marks.values()))
    outlines = tuple(mark.around(x, y, mag) for mark in recipe.marks.values())
    for mark, group in zip(recipe.marks.values(), outlines, strict=True):
        polygons.burn(flags, mark.bit, group)
    return outlines, mag


def _draw_circles(flags, recipe, vicinity):
    drawn = {}
    for name, circles in recipe.circles.items():
        objects, plus = circles.objects, circles.size_plus
        rows = masks.draw_deepsky(flags, vicinity, objects, circles.bit, plus)
        drawn[name] = [
            (objects.ra[i], objects.dec[i], objects.radius[i] * (1 + plus)) for i in rows
        ]
    return drawn
