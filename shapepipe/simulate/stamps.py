"""Multi-epoch postage stamps of single galaxies with a known shear, for tests of shape measurement.

One seed stands for one set of galaxies, PSFs, world coordinate systems and dithers; the same seed
with another `shear` or `turn` gives their twins, so that shape noise cancels in differences.
Images are free of noise; `noise_level` says what noise makes a wanted signal-to-noise ratio.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import galsim
import numpy as np

ACCURATE = galsim.GSParams(maximum_fft_size=16384)


@dataclass(frozen=True)
class StampSet:
    """How to draw a set of galaxies; lengths in arcsec, stamps as (rows, columns).

    `galaxy` is exponential, sersic, gaussian or star; `psf` is moffat, kolmogorov, gaussian or
    lopsided (a sum of off-centre, unequal Moffat profiles, as an empirical model may be);
    `psf_shape` fixes the PSF's g1, g2 (None: scatter of 0.02); `distortion` scales rotation and
    shear of the world coordinates, whose pixel scale is 0.187.
    """

    seed: int
    count: int
    epochs: int = 3
    shape: tuple[int, int] = (51, 51)
    psf_shape_pixels: tuple[int, int] = (51, 51)
    galaxy: str = "exponential"
    sersic: tuple[float, float] = (0.8, 3.0)
    half_light: tuple[float, float] = (0.25, 0.6)
    ellipticity: float = 0.25
    psf: str = "moffat"
    psf_fwhm: tuple[float, float] = (0.65, 0.75)
    psf_shape: tuple[float, float] | None = None
    distortion: float = 1.0
    flux: float = 100.0
    shear: tuple[float, float] = (0.0, 0.0)
    turn: bool = False

    def twin(self, **changes) -> StampSet:
        """The same galaxies, drawn with another shear or turned by 90 degrees."""
        return replace(self, **changes)


def draw_stamps(wanted: StampSet) -> dict[str, np.ndarray]:
    """Noise-free stamps.

    Returns
    -------
    dict
        image, psf (B, E, rows, columns), jacobian (B, E, 2, 2) in arcsec per pixel, centre
        (B, E, 2) as 0-based (x, y), shape (B, 2), the intrinsic g1, g2.
    """
    rng = np.random.default_rng(wanted.seed)
    b, e = wanted.count, wanted.epochs
    made = {
        "image": np.empty((b, e, *wanted.shape)),
        "psf": np.empty((b, e, *wanted.psf_shape_pixels)),
        "jacobian": np.empty((b, e, 2, 2)),
        "centre": np.empty((b, e, 2)),
        "shape": np.empty((b, 2)),
    }
    middle = (np.array(wanted.shape[::-1]) - 1) / 2
    for i in range(b):
        galaxy, made["shape"][i] = _galaxy(wanted, rng)
        for k in range(e):
            psf, wcs = _psf(wanted, rng), _wcs(wanted, rng)
            offset = rng.uniform(-0.5, 0.5, 2)
            made["image"][i, k] = _draw([galaxy, psf], wcs, wanted.shape, offset)
            made["psf"][i, k] = _draw([psf], wcs, wanted.psf_shape_pixels, np.zeros(2))
            made["jacobian"][i, k] = [[wcs.dudx, wcs.dudy], [wcs.dvdx, wcs.dvdy]]
            made["centre"][i, k] = middle + offset
    return made


def noise_level(image, s2n) -> np.ndarray:
    """Pixel noise (B,) at which the matched-filter S/N over all epochs is `s2n`."""
    return np.sqrt((image**2).sum(axis=(1, 2, 3))) / s2n


def _galaxy(wanted, rng):
    """Profile, sheared, and its intrinsic shape."""
    radius = rng.uniform(*wanted.half_light)
    index = np.round(rng.uniform(*wanted.sersic), 1)
    shape = rng.normal(scale=wanted.ellipticity, size=2)
    while np.hypot(*shape) > 0.7:
        shape = rng.normal(scale=wanted.ellipticity, size=2)
    shape = -shape if wanted.turn else shape
    if wanted.galaxy == "star":
        return galsim.Gaussian(sigma=1e-6, flux=wanted.flux), np.zeros(2)
    made = {
        "exponential": lambda: galsim.Exponential(half_light_radius=radius, gsparams=ACCURATE),
        "sersic": lambda: galsim.Sersic(index, half_light_radius=radius, gsparams=ACCURATE),
        "gaussian": lambda: galsim.Gaussian(half_light_radius=radius, gsparams=ACCURATE),
    }[wanted.galaxy]()
    made = made.withFlux(wanted.flux).shear(g1=shape[0], g2=shape[1])
    return made.shear(g1=wanted.shear[0], g2=wanted.shear[1]), shape


def _psf(wanted, rng):
    """The PSF of one epoch."""
    fwhm = rng.uniform(*wanted.psf_fwhm)
    shape = rng.normal(scale=0.02, size=2)
    if wanted.psf_shape is not None:
        shape = wanted.psf_shape
    if wanted.psf == "lopsided":
        core = galsim.Moffat(beta=3.0, fwhm=fwhm, flux=0.8, gsparams=ACCURATE)
        wing = galsim.Moffat(beta=2.5, fwhm=1.3 * fwhm, flux=0.2, gsparams=ACCURATE)
        made = core + wing.shear(g1=0.1, g2=-0.05).shift(0.04, -0.03)
    else:
        made = {
            "moffat": lambda: galsim.Moffat(beta=3.5, fwhm=fwhm, gsparams=ACCURATE),
            "kolmogorov": lambda: galsim.Kolmogorov(fwhm=fwhm, gsparams=ACCURATE),
            "gaussian": lambda: galsim.Gaussian(fwhm=fwhm, gsparams=ACCURATE),
        }[wanted.psf]()
    return made.shear(g1=shape[0], g2=shape[1])


def _wcs(wanted, rng):
    """Local world coordinates: scale 0.1855 to 0.1875, small rotation and shear."""
    scale = rng.uniform(0.1855, 0.1875)
    angle = np.deg2rad(rng.normal(scale=0.2 * wanted.distortion))
    a, b = rng.normal(scale=0.002 * wanted.distortion, size=2)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = scale * np.array([[1 + a, b], [b, 1 - a]]) @ turn
    return galsim.JacobianWCS(*matrix.ravel())


def _draw(profiles, wcs, shape, offset):
    """Flux per pixel of a convolution, pixel response included."""
    image = galsim.ImageD(shape[1], shape[0], wcs=wcs)
    whole = galsim.Convolve(profiles, gsparams=ACCURATE)
    whole.drawImage(image=image, offset=galsim.PositionD(*offset))
    return image.array.copy()
