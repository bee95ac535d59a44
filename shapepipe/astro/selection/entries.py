"""Sections made of `key = value` lines with fixed keys, and text with `@expression@` in it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from shapepipe.astro.selection.evaluate import View, evaluate
from shapepipe.astro.selection.expressions import Expression, parse_expression
from shapepipe.astro.selection.lines import Line
from shapepipe.astro.selection.places import Complaint, Place, suggest
from shapepipe.astro.selection.rowsets import Scope, rows_of


@dataclass
class Entries:
    """The entries of one section, read one by one; every complaint is kept, none is raised.

    Parameters
    ----------
    place : Place
        Where the section starts.
    scope : Scope
        What its expressions may refer to.
    complaints : list of Complaint
        Grows with everything that is wrong.
    """

    place: Place
    scope: Scope
    complaints: list[Complaint]
    values: dict[str, Line] = field(default_factory=dict)
    keys: dict[str, Line] = field(default_factory=dict)

    def load(self, lines: list[Line], fold: Callable[[str], str] = str) -> None:
        """Split lines at their equals sign and file them under the key, which `fold` may adapt."""
        for line in lines:
            try:
                key, value = line.entry()
            except Complaint as complaint:
                self.complaints.append(complaint)
                continue
            name = fold(key.unquoted().text)
            if name in self.values:
                before = self.keys[name].place.line
                self.complain(key.place, f"{name} was given before, at line {before}")
            self.keys[name], self.values[name] = key, value

    def complain(self, place: Place, text: str) -> None:
        """Note that something is wrong at `place`."""
        self.complaints.append(Complaint(place, text))

    def allow(self, valid: Collection[str]) -> None:
        """Complain about keys that are not valid."""
        for name, key in self.keys.items():
            if name not in valid:
                self.complain(key.place, f"no key {name!r}{suggest(name, valid)}")

    def take(self, key: str, read: Callable[[Line], Any], default: Any = None) -> Any:
        """Return what `read` makes of the value of `key`, the default if absent or wrong."""
        if key not in self.values:
            return default
        try:
            return read(self.values[key])
        except Complaint as complaint:
            self.complaints.append(complaint)
            return default

    def expression(self, line: Line) -> Expression:
        """Parse and check an expression."""
        expression = parse_expression(line.text, line.place)
        rows_of(expression, self.scope)
        return expression

    def number(self, line: Line) -> Expression:
        """Parse an expression that is one number."""
        expression = parse_expression(line.text, line.place)
        covered = rows_of(expression, self.scope)
        if covered is not None:
            raise Complaint(line.place, f"this is a value for each of {covered}, not one number")
        return expression

    def template(self, line: Line) -> Template:
        """Parse text, in quotes or not, with ``@expression@`` in it; ``@@`` is a plain @."""
        line = line.unquoted()
        if '"' in line.text:
            text = f"quotes stand around the whole text, not as in {line.text}"
            raise Complaint(line.place, text)
        pieces = line.text.split("@")
        if len(pieces) % 2 == 0:
            at = Place(line.place.line, line.place.column + line.text.rindex("@"))
            raise Complaint(at, "the @ that ends an expression is missing (a plain @ is @@)")
        parts, start = [], 0
        for index, piece in enumerate(pieces):
            if index % 2 == 0 or not piece:
                parts.append(piece or ("@" if index % 2 else ""))
            else:
                parts.append(self.number(line.slice(start, start + len(piece))))
            start += len(piece) + 1
        return Template(tuple(part for part in parts if part != ""))


@dataclass(frozen=True)
class Template:
    """Text in which expressions are replaced by their values."""

    parts: tuple[str | Expression, ...] = ()

    def fill(self, view: View) -> str:
        """Return the text with values to five digits."""
        return "".join(
            part if isinstance(part, str) else f"{evaluate(part, view):.5g}" for part in self.parts
        )

    def expressions(self) -> tuple[Expression, ...]:
        """Return the expressions alone."""
        return tuple(part for part in self.parts if not isinstance(part, str))


def read_choice(*choices: str) -> Callable[[Line], str]:
    """Return a reader of one of some words, whose case does not matter."""
    by_folded = {choice.casefold(): choice for choice in choices}

    def read(line: Line) -> str:
        word = line.unquoted().text
        if word.casefold() not in by_folded:
            raise Complaint(line.place, f"{word!r} (allowed: {', '.join(choices)})")
        return by_folded[word.casefold()]

    return read


def read_number(line: Line) -> float:
    """Read a plain number."""
    try:
        return float(line.unquoted().text)
    except ValueError:
        raise Complaint(line.place, f"{line.text!r} is not a number") from None
