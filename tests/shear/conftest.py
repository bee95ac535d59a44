"""Batches of simulated stamps, drawn once per session."""

from functools import lru_cache

import numpy as np
import pytest

from shapepipe.shear import Batch
from shapepipe.simulate.stamps import StampSet, draw_stamps, noise_level


@lru_cache(maxsize=32)
def drawn(wanted):
    """Noise-free stamps, drawn once."""
    return draw_stamps(wanted)


def add_noise(stamps, s2n, seed, kind, spread):
    """Noisy images, weights and noise fields; `spread` scales the noise of each epoch."""
    rng = np.random.default_rng(seed)
    image = stamps["image"]
    sigma = noise_level(image, s2n)[:, None] * np.asarray(spread)
    sigma = np.broadcast_to(sigma[:, :, None, None], image.shape)
    noisy = image + rng.normal(size=image.shape) * sigma
    return (a.astype(kind) for a in (noisy, 1 / sigma**2, rng.normal(size=image.shape) * sigma))


@pytest.fixture(scope="session")
def batch_of():
    """Make a batch: batch_of(StampSet(...), s2n=..., own_noise=True, ...)."""

    def make(wanted, s2n=100.0, seed=1, kind=np.float64, spread=(1.0,), own_noise=False):
        stamps = drawn(wanted)
        image, weight, noise = add_noise(stamps, s2n, seed, kind, spread)
        return Batch.regular(
            image,
            weight,
            stamps["psf"].astype(kind),
            stamps["jacobian"],
            stamps["centre"],
            noise=noise if own_noise else None,
        )

    return make


@pytest.fixture(scope="session")
def galaxies():
    """A small set of exponential galaxies with three epochs each."""
    return StampSet(seed=5, count=8)
