"""Random streams: every piece of the simulated survey has one of its own, found from its name.

A patch of sky, an exposure and a CCD each draw from a generator seeded by (seed, kind, indices), so
that the survey does not depend on who draws what, in which order, or how many work at it.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np

_OFFSET = 1 << 20  # seeds are non-negative, cell indices are not


class Stream(IntEnum):
    """What a stream is for; the value is part of the seed and must never change."""

    STARS = 1
    GALAXIES = 2
    SHEAR = 3
    EXPOSURE = 4
    PIXELS = 5
    CHIP = 6
    TRAIL = 7
    NODES = 8


def stream(seed: int, kind: Stream, *indices: int) -> np.random.Generator:
    """Generator of one piece of the survey.

    Parameters
    ----------
    seed : int
        Seed of the survey.
    kind : Stream
        What is drawn.
    indices : int
        Which one: cell of the sky, exposure number, CCD.
    """
    return np.random.default_rng([seed, int(kind), *(_OFFSET + int(i) for i in indices)])
