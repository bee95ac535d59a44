"""A whole selection file: read and checked at once, before there is a catalogue.

Each type of section is understood in the file of its own; here they are put together, and whatever
is wrong anywhere is reported in one error, line by line.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from shapepipe.astro.selection.catalogues import NewCatalogue, read_catalogue
from shapepipe.astro.selection.expressions import Comparison, Expression
from shapepipe.astro.selection.lines import RawSection, split_sections
from shapepipe.astro.selection.masks import Mask, read_mask
from shapepipe.astro.selection.places import Complaint, suggest
from shapepipe.astro.selection.plots import Plot, read_plot
from shapepipe.astro.selection.rowsets import Scope
from shapepipe.astro.selection.splits import RandomSplit, read_split
from shapepipe.astro.selection.statistics import Statistics, read_statistics
from shapepipe.errors import ConfigurationError

TYPES = ("MASK", "PLOT", "STAT", "NEW_CAT", "RAND_SPLIT")


@dataclass(frozen=True)
class Script:
    """What a selection file asks for.

    Parameters
    ----------
    path : str
        The file, for messages.
    masks, plots, statistics, catalogues, splits : tuple
        The sections of each type, in order.
    """

    path: str
    masks: tuple[Mask, ...] = ()
    plots: tuple[Plot, ...] = ()
    statistics: tuple[Statistics, ...] = ()
    catalogues: tuple[NewCatalogue, ...] = ()
    splits: tuple[RandomSplit, ...] = ()

    @property
    def saved_masks(self) -> tuple[Mask, ...]:
        """Masks without NO_SAVE."""
        return tuple(mask for mask in self.masks if mask.saved)

    def expressions(self) -> Iterator[Expression | Comparison]:
        """Yield everything that will be computed, in no particular order."""
        for mask in self.masks:
            yield from mask.comparisons
        for plot in self.plots:
            yield from plot.expressions()
        for section in self.statistics:
            yield from (node for _, node in section.lines)
        for catalogue in self.catalogues:
            yield from (node for _, node in catalogue.columns)


def read_script(path: str | Path) -> Script:
    """Read a selection file.

    Raises
    ------
    ConfigurationError
        With a line `file:line:column: ...` for everything that is wrong in it.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigurationError(f"{path}: cannot be read: {reason}") from error
    return parse_script(text, str(path))


def parse_script(text: str, path: str = "selection") -> Script:
    """Understand the text of a selection file; `path` is what messages call it.

    Raises
    ------
    ConfigurationError
        With a line `path:line:column: ...` for everything that is wrong in it.
    """
    complaints: list[Complaint] = []
    reading = _Reading(complaints, _name_sections(split_sections(text, complaints), complaints))
    script = Script(
        path,
        masks=tuple(reading.masks()),
        plots=tuple(reading.sections("PLOT", read_plot)),
        statistics=tuple(reading.sections("STAT", read_statistics)),
        catalogues=tuple(reading.sections("NEW_CAT", read_catalogue)),
        splits=tuple(reading.sections("RAND_SPLIT", read_split)),
    )
    if complaints:
        in_order = sorted(complaints, key=lambda complaint: complaint.place)
        raise ConfigurationError([complaint.located(path) for complaint in in_order])
    return script


@dataclass
class _Reading:
    """Sections of known type and name, on their way to being understood."""

    complaints: list[Complaint]
    named: list[tuple[str, str, RawSection]]
    mask_lines: dict[str, int] = field(init=False)

    def __post_init__(self):
        self.mask_lines = {
            name: raw.kind.place.line for kind, name, raw in self.named if kind == "MASK"
        }

    def masks(self) -> Iterator[Mask]:
        """Yield the masks; each sees those above it only."""
        for name, raw in self._of_type("MASK"):
            line = self.mask_lines[name]
            above = {other: at for other, at in self.mask_lines.items() if at < line}
            below = {other: at for other, at in self.mask_lines.items() if at >= line}
            yield read_mask(name, raw.lines, Scope(above, below), self.complaints)

    def sections(self, kind: str, read) -> Iterator:
        """Yield the sections of a type; they see all masks, wherever these stand."""
        scope = Scope(self.mask_lines, {})
        for name, raw in self._of_type(kind):
            yield read(name, raw.kind.place, raw.lines, scope, self.complaints)

    def _of_type(self, wanted: str) -> Iterator[tuple[str, RawSection]]:
        return ((name, raw) for kind, name, raw in self.named if kind == wanted)


def _name_sections(sections: list[RawSection], complaints: list[Complaint]):
    """Return (type, name, section), with names such as `mask_1` for those that have none."""
    named, unnamed, seen = [], Counter(), {}
    for raw in sections:
        kind = _ALIASES.get(raw.kind.text.upper(), raw.kind.text.upper())
        if kind not in TYPES:
            if kind:
                text = f"no section type {raw.kind.text!r}{suggest(raw.kind.text, TYPES)}"
                complaints.append(Complaint(raw.kind.place, text))
            continue
        unnamed[kind] += not raw.name.text
        name = raw.name.text or f"{kind.lower()}_{unnamed[kind]}"
        before = seen.setdefault((kind, name.casefold()), raw.kind.place.line)
        if before != raw.kind.place.line:
            text = f"the name {name!r} of a {kind} section was used before, at line {before}"
            complaints.append(Complaint(raw.name.place, text))
            continue
        named.append((kind, name, raw))
    return named


_ALIASES = MappingProxyType({"STATS": "STAT"})
