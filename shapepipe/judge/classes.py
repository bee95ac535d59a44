"""Star and galaxy samples of the final catalogue against the truth.

The classes are those of the catalogue (`SPREAD_CLASS`); what each object really is comes from the
source that its detection shows.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from astropy.table import Table, hstack
from matplotlib.figure import Figure
from scipy.special import ndtr

from shapepipe.astro import ldac
from shapepipe.astro.finalcat import SpreadClass
from shapepipe.judge.bins import edges_of, shares
from shapepipe.judge.case import TILE, Case
from shapepipe.judge.matching import match_sky
from shapepipe.judge.verdict import Verdict
from shapepipe.simulate.sky import GALAXY, STAR

TOLERANCE = 0.6
"""Arcsec, of matches to the truth."""
BRIGHT = 22.5
"""Magnitude down to which the overall figures are given besides those of all."""
_COLUMNS = ["XWIN_WORLD", "YWIN_WORLD", "MAG_AUTO", "FWHM_IMAGE", "FLAGS", "IMAFLAGS_ISO",
            "SPREAD_MODEL", "SPREADERR_MODEL", "SPREAD_FLAG", "SPREAD_CLASS"]  # fmt: skip
_COLOURS = {"star": "C1", "galaxy": "C0", "other": "0.5"}


def judge(case: Case) -> Verdict | None:
    """Judge the classes of all final catalogues together."""
    objects = classified(case)
    if objects is None:
        return None
    limits = _limits(case)
    clean = objects[(objects["flags"] == 0) & (objects["masked"] == 0) & (objects["kind"] >= 0)]
    figures = {"n_objects": len(objects), "n_clean_and_matched": len(clean)}
    figures |= {f"{key}_limit": value for key, value in limits.items() if key != "factor"}
    figures["error_factor"] = limits["factor"]
    bright = clean[clean["mag"] < BRIGHT]
    for name, part in (("all", clean), (f"brighter_{BRIGHT:g}", bright)):
        figures |= {f"{key}_{name}": value for key, value in summarise(part, limits).items()}
    figures |= best_possible(clean["model"], clean["kind"], clean["mag"])
    table = tabulate(clean, limits)
    plots = {
        "classes_completeness": draw_shares(table),
        "size_magnitude": draw_sizes(clean),
        "spread_model": draw_spread(clean, limits),
    }
    return Verdict(figures, {"by magnitude": table}, plots)


def classified(case: Case) -> Table | None:
    """Objects of all final catalogues with their true kinds.

    Returns
    -------
    Table
        `mag`, `fwhm` (pixel), `flags`, `masked`, `model`, `error`, `class`, `kind` (of the
        source; -1: none), `true_mag`, `true` (row of the source in the truth, -1: none).
    """
    parts = []
    for path in case.products("final_cat", TILE).values():
        if "SPREAD_CLASS" in ldac.read_columns(path):
            parts.append(with_truth(ldac.read(path, columns=_COLUMNS), case.objects))
    if not parts:
        return None
    return Table(
        {name: np.concatenate([part[name] for part in parts]) for name in parts[0].colnames}
    )


def with_truth(catalogue: Table, truth: Table) -> Table:
    """Objects of one final catalogue beside what they are in truth; see `classified`."""
    positions = catalogue["XWIN_WORLD"], catalogue["YWIN_WORLD"]
    at = match_sky(*positions, truth["ra"], truth["dec"], truth["mag"], TOLERANCE).source
    known = at >= 0
    return Table({
        "mag": catalogue["MAG_AUTO"],
        "fwhm": catalogue["FWHM_IMAGE"],
        "flags": catalogue["FLAGS"] | (catalogue["SPREAD_FLAG"] != 0),
        "masked": catalogue["IMAFLAGS_ISO"] != 0,
        "model": catalogue["SPREAD_MODEL"],
        "error": catalogue["SPREADERR_MODEL"],
        "class": catalogue["SPREAD_CLASS"],
        "kind": np.where(known, np.asarray(truth["kind"])[at], -1),
        "true_mag": np.where(known, np.asarray(truth["mag"])[at], np.nan),
        "true": at,
    })  # fmt: skip


def summarise(objects: Table, limits: Mapping[str, float]) -> dict[str, float]:
    """Completeness and contamination of the star and of the galaxy sample.

    Parameters
    ----------
    objects : Table
        As `classified` gives them.
    limits : mapping
        `star`, `galaxy`, `factor`, as in `finalcat.classify`.
    """
    star, galaxy = objects["kind"] == STAR, objects["kind"] == GALAXY
    as_star, as_galaxy = (objects["class"] == c for c in (SpreadClass.STAR, SpreadClass.GALAXY))
    return {
        "n_stars": int(star.sum()),
        "n_galaxies": int(galaxy.sum()),
        "star_completeness": _ratio(as_star & star, star),
        "star_completeness_noise_alone": _mean(chance_of_star(objects["error"][star], limits)),
        "star_contamination": _ratio(as_star & galaxy, as_star),
        "galaxy_completeness": _ratio(as_galaxy & galaxy, galaxy),
        "galaxy_contamination": _ratio(as_galaxy & star, as_galaxy),
        "unclassified": _ratio((objects["class"] == SpreadClass.OTHER), star | galaxy),
    }


def chance_of_star(error, limits: Mapping[str, float]) -> np.ndarray:
    """Chance that a star is classified as one if its SPREAD_MODEL is 0 but for Gaussian noise.

    What is missing to 1 is the price of the thresholds, whatever the PSF model.

    Parameters
    ----------
    error : array_like
        SPREADERR_MODEL.
    limits : mapping
        `star` and `factor`, as in `finalcat.classify`.
    """
    error = np.maximum(np.asarray(error, float), 1e-12)
    high = (limits["star"] - limits["factor"] * error) / error
    low = (-limits["star"] - limits["factor"] * error) / error
    return ndtr(high) - ndtr(low)


def tabulate(objects: Table, limits: Mapping[str, float], width: float = 0.5) -> Table:
    """Completeness and contamination of both samples in bins of MAG_AUTO; see `summarise`."""
    edges = edges_of(objects["mag"], width)
    parts = []
    for name, kind, label in (("star", STAR, SpreadClass.STAR),
                              ("galaxy", GALAXY, SpreadClass.GALAXY)):  # fmt: skip
        true, chosen = objects["kind"] == kind, objects["class"] == label
        mag = objects["mag"]
        parts.append(shares(mag[true], chosen[true], edges, f"{name}_completeness"))
        parts.append(shares(mag[chosen], ~true[chosen], edges, f"{name}_contamination"))
    for part in parts[1:]:
        part.remove_column("mag")
    table = hstack(parts)
    names = {"n_star_completeness": "n_stars", "n_galaxy_completeness": "n_galaxies",
             "n_star_contamination": "n_as_star",
             "n_galaxy_contamination": "n_as_galaxy"}  # fmt: skip
    table.rename_columns(list(names), list(names.values()))
    star = objects["kind"] == STAR
    chance = chance_of_star(objects["error"][star], limits)
    total, _ = np.histogram(objects["mag"][star], edges, weights=chance)
    with np.errstate(invalid="ignore"):
        noise = np.where(table["n_stars"] > 0, total / table["n_stars"], np.nan)
    table.add_column(noise, name="star_noise_alone", index=4)
    return table[(table["n_stars"] + table["n_galaxies"]) > 0]


def best_possible(model, kind, mag, width: float = 0.5) -> dict[str, float]:
    """Down to where any threshold on SPREAD_MODEL could tell stars from galaxies.

    In each bin of magnitude, the threshold is sought at which the larger of the two shares of
    wrongly placed stars and galaxies is smallest.

    Returns
    -------
    dict
        `separable_mag_10`: faint edge of the last bin in which this share is below 10 per cent.
    """
    model, kind, mag = (np.asarray(a) for a in (model, kind, mag))
    last = float("nan")
    edges = edges_of(mag, width)
    for low, high in zip(edges[:-1], edges[1:], strict=True):
        here = (mag >= low) & (mag < high)
        stars, galaxies = (np.sort(model[here & (kind == k)]) for k in (STAR, GALAXY))
        if min(len(stars), len(galaxies)) < 10:
            continue
        cuts = np.sort(np.concatenate([stars, galaxies]))
        lost = 1.0 - np.searchsorted(stars, cuts, "right") / len(stars)
        let_in = np.searchsorted(galaxies, cuts, "right") / len(galaxies)
        if np.maximum(lost, let_in).min() < 0.1:
            last = float(high)
    return {"separable_mag_10": last}


def draw_shares(table: Table) -> Figure:
    """Draw completeness and contamination by magnitude."""
    figure = Figure(figsize=(9.5, 4.2), layout="constrained")
    for axes, name in zip(figure.subplots(1, 2, sharey=True), ("star", "galaxy"), strict=True):
        for what, style in (("completeness", "o-"), ("contamination", "s--")):
            count = table[f"n_{'as_' + name if what == 'contamination' else _plural(name)}"]
            known = count > 4
            share = f"{name}_{what}"
            axes.errorbar(table["mag"][known], table[share][known], table[f"{share}_err"][known],
                          fmt=style, ms=5, lw=1, label=what)  # fmt: skip
        if name == "star":
            known = table["n_stars"] > 4
            axes.plot(table["mag"][known], table["star_noise_alone"][known], "k:", lw=1,
                      label="completeness that noise alone leaves")  # fmt: skip
        axes.set(title=f"{name} sample", xlabel="MAG_AUTO", ylim=(-0.03, 1.05))
        axes.grid(alpha=0.25)
        axes.legend(frameon=False)
    return figure


def draw_sizes(objects: Table) -> Figure:
    """Draw size against magnitude, once by class and once by the true kind."""
    figure = Figure(figsize=(9.5, 4.4), layout="constrained")
    panels = figure.subplots(1, 2, sharex=True, sharey=True)
    _scatter(panels[0], objects["mag"], objects["fwhm"], _by_class(objects))
    _scatter(panels[1], objects["mag"], objects["fwhm"], _by_kind(objects))
    top = np.percentile(objects["fwhm"], 98) if len(objects) else 10
    for axes, title in zip(panels, ("by SPREAD_CLASS", "in truth"), strict=True):
        axes.set(xlabel="MAG_AUTO", title=title, ylim=(0, top))
        axes.legend(frameon=False, markerscale=4)
    panels[0].set_ylabel("FWHM [pixel]")
    return figure


def draw_spread(objects: Table, limits: dict[str, float]) -> Figure:
    """Draw the spread model, and what is compared with the thresholds, against magnitude."""
    figure = Figure(figsize=(9.5, 4.4), layout="constrained")
    panels = figure.subplots(1, 2, sharex=True, sharey=True)
    judged = objects["model"] + limits["factor"] * objects["error"]
    labels = "SPREAD_MODEL", f"SPREAD_MODEL + {limits['factor']:.3g} SPREADERR_MODEL"
    for axes, values, label in zip(panels, (objects["model"], judged), labels, strict=True):
        _scatter(axes, objects["mag"], values, _by_kind(objects))
        axes.set(xlabel="MAG_AUTO", title=label, ylim=(-0.02, 0.05))
        axes.axhline(0, color="0.4", lw=0.6)
    for level in (-limits["star"], limits["star"], limits["galaxy"]):
        panels[1].axhline(level, color="k", lw=0.8, ls=":")
    panels[0].legend(frameon=False, markerscale=4, loc="upper left")
    return figure


def _limits(case):
    """Thresholds of the classes, as the runs recorded them."""
    made = list(case.options("sm_star_thresh"))[-1]
    names = {"star": "sm_star_thresh", "galaxy": "sm_gal_thresh", "factor": "sm_error_factor"}
    return {short: float(made[name]) for short, name in names.items()}


def _by_class(objects):
    return {c.name.lower(): objects["class"] == c for c in reversed(SpreadClass)}


def _by_kind(objects):
    return {"galaxy": objects["kind"] == GALAXY, "star": objects["kind"] == STAR}


def _scatter(axes, x, y, groups):
    for name, chosen in groups.items():
        axes.plot(x[chosen], y[chosen], ".", ms=2, color=_COLOURS[name], label=name, alpha=0.6)


def _mean(values):
    return float(np.mean(values)) if len(values) else float("nan")


def _plural(name):
    return {"star": "stars", "galaxy": "galaxies"}[name]


def _ratio(part, whole):
    n = int(np.sum(whole))
    return float(np.sum(part) / n) if n else float("nan")
