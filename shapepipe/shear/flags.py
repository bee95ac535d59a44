"""Named bits for everything that can go wrong, or is worth knowing, about one object.

No failure of a single object is an exception: the object comes back with NaN columns and a bit
that says why.  `FAILED` gathers the bits that make a measurement unusable; the others are notes
and must not be cut on without a selection response (see `calibrate`).
"""

from __future__ import annotations

from enum import IntFlag


class ShapeFlag(IntFlag):
    """Bits of the columns `flags` (per shear type) and `notes` (per object)."""

    NO_EPOCH = 1  # no epoch was usable
    ZERO_WEIGHT = 2  # an epoch has no pixel with positive weight (the epoch is left out)
    MASKED = 4  # an epoch lost more than the allowed share of its pixels (left out)
    EMPTY_STAMP = 8  # an epoch has no signal at all: every good pixel is exactly zero (left out)
    BAD_JACOBIAN = 16  # an epoch has a singular or non-finite Jacobian or centre (left out)
    BAD_PSF = 32  # an epoch's PSF has no convergent adaptive moments (left out)
    NONFINITE_PIXELS = 64  # NaN or infinite pixels were masked (note)
    UNRESOLVED = 128  # the fitted area T is not positive: a PSF wider than the object (note)
    NEGATIVE_FLUX = 256  # the fitted flux is not positive
    NOT_CONVERGED = 512  # the fit or the moments did not converge
    OUT_OF_RANGE = 1024  # the model left the range of the prior (|g| = 1, T or flux limits)
    NO_RESPONSE = 2048  # the Hessian at the solution is singular: no analytic response (note)
    PAIR_DIFFERS = 4096  # one half of the noise pair failed (its partner is not reported alone)
    ENGINE_ERROR = 8192  # an external engine raised an error for this object


NOTES = ShapeFlag.NONFINITE_PIXELS | ShapeFlag.UNRESOLVED | ShapeFlag.NO_RESPONSE
EPOCH_LOSS = (
    ShapeFlag.ZERO_WEIGHT
    | ShapeFlag.MASKED
    | ShapeFlag.EMPTY_STAMP
    | ShapeFlag.BAD_JACOBIAN
    | ShapeFlag.BAD_PSF
)
FAILED = (
    ShapeFlag.NO_EPOCH
    | ShapeFlag.NEGATIVE_FLUX
    | ShapeFlag.NOT_CONVERGED
    | ShapeFlag.OUT_OF_RANGE
    | ShapeFlag.PAIR_DIFFERS
    | ShapeFlag.ENGINE_ERROR
)
