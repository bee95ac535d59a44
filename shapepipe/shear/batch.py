"""The stamps of many objects as flat arrays: the one input of every engine.

Epochs are ragged, so all stamps lie on one axis of length N and `offsets` says where each
object's epochs begin and end.  Nothing here changes a pixel.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Batch:
    """Stamps of B objects with N epochs in all.

    Parameters
    ----------
    image, weight : ndarray, shape (N, ny, nx)
        Background-free image, any flux unit per pixel on one zero point, and its inverse variance;
        a weight that is not positive marks a masked pixel.
    psf : ndarray, shape (N, py, px)
        PSF with the pixel response included, any positive normalisation, pixels of the image.
    jacobian : ndarray, shape (N, 2, 2)
        [[du/dx, du/dy], [dv/dx, dv/dy]], arcsec per pixel.
    centre : ndarray, shape (N, 2)
        Position (x, y) of the object in its stamp, 0-based pixels.
    offsets : ndarray of int, shape (B + 1,)
        Epochs of object b are offsets[b]:offsets[b + 1].
    ra, dec : ndarray, shape (B,)
        Position in degrees: the seed of the object's random numbers.
    epoch : ndarray of uint64, shape (N,)
        Identity of the epoch (see `noise.epoch_identity`), the other part of the seed.
    psf_centre : ndarray, shape (N, 2), optional
        Position (x, y) of the PSF in its stamp, 0-based pixels; default the middle of the stamp.
    noise : ndarray, shape (N, ny, nx), optional
        Noise fields to use for fixnoise in place of the engine's own.
    neighbour : ndarray of bool, shape (N, ny, nx), optional
        Pixels that belong to another object (see `neighbours`): no weight in the fit, not filled.
    """

    image: np.ndarray
    weight: np.ndarray
    psf: np.ndarray
    jacobian: np.ndarray
    centre: np.ndarray
    offsets: np.ndarray
    ra: np.ndarray
    dec: np.ndarray
    epoch: np.ndarray
    psf_centre: np.ndarray | None = None
    noise: np.ndarray | None = None
    neighbour: np.ndarray | None = None

    def __post_init__(self):
        if self.psf_centre is None:
            middle = (np.array(self.psf.shape[:0:-1]) - 1) / 2
            object.__setattr__(self, "psf_centre", np.tile(middle, (len(self.psf), 1)))
        n, b = len(self.image), len(self.offsets) - 1
        wanted = {
            "image": (n, *self.image.shape[1:]),
            "weight": self.image.shape,
            "psf": (n, *self.psf.shape[1:]),
            "jacobian": (n, 2, 2),
            "centre": (n, 2),
            "ra": (b,),
            "dec": (b,),
            "epoch": (n,),
            "psf_centre": (n, 2),
        }
        for name in ("noise", "neighbour"):
            if getattr(self, name) is not None:
                wanted[name] = self.image.shape
        for name, shape in wanted.items():
            found = np.shape(getattr(self, name))
            if found != shape:
                raise ValueError(f"{name} has shape {found}, not {shape}")
        if self.offsets[0] != 0 or self.offsets[-1] != n or np.any(np.diff(self.offsets) < 0):
            raise ValueError(f"offsets must rise from 0 to the number of epochs, {n}")

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @classmethod
    def regular(cls, image, weight, psf, jacobian, centre, ra=None, dec=None, epoch=None, **more):
        """A batch from arrays with leading axes (B, E): every object with E epochs."""
        b, e = image.shape[:2]

        def flat(array):
            return np.ascontiguousarray(array).reshape(b * e, *np.shape(array)[2:])

        ra = np.arange(b) / 3600 if ra is None else np.asarray(ra)
        dec = np.zeros(b) if dec is None else np.asarray(dec)
        epoch = np.tile(np.arange(e, dtype=np.uint64), (b, 1)) if epoch is None else epoch
        more = {name: flat(array) for name, array in more.items() if array is not None}
        parts = (flat(array) for array in (image, weight, psf, jacobian, centre))
        return cls(*parts, np.arange(b + 1) * e, ra, dec, flat(epoch), **more)

    def part(self, start: int, stop: int) -> Batch:
        """Objects start:stop, as views."""
        first, last = self.offsets[start], self.offsets[stop]
        own = slice(first, last)
        return Batch(
            self.image[own],
            self.weight[own],
            self.psf[own],
            self.jacobian[own],
            self.centre[own],
            self.offsets[start : stop + 1] - first,
            self.ra[start:stop],
            self.dec[start:stop],
            self.epoch[own],
            self.psf_centre[own],
            None if self.noise is None else self.noise[own],
            None if self.neighbour is None else self.neighbour[own],
        )

    def parts(self, size: int) -> Iterator[tuple[slice, Batch]]:
        """Consecutive parts of at most `size` objects, each with its place in the whole."""
        for start in range(0, len(self), size):
            stop = min(start + size, len(self))
            yield slice(start, stop), self.part(start, stop)


def per_object(ufunc, values, offsets) -> np.ndarray:
    """Reduce values per epoch over the epochs of each object; objects without epochs give 0.

    Each object is reduced by itself, so that nothing of its neighbours enters, not even rounding.
    """
    if len(offsets) == 1:
        return values[:0]
    padded = np.append(values, np.zeros(1, values.dtype))
    reduced = ufunc.reduceat(padded, offsets[:-1])
    return np.where(np.diff(offsets) > 0, reduced, np.zeros(1, values.dtype))
