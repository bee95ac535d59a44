"""File names to units: pattern + number + extension.

A name is `<pattern><number><ext>`; the number's form is given by a numbering scheme and stands at
the end of the name, before the extension. Directories are listed once; the work grows linearly
with the number of files. What has no partner, or stands twice, is reported by name.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches

DEFAULT_SCHEME = r"RE:\_\d+"
NAMES_SHOWN = 5


class SchemeError(ValueError):
    """A numbering scheme that cannot be read."""


def scheme_regex(scheme: str) -> re.Pattern[str]:
    r"""Compile a numbering scheme.

    One zero stands for any number of digits, several for exactly that many; letters count as zeros
    and every other character stands for itself. `RE:` is followed by a regular expression, and an
    empty scheme means that there is no number.

    Examples
    --------
    >>> scheme_regex("-0000000-0").pattern
    '\\-\\d{7}\\-\\d+'
    """
    if scheme.startswith("RE:"):
        try:
            return re.compile(scheme[3:])
        except re.error as error:
            raise SchemeError(f"{scheme!r} is not a regular expression: {error}") from error
    parts = re.findall(r"[A-Za-z0-9]+|[^A-Za-z0-9]", scheme)
    return re.compile("".join(_digits(part) if part.isalnum() else f"\\{part}" for part in parts))


def _digits(part: str) -> str:
    return r"\d+" if len(part) == 1 else rf"\d{{{len(part)}}}"


class Listing:
    """Names of the files below directories, each directory read once."""

    def __init__(self) -> None:
        self._folders: dict[str, list[tuple[str, list[str]]]] = {}

    def below(self, folder: str) -> list[tuple[str, list[str]]]:
        """Return (directory, file names) for `folder` and everything below it, in sorted order.

        Raises
        ------
        OSError
            When the directory itself cannot be read.
        """
        if folder not in self._folders:
            self._folders[folder] = list(_walk(folder))
        return self._folders[folder]


def _walk(top: str) -> Iterable[tuple[str, list[str]]]:
    pending, seen = [top], set()
    while pending:
        folder = pending.pop()
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        files: list[str] = []
        folders: list[str] = []
        with os.scandir(folder) as entries:
            for entry in entries:
                (folders if _is_folder(entry) else files).append(entry.name)
        files.sort()
        yield folder, files
        pending.extend(os.path.join(folder, name) for name in sorted(folders, reverse=True))


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


@dataclass
class Found:
    """Files of one pattern and extension: number -> index of the directory that holds it.

    The path of a number is `folders[index]/<prefix><number><ext>`.
    """

    prefix: str
    ext: str
    folders: list[str] = field(default_factory=list)
    index: dict[str, int] = field(default_factory=dict)
    twice: list[tuple[str, str]] = field(default_factory=list)
    newer_won: int = 0
    not_numbered: list[str] = field(default_factory=list)
    other_prefixes: dict[str, int] = field(default_factory=dict)

    def path(self, number: str, index: int | None = None) -> str:
        """Path of the file with this number."""
        at = self.index[number] if index is None else index
        return f"{self.folders[at]}/{self.prefix}{number}{self.ext}"


class AmbiguousPattern(ValueError):
    """Several kinds of file names fit a pattern equally well."""


def find_files(
    folders: Sequence[str],
    pattern: str,
    ext: str,
    scheme: str,
    *,
    listing: Listing | None = None,
    correct: bool = True,
    newest_first: bool = False,
) -> Found:
    """Find all files of a pattern in several directories, which are searched together.

    Parameters
    ----------
    folders : sequence of str
        Directories, searched with everything below them.
    pattern : str
        Name before the number. The name itself is preferred to one that ends, starts or goes on
        with it.
    ext : str
        Extension; a missing dot is added.
    scheme : str
        Numbering scheme.
    listing : Listing, optional
        Directories read so far.
    correct : bool
        Accept a pattern that is only part of the name.
    newest_first : bool
        Of a number that stands in several directories, take the first without complaint.

    Raises
    ------
    AmbiguousPattern
        When several prefixes fit equally well.
    OSError
        When a directory cannot be read.
    """
    listing = listing or Listing()
    ext = ext if ext.startswith(".") or not ext else f".{ext}"
    folder_part, _, base = pattern.rpartition("/")
    regex = scheme_regex(scheme)
    number_of = regex.fullmatch
    at_end = re.compile(f"(?:{regex.pattern})\\Z").search
    exact = Found(base, ext)
    others: dict[str, Found] = {}
    searched: set[str] = set()
    for top in folders:
        for folder, names in listing.below(str(top)):
            real = os.path.realpath(folder)
            if real in searched:
                continue
            searched.add(real)
            if folder_part and not f"{folder}/".endswith(f"/{folder_part}/"):
                continue
            _sort_in(folder, names, base, ext, number_of, at_end, exact, others, newest_first)
    chosen = exact if exact.index or not correct else _best(base, others, exact)
    chosen.other_prefixes = {
        prefix: len(found.index) for prefix, found in others.items() if found is not chosen
    }
    chosen.not_numbered = exact.not_numbered
    return chosen


def _sort_in(folder, names, base, ext, number_of, at_end, exact, others, newest_first):
    start, end = len(base), -len(ext) if ext else None
    for name in names:
        if not name.endswith(ext):
            continue
        if name.startswith(base):
            number = name[start:end]
            if number_of(number):
                _add(exact, folder, number, newest_first)
                continue
        if base not in name:
            continue
        stem = name[:end]
        number = at_end(stem)
        if number is None:
            exact.not_numbered.append(f"{folder}/{name}")
            continue
        prefix = stem[: number.start()]
        if base in prefix:
            found = others.setdefault(prefix, Found(prefix, ext))
            _add(found, folder, stem[len(prefix) :], newest_first)


def _add(found: Found, folder: str, number: str, newest_first: bool) -> None:
    if not found.folders or found.folders[-1] != folder:
        found.folders.append(folder)
    before = found.index.setdefault(number, len(found.folders) - 1)
    if before != len(found.folders) - 1:
        if newest_first:
            found.newer_won += 1
        else:
            name = f"{found.prefix}{number}{found.ext}"
            found.twice.append((f"{found.folders[before]}/{name}", f"{folder}/{name}"))


def _best(base: str, others: dict[str, Found], none: Found) -> Found:
    best = nearest_prefixes(base, others)
    if len(best) > 1:
        examples = ", ".join(
            f"{prefix}*{others[prefix].ext}" for prefix in sorted(best)[:NAMES_SHOWN]
        )
        raise AmbiguousPattern(f"pattern {base!r} fits several kinds of files: {examples}")
    return others[best[0]] if best else none


def nearest_prefixes(base: str, prefixes: Iterable[str]) -> list[str]:
    """Names that fit `base` best: equal, ending with it, starting with it, or holding it."""
    ranked: dict[int, list[str]] = {}
    for prefix in prefixes:
        name = prefix.rpartition("/")[2]
        if base in (name, prefix):
            rank = 0
        elif name.endswith(base):
            rank = 1
        elif name.startswith(base):
            rank = 2
        elif base in name:
            rank = 3
        else:
            continue
        ranked.setdefault(rank, []).append(prefix)
    return ranked[min(ranked)] if ranked else []


def join_numbers(
    columns: Sequence[Iterable[str]], sizes: Sequence[dict]
) -> tuple[list[str], dict[str, list[int]]]:
    """Pair the inputs of a step by number.

    Parameters
    ----------
    columns : sequence of iterable of str
        Numbers of each input.
    sizes : sequence of dict
        The same numbers as keys, for look-up.

    Returns
    -------
    complete : list of str
        Numbers that all inputs have, sorted.
    incomplete : dict of str to list of int
        For every other number, the inputs that lack it.
    """
    everything = set().union(*columns) if columns else set()
    complete = set(sizes[0]).intersection(*sizes[1:]) if sizes else set()
    incomplete = {
        number: [k for k, have in enumerate(sizes) if number not in have]
        for number in sorted(everything - complete)
    }
    return sorted(complete), incomplete


class Chosen:
    """Numbers that were asked for, as after -e or in NUMBER_LIST.

    A unit belongs to them as itself, as a part or as the whole: `-2366993` takes in the unit
    `-2366993-18`, and `-2366993-18` the exposure `-2366993`. A missing separator in front does not
    matter. Looking up a unit costs the same for one number as for many.
    """

    def __init__(self, texts: Iterable[str] = ()):
        self.texts = tuple(texts)
        self._own = {_bare(text): text for text in self.texts}
        self._wholes = {whole for bare in self._own for whole in _wholes(bare)}
        self._seen: set[str] = set()
        self._met: set[str] = set()

    def __bool__(self) -> bool:
        return bool(self.texts)

    def __contains__(self, number: str) -> bool:
        bare = _bare(number)
        self._met.add(bare)
        hits = [name for name in (bare, *_wholes(bare)) if name in self._own]
        self._seen.update(hits)
        return bool(hits) or bare in self._wholes

    def never_seen(self) -> list[str]:
        """Numbers that no unit belonged to.

        A number is taken as met by the whole that it is part of only where no unit is smaller than
        that whole: a CCD that an exposure does not have is told as soon as its CCDs are units.
        """
        divided = {whole for bare in self._met for whole in _wholes(bare)}
        return [
            text
            for bare, text in self._own.items()
            if bare not in self._seen
            and not any(whole in self._met and whole not in divided for whole in _wholes(bare))
        ]


def _bare(number: str) -> str:
    return number.strip().lstrip("-_")


def _wholes(bare: str) -> list[str]:
    """What a number is part of: its beginnings up to a separator."""
    return [bare[:k] for k, sign in enumerate(bare) if k and not sign.isalnum()]


def is_chosen(number: str, wanted: Iterable[str]) -> bool:
    """Tell whether a unit belongs to one of the wanted numbers; see `Chosen`."""
    return number in Chosen(wanted)


def explain_nothing(
    folders: Sequence[str], pattern: str, ext: str, scheme: str, found: Found
) -> str:
    """Say why no file fits: what was looked for, where, and what is near."""
    looked = (
        f"no file {pattern}<number>{ext} with a number of form {scheme!r} in {', '.join(folders)}"
    )
    if found.not_numbered:
        return f"{looked}; {os.path.basename(found.not_numbered[0])} has no such number"
    names = [
        name for folder in folders for _, files in Listing().below(folder) for name in files[:2000]
    ]
    if not names:
        return f"{looked}: there are no files"
    near = get_close_matches(f"{pattern}{ext}", names, n=1, cutoff=0.3) or names[:1]
    return f"{looked}; there is {near[0]}"
