"""Positions: sky coordinates of the exposures, and measured centroids of stars, against the truth.

The coordinates that the chain uses (table of `merge_headers_runner`, SIP) and those of the mosaics
(TPV) are asked for the place of every source on every CCD; no noise is in that. Centroids of stars
have noise, and those of a PSF with coma an offset: the offset of the true PSF under the same window
is taken off, and the noise that SExtractor states is compared with the scatter.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import galsim
import numpy as np
from astropy.io import fits as afits
from astropy.table import Table, vstack
from astropy.wcs import WCS
from matplotlib.figure import Figure

from shapepipe.astro import centroids, fits, ldac, sip, wcs
from shapepipe.judge.case import EXPOSURE, Case
from shapepipe.judge.matching import isolated, nearest_pixels
from shapepipe.judge.verdict import Verdict
from shapepipe.simulate.astrometry import jacobians
from shapepipe.simulate.draw import draw_psfs
from shapepipe.simulate.mosaic import mosaic_name
from shapepipe.simulate.sky import STAR

MAS = 3.6e6
"""Mas in a degree."""
STAR_MAGNITUDES = 17.0, 19.5
"""Stars whose centroids count: below saturation, and with a noise of the order of a mas."""
_CLOSEST, _FAINTER = 6.0, 7.0  # arcsec, mag: no neighbour this close and at most this much fainter
_SEARCH = 4.0  # pixel
_STAMP = 51  # pixel, side of the true PSF
_WORST_SIGMA = 5.0  # stars further off than that from all others are disturbed
_MOST_DISTURBED = 0.1  # share of stars; if more are off, it is not they who are disturbed
_COLUMNS = ["XWIN_IMAGE", "YWIN_IMAGE", "ERRX2WIN_IMAGE", "ERRY2WIN_IMAGE", "FLUX_RADIUS",
            "FLAGS", "IMAFLAGS_ISO"]  # fmt: skip


def judge(case: Case) -> Verdict | None:
    """Judge all coordinates of all exposures, and the centroids of their stars."""
    if not case.has("log_exp_headers", ending=".sqlite"):
        return None
    solutions = Table(rows=list(_solutions(case)))
    figures = {"n_ccds": len(solutions), "n_positions": int(solutions["n"].sum())}
    for name in ("merged", "tpv", "galsim"):
        share = solutions["n"] / solutions["n"].sum()
        figures[f"{name}_rms_mas"] = float(np.sqrt((share * solutions[name] ** 2).sum()))
        figures[f"{name}_worst_mas"] = float(solutions[f"{name}_worst"].max())
    figures["backward_worst_mas"] = float(solutions["backward_worst"].max())
    figures["sip_minus_tpv_worst_mas"] = float(solutions["sip_minus_tpv"].max())
    stars = measured_stars(case)
    if stars is None or not len(stars):
        return Verdict(figures | {"n_centroids": 0})
    figures |= summarise_centroids(stars)
    return Verdict(figures, {"centroids by exposure": _by_exposure(stars)},
                   {"astrometry": draw_centroids(stars)})  # fmt: skip


def sky_offsets(ra, dec, true_ra, true_dec) -> tuple[np.ndarray, np.ndarray]:
    """Offsets to the east and to the north (mas) of positions (deg) from the true ones."""
    ra, dec, true_ra, true_dec = (np.asarray(a, float) for a in (ra, dec, true_ra, true_dec))
    east = (ra - true_ra + 180.0) % 360.0 - 180.0
    return east * np.cos(np.radians(true_dec)) * MAS, (dec - true_dec) * MAS


def worst_and_rms(east, north) -> tuple[float, float]:
    """Largest offset, and rms of a component."""
    size = np.hypot(east, north)
    return float(size.max(initial=0.0)), float(np.sqrt(np.mean(size**2) / 2)) if len(size) else 0.0


def summarise_centroids(stars: Table) -> dict[str, float]:
    """Mean offsets, scatter, noise, and the scatter beyond noise, of both components together.

    Parameters
    ----------
    stars : Table
        Columns `east`, `north` and `noise` (mas; noise of a component).
    """
    n_measured = len(stars)
    stars = stars[_undisturbed(stars)]
    offsets = np.concatenate([stars["east"], stars["north"]])
    noise = np.concatenate([stars["noise"]] * 2)
    n = len(offsets)
    rms2, noise2 = np.mean(offsets**2), np.mean(noise**2)
    beyond = rms2 - noise2
    return {
        "n_centroids": n_measured,
        "n_disturbed": n_measured - len(stars),
        "centroid_mean_east_mas": float(np.mean(stars["east"])),
        "centroid_mean_north_mas": float(np.mean(stars["north"])),
        "centroid_mean_error_mas": float(np.sqrt(rms2 / max(len(stars), 1))),
        "centroid_rms_mas": float(np.sqrt(rms2)),
        "centroid_noise_mas": float(np.sqrt(noise2)),
        "centroid_beyond_noise_mas": float(np.sqrt(max(beyond, 0.0))),
        "centroid_beyond_noise_error_mas2": float(np.std(offsets**2 - noise**2) / np.sqrt(n)),
        "centroid_chi2": float(np.mean((offsets / noise) ** 2)),
    }


def _undisturbed(stars):
    """Stars not further than a few sigma from the middle; all, if those were more than a few."""
    apart = [stars[name] - np.median(stars[name]) for name in ("east", "north")]
    pull = np.hypot(*apart) / stars["noise"]
    typical = max(1.0, float(np.median(pull)) / 1.18)  # median of a Rayleigh distribution
    kept = pull < _WORST_SIGMA * typical
    return kept if np.mean(~kept) <= _MOST_DISTURBED else np.ones(len(stars), bool)


def measured_stars(case: Case) -> Table | None:
    """Bright isolated stars of all catalogues of exposures, with their offsets from the truth."""
    parts, epochs = [], {}
    for (exposure, ccd), path in case.products("sexcat", EXPOSURE).items():
        if exposure not in epochs:
            epochs = {exposure: case.epochs(exposure)}
        here = epochs[exposure][epochs[exposure]["ccd"] == int(ccd)]
        part = _stars_of_ccd(case, path, here, case.headers[exposure][int(ccd)]["WCS"])
        part["exposure"], part["ccd"] = exposure, int(ccd)
        parts.append(part)
    return vstack(parts) if parts else None


def _solutions(case: Case) -> Iterator[dict]:
    """Residuals of one CCD after the other, mas."""
    for exposure, entries in case.headers.items():
        epochs, headers = case.epochs(exposure), _mosaic_headers(case, int(exposure))
        for ccd, (entry, header) in enumerate(zip(entries, headers, strict=True)):
            truth = epochs[epochs["ccd"] == ccd]
            found = compare_solutions(entry["WCS"], header, truth)
            yield {"exposure": exposure, "ccd": ccd} | found


def compare_solutions(merged: WCS, header: afits.Header, truth: Table) -> dict[str, float]:
    """Compare the merged coordinates and those of the mosaic with the true positions of a CCD.

    Parameters
    ----------
    merged : WCS
        Of the table of all exposures.
    header : Header
        As it stands in the mosaic.
    truth : Table
        Columns `x`, `y` (0-based pixels), `ra`, `dec` (degrees).
    """
    x, y, ra, dec = (np.asarray(truth[name]) for name in ("x", "y", "ra", "dec"))
    original = wcs.from_header(header)
    found = {"n": len(x)}
    places = {
        "merged": wcs.pixel_to_world(merged, x, y),
        "tpv": wcs.pixel_to_world(original, x, y),
        "galsim": _by_galsim(header, x, y),
    }
    for name, place in places.items():
        found[f"{name}_worst"], found[name] = worst_and_rms(*sky_offsets(*place, ra, dec))
    back = np.array(wcs.world_to_pixel(merged, ra, dec)) - [x, y]
    scale = wcs.pixel_scale(merged) * 1000.0
    found["backward_worst"] = float(scale * np.hypot(*back).max(initial=0.0))
    shape = header["NAXIS2"], header["NAXIS1"]
    found["sip_minus_tpv"] = sip.difference(merged, original, shape)
    return found


def _by_galsim(header, x, y):
    """GalSim's own reading of TPV, which shares no code with wcslib."""
    cards = header.copy()
    solution = galsim.GSFitsWCS(header=cards)
    ra, dec = solution.xyToradec(np.asarray(x) + 1.0, np.asarray(y) + 1.0, units="degrees")
    return np.mod(ra, 360.0), dec


def _mosaic_headers(case, number):
    files = case.survey.files
    path = case.folder / "exposures" / mosaic_name("image", number, files.names, files.extension)
    with fits.open_hdus(path, memmap=False) as hdus, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [unit.header.copy() for unit in hdus[1:]]


def _stars_of_ccd(case, path, truth, solution):
    """Offsets (mas) of the stars of one CCD from their true places, with the coordinates given."""
    catalogue = ldac.read(path, columns=_COLUMNS)
    scale = wcs.pixel_scale(solution)
    star = (truth["kind"] == STAR) & isolated(truth, _CLOSEST / scale, _FAINTER)
    star &= (truth["mag"] > STAR_MAGNITUDES[0]) & (truth["mag"] < STAR_MAGNITUDES[1])
    rows = truth[star]
    x, y = catalogue["XWIN_IMAGE"] - 1.0, catalogue["YWIN_IMAGE"] - 1.0
    at = nearest_pixels(rows["x"], rows["y"], x, y, _SEARCH)
    good = at >= 0
    good[good] = ((catalogue["FLAGS"] == 0) & (catalogue["IMAFLAGS_ISO"] == 0))[at[good]]
    rows, at = rows[good], at[good]
    found = catalogue[at]
    expected = _window_offsets(case, rows, solution, found["FLUX_RADIUS"])
    places = wcs.pixel_to_world(solution, x[at] - expected[0], y[at] - expected[1])
    east, north = sky_offsets(*places, rows["ra"], rows["dec"])
    noise = scale * 1000.0 * np.sqrt((found["ERRX2WIN_IMAGE"] + found["ERRY2WIN_IMAGE"]) / 2.0)
    columns = {"east": east, "north": north, "noise": np.asarray(noise)}
    return Table(columns | {name: np.asarray(rows[name]) for name in ("id", "mag", "x", "y")})


def _window_offsets(case, rows, solution, half_light_radius):
    """Where SExtractor's window puts the centroid of the true PSF, from its own centroid."""
    if not len(rows):
        return np.zeros((2, 0))
    psf = case.survey.psf
    local = jacobians(solution, rows["x"], rows["y"])
    stamps = draw_psfs(rows, local, psf.profile, psf.beta, _STAMP)
    sigma = centroids.window_sigma(half_light_radius)
    return np.array(centroids.windowed_centroids(stamps, sigma)) - (_STAMP - 1) / 2.0


def _by_exposure(stars):
    rows = []
    for exposure in np.unique(stars["exposure"]):
        part = summarise_centroids(stars[stars["exposure"] == exposure])
        short = {key.replace("centroid_", ""): value for key, value in part.items()}
        rows.append({"exposure": str(exposure)} | short)
    return Table(rows=rows)


def draw_centroids(stars: Table) -> Figure:
    """Draw offsets of stars: in the plane, and against magnitude with the noise stated."""
    figure = Figure(figsize=(9.5, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(stars["east"], stars["north"], ".", ms=2, alpha=0.5)
    left.axhline(0, color="0.6", lw=0.8)
    left.axvline(0, color="0.6", lw=0.8)
    reach = 1.1 * np.percentile(np.hypot(stars["east"], stars["north"]), 99.5)
    left.set(xlim=(reach, -reach), ylim=(-reach, reach), aspect="equal")
    left.set(xlabel="measured - true, to the east [mas]", ylabel="to the north [mas]")
    edges = np.linspace(*STAR_MAGNITUDES, 11)
    which = np.digitize(stars["mag"], edges) - 1
    bins = [stars[which == k] for k in range(len(edges) - 1)]
    middle = 0.5 * (edges[1:] + edges[:-1])
    rms = [np.sqrt(np.mean(np.r_[b["east"], b["north"]] ** 2)) if len(b) else np.nan for b in bins]
    noise = [np.sqrt(np.mean(b["noise"] ** 2)) if len(b) else np.nan for b in bins]
    right.plot(middle, rms, "o-", label="scatter of a component")
    right.plot(middle, noise, "k--", label="noise that SExtractor states")
    right.set(xlabel="magnitude", ylabel="[mas]", yscale="log")
    right.legend(frameon=False)
    return figure
