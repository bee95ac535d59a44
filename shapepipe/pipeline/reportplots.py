"""Figures of what a run cost, and the page that holds them. Loaded only when they are asked for."""

from __future__ import annotations

import base64
import heapq
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from shapepipe.pipeline.accounting import StepCost
from shapepipe.pipeline.records import write_atomically

BARS = 4000
"""Jobs up to which each is drawn as a bar of its own; of more, the number under way is drawn."""
WORST = 15
"""Number of slowest jobs that are drawn."""
MANY = 60
"""Jobs of a step from which on their number is drawn on a logarithmic axis."""
BINS = 400
RED = "#c1272d"


def draw(name: str, costs: Sequence[StepCost], header: Sequence[str],
         rows: Sequence[Sequence[str]], texts: Mapping[str, Sequence[str]],
         html: Path | None, png: Path | None) -> list[Path]:  # fmt: skip
    """Draw the figures; write them as files, as one page that needs no other file, or both.

    Parameters
    ----------
    name : str
        Name of the run.
    header, rows : sequences of str
        The table above the figures.
    texts : mapping of str to sequence of str
        Heading -> lines, below the figures.

    Returns
    -------
    list of Path
        What was written.
    """
    figures = {title: make_figure(plot, costs) for title, plot in PLOTS.items()} if costs else {}
    written = []
    if png is not None:
        png.mkdir(parents=True, exist_ok=True)
        for title, figure in figures.items():
            path = png / f"{title.lower().replace(' ', '_')}.png"
            figure.savefig(path, dpi=150)
            written.append(path)
    if html is not None:
        write_atomically(html, page(name, figures, header, rows, texts))
        written.append(html)
    return written


def make_figure(plot: Callable[[Axes, Sequence[StepCost]], None], costs) -> Figure:
    """Make one figure."""
    height = 3.6 if plot is not draw_slowest else 1.2 + 0.24 * WORST
    figure = Figure(figsize=(9.6, height), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    plot(axes, costs)
    return figure


def colours(costs: Sequence[StepCost]) -> list:
    """One colour for each step, the same in all figures."""
    table = matplotlib.colormaps["tab10" if len(costs) <= 10 else "tab20"]
    return [table(k % table.N) for k in range(len(costs))]


def draw_time_line(axes: Axes, costs: Sequence[StepCost]) -> None:
    """Draw when the jobs of each step were under way."""
    zero = min(cost.started.min() for cost in costs)
    end = max((cost.started + cost.wall).max() for cost in costs)
    unit, word = time_unit(end - zero)
    if sum(len(cost.numbers) for cost in costs) <= BARS:
        _draw_lanes(axes, costs, zero, unit)
        axes.set_ylabel("job at a time")
    else:
        _draw_numbers(axes, costs, zero, end, unit)
        axes.set_ylabel("jobs under way")
    axes.set_xlabel(f"time since the first job began [{word}]")
    axes.set_xlim(0, max((end - zero) / unit, 1e-9))
    _legend(axes, costs)


def _draw_lanes(axes, costs, zero, unit) -> None:
    jobs = [
        (start, start + wall, k, bad)
        for k, cost in enumerate(costs)
        for start, wall, bad in zip(cost.started, cost.wall, cost.bad, strict=True)
    ]
    free: list[tuple[float, int]] = []
    table = colours(costs)
    n_lanes = 0
    bars: dict[int, list] = {k: [] for k in range(len(costs))}
    for start, end, k, bad in sorted(jobs):
        if free and free[0][0] <= start + 0.01:
            lane = heapq.heappop(free)[1]
        else:
            lane, n_lanes = n_lanes, n_lanes + 1
        heapq.heappush(free, (end, lane))
        bars[k].append((lane, (start - zero) / unit, (end - start) / unit, bad))
    for k, found in bars.items():
        lanes, lefts, widths, bad = (np.array(column) for column in zip(*found, strict=True))
        axes.barh(lanes, widths, 0.86, lefts, color=table[k], edgecolor="white", linewidth=0.2)
        failed = bad.astype(bool)
        if failed.any():
            middle = lefts[failed] + 0.5 * widths[failed]
            axes.plot(middle, lanes[failed], "x", color=RED, markersize=7, markeredgewidth=2)
    axes.set_yticks(range(0, n_lanes, max(1, n_lanes // 8)))
    axes.set_ylim(-0.6, n_lanes - 0.4)


def _draw_numbers(axes, costs, zero, end, unit) -> None:
    edges = np.linspace(zero, end, BINS + 1)
    width = edges[1] - edges[0]
    layers = [
        (_time_before(cost, edges[1:]) - _time_before(cost, edges[:-1])) / width for cost in costs
    ]
    axes.stackplot((edges[:-1] - zero) / unit, layers, colors=colours(costs), step="post")


def _time_before(cost: StepCost, moments: np.ndarray) -> np.ndarray:
    """Time that all jobs of a step together had taken before each moment, in seconds."""
    starts, ends = np.sort(cost.started), np.sort(cost.started + cost.wall)
    total = np.zeros(len(moments))
    for times, sign in ((starts, 1.0), (ends, -1.0)):
        count = np.searchsorted(times, moments)
        sums = np.concatenate([[0.0], np.cumsum(times - times[0])])
        total += sign * (count * (moments - times[0]) - sums[count])
    return total


def draw_histogram(axes: Axes, costs: Sequence[StepCost]) -> None:
    """Draw how long jobs took, step by step."""
    times = np.concatenate([cost.wall for cost in costs])
    low, high = max(times.min(), 1e-3), max(times.max(), 2e-3)
    edges = np.geomspace(0.8 * low, 1.25 * high, 41)
    for cost, colour in zip(costs, colours(costs), strict=True):
        counts, _ = np.histogram(np.clip(cost.wall, edges[0], edges[-1]), edges)
        axes.stairs(counts, edges, color=colour, fill=True, alpha=0.25)
        axes.stairs(counts, edges, color=colour, linewidth=1.6)
    axes.set_xscale("log")
    if max(len(cost.numbers) for cost in costs) > MANY:
        axes.set_yscale("symlog", linthresh=2)
    else:
        axes.yaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.set_ylim(0, None)
    axes.yaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("time of one job [s]")
    axes.set_ylabel("jobs")
    _legend(axes, costs)


def draw_slowest(axes: Axes, costs: Sequence[StepCost]) -> None:
    """Draw the slowest jobs by name."""
    jobs = [
        (cost.wall[row], cost.cpu[row], f"{cost.label} {cost.numbers[row]}", k)
        for k, cost in enumerate(costs)
        for row in np.argsort(cost.wall)[-WORST:]
    ]
    jobs = sorted(jobs)[-WORST:]
    table, unit = colours(costs), time_unit(jobs[-1][0])
    walls = [job[0] / unit[0] for job in jobs]
    axes.barh([job[2] for job in jobs], walls, color=[table[job[3]] for job in jobs])
    places = range(len(jobs))
    axes.plot([job[1] / unit[0] for job in jobs], places, "|", color="black", markersize=9)
    axes.set_xlabel(f"time [{unit[1]}]; the stroke is processor time")
    axes.tick_params(axis="y", labelsize=8)


def draw_memory(axes: Axes, costs: Sequence[StepCost]) -> None:
    """Draw peak memory of each step's jobs: median, and the largest."""
    places = np.arange(len(costs))
    largest = [cost.memory.max() / 1e9 for cost in costs]
    axes.bar(places, largest, color=colours(costs), width=0.7)
    medians = [np.median(cost.memory) / 1e9 for cost in costs]
    axes.plot(places, medians, "_", color="black", markersize=22)
    axes.set_xticks(places, [cost.label.removesuffix("_runner") for cost in costs], fontsize=8)
    axes.tick_params(axis="x", rotation=25)
    axes.set_ylabel("peak memory of a job [GB]\nstroke: median", fontsize=9)


PLOTS: Mapping[str, Callable[[Axes, Sequence[StepCost]], None]] = {
    "Time line": draw_time_line,
    "Time of jobs": draw_histogram,
    "Slowest jobs": draw_slowest,
    "Memory": draw_memory,
}


def time_unit(span: float) -> tuple[float, str]:
    """Unit that suits a time: its length in seconds, its name."""
    for length, name in ((86400.0, "days"), (3600.0, "hours"), (60.0, "minutes")):
        if span > 3 * length:
            return length, name
    return 1.0, "seconds"


def _legend(axes: Axes, costs: Sequence[StepCost]) -> None:
    handles = [
        Patch(color=colour, label=cost.label.removesuffix("_runner"))
        for cost, colour in zip(costs, colours(costs), strict=True)
    ]
    axes.legend(
        handles=handles, loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=8
    )


def page(name: str, figures: Mapping[str, Figure], header: Sequence[str],
         rows: Iterable[Sequence[str]], texts: Mapping[str, Sequence[str]]) -> str:  # fmt: skip
    """Make the page; the figures are inside of it."""
    cells = "".join(f"<th>{escape(text)}</th>" for text in header)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(text)}</td>" for text in row) + "</tr>\n" for row in rows
    )
    parts = [f"<h1>{escape(name)}</h1>\n<table>\n<tr>{cells}</tr>\n{body}</table>"]
    for title, figure in figures.items():
        stream = io.BytesIO()
        figure.savefig(stream, dpi=150)
        data = base64.b64encode(stream.getvalue()).decode()
        source = f"data:image/png;base64,{data}"
        parts.append(f'<h2>{escape(title)}</h2>\n<img alt="{escape(title)}" src="{source}">')
    for title, lines in texts.items():
        if lines:
            items = "".join(f"<li>{escape(line)}</li>\n" for line in lines)
            parts.append(f"<h2>{escape(title)}</h2>\n<ul>\n{items}</ul>")
    text = "\n".join(parts)
    return f"{HEAD}<title>{escape(name)}</title></head>\n<body>\n{text}\n</body></html>\n"


HEAD = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body { font: 15px/1.45 system-ui, sans-serif; color: #222; max-width: 1000px; margin: 2em auto;
       padding: 0 1em; }
h1 { font-size: 1.5em; } h2 { font-size: 1.1em; margin-top: 1.8em; }
table { border-collapse: collapse; font-size: 0.87em; width: 100%; }
th, td { padding: 0.25em 0.6em; text-align: right; border-bottom: 1px solid #ddd; }
th:first-child, td:first-child, th:last-child, td:last-child { text-align: left; }
img { max-width: 100%; height: auto; }
li { overflow-wrap: anywhere; }
</style>
"""
