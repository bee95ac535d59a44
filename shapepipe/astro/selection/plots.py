"""PLOT sections: what is drawn, as read from the file; `drawing` draws it."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from types import MappingProxyType

from matplotlib.colors import is_color_like
from matplotlib.lines import Line2D
from matplotlib.markers import MarkerStyle

from shapepipe.astro.selection.entries import Entries, Template, read_choice, read_number
from shapepipe.astro.selection.expressions import Expression
from shapepipe.astro.selection.lines import Line
from shapepipe.astro.selection.places import Complaint, Place, suggest
from shapepipe.astro.selection.rowsets import Scope, common_rows, rows_of

TYPES = ("plot", "scatter", "hist")
FORMATS = ("png", "pdf", "svg", "jpg")
HISTOGRAM_TYPES = ("bar", "barstacked", "step", "stepfilled")

FIGURE_KEYS = ("TYPE", "FORMAT", "TITLE", "XLABEL", "YLABEL", "XLIM", "YLIM", "LOG")
SERIES_KEYS = MappingProxyType(
    {
        "plot": ("X", "Y", "LABEL", "MARKER", "MARKERSIZE", "LINE", "ALPHA", "COLOR"),
        "scatter": ("X", "Y", "SCATTER", "LABEL", "MARKER", "MARKERSIZE", "ALPHA"),
        "hist": ("X", "Y", "LABEL", "BIN", "HTYPE", "ALPHA", "COLOR"),
    }
)
"""Keys of a series by type of plot; each may carry the number of a series, as in X_1."""


@dataclass(frozen=True)
class Series:
    """One set of points, or one histogram (of `x`), with its looks."""

    x: Expression
    y: Expression | None = None
    scatter: Expression | None = None
    scatter_text: str = ""
    label: Template | None = None
    marker: str = "+"
    marker_size: float = 1.0
    line: str = "none"
    alpha: float | None = None
    color: str | None = None
    bins: int = 50
    histogram: str = "bar"


@dataclass(frozen=True)
class Plot:
    """A figure with one pair of axes."""

    name: str
    place: Place
    kind: str
    format: str
    series: tuple[Series, ...]
    title: Template = Template()
    x_label: Template = Template()
    y_label: Template = Template()
    x_limits: tuple[float, float] | None = None
    y_limits: tuple[float, float] | None = None
    log: bool = False

    def expressions(self) -> list[Expression]:
        """Return every expression of the section."""
        texts = [self.title, self.x_label, self.y_label, *(item.label for item in self.series)]
        nodes = [node for text in texts if text for node in text.expressions()]
        drawn = [node for item in self.series for node in (item.x, item.y, item.scatter) if node]
        return nodes + drawn


def read_plot(
    name: str, place: Place, lines: list[Line], scope: Scope, complaints: list[Complaint]
) -> Plot:
    """Understand the lines of a PLOT section; errors go to `complaints`."""
    entries = Entries(place, scope, complaints)
    entries.load(lines, str.upper)
    if "TYPE" not in entries.values:
        entries.complain(place, f"TYPE is missing (one of {', '.join(TYPES)})")
    kind = entries.take("TYPE", read_choice(*TYPES), TYPES[0])
    numbers = _series_numbers(entries)
    _check_keys(entries, kind, numbers)
    series = (_read_series(entries, kind, number) for number in numbers)
    empty, log = Template(), entries.take("LOG", _truth, False)
    y_limits = entries.take("YLIM", _limits)
    if log and y_limits and min(y_limits) <= 0:
        entries.complain(entries.values["YLIM"].place, "LOG is set: both limits must be above 0")
    return Plot(
        name,
        place,
        kind,
        entries.take("FORMAT", read_choice(*FORMATS), FORMATS[0]),
        tuple(item for item in series if item is not None),
        title=entries.take("TITLE", entries.template, empty),
        x_label=entries.take("XLABEL", entries.template, empty),
        y_label=entries.take("YLABEL", entries.template, empty),
        x_limits=entries.take("XLIM", _limits),
        y_limits=y_limits,
        log=log,
    )


def _series_numbers(entries: Entries) -> list[str]:
    """Return what follows X and Y in the keys, such as `_1`; one empty text for a lone series."""
    found = [re.fullmatch(r"[XY](_[A-Z0-9]+)", key) for key in entries.values]
    return list(dict.fromkeys(match[1] for match in found if match)) or [""]


def _check_keys(entries: Entries, kind: str, numbers: list[str]) -> None:
    series_keys = SERIES_KEYS[kind]
    allowed = {*FIGURE_KEYS, *series_keys, *(key + n for key in series_keys for n in numbers)}
    for name, key in entries.keys.items():
        if name not in allowed:
            entries.complain(key.place, _why_not(name, kind, allowed))
    if numbers != [""] and "X" in entries.values and "Y" in entries.values:
        at = entries.keys["Y"].place
        entries.complain(at, "X and Y stand without a number beside numbered ones; number them")


def _why_not(name: str, kind: str, allowed: Collection[str]) -> str:
    base, _, number = name.partition("_")
    users = [other for other in TYPES if base in SERIES_KEYS[other]]
    if kind in users and number:
        return f"{name} belongs to no series: there is no X_{number} or Y_{number}"
    if users:
        return f"{base} has no effect on TYPE = {kind}, only on {' and '.join(users)}"
    return f"no key {name!r}{suggest(name, allowed)}"


def _read_series(entries: Entries, kind: str, number: str) -> Series | None:
    def take(key: str, read: Callable, default=None):
        return entries.take(_key(entries, key, number), read, default)

    axes = {key: take(key, entries.expression) for key in ("X", "Y", "SCATTER")}
    if kind == "hist":
        axes["X"], axes["Y"] = _only_one(entries, axes, number), None
    needed = {"plot": ("X", "Y"), "scatter": ("X", "Y", "SCATTER"), "hist": ()}[kind]
    for key in needed:
        if _key(entries, key, number) not in entries.values:
            entries.complain(entries.place, f"{key}{number} is missing")
    nodes = [axes[key] for key in needed] or [axes["X"]]
    if None in nodes or not _match(entries, nodes):
        return None
    scatter_line = entries.values.get(_key(entries, "SCATTER", number))
    return Series(
        **{key.lower(): node for key, node in axes.items()},
        scatter_text=scatter_line.text if scatter_line else "",
        label=take("LABEL", entries.template),
        marker=take("MARKER", _marker, Series.marker),
        marker_size=take("MARKERSIZE", _positive, Series.marker_size),
        line=take("LINE", _line_style, Series.line),
        alpha=take("ALPHA", _alpha),
        color=take("COLOR", _color),
        bins=take("BIN", _bins, Series.bins),
        histogram=take("HTYPE", read_choice(*HISTOGRAM_TYPES), Series.histogram),
    )


def _key(entries: Entries, key: str, number: str) -> str:
    """Return the key of this series, or the one without number that all series share."""
    return key + number if key + number in entries.values else key


def _only_one(entries: Entries, axes: dict, number: str) -> Expression | None:
    given = [key for key in ("X", "Y") if _key(entries, key, number) in entries.values]
    if len(given) != 1:
        problem = "X or Y is missing" if not given else "X and Y are both given"
        entries.complain(entries.place, f"{problem}; a histogram is drawn of one of them")
        return None
    return axes[given[0]]


def _match(entries: Entries, nodes: list[Expression]) -> bool:
    """Whether all cover the same rows; complains otherwise."""
    try:
        for node in nodes:
            if rows_of(node, entries.scope) is None:
                raise Complaint(node.place, "this is one number; a value per row is needed")
        common_rows(nodes[-1].place, entries.scope, *nodes)
    except Complaint as complaint:
        entries.complaints.append(complaint)
        return False
    return True


def _marker(line: Line) -> str:
    text = line.unquoted().text
    try:
        MarkerStyle(text)
    except ValueError:
        raise Complaint(line.place, f"no marker {text!r} (such as + . o x s ^ *)") from None
    return text


def _line_style(line: Line) -> str:
    text = line.unquoted().text
    if text.lower() not in ("solid", "dashed", "dashdot", "dotted", *map(str, Line2D.lineStyles)):
        raise Complaint(line.place, f"no line style {text!r} (allowed: - -- -. : none)")
    return text.lower()


def _color(line: Line) -> str:
    text = line.unquoted().text
    if not is_color_like(text):
        raise Complaint(line.place, f'no colour {text!r} (such as red, C1, 0.5 or "#ff7f0e")')
    return text


def _alpha(line: Line) -> float:
    alpha = read_number(line)
    if not 0 <= alpha <= 1:
        raise Complaint(line.place, f"ALPHA is {line.text} (allowed: 0 to 1)")
    return alpha


def _positive(line: Line) -> float:
    value = read_number(line)
    if not 0 < value < float("inf"):
        raise Complaint(line.place, f"{line.text} is not a size (allowed: above 0)")
    return value


def _bins(line: Line) -> int:
    value = read_number(line)
    if not (value.is_integer() and 1 <= value <= _MOST_BINS):
        raise Complaint(line.place, f"BIN is {line.text} (allowed: 1 to {_MOST_BINS})")
    return int(value)


def _limits(line: Line) -> tuple[float, float]:
    pieces = line.unquoted().text.split(",")
    try:
        low, high = (float(piece) for piece in pieces)
    except ValueError:
        raise Complaint(line.place, f"{line.text!r} is not low, high") from None
    if not abs(high - low) > 0 or abs(high - low) == float("inf"):
        raise Complaint(line.place, f"{line.text}: two different finite numbers are needed")
    return low, high


def _truth(line: Line) -> bool:
    return read_choice("True", "False", "Yes", "No", "On", "Off", "1", "0")(line) in (
        "True",
        "Yes",
        "On",
        "1",
    )


_MOST_BINS = 10_000
