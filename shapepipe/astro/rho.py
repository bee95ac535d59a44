"""Rho statistics: correlations of PSF residuals that would leak into cosmic shear.

Star tables are prepared by the caller; spin-2 quantities come in the frame of the sky (see
`focalplane.sky_shapes`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import treecorr
from matplotlib.figure import Figure

MIN_SEPARATION, MAX_SEPARATION, N_BINS = 0.5, 300.0, 32  # arcmin
MARKERS = "osD^v"


@dataclass(frozen=True)
class RhoStatistics:
    """Five correlation functions.

    Attributes
    ----------
    theta : numpy.ndarray
        Mean separation of the pairs of each bin, shape (n_bins,), arcmin.
    rho : numpy.ndarray
        rho_1 to rho_5 (the xi_+ part), shape (5, n_bins).
    error : numpy.ndarray
        Standard deviation from shape noise alone, shape (5, n_bins).
    n_pairs : numpy.ndarray
        Pairs of stars, shape (n_bins,).
    """

    theta: np.ndarray
    rho: np.ndarray
    error: np.ndarray
    n_pairs: np.ndarray


def rho_statistics(
    ra,
    dec,
    g_star,
    g_psf,
    sigma_star,
    sigma_psf,
    min_separation: float = MIN_SEPARATION,
    max_separation: float = MAX_SEPARATION,
    n_bins: int = N_BINS,
) -> RhoStatistics:
    """Correlate ellipticities e, residuals de = e - e_model and e dT/T, with T = 2 sigma^2.

    rho_1 = <de de>, rho_2 = <e de>, rho_3 = <(e dT/T)(e dT/T)>, rho_4 = <de (e dT/T)>,
    rho_5 = <e (e dT/T)>; e and T are those of the stars. Bins are equal in the logarithm of the
    separation; those beyond the extent of the data are left out.

    Parameters
    ----------
    ra, dec : numpy.ndarray
        Positions, shape (n,), degrees.
    g_star, g_psf : numpy.ndarray
        Reduced shears, shape (n, 2), x to the west and y to the north.
    sigma_star, sigma_psf : numpy.ndarray
        Sizes, shape (n,).
    min_separation, max_separation : float
        Arcmin.
    n_bins : int
        Number of bins between them.

    References
    ----------
    Rowe 2010, MNRAS 404, 350 (rho_1, rho_2); Jarvis et al. 2016, MNRAS 460, 2245 (rho_3 to rho_5).
    """
    ratio = (np.square(sigma_star) - np.square(sigma_psf)) / np.square(sigma_star)
    e = np.asarray(g_star, float)
    fields = {"e": e, "de": e - g_psf, "w": e * ratio[:, None]}
    catalogues = {name: _catalogue(ra, dec, field) for name, field in fields.items()}
    width = np.log(max_separation / min_separation) / n_bins
    usable_bins = np.ceil(np.log(_extent(ra, dec) / min_separation) / width)
    usable_bins = int(np.clip(usable_bins, 1, n_bins))
    binning = {
        "min_sep": min_separation,
        "max_sep": min_separation * np.exp(width * usable_bins),
        "nbins": usable_bins,
        "sep_units": "arcmin",
        "num_threads": 1,  # the sum over threads would depend on their number
    }
    pairs = (("de", "de"), ("e", "de"), ("w", "w"), ("de", "w"), ("e", "w"))
    results = []
    for first, second in pairs:
        correlation = treecorr.GGCorrelation(**binning)
        other = None if first == second else catalogues[second]
        correlation.process(catalogues[first], other, num_threads=1)
        results.append(correlation)
    n_pairs = results[0].npairs
    used = slice(0, int(np.max(np.flatnonzero(n_pairs), initial=0)) + 1)
    return RhoStatistics(
        theta=np.where(n_pairs > 0, results[0].meanr, results[0].rnom)[used],
        rho=np.array([result.xip for result in results])[:, used],
        error=np.sqrt([result.varxip for result in results])[:, used],
        n_pairs=n_pairs[used],
    )


def plot_rho(statistics: RhoStatistics) -> Figure:
    """Draw rho_1, rho_3, rho_4 and rho_2, rho_5; open symbols are negative values."""
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    panels = figure.subplots(1, 2, sharex=True)
    for axes, members in zip(panels, ((0, 2, 3), (1, 4)), strict=True):
        for k in members:
            _draw(axes, statistics, k)
        axes.set(xscale="log", yscale="log", xlabel=r"separation $\theta$ [arcmin]")
        axes.set_ylabel(r"$|\rho_i(\theta)|$")
        axes.legend(frameon=False)
        axes.grid(alpha=0.25)
    return figure


def _draw(axes, statistics, k):
    value, seen = statistics.rho[k], statistics.n_pairs > 0
    colour = f"C{k}"
    theta = statistics.theta * (1 + 0.02 * (k - 2))  # side by side
    axes.plot(theta[seen], np.abs(value)[seen], color=colour, lw=0.8, alpha=0.6)
    for chosen, fill in ((seen & (value > 0), colour), (seen & (value <= 0), "white")):
        bars = _inside_log(value, statistics.error[k])[:, chosen]
        axes.errorbar(
            theta[chosen], np.abs(value)[chosen], bars,
            fmt=MARKERS[k], color=colour, mfc=fill, ms=5, lw=1,
        )  # fmt: skip
    axes.plot([], [], MARKERS[k], color=colour, ls="-", label=rf"$\rho_{k + 1}$")


def _inside_log(value, error):
    """Error bars that stay above zero on a logarithmic axis; shape (2, n)."""
    size = np.abs(value)
    return np.array([np.minimum(error, 0.9 * size), error])


def _catalogue(ra, dec, field):
    return treecorr.Catalog(
        ra=ra, dec=dec, ra_units="deg", dec_units="deg", g1=field[:, 0], g2=field[:, 1]
    )


def _extent(ra, dec) -> float:
    """Largest separation that the data can hold (arcmin): twice that from their centre."""
    ra, dec = np.radians(ra), np.radians(dec)
    vectors = np.array([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)])
    centre = vectors.mean(axis=1)
    cosine = np.clip((vectors.T @ centre) / max(np.linalg.norm(centre), 1e-12), -1, 1)
    return float(np.degrees(2 * np.arccos(cosine.min())) * 60)
