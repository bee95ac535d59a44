"""Shapes from disjoint halves of six simulated exposures: chi-square over degrees of freedom.

    python scripts/bench.d/halves.py [NUMBER_OF_GALAXIES]

Says what to expect of real exposures, for noise that is white and for noise that a bilinear
interpolation has smoothed, whose weights state its variance on large scales.
"""

import sys

import galsim
import numpy as np
from figures import tell

from shapepipe.shear import Batch, agreement, measure_with_halves

PIXEL, SIDE = 0.341, 41  # arcsec, pixels
SEEING = 0.83, 0.82, 0.81, 0.97, 0.92, 0.90
"""FWHM of the PSF of each exposure, arcsec."""
RATIOS = 20, 35, 60, 120
"""Signal-to-noise ratios of all exposures together, of a filter that matches the galaxy."""


def main(count: str = "300"):
    """Print a line for each kind of noise and each signal-to-noise ratio."""
    for smooth in (False, True):
        for ratio in RATIOS:
            stamps, psfs, offsets = draw(int(count), ratio, smooth, np.random.default_rng(ratio))
            halves = [columns(batch(*stamps, psfs, offsets, chosen)) for chosen in (0, 1)]
            good = agreement.measured(*halves)
            found = agreement.compare(*halves, good)
            factor = agreement.pair_factor(halves, good)
            tell({"noise": "bilinear" if smooth else "white", "signal_to_noise": ratio,
                  "galaxies": found.count, "chi2_per_dof": found.chi2_per_dof,
                  "pair_factor": factor, "chi2_per_dof_pair": found.chi2_per_dof / factor,
                  "error": found.chi2_error / factor})  # fmt: skip


def draw(count, ratio, smooth, rng):
    """Stamps with their weights, PSFs and places of galaxies, exposure by exposure."""
    stamps, weights, psfs, offsets = [], [], [], []
    for _ in range(count):
        shear = np.clip(rng.normal(0, 0.2, 2), -0.45, 0.45)
        galaxy = galsim.Exponential(half_light_radius=rng.uniform(0.4, 0.8))
        galaxy = galaxy.shear(g1=shear[0], g2=shear[1])
        places, light = rng.uniform(-0.5, 0.5, (len(SEEING), 2)), []
        for fwhm, place in zip(SEEING, places, strict=True):
            g1, g2 = rng.normal(0, 0.02, 2)
            psf = galsim.Moffat(beta=3.5, fwhm=fwhm).shear(g1=g1, g2=g2)
            light.append(on_pixels(galsim.Convolve(galaxy, psf), place))
            psfs.append(on_pixels(psf, (0.0, 0.0)))
        sigma = np.sqrt(np.square(light).sum()) / ratio
        noise = rng.normal(0, sigma, (len(SEEING), SIDE + 1, SIDE + 1))
        if smooth:
            noise = 0.5 * (noise[:, 1:] + noise[:, :-1])
            noise = 0.5 * (noise[:, :, 1:] + noise[:, :, :-1])
        stamps.append(light + noise[:, :SIDE, :SIDE])
        weights.append(np.full((len(SEEING), SIDE, SIDE), sigma**-2))
        offsets.append(places)
    return (
        (np.concatenate(stamps), np.concatenate(weights)),
        np.array(psfs),
        np.concatenate(offsets),
    )


def on_pixels(profile, place):
    """Image of a profile whose centre is at a place off the middle of the stamp, pixels."""
    return profile.drawImage(nx=SIDE, ny=SIDE, scale=PIXEL, offset=place).array


def batch(stamps, weights, psfs, offsets, chosen):
    """Every other exposure of all galaxies."""
    kept = np.arange(len(stamps)) % 2 == chosen  # the number of exposures is even
    epochs, n = len(SEEING) // 2, len(stamps) // len(SEEING)
    return Batch(
        stamps[kept].astype("f4"), weights[kept].astype("f4"), psfs[kept].astype("f4"),
        np.tile(PIXEL * np.eye(2), (n * epochs, 1, 1)), SIDE // 2 + offsets[kept],
        np.arange(n + 1) * epochs, 10 + 0.01 * np.arange(n), np.ones(n),
        np.tile(np.arange(epochs, dtype=np.uint64) + 1 + 10 * chosen, n),
    )  # fmt: skip


def columns(measured):
    """Unsheared shapes as the runner writes them."""
    shapes, *pair = measure_with_halves(measured)
    made = {name: getattr(shapes, name)[:, 0] for name in ("g1", "g2", "g1_err", "g2_err")}
    made["flags"] = np.where(shapes.good, 0, 1)
    for label, half in zip("ab", pair, strict=True):
        made |= {f"{name}_{label}": getattr(half, name)[:, 0] for name in ("g1", "g2")}
    return made


if __name__ == "__main__":
    main(*sys.argv[1:])
