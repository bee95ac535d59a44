"""Noise fields whose every value follows from where the object is on the sky.

A field depends on the object's quantised position, on the identity of the epoch and on the
purpose, and on nothing else: not on the order of objects, chunks, batch sizes or workers.
"""

from __future__ import annotations

import hashlib

import numpy as np

POSITION_UNIT = 1e-6  # degrees (3.6 mas): two readings of one catalogue agree, two objects do not
FIXNOISE, FILL = 1, 2


def epoch_identity(name: str) -> int:
    """A 64-bit number that stands for an epoch's name, the same on every machine.

    >>> epoch_identity("2366993-18") == epoch_identity("2366993-18")
    True
    """
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little")


class WhiteFields:
    """Unit-variance Gaussian noise of stamps, one after another from one generator.

    The generator is put in a state of its own for each field, so that no field depends on those
    before; a new generator for each would also ask the system for random numbers it never uses.
    Not to be shared between threads.
    """

    def __init__(self):
        self._stream = np.random.Philox(key=[0, 0])
        self._state = self._stream.state
        self._draw = np.random.Generator(self._stream).standard_normal

    def field(self, shape, ra: float, dec: float, epoch: int, purpose: int) -> np.ndarray:
        """Noise of one stamp; see `white_field`."""
        key, counter = self._state["state"]["key"], self._state["state"]["counter"]
        key[0], key[1] = _quantised(ra), _quantised(dec)
        counter[:] = (0, int(epoch), purpose, 0)
        self._stream.state = self._state
        return self._draw(shape, dtype=np.float32)


def white_field(shape, ra: float, dec: float, epoch: int, purpose: int) -> np.ndarray:
    """Unit-variance Gaussian noise of one stamp.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns.
    ra, dec : float
        Position of the object, degrees.
    epoch : int
        Identity of the epoch, 64 bits.
    purpose : int
        `FIXNOISE` or `FILL`: the two fields of a stamp are independent.

    Returns
    -------
    ndarray of float32, shape `shape`
    """
    return WhiteFields().field(shape, ra, dec, epoch, purpose)


def _quantised(angle: float) -> int:
    """An angle in units of `POSITION_UNIT`, as an unsigned 64-bit number."""
    if not np.isfinite(angle):
        return 0
    return int(round(float(angle) / POSITION_UNIT)) % 2**64
