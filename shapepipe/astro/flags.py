"""Named bits of mask images: usual values, the pixel type that holds them, header cards.

What sets the bits is in `masks`; flags of objects in catalogues stand with the code that sets them.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntFlag

import numpy as np
from astropy.io import fits

from shapepipe.errors import BadInput


class MaskBit(IntFlag):
    """Bits of a pipeline flag image, with the values used for CFIS.

    The INI file of the masks may give all but `MISSING` another value; the header of each flag
    image therefore names the bits that it uses. Bits without a name (8, 64, 256 ...) are free for
    external flags. 1024 is left out on purpose: it marks pixels outside an epoch when stamps are
    cut.
    """

    MISSING = 1
    """No data: the weight is zero or not a number, or the image is not a number."""
    HALO = 2
    """Within the halo of a bright star."""
    BORDER = 4
    """Close to the edge of the image."""
    MESSIER = 16
    """Within a Messier object."""
    NGC = 32
    """Within an object of the New General Catalogue."""
    SPIKE = 128
    """Within the diffraction spikes of a bright star."""


_WIDEST = 32


def pixel_dtype(bits: int) -> np.dtype:
    """Smallest signed pixel type that holds these bits: int16, or int32.

    Bit 31 falls on the sign of int32, where SExtractor and the functions here read it as a bit.

    Parameters
    ----------
    bits : int
        All bits in use, OR-ed.

    Raises
    ------
    ValueError
        A bit beyond the 32nd.
    """
    if not 0 <= bits < 1 << _WIDEST:
        raise ValueError(
            f"bits {bits:#x} do not fit a flag image (allowed: bits 0 to {_WIDEST - 1})"
        )
    return np.dtype(np.int16 if bits < 1 << 15 else np.int32)


def used_bits(flags: np.ndarray) -> int:
    """OR of all pixels, as a number without sign.

    Parameters
    ----------
    flags : ndarray of integers
        Flag image; negative values are taken as bits of their own type.
    """
    return int(np.bitwise_or.reduce(as_bits(flags), axis=None)) if flags.size else 0


def as_bits(flags: np.ndarray) -> np.ndarray:
    """The same memory, read without sign."""
    return flags.view(np.dtype(f"u{flags.dtype.itemsize}"))


def drop_bits(flags: np.ndarray, bits: int) -> np.ndarray:
    """Flags without some bits.

    Parameters
    ----------
    flags : ndarray of integers
        Flag image; negative values are taken as bits of their own type.
    bits : int
        Values of the bits to drop, added up; those that the type does not hold are not there.
    """
    unsigned = as_bits(flags)
    kept = ~bits & int(np.iinfo(unsigned.dtype).max)
    return (unsigned & unsigned.dtype.type(kept)).view(flags.dtype)


def integer_flags(values: np.ndarray, path) -> np.ndarray:
    """Take an image as flags.

    Raises
    ------
    BadInput
        Pixels that are not whole numbers, or NaN.
    """
    if values.dtype.kind in "iu":
        return values
    whole = values.astype(np.int64) if np.isfinite(values).all() else None
    if whole is None or not np.array_equal(whole, values):
        raise BadInput(path, f"flag image holds {values.dtype} pixels with fractions or NaN",
                       "whole numbers, whose bits are flags")  # fmt: skip
    return whole


def bit_cards(names: Mapping[str, int], external: int = 0) -> list[tuple[str, object, str]]:
    """Header cards that name the bits: ``BIT_1 = 'HALO'`` is the bit of value 2.

    Parameters
    ----------
    names : mapping of str to int
        Value of each named bit; names that share a value are joined by ``+``.
    external : int
        OR of all bits that came with external flags; written as EXTBITS.
    """
    by_value: dict[int, list[str]] = {}
    for name, value in names.items():
        by_value.setdefault(value, []).append(name)
    cards = [(f"BIT_{value.bit_length() - 1}", "+".join(found), f"flag value {value}")
             for value, found in sorted(by_value.items())]  # fmt: skip
    return [*cards, ("EXTBITS", external, "bits set by external flags, OR-ed")]


def read_bits(header: fits.Header) -> dict[str, int]:
    """Value of each named bit, from the header of a flag image (inverse of `bit_cards`)."""
    found = {}
    for card in header["BIT_*"].cards:
        place = card.keyword.removeprefix("BIT_")
        if place.isdigit():
            found.update(dict.fromkeys(str(card.value).split("+"), 1 << int(place)))
    return found
