"""Detections against the truth: completeness and purity by magnitude, on exposures and stacks.

A source counts as found when a detection lies within `TOLERANCE` of it; a detection belongs to one
source, the brightest first. Sources that only share the detection of a brighter one are blends.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
from astropy.table import Table, hstack, vstack
from astropy.wcs import WCS
from matplotlib.figure import Figure
from scipy import ndimage

from shapepipe.astro import fits, ldac, wcs
from shapepipe.judge import bare
from shapepipe.judge.bins import crossing, edges_of, shares
from shapepipe.judge.case import EXPOSURE, TILE, Case
from shapepipe.judge.matching import isolated, match
from shapepipe.judge.verdict import Verdict
from shapepipe.simulate.detector import Defect
from shapepipe.simulate.sky import GALAXY, STAR

TOLERANCE = 0.6
"""Arcsec; half of the FWHM of a poor image is about the distance at which two sources blend."""
CROWD = 3.0
"""Arcsec; a source with a brighter one this close is counted as crowded."""
_NEAR = 12  # pixels from a trail or a saturated pixel at which a detection is spoilt
_SHIFT = 12.0  # arcsec by which detections are moved to count chance matches
_COLUMNS = ["XWIN_IMAGE", "YWIN_IMAGE", "X_IMAGE", "Y_IMAGE", "MAG_AUTO", "IMAFLAGS_ISO"]


class Matched(NamedTuple):
    """Sources and detections of one kind of image."""

    truth: Table  # kind, mag, found, blended, alone, masked
    found: Table  # mag, true, chance, masked, spoilt


def judge(case: Case) -> Verdict | None:
    """Judge the detections on exposures and on stacks, and compare them with bare SExtractor."""
    figures, tables, curves = {}, {}, {}
    for kind, parts in (("exposures", _exposures(case)), ("tile", _tiles(case))):
        if parts:
            matched = Matched(vstack([p.truth for p in parts]), vstack([p.found for p in parts]))
            figures |= {f"{kind}_{k}": v for k, v in summarise(matched).items()}
            tables[kind] = curves[kind] = tabulate(matched)
    if not tables:
        return None
    figures |= _beside_bare(case)
    return Verdict(figures, tables, {"detection": draw(curves)})


def match_image(
    truth: Table, found: Table, masked: np.ndarray, spoilt: np.ndarray, scale: float
) -> Matched:
    """Match the detections of one image.

    Parameters
    ----------
    truth : Table
        Columns `kind`, `mag`, `x`, `y` (0-based pixels) of the sources whose centre is on it.
    found : Table
        Columns of SExtractor; pixels counted from 1.
    masked : ndarray of bool
        Sources whose pixel is flagged.
    spoilt : ndarray of bool
        Detections close to a trail or to saturation in one of the exposures.
    scale : float
        Arcsec per pixel.
    """
    x, y = (_windowed(found, axis) - 1.0 for axis in "XY")
    limit = TOLERANCE / scale
    own = match(x, y, truth["x"], truth["y"], truth["mag"], limit)
    moved = match(x + _SHIFT / scale, y, truth["x"], truth["y"], truth["mag"], limit)
    sources = Table({"kind": truth["kind"], "mag": truth["mag"], "masked": masked,
                     "found": own.detection >= 0, "blended": own.blended,
                     "alone": isolated(truth, CROWD / scale, 0.0)})  # fmt: skip
    detections = Table({"mag": found["MAG_AUTO"], "masked": found["IMAFLAGS_ISO"] != 0,
                        "true": own.source >= 0, "chance": moved.source >= 0,
                        "spoilt": spoilt})  # fmt: skip
    return Matched(sources, detections)


def summarise(matched: Matched) -> dict[str, float]:
    """Overall figures; masked sources and detections apart."""
    truth = matched.truth[~matched.truth["masked"]]
    found = matched.found[~matched.found["masked"]]
    edges = edges_of(truth["mag"], 0.25)
    curve = shares(truth["mag"], truth["found"], edges, "c")
    return {
        "n_sources": len(matched.truth),
        "n_detections": len(matched.found),
        "n_sources_unmasked": len(truth),
        "n_detections_unmasked": len(found),
        "purity": _mean(found["true"]),
        "purity_off_trails": _mean(found["true"][~found["spoilt"]]),
        "purity_of_all": _mean(matched.found["true"]),
        "chance_matches": _mean(found["chance"]),
        "found_alone_to_22": _mean(truth["found"][truth["alone"] & (truth["mag"] < 22)]),
        "found_crowded_to_22": _mean(truth["found"][~truth["alone"] & (truth["mag"] < 22)]),
        "completeness_50_mag": crossing(curve["mag"], curve["c"], 0.5),
        "completeness_90_mag": crossing(curve["mag"], curve["c"], 0.9),
        "blended_share": _mean(truth["blended"]),
    }


def tabulate(matched: Matched, width: float = 0.5) -> Table:
    """Completeness by true magnitude, and purity by MAG_AUTO, of what is not masked."""
    truth = matched.truth[~matched.truth["masked"]]
    found = matched.found[~matched.found["masked"]]
    edges = edges_of(np.concatenate([truth["mag"], np.clip(found["mag"], 10, 30)]), width)
    parts = []
    for name, kind in (("stars", STAR), ("galaxies", GALAXY)):
        rows = truth[truth["kind"] == kind]
        parts.append(shares(rows["mag"], rows["found"], edges, name))
    parts.append(shares(truth["mag"], truth["blended"], edges, "blended"))
    parts.append(shares(found["mag"], found["true"], edges, "pure"))
    parts.append(shares(found["mag"], found["chance"], edges, "chance"))
    for part in parts[1:]:
        part.remove_column("mag")
    table = hstack(parts)
    table.remove_columns(["n_blended", "blended_err", "n_chance", "chance_err"])
    return table[(table["n_stars"] + table["n_galaxies"] + table["n_pure"]) > 0]


def draw(curves: dict[str, Table]) -> Figure:
    """Draw completeness and purity of each kind of image."""
    figure = Figure(figsize=(5 * len(curves), 4.2), layout="constrained")
    panels = figure.subplots(1, len(curves), sharey=True, squeeze=False)[0]
    styles = {"stars": ("C1", "*-", "stars found"), "galaxies": ("C0", "o-", "galaxies found"),
              "pure": ("C2", "s--", "detections that are real")}  # fmt: skip
    for axes, (kind, table) in zip(panels, curves.items(), strict=True):
        for name, (colour, style, label) in styles.items():
            known = table[f"n_{name}"] > 4
            axes.errorbar(table["mag"][known], table[name][known], table[f"{name}_err"][known],
                          fmt=style, color=colour, label=label, ms=5, lw=1)  # fmt: skip
        axes.set(title=kind, xlabel="magnitude (true; measured for detections)", ylim=(-0.03, 1.05))
        axes.grid(alpha=0.25)
    panels[0].set_ylabel("share")
    panels[0].legend(frameon=False, loc="lower left")
    return figure


def _exposures(case):
    """Each CCD of each exposure, matched."""
    parts, flags, epochs = [], case.products("pipeline_flag", EXPOSURE), {}
    images = case.products("image", EXPOSURE)
    for key, path in case.products("sexcat", EXPOSURE).items():
        if key not in flags or key not in images:
            continue
        exposure, ccd = key
        if exposure not in epochs:
            epochs = {exposure: case.epochs(exposure)}
        truth = epochs[exposure][epochs[exposure]["ccd"] == int(ccd)]
        solution = wcs.from_header(fits.read_header(images[key]), images[key])
        spoilt = partial(near_defects, case, exposure=exposure, ccd=ccd)
        parts.append(_of_image(path, flags[key], truth, solution, spoilt))
    return parts


def _tiles(case):
    """Each stack, matched; sources are where its sky coordinates put them."""
    parts, flags, images = [], case.products("pipeline_flag", TILE), case.tiles("image")
    weights = case.tiles("weight")
    for key, path in case.products("sexcat", TILE).items():
        if key not in flags or key not in images:
            continue
        solution = wcs.from_header(fits.read_header(images[key]), images[key])
        truth = case.objects.copy()
        truth["x"], truth["y"] = wcs.world_to_pixel(solution, truth["ra"], truth["dec"])
        weight = fits.read_image(weights[key]) if key in weights else None
        spoilt = partial(near_defects, case)
        parts.append(_of_image(path, flags[key], truth, solution, spoilt, weight))
    return parts


def _of_image(path, flag, truth, solution: WCS, spoilt: Callable, weight=None):
    flags = fits.read_image(flag)
    ny, nx = flags.shape
    inside = (truth["x"] > -0.5) & (truth["x"] < nx - 0.5)
    truth = truth[inside & (truth["y"] > -0.5) & (truth["y"] < ny - 0.5)]
    at = np.rint(truth["y"]).astype(int), np.rint(truth["x"]).astype(int)
    if weight is not None:  # a stack has corners that no exposure saw
        seen = weight[at] > 0
        truth, at = truth[seen], (at[0][seen], at[1][seen])
    found = ldac.read(path, columns=_COLUMNS)
    x, y = (_windowed(found, axis) - 1.0 for axis in "XY")
    near = spoilt(*wcs.pixel_to_world(solution, x, y))
    return match_image(truth, found, flags[at] != 0, near, wcs.pixel_scale(solution))


def near_defects(case: Case, ra, dec, exposure: str = "", ccd: str = "") -> np.ndarray:
    """Tell which positions are close to what stays in a stack: satellite trails, saturation.

    Parameters
    ----------
    case : Case
        Its runs have the flags of the CCDs and the table of headers.
    ra, dec : ndarray
        Degrees.
    exposure, ccd : str
        One CCD alone; default all.
    """
    near = np.zeros(len(ra), bool)
    for (number, index), path in case.products("flag", EXPOSURE).items():
        if number not in case.headers or (exposure and (number, index) != (exposure, ccd)):
            continue
        bad = fits.read_image(path) & (Defect.TRAIL | Defect.SATURATED) != 0
        bad = ndimage.maximum_filter(bad, 2 * _NEAR + 1)
        x, y = wcs.world_to_pixel(case.headers[number][int(index)]["WCS"], ra, dec)
        inside = (x > -0.5) & (y > -0.5) & (x < bad.shape[1] - 0.5) & (y < bad.shape[0] - 0.5)
        near[inside] |= bad[np.rint(y[inside]).astype(int), np.rint(x[inside]).astype(int)]
    return near


def _windowed(found, axis):
    """Windowed position, or the plain one where the window has run away."""
    windowed, plain = (np.asarray(found[f"{axis}{win}_IMAGE"], float) for win in ("WIN", ""))
    return np.where(np.abs(windowed - plain) < 3.0, windowed, plain)


def _beside_bare(case):
    compared = list(bare.compare_all(case))
    if not compared:
        return {}
    same = [c for c in compared if not c.differing]
    return {
        "bare_catalogues": len(compared),
        "bare_identical": len(same),
        "bare_rows": sum(c.n_bare for c in compared),
        "bare_differing": ", ".join(c.runner.name for c in compared if c.differing) or "none",
    }


def _mean(values):
    return float(np.mean(values)) if len(values) else float("nan")
