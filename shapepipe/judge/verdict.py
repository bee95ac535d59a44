"""What comes out of judging one quantity, and how it is shown: text, JSON, PNG."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from astropy.table import Table
from matplotlib.figure import Figure


@dataclass(frozen=True)
class Verdict:
    """Result for one quantity.

    Attributes
    ----------
    figures : dict of str to float, int or str
        Numbers by name; a unit ends the name, as in `rms_mas`.
    tables : dict of str to Table
        Rows for bins, exposures ...
    plots : dict of str to Figure
        By the name of the file, without ending.
    """

    figures: dict = field(default_factory=dict)
    tables: dict[str, Table] = field(default_factory=dict)
    plots: dict[str, Figure] = field(default_factory=dict)


def lines(name: str, verdict: Verdict) -> list[str]:
    """Text of a verdict, line by line."""
    made = ["", name, "-" * len(name)]
    width = max(map(len, verdict.figures), default=0)
    made += [f"{key:<{width}}  {_text(value)}" for key, value in verdict.figures.items()]
    for title, table in verdict.tables.items():
        shown = table[[name for name in table.colnames if not _is_error(name, table)]]
        for column in shown.itercols():
            if column.dtype.kind == "f":
                column.info.format = ".4g"
        made += ["", f"{title}:", *shown.pformat(max_lines=-1, max_width=-1)]
    return made


def write(verdicts: Mapping[str, Verdict], folder: Path) -> list[Path]:
    """Write `judge.json` and all plots; gives their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        name: {
            "figures": {key: _plain(value) for key, value in verdict.figures.items()},
            "tables": {
                title: {c: [_plain(v) for v in table[c].tolist()] for c in table.colnames}
                for title, table in verdict.tables.items()
            },
        }
        for name, verdict in verdicts.items()
    }
    made = [folder / "judge.json"]
    made[0].write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    for verdict in verdicts.values():
        for name, figure in verdict.plots.items():
            made.append(folder / f"{name}.png")
            figure.savefig(made[-1], dpi=110, metadata={"Software": None})
    return made


def _plain(value):
    """Value that JSON knows; what is not finite becomes null."""
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _is_error(name, table):
    """Errors of shares, which make a table too wide to read; they are in the file and the plots."""
    return name.endswith("_err") and "mag" in table.colnames


def _text(value):
    return f"{value:.4g}" if isinstance(value, float | np.floating) else str(value)
