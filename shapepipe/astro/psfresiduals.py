"""How well a PSF model describes stars: pixel residuals of each star, summary of shape residuals.

Maps over the focal plane are in `focalplane`, correlations in `rho`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shapepipe.astro import moments, psfmodel

CORE_RADIUS = 10.0  # pixels; beyond it a ground-based star holds next to nothing but noise
MAD_TO_SIGMA = 1.4826


@dataclass(frozen=True)
class PixelResiduals:
    """Star minus model, per star, in units of the star's flux.

    Attributes
    ----------
    rms : numpy.ndarray
        Root mean square over all unmasked pixels, shape (n,); nan without usable pixels.
    rms_core : numpy.ndarray
        The same within 10 pixels of the centre.
    relative : numpy.ndarray
        Norm of the residual over the norm of the model within 10 pixels.
    noise : numpy.ndarray
        Scatter (1.4826 MAD) of the residual beyond 10 pixels: what `rms` would be for a perfect
        model; nan for stamps that do not reach so far.
    """

    rms: np.ndarray
    rms_core: np.ndarray
    relative: np.ndarray
    noise: np.ndarray


def pixel_residuals(stars, psfs, dx, dy) -> PixelResiduals:
    """Subtract from each star its PSF, moved to the star's centre and scaled by least squares.

    Parameters
    ----------
    stars, psfs : numpy.ndarray
        Stamps, shape (n, ny, nx), of the same pixel scale; stars may hold masked pixels (-1e30).
    dx, dy : numpy.ndarray
        Centre of the star minus centre of the PSF, shape (n,), pixels; nan counts as 0.
    """
    good = ~moments.masked_pixels(stars)
    model = psfmodel.shift(psfs, np.nan_to_num(dx), np.nan_to_num(dy))
    pixels = np.where(good, stars, 0.0)
    seen = np.where(good, model, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        scale = _total(pixels * seen) / _total(seen * seen)
        residual = np.where(good, pixels - scale[:, None, None] * seen, np.nan)
        residual /= (scale * _total(model))[:, None, None]
        seen /= _total(model)[:, None, None]
    core = _distance(model.shape[1:]) <= CORE_RADIUS
    return PixelResiduals(
        rms=_rms(residual),
        rms_core=_rms(residual[:, core]),
        relative=_rms(residual[:, core]) / _rms(np.where(good, seen, np.nan)[:, core]),
        noise=_robust_scatter(residual[:, ~core]),
    )


def usable(flag_psf, flag_star, *values) -> np.ndarray:
    """Stars whose moments, and those of their PSF, are unflagged and finite; shape (n,), bool."""
    finite = np.logical_and.reduce([np.isfinite(value) for value in values])
    return (np.asarray(flag_psf) == 0) & (np.asarray(flag_star) == 0) & finite


def summarise(g_star, g_psf, sigma_star, sigma_psf) -> dict[str, float]:
    """Mean and scatter of the residuals star - model.

    Parameters
    ----------
    g_star, g_psf : numpy.ndarray
        Reduced shears, shape (n, 2).
    sigma_star, sigma_psf : numpy.ndarray
        Sizes, shape (n,), pixels; the size residual is that of R2 = 2 sigma^2, over that of the
        star.

    Returns
    -------
    dict
        `n_stars`, and for de1, de2, dr2: `_mean`, `_error` (of the mean), `_scatter` (standard
        deviation) and `_robust` (1.4826 MAD).
    """
    delta = np.asarray(g_star) - np.asarray(g_psf)
    residuals = {
        "de1": delta[:, 0],
        "de2": delta[:, 1],
        "dr2": 1.0 - np.square(sigma_psf) / np.square(sigma_star),
    }
    found: dict[str, float] = {"n_stars": len(delta)}
    for name, values in residuals.items():
        scatter = float(np.std(values)) if len(values) else np.nan
        found[f"{name}_mean"] = float(np.mean(values)) if len(values) else np.nan
        found[f"{name}_error"] = scatter / max(np.sqrt(len(values)), 1.0)
        found[f"{name}_scatter"] = scatter
        found[f"{name}_robust"] = float(_robust_scatter(values[None])[0])
    return found


def summary_line(summary: dict[str, float]) -> str:
    """Say it in one line of text."""
    parts = [
        f"{label} {summary[f'{name}_mean']:+.5f} +- {summary[f'{name}_error']:.5f} "
        f"(scatter {summary[f'{name}_scatter']:.4f}, robust {summary[f'{name}_robust']:.4f})"
        for name, label in (("de1", "e1"), ("de2", "e2"), ("dr2", "dR2/R2"))
    ]
    return f"star - model of {summary['n_stars']} stars: " + ", ".join(parts)


def pixel_statistics(rms, rms_core, relative, noise) -> dict[str, float]:
    """Typical pixel residuals of many stars (see `PixelResiduals`).

    Returns
    -------
    dict
        `rms_pix` and `rms_pix_core` (root mean squares), `noise_pix` (the same of the noise) and
        `resid_rel` (median).
    """
    squares = {"rms_pix": rms, "rms_pix_core": rms_core, "noise_pix": noise}
    found = {name: float(_rms(np.asarray(v, float)[None])[0]) for name, v in squares.items()}
    relative = np.asarray(relative)[np.isfinite(relative)]
    found["resid_rel"] = float(np.median(relative)) if len(relative) else np.nan
    return found


def pixel_line(found: dict[str, float]) -> str:
    """Say the pixel residuals in one line of text."""
    return (
        f"pixel residuals / flux: rms {found['rms_pix']:.2e}, within {CORE_RADIUS:g} pixels "
        f"{found['rms_pix_core']:.2e}, noise {found['noise_pix']:.2e}; "
        f"residual / model {found['resid_rel']:.3f} (median)"
    )


def _total(stamps):
    return stamps.sum(axis=(1, 2), dtype=float)


def _distance(shape):
    rows, columns = np.indices(shape)
    return np.hypot(rows - shape[0] // 2, columns - shape[1] // 2)


def _rms(values):
    """Root mean square over all axes but the first, nan ignored."""
    flat = values.reshape(len(values), -1)
    count = np.isfinite(flat).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.sqrt(np.nansum(flat**2, axis=1) / count)


def _robust_scatter(values):
    """1.4826 times the median absolute deviation along the last axis; nan where nothing is left."""
    result = np.full(len(values), np.nan)
    filled = np.isfinite(values).any(axis=1)
    if filled.any():
        centred = values[filled] - np.nanmedian(values[filled], axis=1, keepdims=True)
        result[filled] = MAD_TO_SIGMA * np.nanmedian(np.abs(centred), axis=1)
    return result
