"""The point spread function: seeing, and optics that vary over the field and between exposures.

Positions in the field are u to the west and v to the north of the optical axis, in units of the
field's radius; ellipticities are g = (a - b)/(a + b) in the same frame (GalSim's convention).
"""

from __future__ import annotations

from dataclasses import dataclass

import galsim
import numpy as np

_FLARE = 0.2  # share of the light that coma displaces


@dataclass(frozen=True)
class PsfField:
    """PSF of one exposure at every place of the field.

    With z = u + i v: the blur by defocus d0 + d1 |z|^2 + Re(conj(t) z) adds to the seeing in
    quadrature, the ellipticity is g0 + a z (z + t / seeing) (astigmatism of a tilted focal plane),
    and coma displaces a fifth of the light by c0 + c1 z.
    """

    profile: str  # moffat or kolmogorov
    beta: float
    fwhm: float  # arcsec
    shear: complex
    defocus: float  # arcsec
    curvature: float  # arcsec at the edge of the field
    tilt: complex  # arcsec at the edge of the field
    astigmatism: float  # g at the edge of the field
    coma: complex  # arcsec
    coma_slope: float  # arcsec at the edge of the field

    def at(self, u, v) -> dict[str, np.ndarray]:
        """Parameters of the PSF at positions in the field.

        Parameters
        ----------
        u, v : ndarray, shape (n,), float
            Position to the west and north of the axis, in units of the field's radius.

        Returns
        -------
        dict of str to ndarray, shape (n,)
            `psf_fwhm` (arcsec), `psf_g1`, `psf_g2`, `psf_coma1` and `psf_coma2` (arcsec).
        """
        z = np.asarray(u, float) + 1j * np.asarray(v, float)
        slope = (np.conj(self.tilt) * z).real
        blur = self.defocus + self.curvature * np.abs(z) ** 2 + slope
        shear = self.shear + self.astigmatism * z * (z + self.tilt / self.fwhm)
        coma = self.coma + self.coma_slope * z
        return {
            "psf_fwhm": np.hypot(self.fwhm, blur),
            "psf_g1": shear.real,
            "psf_g2": shear.imag,
            "psf_coma1": coma.real,
            "psf_coma2": coma.imag,
        }


def draw_field(options, rng: np.random.Generator) -> PsfField:
    """Draw the PSF of an exposure.

    Parameters
    ----------
    options : PsfSection
        Mean values and scatters.
    rng : Generator
        Stream of the exposure.
    """
    n = rng.standard_normal(9)
    return PsfField(
        profile=options.profile,
        beta=options.beta,
        fwhm=float(options.fwhm * np.exp(options.fwhm_scatter * n[0])),
        shear=complex(options.ellipticity * (n[1] + 1j * n[2])),
        defocus=float(0.5 * options.curvature * n[3]),
        curvature=float(options.curvature * (1 + 0.2 * n[4])),
        tilt=complex(0.3 * options.curvature * (n[5] + 1j * n[6])),
        astigmatism=options.astigmatism,
        coma=complex(0.3 * options.coma * (n[7] + 1j * n[8])),
        coma_slope=options.coma,
    )


def make_profile(
    profile: str, beta: float, fwhm: float, g1: float, g2: float, coma1=0.0, coma2=0.0
) -> galsim.GSObject:
    """PSF of unit flux, centred on its centroid, as a GalSim object in arcsec (u west, v north).

    The pixel is not part of it. The arguments are the columns of the truth tables.
    """
    if profile == "moffat":
        core = galsim.Moffat(beta=beta, fwhm=fwhm)
    else:
        core = galsim.Kolmogorov(fwhm=fwhm)
    core = core.shear(g1=g1, g2=g2)
    if abs(coma1) + abs(coma2) < 1e-4:
        return core
    flare = core.shift((1 - _FLARE) * coma1, (1 - _FLARE) * coma2)
    return (1 - _FLARE) * core.shift(-_FLARE * coma1, -_FLARE * coma2) + _FLARE * flare


def reach(profile: str, beta: float, fwhm, flux, level: float) -> np.ndarray:
    """Radius at which the PSF of a source falls below a surface brightness.

    Parameters
    ----------
    profile : str
        moffat; the wings of kolmogorov are taken as those of a Moffat profile of beta 11/6,
        the asymptotic slope.
    beta : float
        Slope of the Moffat profile.
    fwhm : ndarray, shape (n,), float
        Arcsec.
    flux : ndarray, shape (n,), float
        Any unit.
    level : float
        That unit per square arcsec.

    Returns
    -------
    ndarray, shape (n,), float
        Arcsec, at least the radius that holds 99.5 per cent of the light of a Moffat profile.
    """
    slope = beta if profile == "moffat" else 11.0 / 6.0
    core = np.asarray(fwhm) / (2.0 * np.sqrt(2.0 ** (1.0 / beta) - 1.0))
    peak = np.asarray(flux) * (slope - 1.0) / (np.pi * core**2)
    wings = np.sqrt(np.maximum((peak / level) ** (1.0 / slope) - 1.0, 0.0))
    most = np.sqrt(0.005 ** (1.0 / (1.0 - beta)) - 1.0)
    return core * np.maximum(wings, most)
