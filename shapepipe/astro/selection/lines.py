"""The layout of a selection file: comments, quotes, sections, `key = value` lines.

What stands in a section of which type is none of this file's business; see `script`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from shapepipe.astro.selection.places import Complaint, Place


@dataclass(frozen=True, slots=True)
class Line:
    """A piece of a line, without comment and surrounding blanks, and where it starts."""

    place: Place
    text: str

    def entry(self) -> tuple[Line, Line]:
        """Split `key = value` at the first equals sign outside of quotes.

        Raises
        ------
        Complaint
            Without an equals sign, or with nothing before or after it.
        """
        at = _find_outside_quotes(self.text, "=")
        if at is None:
            raise Complaint(self.place, f"expected key = value, found {self.text!r}")
        key, value = self.slice(0, at), self.slice(at + 1)
        if not key.text or not value.text:
            missing = "before" if not key.text else "after"
            raise Complaint((key if key.text else self).place, f"nothing stands {missing} the =")
        return key, value

    def slice(self, start: int, end: int | None = None) -> Line:
        """Return part of the line, stripped, with its own place."""
        text = self.text[start:end]
        start += len(text) - len(text.lstrip())
        return Line(Place(self.place.line, self.place.column + start), text.strip())

    def unquoted(self) -> Line:
        """Return the line without the double quotes around it, if it has any."""
        if len(self.text) >= 2 and self.text[0] == self.text[-1] == '"':
            return Line(Place(self.place.line, self.place.column + 1), self.text[1:-1])
        return self


@dataclass(slots=True)
class RawSection:
    """A section as written: its type and name, and its lines yet to be understood."""

    kind: Line
    name: Line
    lines: list[Line] = field(default_factory=list)


def split_sections(text: str, complaints: list[Complaint]) -> list[RawSection]:
    """Cut a selection file into sections; what has no place in one goes to `complaints`."""
    sections: list[RawSection] = []
    for line in _meaningful_lines(text, complaints):
        if line.text.startswith("["):
            try:
                sections.append(_section_header(line))
            except Complaint as complaint:
                complaints.append(complaint)
                sections.append(RawSection(Line(line.place, ""), Line(line.place, "")))
        elif sections:
            sections[-1].lines.append(line)
        else:
            complaints.append(Complaint(line.place, "this line stands before the first section"))
    return sections


def _meaningful_lines(text: str, complaints: list[Complaint]) -> Iterator[Line]:
    for number, raw in enumerate(text.splitlines(), start=1):
        comment = _find_outside_quotes(raw, "#")
        line = Line(Place(number, 1), raw).slice(0, comment)
        if line.text.count('"') % 2:
            at = Place(number, raw.rindex('"', 0, comment) + 1)
            complaints.append(Complaint(at, 'a double quote " is not closed'))
        elif line.text:
            yield line


def _section_header(line: Line) -> RawSection:
    if not line.text.endswith("]"):
        at = Place(line.place.line, line.place.column + len(line.text))
        raise Complaint(at, "a section header ends with ]")
    inside = line.slice(1, -1)
    colon = inside.text.find(":")
    if colon < 0:
        return RawSection(inside, Line(inside.place, ""))
    name = inside.slice(colon + 1)
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name.text):
        text = f"section name {name.text!r} (allowed: letters, digits, _ and -)"
        raise Complaint(name.place, text)
    return RawSection(inside.slice(0, colon), name)


def _find_outside_quotes(text: str, character: str) -> int | None:
    quoted = False
    for position, found in enumerate(text):
        quoted ^= found == '"'
        if found == character and not quoted:
            return position
    return None
