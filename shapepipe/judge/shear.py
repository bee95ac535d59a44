"""Mean shear of the final catalogue against the truth, and the response it was calibrated with.

Calibrated as a user would do it (`shear.calibrate`): metacalibration with selection responses. The
truth is the mean shear of the galaxies that were used. A second estimate takes off the intrinsic
shapes, which only a simulation knows, and so has much smaller errors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from astropy.table import Table
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, LogLocator, MaxNLocator, NullFormatter

from shapepipe.astro import ldac
from shapepipe.astro.finalcat import SpreadClass
from shapepipe.judge.case import TILE, Case
from shapepipe.judge.matching import match_sky
from shapepipe.judge.verdict import Verdict
from shapepipe.shear.calibrate import cut, mean_shear
from shapepipe.shear.halves import tables_of
from shapepipe.simulate.sky import GALAXY

TOLERANCE = 0.6
"""Arcsec, of matches to the truth."""
SNR, SIZE_RATIO = 10.0, 0.5
"""Selection s2n > SNR and T / Tpsf > SIZE_RATIO, for each shear type by itself."""
_FEWEST = 20  # objects that a mean is taken of
_GROUPS = 50  # of objects, for errors
_BINS, _PER_BIN = 5, 80  # at most, and objects in each at least


class Sample(NamedTuple):
    """Objects with shapes that are galaxies in truth.

    Attributes
    ----------
    tables : dict of str to dict
        Table of each shear type, see `shear.halves.tables_of`.
    shear, intrinsic : ndarray, shape (n, 2)
        True shear, and intrinsic ellipticity, of the source.
    """

    tables: dict[str, dict[str, np.ndarray]]
    shear: np.ndarray
    intrinsic: np.ndarray


def judge(case: Case) -> Verdict | None:
    """Judge the mean shear of all final catalogues together."""
    sample = gather(case)
    if sample is None:
        return None
    noshear = sample.tables["noshear"]
    usable = np.all([t["flags"] == 0 for t in sample.tables.values()], axis=0)
    figures = {"n_galaxies": len(sample.shear), "n_measured": int(usable.sum())}
    chosen = cut(SNR, SIZE_RATIO)
    if int((usable & chosen(noshear)).sum()) < _FEWEST:
        return Verdict(figures)
    whole = compare(sample, chosen)
    figures |= {key: value for key, value in whole.items() if key != "bin"}
    by_snr = Table(rows=list(_by_snr(sample)))
    by_shear = Table(rows=list(_by_shear(sample, chosen)))
    tables = {"by signal-to-noise ratio": by_snr, "by true shear": by_shear}
    tables = {name: table for name, table in tables.items() if len(table)}
    plots = {"shear_response": draw_response(noshear, sample.tables, usable),
             "mean_shear": draw_means(tables)}  # fmt: skip
    return Verdict(figures, tables, plots)


def gather(case: Case) -> Sample | None:
    """Galaxies of all final catalogues; those without a match or classified as stars are out."""
    parts = [ldac.read(path) for path in case.products("final_cat", TILE).values()]
    parts = [part for part in parts if "NGMIX_ELL_NOSHEAR" in part.colnames]
    if not parts:
        return None
    samples = [_of_catalogue(part, case.objects) for part in parts]
    tables = {
        kind: {name: np.concatenate([np.asarray(s.tables[kind][name]) for s in samples])
               for name in samples[0].tables[kind]}
        for kind in samples[0].tables
    }  # fmt: skip
    return Sample(tables, *(np.concatenate([getattr(s, name) for s in samples])
                            for name in ("shear", "intrinsic")))  # fmt: skip


def compare(sample: Sample, weight: Callable[[Mapping], np.ndarray]) -> dict[str, float]:
    """Mean shear of a selection beside the true one of the same galaxies.

    Parameters
    ----------
    sample : Sample
        Galaxies.
    weight : callable
        Selection, from the table of one shear type.
    """
    result = mean_shear(sample.tables, weight, groups=_GROUPS)
    usable = np.all([t["flags"] == 0 for t in sample.tables.values()], axis=0)
    chosen = usable & (weight(sample.tables["noshear"]) > 0)
    truth = sample.shear[chosen].mean(axis=0)
    quiet, error = _without_shape_noise(sample, chosen, result.response)
    figures = {"n": int(chosen.sum()), "R11": result.response[0, 0], "R22": result.response[1, 1],
               "Rs11": result.selection[0, 0], "Rs22": result.selection[1, 1]}  # fmt: skip
    for k, name in enumerate(("g1", "g2")):
        figures |= {f"{name}_true": truth[k], f"{name}": result.shear[k],
                    f"{name}_err": result.error[k], f"{name}_quiet": quiet[k],
                    f"{name}_quiet_err": error[k]}  # fmt: skip
    return {key: float(value) if key != "n" else value for key, value in figures.items()}


def _without_shape_noise(sample, chosen, response):
    """Mean shear with the mean of the intrinsic shapes taken off, and its error.

    The intrinsic shape is a control variate: the slope of measured on intrinsic shapes tells how
    much of the mean shape is due to it. Selection acts mostly on the intrinsic shapes, and is taken
    off with them, so that the response of the shapes alone applies.
    """
    e = np.column_stack([sample.tables["noshear"][name] for name in ("g1", "g2")])[chosen]
    own, n = sample.intrinsic[chosen], int(chosen.sum())
    rest = np.empty_like(e)
    for k in (0, 1):
        slope = np.polyfit(own[:, k], e[:, k], 1)[0]
        rest[:, k] = e[:, k] - slope * own[:, k]
    inverse = np.linalg.inv(response)
    return inverse @ rest.mean(axis=0), np.sqrt(
        np.diag(inverse @ np.cov(rest.T) @ inverse.T) / n
    )  # fmt: skip


def _of_catalogue(catalogue, truth):
    positions = catalogue["XWIN_WORLD"], catalogue["YWIN_WORLD"]
    at = match_sky(*positions, truth["ra"], truth["dec"], truth["mag"], TOLERANCE).source
    kept = (at >= 0) & (np.asarray(truth["kind"])[at] == GALAXY)
    kept &= (catalogue["FLAGS"] == 0) & (catalogue["IMAFLAGS_ISO"] == 0)
    if "SPREAD_CLASS" in catalogue.colnames:
        kept &= catalogue["SPREAD_CLASS"] != SpreadClass.STAR
    rows = truth[at[kept]]
    names = [n for n in catalogue.colnames if n.startswith("NGMIX_") or n == "MAG_AUTO"]
    tables = tables_of({name: np.asarray(catalogue[name])[kept] for name in names})
    return Sample(tables, _pairs(rows, "g1", "g2"), _pairs(rows, "e1", "e2"))


def _pairs(rows, first, second):
    return np.column_stack([rows[first], rows[second]])


def _by_snr(sample):
    """Compare in bins of the signal-to-noise ratio of each shear type."""
    base = cut(SNR, SIZE_RATIO)
    noshear = sample.tables["noshear"]
    values = np.asarray(noshear["s2n"])[base(noshear) & (noshear["flags"] == 0)]
    edges = [*np.quantile(values, np.linspace(0, 1, _bins(len(values)) + 1))[:-1], np.inf]
    for low, high in zip(edges[:-1], edges[1:], strict=True):

        def inside(table, low=low, high=high):
            s2n = np.asarray(table["s2n"])
            return base(table) & (s2n >= low) & (s2n < high)

        middle = float(np.median(values[(values >= low) & (values < high)]))
        if inside(noshear).sum() >= _FEWEST:
            yield {"s2n": middle} | compare(sample, inside)


def _by_shear(sample, chosen):
    """Compare in bins of each component of the true shear, which a bin cannot disturb."""
    for k, name in enumerate(("g1", "g2")):
        values = sample.shear[:, k]
        bins = _bins(len(values)) if np.ptp(values) > 0 else 1
        which = np.digitize(values, np.quantile(values, np.linspace(0, 1, bins + 1))[1:-1])
        for i in range(bins):
            part = _rows(sample, which == i)
            noshear = part.tables["noshear"]
            if int((chosen(noshear) & (noshear["flags"] == 0)).sum()) >= _FEWEST:
                yield {"component": name} | compare(part, chosen)


def _bins(n):
    """Number of bins, such that each has enough objects."""
    return int(np.clip(n // _PER_BIN, 1, _BINS))


def _rows(sample, kept):
    tables = {kind: {name: np.asarray(column)[kept] for name, column in table.items()}
              for kind, table in sample.tables.items()}  # fmt: skip
    return Sample(tables, sample.shear[kept], sample.intrinsic[kept])


def draw_response(noshear, tables, usable) -> Figure:
    """Draw the response of galaxies against signal-to-noise ratio and size."""
    figure = Figure(figsize=(9.5, 4.2), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    ratio = np.asarray(noshear["T"]) / np.asarray(noshear["Tpsf"])
    for axes, values, label in ((panels[0], np.asarray(noshear["s2n"]), "signal-to-noise ratio"),
                                (panels[1], ratio, "$T / T_{PSF}$")):  # fmt: skip
        here = usable & np.isfinite(values) & (values > 0)
        edges = np.quantile(values[here], np.linspace(0, 1, 9))
        which = np.digitize(values, edges[1:-1])
        for k, name in ((1, "g1"), (2, "g2")):
            one = (tables[f"{k}p"][name] - tables[f"{k}m"][name]) / 0.02
            rows = [one[here & (which == i)] for i in range(8)]
            middle = [np.median(values[here & (which == i)]) for i in range(8)]
            mean = [np.mean(row) if len(row) else np.nan for row in rows]
            error = [np.std(row) / np.sqrt(max(len(row), 1)) for row in rows]
            axes.errorbar(middle, mean, error, fmt="os"[k - 1] + "-", ms=4, lw=1,
                          label=f"$R_{{{k}{k}}}$")  # fmt: skip
        axes.set(xlabel=label, xscale="log")
        _plain_ticks(axes)
        axes.grid(alpha=0.25)
    panels[0].set_ylabel("mean response")
    panels[0].legend(frameon=False)
    return figure


def draw_means(tables: dict[str, Table]) -> Figure:
    """Draw the mean shear against the truth, bin by bin."""
    figure = Figure(figsize=(5 * max(len(tables), 1), 4.2), layout="constrained")
    panels = figure.subplots(1, max(len(tables), 1), squeeze=False)[0]
    for axes, (title, table) in zip(panels, tables.items(), strict=False):
        for k, name in enumerate(("g1", "g2")):
            rows = table if "component" not in table.colnames else table[table["component"] == name]
            _draw_means(axes, rows, name, f"C{k}")
        axes.set_title(title, fontsize=10, loc="left")
        axes.grid(alpha=0.25)
        axes.legend(frameon=False, fontsize=8)
    return figure


def _draw_means(axes, rows, name, colour):
    """Points of one component: offset from the truth by signal-to-noise, or measured on true."""
    symbol = f"${name[0]}_{name[1]}$"
    if "s2n" in rows.colnames:
        x, offset, shift = rows["s2n"], rows[f"{name}_true"], 1.03  # side by side
        axes.axhline(0, color="0.5", lw=0.8)
        axes.set(xlabel="signal-to-noise ratio", ylabel="mean shear - truth", xscale="log")
        _plain_ticks(axes)
    else:
        x, offset, shift = rows[f"{name}_true"], 0.0, 1.0
        axes.axline((0.0, 0.0), slope=1.0, color="0.5", lw=0.8)
        axes.set(xlabel="true mean shear", ylabel="mean shear")
        axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.errorbar(x, rows[name] - offset, rows[f"{name}_err"], fmt="o", color=colour, alpha=0.35,
                  ms=4, label=symbol)  # fmt: skip
    quiet = f"{name}_quiet"
    axes.errorbar(x * shift, rows[quiet] - offset, rows[f"{quiet}_err"], fmt="s", color=colour,
                  ms=4, label=f"{symbol}, shape noise taken off")  # fmt: skip


def _plain_ticks(axes):
    """Label 1, 2 and 5 of each decade, as plain numbers."""
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(FormatStrFormatter("%g"))
    axes.xaxis.set_minor_formatter(NullFormatter())
