"""PSF models against the true PSF: at galaxies on every exposure, and at the stars of the models.

Model and truth are measured alike, by adaptive moments of images without noise, so that what is
left is the error of the model. Stars beside them tell what the measurement of stars adds.
"""

from __future__ import annotations

import numpy as np
from astropy.table import Table, vstack

from shapepipe.astro import focalplane, ldac, moments, stampstore
from shapepipe.judge import psfplots
from shapepipe.judge.bins import edges_of
from shapepipe.judge.case import EXPOSURE, TILE, Case
from shapepipe.judge.matching import match_sky, nearest_pixels
from shapepipe.judge.verdict import Verdict
from shapepipe.simulate.astrometry import jacobians
from shapepipe.simulate.draw import draw_psfs
from shapepipe.simulate.sky import GALAXY, STAR

RESIDUALS = ("dt", "de1", "de2")
MOST_GALAXIES = 2000  # of a tile, drawn at random: enough for errors far below those of the models
_TOLERANCE = 1.0  # arcsec
_SAME_STAR = 2.0  # pixel
_FEWEST = 5  # stars of a bin


def judge(case: Case) -> Verdict | None:
    """Judge the PSFs that the galaxies of the stacks got, and those at the stars of the models."""
    needed = (("galaxy_psf", TILE, ".sqlite"), ("sexcat", TILE), ("log_exp_headers", "", ".sqlite"))
    if not all(case.has(*product) for product in needed):
        return None
    views = gather(case)
    if not len(views):
        return Verdict({"n_psfs": 0})
    figures = summarise(views)
    tables = {"PSF by CCD, model - truth": _by_ccd(views)}
    plots = {"psf_residuals": psfplots.draw_histograms(views)}
    plots |= psfplots.draw_maps(views) | psfplots.draw_correlations(views)
    stars = compare_stars(case)
    if len(stars):
        tables["PSF of stars by magnitude"] = by_magnitude(stars)
        plots["psf_magnitude"] = psfplots.draw_magnitudes(tables["PSF of stars by magnitude"])
    return Verdict(figures, tables, plots)


def gather(case: Case) -> Table:
    """PSF of the model and of the truth, for galaxies of all stacks on all their exposures.

    Returns
    -------
    Table
        A row for each galaxy on each CCD: `exposure`, `ccd`, `x`, `y` (0-based pixels), `ra`,
        `dec` (degrees), `mag`; `g1_sky`, `g2_sky` (reduced shear, u to the west and v to the
        north), `t` (2 sigma^2, pixels^2) of the truth and, named `..._model`, of the model; `flag`
        of the model's moments; model - truth: `dt` (of T, a fraction of it), `de1`, `de2`.
    """
    parts, catalogues = [], case.products("sexcat", TILE)
    for tile, path in case.products("galaxy_psf", TILE, ".sqlite").items():
        if tile not in catalogues:
            continue
        truth = _galaxies(case, catalogues[tile])
        parts += [_of_ccd(case, *key, *part) for key, part in _stamps(path, truth).items()]
    filled = [part for part in parts if len(part)]
    return vstack(filled, metadata_conflicts="silent") if filled else Table()


def summarise(views: Table) -> dict[str, float]:
    """Mean residuals model - truth, their errors and scatter.

    Means over all PSFs whose moments could be measured. Residuals on one CCD go together: errors
    are the scatter of the means of CCDs over the root of their number.
    """
    kept = views[views["flag"] == 0]
    ccds = _ccds(kept)
    found: dict[str, float] = {
        "n_psfs": len(views),
        "n_flagged": len(views) - len(kept),
        "n_ccds": len(ccds),
    }
    for name in RESIDUALS:
        values = np.asarray(kept[name])
        means = np.array([values[rows].mean() for rows in ccds.values()])
        found[f"{name}_mean"] = float(values.mean())
        found[f"{name}_err"] = float(means.std() / np.sqrt(max(len(means) - 1, 1)))
        found[f"{name}_scatter"] = float(values.std())
        found[f"{name}_scatter_of_ccds"] = float(means.std())
    return found


def compare_stars(case: Case) -> Table:
    """Stars of all `validation_psf`: T of the star, of the model there, and of the true PSF.

    Returns
    -------
    Table
        `mag`, `t_star`, `t_model`, `t`; unflagged stars that are stars in the truth.
    """
    parts = []
    for (exposure, ccd), path in case.products("validation_psf", EXPOSURE).items():
        stars = ldac.read(path)
        good = (stars["FLAG_PSF_HSM"] == 0) & (stars["FLAG_STAR_HSM"] == 0)
        epochs = case.epochs(exposure)
        rows = epochs[(epochs["ccd"] == int(ccd)) & (epochs["kind"] == STAR)]
        x, y = (np.asarray(stars[name][good]) - 1.0 for name in "XY")
        at = nearest_pixels(x, y, rows["x"], rows["y"], _SAME_STAR)
        stars, rows = stars[good][at >= 0], rows[at[at >= 0]]
        if len(rows):
            true = _true_moments(case, exposure, ccd, rows, 51)
            sizes = (stars["SIGMA_STAR_HSM"], stars["SIGMA_PSF_HSM"], true.sigma)
            columns = dict(zip(("t_star", "t_model", "t"), map(_area, sizes), strict=True))
            parts.append(Table({"mag": np.asarray(stars["MAG"])} | columns))
    return vstack(parts) if parts else Table()


def by_magnitude(stars: Table) -> Table:
    """Median fractional differences of T by magnitude: star - model, star - truth, model - truth.

    The first is all that real data show; the others split it into what the stars' measurement
    and their neighbourhood add, and what is wrong with the model.
    """
    edges = edges_of(stars["mag"])
    which = np.digitize(stars["mag"], edges) - 1
    pairs = {"star_model": ("t_star", "t_model"), "star_true": ("t_star", "t"),
             "model_true": ("t_model", "t")}  # fmt: skip
    rows = []
    for k in range(len(edges) - 1):
        part = stars[which == k]
        if len(part) < _FEWEST:
            continue
        row = {"mag": 0.5 * (edges[k] + edges[k + 1]), "n": len(part)}
        for name, (first, second) in pairs.items():
            values = np.asarray((part[first] - part[second]) / part["t"])
            row[name] = float(np.median(values))
            row[f"{name}_err"] = float(1.2533 * np.std(values) / np.sqrt(len(part)))
        rows.append(row)
    return Table(rows=rows)


def _galaxies(case, path) -> dict[int, int]:
    """NUMBER of detections to the `id` of the galaxy they show, at most `MOST_GALAXIES`."""
    catalogue = ldac.read(path, columns=["NUMBER", "XWIN_WORLD", "YWIN_WORLD"])
    truth = case.objects
    at = match_sky(catalogue["XWIN_WORLD"], catalogue["YWIN_WORLD"], truth["ra"], truth["dec"],
                   truth["mag"], _TOLERANCE).source  # fmt: skip
    rows = np.flatnonzero((at >= 0) & (np.asarray(truth["kind"])[at] == GALAXY))
    chosen = np.sort(np.random.default_rng(1).permutation(rows)[:MOST_GALAXIES])
    numbers, ids = np.asarray(catalogue["NUMBER"])[chosen], np.asarray(truth["id"])[at[chosen]]
    return dict(zip(numbers.tolist(), ids.tolist(), strict=True))


def _stamps(path, truth) -> dict[tuple[str, str], tuple[list, list]]:
    """By exposure and CCD: ids of the galaxies there, and the PSF that each got."""
    found: dict = {}
    for number, epochs in stampstore.read_stamps(path):
        for label, entry in epochs.items() if number in truth else ():
            ids, stamps = found.setdefault(tuple(label.rsplit("-", 1)), ([], []))
            ids.append(truth[number])
            stamps.append(entry["VIGNET"])
    return found


def _of_ccd(case, exposure, ccd, ids, stamps) -> Table:
    """Moments of model and truth for galaxies of one CCD; those that the truth has not are out."""
    epochs = case.epochs(exposure)
    rows = epochs[epochs["ccd"] == int(ccd)]
    place = {number: k for k, number in enumerate(rows["id"].tolist())}
    known = [k for k, number in enumerate(ids) if number in place]
    rows, stamps = rows[[place[ids[k]] for k in known]], np.array([stamps[k] for k in known])
    table = Table({name: np.asarray(rows[name]) for name in ("x", "y", "ra", "dec", "mag")})
    table["exposure"], table["ccd"] = exposure, int(ccd)
    if len(rows):
        local = jacobians(case.headers[exposure][int(ccd)]["WCS"], rows["x"], rows["y"])
        measured = {"": _true_moments(case, exposure, ccd, rows, stamps.shape[-1] | 1),
                    "_model": moments.measure(stamps)}  # fmt: skip
        table["flag"] = measured["_model"].flag
        for ending, found in measured.items():
            table[f"t{ending}"] = _area(found.sigma)
            g = focalplane.turn(np.column_stack([found.g1, found.g2]), local)
            table[f"g1_sky{ending}"], table[f"g2_sky{ending}"] = g.T
        table["dt"] = table["t_model"] / table["t"] - 1.0
        for k in (1, 2):
            table[f"de{k}"] = table[f"g{k}_sky_model"] - table[f"g{k}_sky"]
    return table


def _true_moments(case, exposure, ccd, rows, size) -> moments.Moments:
    local = jacobians(case.headers[exposure][int(ccd)]["WCS"], rows["x"], rows["y"])
    psf = case.survey.psf
    return moments.measure(draw_psfs(rows, local, psf.profile, psf.beta, size))


def _area(sigma):
    return 2.0 * np.square(np.asarray(sigma, float))


def _ccds(views) -> dict[tuple, np.ndarray]:
    """Rows of each CCD of each exposure."""
    keys = list(zip(views["exposure"].tolist(), views["ccd"].tolist(), strict=True))
    return {key: np.flatnonzero([k == key for k in keys]) for key in sorted(set(keys))}


def _by_ccd(views) -> Table:
    kept = views[views["flag"] == 0]
    rows = []
    for (exposure, ccd), members in _ccds(kept).items():
        means = {name: float(kept[name][members].mean()) for name in RESIDUALS}
        rows.append({"exposure": exposure, "ccd": ccd, "n": len(members)} | means)
    return Table(rows=rows)
