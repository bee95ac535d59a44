"""Addresses of earlier products: `last:runner`, `all:runner`, `RUN:runner`; a real directory wins.

An address stands wherever a directory may stand. Text after a slash is a sub-directory of the
step's products, as in `last:setools_runner/mask`; files are searched below a directory anyway.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from shapepipe.pipeline.options import missing_path, nearest
from shapepipe.pipeline.records import RunDirectory, RunList


class AddressError(ValueError):
    """An address that leads nowhere; says what was looked for and what is near."""


@dataclass(frozen=True)
class Place:
    """Where an address leads: directories, or a step of the present chain.

    `newest_first` tells that of files with the same number the first directory's counts; `below`
    is the sub-directory of the step's products that was asked for.
    """

    text: str
    folders: tuple[str, ...] = ()
    step: int | None = None
    newest_first: bool = False
    below: str = ""


class Addresses:
    """Resolves addresses for one configuration.

    Parameters
    ----------
    runs : RunList
        The runs of the output directory.
    own : Path
        Directory of the present run, which `last:` passes over.
    canonical : callable
        Name under which a runner is filed, from any of its names.
    """

    def __init__(self, runs: RunList, own: Path, canonical: Callable[[str], str]):
        self._list, self._own, self._canonical = runs, own, canonical
        self._runs: list[tuple[Path, list[str]]] | None = None

    def resolve(self, text: str, chain: Sequence[str] = ()) -> Place:
        """Find the place of an address.

        Parameters
        ----------
        text : str
            Path or address.
        chain : sequence of str
            Labels of the earlier steps of the present chain, in which `last:` looks first.

        Raises
        ------
        AddressError
            When it leads nowhere.
        """
        path = Path(text)
        if path.is_dir():
            return Place(text, (str(path.absolute()),))
        match = re.match(r"([^:/]+):([A-Za-z_]\w*)(?:/(.*))?$", text)
        if match is None:
            raise AddressError(missing_path(path.absolute(), "directory"))
        kind, runner, below = match.group(1), match.group(2).lower(), match.group(3) or ""
        if kind == "last":
            step = self.in_chain(runner, chain)
            return (
                self._last(text, runner, below)
                if step is None
                else Place(text, step=step, below=below)
            )
        if kind == "all":
            return self._all(text, runner, below)
        return self._named(text, kind, runner, below)

    def in_chain(self, runner: str, chain: Sequence[str]) -> int | None:
        """Index of the latest of the earlier steps that is meant by `runner`."""
        base, _, call = runner.partition("_run_")
        name = self._canonical(base) + (f"_run_{call}" if call else "")
        for index in range(len(chain) - 1, -1, -1):
            if name in (chain[index], re.sub(r"_run_\d+$", "", chain[index])):
                return index
        return None

    def _earlier(self) -> list[tuple[Path, list[str]]]:
        """Other runs, newest first."""
        if self._runs is None:
            self._runs = [run for run in reversed(self._list.runs()) if run[0] != self._own]
        return self._runs

    def _folders(self, run, labels, runner, below) -> list[str]:
        """Output directories, with products, of the steps of one run that are meant by `runner`."""
        at = self._index(runner, labels)
        if at is None:
            return []
        directory = RunDirectory(run)
        folder = directory.output(labels[at]) / below
        if below and not folder.is_dir():  # where ShapePipe 1.x had it
            folder = run / labels[at] / below / "output"
        note = directory.finished(labels[at])
        if note is not None:
            return [str(folder)] if note["products"] and folder.is_dir() else []
        made_elsewhere = not directory.exists()
        return [str(folder)] if made_elsewhere and folder.is_dir() and any(folder.iterdir()) else []

    def _index(self, runner: str, labels: Sequence[str]) -> int | None:
        """Index of the step of an earlier run; `_run_1` also means a step that was called once."""
        filed = [self._filed(label) for label in labels]
        at = self.in_chain(runner, filed)
        if at is None and runner.endswith("_run_1") and self._filed(runner)[:-6] in filed:
            return filed.index(self._filed(runner)[:-6])
        return at

    def _filed(self, label: str) -> str:
        base, _, call = label.partition("_run_")
        return self._canonical(base) + (f"_run_{call}" if call else "")

    def _last(self, text, runner, below) -> Place:
        started = []
        for run, labels in self._earlier():
            folders = self._folders(run, labels, runner, below)
            if folders:
                return Place(text, tuple(folders))
            if self._index(runner, labels) is not None:
                started.append(run.name)
        raise AddressError(self._nothing(text, runner, started))

    def _all(self, text, runner, below) -> Place:
        folders = [
            folder
            for run, labels in self._earlier()
            for folder in self._folders(run, labels, runner, below)
        ]
        if not folders:
            raise AddressError(self._nothing(text, runner, []))
        return Place(text, tuple(folders), newest_first=True)

    def _named(self, text, pattern, runner, below) -> Place:
        hits = [(run, labels) for run, labels in self._earlier() if pattern in str(run)]
        exact = [hit for hit in hits if hit[0].name == pattern]
        hits = exact or hits
        if len(hits) != 1:
            names = [run.name for run, _ in hits or self._earlier()]
            what = f"{len(hits)} runs fit" if hits else "no run fits"
            hint = ", ".join(names[:4]) if hits else nearest(pattern, names).lstrip("; ")
            place = missing_path(Path(text).absolute(), "directory")
            raise AddressError(
                f"{what} {pattern!r} in {self._list.path} ({hint or 'no name is near'}); {place}"
            )
        folders = self._folders(*hits[0], runner, below)
        if not folders:
            steps = ", ".join(hits[0][1])
            raise AddressError(
                f"run {hits[0][0].name} has no products of {runner} (its steps: {steps})"
            )
        return Place(text, tuple(folders))

    def _nothing(self, text, runner, started) -> str:
        names = sorted(
            {re.sub(r"_run_\d+$", "", label) for _, labels in self._earlier() for label in labels}
        )
        if started:
            return (
                f"{text}: looked for a run with products of {runner} in {self._list.path}; "
                f"{', '.join(started[:3])} has it, but did not finish it with products"
            )
        if not names:
            return f"{text}: looked for {runner} in {self._list.path}; there is no earlier run"
        near = nearest(runner, names)
        return (
            f"{text}: looked for a run with {runner} in {self._list.path}; "
            f"it holds {', '.join(names[:8])}{near}"
        )
