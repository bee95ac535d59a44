"""What a measurement returns: one row per object, five shear types, named columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from .batch import per_object
from .flags import FAILED, NOTES, ShapeFlag
from .settings import SHEAR_TYPES

LN2 = np.log(2)
U, V, G1, G2, T, FLUX = range(6)


@dataclass
class Shapes:
    """Measured columns of B objects; the second axis of length 5 runs over `SHEAR_TYPES`.

    g1, g2 are reduced shears, T = 2 sigma^2 is the pre-seeing area in arcsec^2 (`r50` gives the
    half-light radius of the same Gaussian), flux is in the unit of the images, (u, v) the fitted
    offset from the given centre in arcsec.  `response[b, i, j]` is the analytic derivative of
    (g1, g2, T, flux)[i] with respect to shear j.
    """

    g1: np.ndarray
    g2: np.ndarray
    T: np.ndarray
    flux: np.ndarray
    u: np.ndarray
    v: np.ndarray
    g1_err: np.ndarray
    g2_err: np.ndarray
    T_err: np.ndarray
    flux_err: np.ndarray
    s2n: np.ndarray
    flags: np.ndarray
    passes: np.ndarray
    response: np.ndarray
    g1_psfo: np.ndarray
    g2_psfo: np.ndarray
    T_psfo: np.ndarray
    g1_psf: np.ndarray
    g2_psf: np.ndarray
    T_psf: np.ndarray
    notes: np.ndarray
    n_epoch: np.ndarray

    @classmethod
    def empty(cls, count: int) -> Shapes:
        """Columns of NaN and zero for `count` objects."""
        made = {}
        for item in fields(cls):
            per_object = item.name.endswith(("_psf", "_psfo")) or item.name in ("notes", "n_epoch")
            shape = (count,) if per_object else (count, len(SHEAR_TYPES))
            if item.name == "response":
                shape = (count, 4, 2)
            whole = item.name in ("flags", "passes", "notes", "n_epoch")
            made[item.name] = np.zeros(shape, np.int32) if whole else np.full(shape, np.nan)
        return cls(**made)

    @classmethod
    def joined(cls, parts: Sequence[Shapes]) -> Shapes:
        """Several results as one, in order."""
        names = [item.name for item in fields(cls)]
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))

    def __len__(self) -> int:
        return len(self.notes)

    def copy(self) -> Shapes:
        """Columns that can be changed by themselves."""
        return Shapes(*(getattr(self, item.name).copy() for item in fields(self)))

    def __setitem__(self, place, other: Shapes):
        for item in fields(self):
            getattr(self, item.name)[place] = getattr(other, item.name)

    def __getitem__(self, place) -> Shapes:
        return Shapes(*(getattr(self, item.name)[place] for item in fields(self)))

    @property
    def r50(self) -> np.ndarray:
        """Half-light radius sqrt(ln 2 T) in arcsec, NaN for a negative area."""
        with np.errstate(invalid="ignore"):
            return np.sqrt(LN2 * self.T)

    @property
    def good(self) -> np.ndarray:
        """Objects without a failure in any of the five types, shape (B,)."""
        return (self.flags == 0).all(axis=1)

    def set_measured(self, measured):
        """Average the halves of the noise pair: see `fit.fit_objects` for the arrays."""
        pars, variances, s2n, response, flags, passes = measured
        halves = len(pars)
        notes = np.bitwise_or.reduce(flags, axis=(0, 2)) & int(NOTES)
        bad = flags & int(FAILED)
        if halves == 2:
            one = (bad[0] != 0) != (bad[1] != 0)
            bad[:, one] |= int(ShapeFlag.PAIR_DIFFERS)
        self.flags[:] = np.bitwise_or.reduce(bad, axis=0)
        failed = self.flags != 0
        mean = np.where(failed[:, :, None], np.nan, pars.mean(axis=0))
        self.u[:], self.v[:], self.g1[:], self.g2[:], self.T[:], self.flux[:] = np.moveaxis(
            mean, 2, 0
        )
        error = np.where(failed[:, :, None], np.nan, np.sqrt(variances.mean(axis=0)))
        for column, index in (("g1", G1), ("g2", G2), ("T", T), ("flux", FLUX)):
            getattr(self, f"{column}_err")[:] = error[:, :, index]
        self.s2n[:] = np.where(failed, np.nan, s2n.mean(axis=0))
        self.response[:] = np.where(
            failed[:, :1, None], np.nan, response.mean(axis=0)[:, G1 : FLUX + 1]
        )
        self.passes[:] = passes.sum(axis=0)
        with np.errstate(invalid="ignore"):
            self.flags[self.flux <= 0] |= int(ShapeFlag.NEGATIVE_FLUX)
            notes = notes | np.where((self.T <= 0).any(axis=1), int(ShapeFlag.UNRESOLVED), 0)
        self.notes |= notes.astype(np.int32)

    def with_halves(self, measured) -> tuple[Shapes, ...]:
        """These columns with what was measured: averaged, then each half of the noise pair.

        Where there is no pair, the one result alone.
        """
        halves = len(measured[0])
        own = [tuple(values[h : h + 1] for values in measured) for h in range(halves)]
        made = []
        for part in [measured, *own] if halves == 2 else [measured]:
            made.append(self.copy())
            made[-1].set_measured(part)
        return tuple(made)

    def set_psf(self, g1, g2, T, target, share, offsets):
        """Averages over epochs, weighted by `share`, of the original and the round target PSF."""
        total = per_object(np.add, share, offsets)
        with np.errstate(invalid="ignore", divide="ignore"):
            for column, values in (("g1_psfo", g1), ("g2_psfo", g2), ("T_psfo", T)):
                values = np.where(share > 0, values, 0)
                getattr(self, column)[:] = per_object(np.add, values * share, offsets) / total
            self.T_psf[:] = per_object(np.add, 2 * target * share, offsets) / total
        round_psf = np.where(total > 0, 0.0, np.nan)
        self.g1_psf[:], self.g2_psf[:] = round_psf, round_psf

    def columns(self, kind: str) -> dict[str, np.ndarray]:
        """All columns of one shear type, by name, for a table."""
        t = SHEAR_TYPES.index(kind)
        made = {}
        for item in fields(self):
            values = getattr(self, item.name)
            if item.name == "response":
                for i, name in enumerate(("g1", "g2", "T", "flux")):
                    for j in range(2):
                        made[f"R{j + 1}_{name}"] = values[:, i, j]
            else:
                made[item.name] = values[:, t] if values.ndim == 2 else values
        made["r50"] = self.r50[:, t]
        return made
