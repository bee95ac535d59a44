"""The outcomes of a run as plain rows, for pandas, astropy, or a notebook's own display."""

from __future__ import annotations

from html import escape

from shapepipe.pipeline.records import RunDirectory

COLUMNS = ("step", "number", "status", "wall", "cpu", "memory", "error", "products")
"""Columns of every row; the metrics of the runners follow."""


def outcome_rows(directory: RunDirectory, step: str = "") -> list[dict]:
    """Newest outcome of each unit, as dictionaries that all have the same keys.

    Parameters
    ----------
    directory : RunDirectory
        The run.
    step : str, optional
        Only this step, with its metrics; default all.

    Returns
    -------
    list of dict
        `step`, `number`, `status`, `wall` and `cpu` in seconds, `memory` in bytes, `error`,
        `products` (paths), and one key for each metric; None where a unit has no such metric.
    """
    newest: dict[tuple[str, str], dict] = {}
    for line in directory.lines():
        key = line.get("step", ""), line.get("number", "")
        if "status" not in line or (step and line["step"] != step):
            continue
        if key not in newest or newest[key]["try"] <= line["try"]:
            newest[key] = line
    metrics = dict.fromkeys(name for line in newest.values() for name in line.get("metrics", {}))
    return [_row(directory, line, list(metrics)) for line in newest.values()]


def _row(directory: RunDirectory, line: dict, metrics: list[str]) -> dict:
    output = directory.output(line["step"])
    row = {
        "step": line["step"],
        "number": line["number"],
        "status": line["status"],
        "wall": line["wall"],
        "cpu": line["cpu"],
        "memory": line["mem"],
        "error": line.get("error", ""),
        "products": [str(output / name) for name in line["out"]],
    }
    found = line.get("metrics", {})
    return row | {name: found.get(name) for name in metrics if name not in row}


def html_table(counts: dict[str, dict[str, int]], title: str) -> str:
    """Units by step and state, as HTML."""
    states = list(dict.fromkeys(state for found in counts.values() for state in found))
    head = "".join(f"<th>{escape(name.replace('_', ' '))}</th>" for name in ["step", *states])
    rows = "".join(
        f"<tr><td>{escape(step)}</td>"
        + "".join(f"<td>{found.get(state, '')}</td>" for state in states)
        + "</tr>"
        for step, found in counts.items()
    )
    return f"<p>{escape(title)}</p><table><tr>{head}</tr>{rows}</table>"
