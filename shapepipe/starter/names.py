"""File names of strangers: which files belong together, and which part of a name is the number.

A name is taken apart at `-`, `_` and blanks, and at a point before the word of a role, as in
`2366993p.weight.fits`. The parts that files have in common are the pattern, a word such as `weight`
is the role, the rest is the number.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from shapepipe.astro.frames import WORDS, role_in

EXTENSIONS = (".fits", ".fit", ".fts")
PACKED = (".fz", ".gz")
_TILE = re.compile(r"(?<!\d)(\d{3})\.(\d{3})(?!\d)")
"""Number of a tile within a part of a name, as in `CFIS.277.282.r`."""
_ENDING = re.compile(rf"((?:{'|'.join(re.escape(e) for e in EXTENSIONS)})?(?:\.fz|\.gz)?)$", re.I)


@dataclass(frozen=True)
class Name:
    """A file name taken apart.

    Attributes
    ----------
    role : str
        `image`, `weight`, `flag`, or nothing if no word tells.
    parts : tuple of str
        Parts of the stem without the word of the role.
    ext : str
        Extension, such as `.fits.fz`.
    """

    path: Path
    role: str
    parts: tuple[str, ...]
    ext: str


@dataclass
class Units:
    """Files of one kind: for each number, one file per role.

    Attributes
    ----------
    pattern : dict of str to str
        Role -> text before the number.
    scheme : str
        Numbering scheme of the numbers.
    files : dict of str to dict
        Number -> role -> file.
    as_they_are : bool
        Whether the files are found under their own names; else links are needed.
    """

    pattern: dict[str, str]
    ext: dict[str, str]
    scheme: str
    files: dict[str, dict[str, Path]] = field(default_factory=dict)
    as_they_are: bool = True

    @property
    def roles(self) -> list[str]:
        """Roles that every number has, in the order in which runners take them."""
        found = [set(files) for files in self.files.values()]
        return [role for role in WORDS_IN_ORDER if all(role in roles for roles in found)]


WORDS_IN_ORDER = ("image", "weight", "flag")


def is_fits(path: Path) -> bool:
    """Whether a name is that of a FITS file."""
    name = path.name.lower()
    for packed in PACKED:
        name = name.removesuffix(packed)
    return name.endswith(EXTENSIONS) and not path.name.startswith(".")


def take_apart(path: Path) -> Name:
    """Take a file name apart."""
    ext = _ENDING.search(path.name).group(1)
    stem = path.name[: len(path.name) - len(ext)]
    pieces = [piece for piece in re.split(r"[-_\s]+", stem) if piece]
    front, _, last = pieces[-1].rpartition(".") if pieces else ("", "", "")
    if front and _is_role_word(last):
        pieces[-1:] = [front, last]
    role = role_in(stem) or role_in(path.parent.name)
    parts = tuple(piece for piece in pieces if not _is_role_word(piece))
    return Name(path, role, parts or tuple(pieces), ext)


def kind_of_name(name: Name) -> tuple:
    """What files of one kind have in common: folder, first word, number of parts, extension.

    The weight of an image may be packed where the image is not, so packing does not count.
    """
    ext = name.ext.lower()
    for packed in PACKED:
        ext = ext.removesuffix(packed)
    first = re.sub(r"\d+", "#", name.parts[0]) if name.parts else ""
    return str(common_folder(name.path)), first, len(name.parts), ext


def common_folder(path: Path) -> Path:
    """Folder of a file; of one in a folder such as `weights`, the folder above."""
    return path.parent.parent if role_in(path.parent.name) else path.parent


def gather(names: Sequence[Name], roles: dict[Path, str]) -> Units:
    """Pair files of one kind by number.

    Parameters
    ----------
    names : sequence of Name
        Files.
    roles : dict of Path to str
        What each file is.
    """
    by_unit: dict[tuple, dict[str, Name]] = defaultdict(dict)
    for name in names:
        by_unit[name.parts].setdefault(roles[name.path], name)
    keys = sorted(by_unit)
    if _fits_as_is(names, roles):
        return _as_they_are(names, roles)
    numbers = _numbers(keys)
    if len(set(numbers)) < len(numbers):
        numbers = [f"-{k}" for k in range(1, len(keys) + 1)]
    units = Units({}, {}, scheme_of(numbers), as_they_are=False)
    for number, key in zip(numbers, keys, strict=True):
        units.files[number] = {role: name.path for role, name in by_unit[key].items()}
        for role, name in by_unit[key].items():
            units.pattern[role] = role
            units.ext.setdefault(role, name.ext.lower())
    return units


def _numbers(keys: list[tuple[str, ...]]) -> list[str]:
    """Number of each unit, from the parts that differ; of tiles, both of its numbers."""
    tiles = [_TILE.findall(".".join(key)) for key in keys]
    if all(len(found) == 1 for found in tiles) and len(set(map(tuple, tiles))) == len(keys):
        return [f"-{found[0][0]}-{found[0][1]}" for found in tiles]
    if len(keys) == 1:
        return [_single_number(keys[0])]
    columns = [_without_letter([key[k] for key in keys]) for k in _varying(keys)]
    return ["".join(f"-{_clean(part)}" for part in parts) for parts in zip(*columns, strict=True)]


def _without_letter(parts: list[str]) -> list[str]:
    """Digits alone, where the same letter follows those of every part: `2366993p`."""
    split = [re.fullmatch(r"(\d+)([A-Za-z])", part) for part in parts]
    found = [match.groups() for match in split if match]
    if len(found) < len(parts) or len({letter for _, letter in found}) > 1:
        return parts
    return [digits for digits, _ in found]


def _fits_as_is(names, roles) -> bool:
    """Whether pattern + number + extension tells the files of each role, and the numbers agree."""
    if any(_TILE.search(part) for name in names for part in name.parts):
        return False
    if len(names) == 1:
        return True
    units = _as_they_are(names, roles)
    complete = all(set(files) == set(units.pattern) for files in units.files.values())
    counted = sum(len(files) for files in units.files.values()) == len(names)
    exts = {role: {name.ext for name in names if roles[name.path] == role} for role in units.ext}
    if "" in units.pattern.values():  # FILE_PATTERN cannot be empty
        return False
    if any(role_in(number) for number in units.files):  # the word of the role stands at the end
        return False
    return complete and counted and all(len(found) == 1 for found in exts.values())


def _as_they_are(names, roles) -> Units:
    """Units by pattern, number and extension as the names have them."""
    by_role: dict[str, list[Name]] = defaultdict(list)
    for name in names:
        by_role[roles[name.path]].append(name)
    units, numbers = Units({}, {}, ""), set()
    for role, mine in by_role.items():
        stems = [name.path.name[: len(name.path.name) - len(name.ext)] for name in mine]
        pattern = _common_pattern(stems)
        units.pattern[role], units.ext[role] = pattern, mine[0].ext
        for name, stem in zip(mine, stems, strict=True):
            number = stem[len(pattern) :]
            numbers.add(number)
            units.files.setdefault(number, {})[role] = name.path
    units.scheme = scheme_of(sorted(numbers))
    return units


def _common_pattern(stems: list[str]) -> str:
    """What stems have in common, up to a separator or, for a single one, before its number."""
    if len(stems) == 1:
        found = re.match(r"(.*\D)[-_]\d+$", stems[0])
        return stems[0] if found is None else re.sub(r"[-_]\d+$", "", stems[0])
    common = stems[0]
    while not all(stem.startswith(common) for stem in stems):
        common = common[:-1]
    return re.sub(r"[-_][^-_]*$", "", common) if re.search(r"[-_]", common) else ""


def _varying(keys: list[tuple[str, ...]]) -> list[int]:
    shortest = min(len(key) for key in keys)
    return [k for k in range(shortest) if len({key[k] for key in keys}) > 1]


def _single_number(key: tuple[str, ...]) -> str:
    digits = [_clean(part) for part in _without_letter([*key][-1:]) if part.isdigit()]
    digits = digits or [_clean(part) for part in key if part.isdigit()]
    return f"-{digits[-1]}" if digits else "-1"


def _clean(part: str) -> str:
    return re.sub(r"[^A-Za-z0-9]", "-", part)


def scheme_of(numbers: Sequence[str]) -> str:
    """Numbering scheme that fits all numbers, as narrow as it can be said.

    Examples
    --------
    >>> scheme_of(["-004192", "-006377"])
    '-000000'
    >>> scheme_of(["_1", "_12"])
    '_0'
    >>> scheme_of(["_B_30", "_V_300"])
    'RE:_[A-Za-z]+_\\\\d+'
    """
    split = [re.findall(r"[-_]|[^-_]+", number) for number in numbers]
    if not split or len({len(parts) for parts in split}) > 1 or not split[0]:
        return "" if set(numbers) <= {""} else "RE:" + r"[-_A-Za-z0-9]+"
    columns = list(zip(*split, strict=True))
    if all(column[0] in "-_" or all(part.isdigit() for part in column) for column in columns):
        return "".join(_zeros(column) for column in columns)
    return "RE:" + "".join(_expression(column) for column in columns)


def _zeros(column) -> str:
    if column[0] in "-_":
        return column[0]
    widths = {len(part) for part in column}
    return "0" * widths.pop() if len(widths) == 1 else "0"


def _expression(column) -> str:
    if column[0] in "-_":
        return column[0]
    if all(part.isdigit() for part in column):
        widths = {len(part) for part in column}
        return rf"\d{{{widths.pop()}}}" if len(widths) == 1 else r"\d+"
    return "[A-Za-z]+" if all(part.isalpha() for part in column) else "[A-Za-z0-9]+"


def _is_role_word(piece: str) -> bool:
    return any(piece.lower() in known for known in WORDS.values())
