"""Validation of a PSF model over the focal plane: from the merged star catalogue to maps and rho.

Used by `mean_shapes_runner` and by the script `MeanShapes`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from astropy.table import Table

from shapepipe.astro import focalplane, focalplots, ldac, psfresiduals, rho
from shapepipe.errors import BadInput, NoUsableData

PLOTS = tuple(
    f"{quantity}{kind}" for quantity in ("e1", "e2", "R2") for kind in ("s", "m", "res")
) + ("whisker_s", "whisker_m", "whisker_res")  # fmt: skip
KINDS = {"s": "stars", "m": "PSF model", "res": "stars - model"}
SYMBOLS = {"e1": "$e_1$", "e2": "$e_2$", "R2": "$R^2$"}
FALLBACK_SCALE = 0.01  # of an ellipticity map whose values are all zero


@dataclass(frozen=True)
class Stars:
    """Stars fit for statistics.

    Attributes
    ----------
    exposure, ccd : numpy.ndarray
        Where each star was seen, shape (n,).
    x, y : numpy.ndarray
        0-based pixels.
    ra, dec : numpy.ndarray
        Degrees.
    g_star, g_psf : numpy.ndarray
        Reduced shears, shape (n, 2), pixel frame.
    r2_star, r2_psf : numpy.ndarray
        Sizes 2 sigma^2, pixels squared.
    n_rejected : int
        Stars left out because their moments, or those of the PSF, are flagged.
    """

    exposure: np.ndarray
    ccd: np.ndarray
    x: np.ndarray
    y: np.ndarray
    ra: np.ndarray
    dec: np.ndarray
    g_star: np.ndarray
    g_psf: np.ndarray
    r2_star: np.ndarray
    r2_psf: np.ndarray
    n_rejected: int


@dataclass(frozen=True)
class Limits:
    """Values at the ends of the colour bars; None: taken from the data.

    Attributes
    ----------
    max_e : float or None
        Ellipticities.
    max_d : float or None
        Residual ellipticities.
    max_dr2 : float or None
        Residual sizes, fraction of R2.
    """

    max_e: float | None = None
    max_d: float | None = None
    max_dr2: float | None = None


def read_stars(paths: Sequence[Path], hdu: int | None = None) -> Stars:
    """Read merged star catalogues.

    Raises
    ------
    BadInput
        A column is missing.
    NoUsableData
        No star has good moments.
    """
    parts = [_read_one(path, hdu) for path in paths]
    joined = {
        field.name: np.concatenate([np.asarray(getattr(part, field.name)) for part in parts])
        for field in fields(Stars)
        if field.name != "n_rejected"
    }
    n_rejected = sum(part.n_rejected for part in parts)
    if not len(joined["ccd"]):
        raise NoUsableData(f"no star with good moments ({n_rejected} with flags)")
    return Stars(**joined, n_rejected=n_rejected)


def summarise(stars: Stars) -> dict[str, float]:
    """Mean and scatter of the residuals (see `psfresiduals.summarise`)."""
    sigma = np.sqrt(stars.r2_star / 2), np.sqrt(stars.r2_psf / 2)
    found = psfresiduals.summarise(stars.g_star, stars.g_psf, *sigma)
    return found | {
        "n_exposures": len(np.unique(stars.exposure)), "n_ccds": len(np.unique(stars.ccd)),
        "n_rejected": stars.n_rejected,
    }  # fmt: skip


def lay_out(stars: Stars, ccd_size: Sequence[float] = ()):
    """Maps to the sky and layout of the CCDs; their size is that of the data if not given."""
    frames = focalplane.fit_frames(stars.exposure, stars.ccd, stars.x, stars.y, stars.ra, stars.dec)
    size = tuple(ccd_size) or (np.ceil(stars.x.max() + 1), np.ceil(stars.y.max() + 1))
    return frames, focalplane.lay_out(frames, size)


def draw_maps(
    stars: Stars,
    layout: focalplane.Layout,
    x_grid: int,
    y_grid: int | None = None,
    limits: Limits | None = None,
) -> dict:
    """Draw ellipticity, size and their residuals over the focal plane.

    Parameters
    ----------
    stars : Stars
        What to average.
    layout : Layout
        Where the CCDs lie.
    x_grid, y_grid : int
        Cells per CCD; `y_grid` makes cells about square by default.
    limits : Limits
        Ranges of the colours.

    Returns
    -------
    dict of str to Figure
        One figure for each of `PLOTS`.
    """
    limits = limits or Limits()
    y_grid = y_grid or max(1, round(x_grid * layout.size[1] / layout.size[0]))
    turned = layout.affine[np.searchsorted(layout.ccds, stars.ccd)][:, :, :2]
    e = {"s": focalplane.turn(stars.g_star, turned), "m": focalplane.turn(stars.g_psf, turned)}
    e["res"] = e["s"] - e["m"]
    r2 = {"s": stars.r2_star, "m": stars.r2_psf, "res": 1 - stars.r2_psf / stars.r2_star}
    figures = {}
    for kind, label in KINDS.items():
        values = np.column_stack([e[kind], r2[kind]])
        cells = focalplane.bin_mean(
            layout, stars.ccd, stars.x, stars.y, values, (x_grid, y_grid)
        )  # fmt: skip
        top = _ellipticity_range(cells[..., :2], limits.max_d if kind == "res" else limits.max_e)
        for k, name in enumerate(("e1", "e2")):
            figures[f"{name}{kind}"] = focalplots.draw_map(
                layout, cells[..., k], _title(SYMBOLS[name], label, values[:, k]),
                f"{SYMBOLS[name]} ({label})", (-top, top), True,
            )  # fmt: skip
        figures[f"R2{kind}"] = _draw_size(layout, cells[..., 2], values[:, 2], kind, limits)
        figures[f"whisker_{kind}"] = focalplots.draw_whiskers(
            layout, cells[..., :2], f"ellipticity, {label}", top
        )
    return figures


def correlate(stars: Stars, frames: focalplane.Frames) -> tuple[rho.RhoStatistics, Table]:
    """Rho statistics of the stars whose CCD could be tied to the sky, and their table.

    Raises
    ------
    NoUsableData
        Fewer than two such stars.
    """
    g_star = focalplane.sky_shapes(stars.g_star, frames)
    g_psf = focalplane.sky_shapes(stars.g_psf, frames)
    known = np.isfinite(g_star).all(axis=1) & np.isfinite(stars.ra) & np.isfinite(stars.dec)
    if known.sum() < 2:
        raise NoUsableData("rho statistics: no CCD has enough stars with sky coordinates")
    statistics = rho.rho_statistics(
        stars.ra[known], stars.dec[known], g_star[known], g_psf[known],
        np.sqrt(stars.r2_star[known]), np.sqrt(stars.r2_psf[known]),
    )  # fmt: skip
    table = Table({"THETA": statistics.theta, "N_PAIRS": statistics.n_pairs})
    table["THETA"].unit = "arcmin"
    for k in range(5):
        table[f"RHO{k + 1}"] = statistics.rho[k]
        table[f"ERR_RHO{k + 1}"] = statistics.error[k]
        table[f"ERR_RHO{k + 1}"].description = "from shape noise alone"
    return statistics, table


def _read_one(path, hdu):
    names = ["EXP_NAME", "CCD_NB", "X", "Y", "RA", "DEC", "E1_STAR_HSM", "E2_STAR_HSM",
             "E1_PSF_HSM", "E2_PSF_HSM", "SIGMA_STAR_HSM", "SIGMA_PSF_HSM", "FLAG_STAR_HSM",
             "FLAG_PSF_HSM"]  # fmt: skip
    table = ldac.read(path, hdu)
    if "EXP_NAME" not in table.colnames:  # merged by an earlier version: taken as one exposure
        table["EXP_NAME"] = np.full(len(table), str(path))
    ldac.check_columns(path, table.colnames, names)
    values = {name: np.asarray(table[name]) for name in names}
    shapes = [values[name] for name in names[6:12]]
    good = psfresiduals.usable(values["FLAG_PSF_HSM"], values["FLAG_STAR_HSM"], *shapes)
    value = {name: array[good] for name, array in values.items()}
    return Stars(
        exposure=value["EXP_NAME"].astype(str),
        ccd=_ccd_numbers(path, value["CCD_NB"]),
        x=value["X"].astype(float) - 1.0,
        y=value["Y"].astype(float) - 1.0,
        ra=value["RA"].astype(float),
        dec=value["DEC"].astype(float),
        g_star=np.stack([value["E1_STAR_HSM"], value["E2_STAR_HSM"]], axis=-1).astype(float),
        g_psf=np.stack([value["E1_PSF_HSM"], value["E2_PSF_HSM"]], axis=-1).astype(float),
        r2_star=2 * value["SIGMA_STAR_HSM"].astype(float) ** 2,
        r2_psf=2 * value["SIGMA_PSF_HSM"].astype(float) ** 2,
        n_rejected=int((~good).sum()),
    )


def _ccd_numbers(path, values):
    """CCD numbers as integers; earlier versions wrote them as text."""
    try:
        return values.astype(int)
    except ValueError as error:
        raise BadInput(path, f"column CCD_NB: {error}", "integers") from None


def _ellipticity_range(cells, wanted):
    """Given limit, or a round one that holds 98 % of the cells."""
    if wanted:
        return wanted
    return float(f"{np.nanpercentile(np.abs(cells), 98):.1g}") or FALLBACK_SCALE


def _draw_size(layout, cells, values, kind, limits):
    if kind == "res":
        top = _ellipticity_range(cells, limits.max_dr2)
        span, unit, symbol = (-top, top), "", r"$\Delta R^2/R^2$"
    else:
        low, high = np.nanpercentile(cells, [2, 98])
        span, unit, symbol = (low, high if high > low else low + 1), " [pixel$^2$]", SYMBOLS["R2"]
    title = _title(symbol, KINDS[kind], values)
    return focalplots.draw_map(layout, cells, title, f"{symbol}{unit}", span, kind == "res")


def _title(symbol, label, values):
    return (
        f"{symbol}, {label}: mean {np.mean(values):.5f}, scatter {np.std(values):.5f}, "
        f"{len(values)} stars"
    )
