"""What a run leaves behind: its directory, run.json, outcomes.jsonl, the list of runs; its lock.

The record of an outcome is one line of `outcomes.jsonl`, written at once and after the products
have their final names: it is the commit. No record, not done. A torn last line, which only a crash
leaves, is closed when the file is next opened, and is skipped by whoever reads. A shard of a batch
array has a file, a lock and a scratch directory of its own; whoever looks reads all files.
"""

from __future__ import annotations

import errno
import fcntl
import getpass
import json
import os
import platform
import shutil
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from shapepipe.errors import RunRefused
from shapepipe.pipeline.points import reach

OUTCOMES_FILE = "outcomes.jsonl"
RUN_FILE = "run.json"
LOCK_FILE = "lock"
FINISHED_FILE = "finished.json"
LAST_BYTES = 1 << 20
"""How much of the end of a file of records is read to see its last line."""


class Record(NamedTuple):
    """What is kept of an outcome, as the next start of the run needs it.

    `removed` are products that were removed since, because nothing needed them; `remade` are the
    products, as name:size:time, of a unit that was done again only because they had been removed.
    """

    status: str
    attempt: int
    fingerprint: str
    inputs: tuple[str, ...]
    products: tuple[str, ...]
    wall: float
    removed: tuple[str, ...] = ()
    remade: tuple[str, ...] = ()


def write_atomically(path: Path, text: str, folder: Path | None = None) -> None:
    """Write a file under a part name and rename it, so that it is there whole or not at all.

    The part is in the same directory, or in another one of the same disk.
    """
    part = (folder or path.parent) / f"{path.name}.{os.getpid()}.part"
    with open(part, "w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    reach("part-written")
    os.replace(part, path)


class RunDirectory:
    """The directory of a run.

    Parameters
    ----------
    path : Path
        `OUTPUT_DIR/<run name>`.
    shard : str
        Name of the shard that this process does; empty for one that does the whole run.
    """

    def __init__(self, path: Path | str, shard: str = ""):
        self.path, self.shard = Path(path), shard
        self._lock: int | None = None
        self._shared: int | None = None
        self._outcomes: int | None = None
        self._folders: dict[str, int] = {}
        self._records: dict[tuple[str, str], Record] = {}
        self._read_at: list[tuple[Path, int]] = []
        self._common: dict[str, int] = {}

    def exists(self) -> bool:
        """Whether a run of this name was started before."""
        return (self.path / RUN_FILE).is_file()

    def output(self, label: str) -> Path:
        """Directory of a step's products."""
        return self.path / label / "output"

    def logs(self, label: str) -> Path:
        """Directory of a step's logs."""
        return self.path / label / "logs"

    @property
    def ending(self) -> str:
        """What sets the files of a shard apart from those of the others."""
        return f".{self.shard}" if self.shard else ""

    @property
    def scratch(self) -> Path:
        """Where attempts work."""
        return self.path / "tmp" / self.shard

    @property
    def outcomes(self) -> Path:
        """File of the records that this process writes."""
        return self.path / f"outcomes{self.ending}.jsonl"

    def outcome_files(self) -> list[Path]:
        """All files of records: that of the run, then those of its shards."""
        whole = self.path / OUTCOMES_FILE
        return [path for path in (whole, *sorted(self.path.glob("outcomes.*.jsonl")))
                if path.is_file()]  # fmt: skip

    def acquire(self) -> None:
        """Take the run, or one shard of it, for this process, until it ends.

        Shards share the run: each holds its own lock alone and the run's lock with the others.

        Raises
        ------
        RunRefused
            When another process has it; says which.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        reach("directory-made")
        lock = self.path / LOCK_FILE
        try:
            if self.shard:
                self._shared = _lock_file(lock, fcntl.LOCK_SH)
                lock = self.path / f"{LOCK_FILE}{self.ending}"
            own = self._lock = _lock_file(lock, fcntl.LOCK_EX)
        except BlockingIOError:
            owners = self.owners() or ["an unknown process"]
            self._release()
            raise RunRefused(f"{self.path} is being run by {', '.join(owners)}") from None
        reach("lock-taken")
        os.ftruncate(own, 0)
        os.pwrite(own, this_process(self.shard).encode(), 0)
        reach("lock-signed")

    def owners(self) -> list[str]:
        """Processes that have the run now, or shards of it."""
        found = []
        shards = sorted(self.path.glob(f"{LOCK_FILE}.*"))
        for path in (*shards, self.path / LOCK_FILE):
            try:
                os.close(_lock_file(path, fcntl.LOCK_SH, create=False))
            except FileNotFoundError:
                continue
            except BlockingIOError:
                found.append(path.read_text(errors="replace").strip() or "an unknown process")
        return found

    def is_held(self) -> bool:
        """Whether a process has this run, or this shard of it, now."""
        try:
            os.close(_lock_file(self.path / f"{LOCK_FILE}{self.ending}", fcntl.LOCK_SH, False))
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    def open(self) -> None:
        """Open the records for writing; a torn last line is closed."""
        stream = self._outcomes = os.open(
            self.outcomes, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644
        )
        _close_line(stream)
        self._folders = {folder: index for index, folder in _folders(self.outcomes).items()}
        reach("records-opened")

    def clear(self, labels: list[str]) -> None:
        """Remove what processes that were killed left: private directories, files half written."""
        shutil.rmtree(self.scratch, ignore_errors=True)
        self.scratch.mkdir(parents=True, exist_ok=True)
        if not self.shard:  # other shards may be writing just now
            for folder in (self.path, *(self.path / label for label in labels)):
                for part in folder.glob("*.part"):
                    part.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the records and let go of the run."""
        if self._outcomes is not None:
            os.close(self._outcomes)
            self._outcomes = None
        self._release()

    def _release(self) -> None:
        for name in ("_lock", "_shared"):
            descriptor = getattr(self, name)
            if descriptor is not None:
                os.close(descriptor)
                setattr(self, name, None)

    def commit(self, line: dict) -> None:
        """Append one record, with a single write.

        Raises
        ------
        OSError
            When it cannot be written whole; the run must then stop.
        """
        data = json.dumps(line, separators=(",", ":"), default=str).encode() + b"\n"
        assert self._outcomes is not None  # `open` came first
        _append(self._outcomes, data, self.outcomes)
        reach("record-written")

    def note_removed(self, label: str, number: str, attempt: int, names: Sequence[str]) -> None:
        """Record that products of a unit are about to be removed, so that they are not missed."""
        line = {"removed": list(names), "step": label, "number": number, "try": attempt}
        self.commit(line)

    def file_key(self, path: str, identity: str) -> str:
        """Short form of an input file in a record: number of its folder, name, size and time."""
        folder, _, name = path.rpartition("/")
        index = self._folders.get(folder)
        if index is None:
            index = self._folders[folder] = len(self._folders)
            self.commit({"folder": index, "path": folder})
        return f"{index}/{name}:{identity}"

    def read_run(self) -> dict:
        """Content of run.json.

        Raises
        ------
        RunRefused
            When there is none, or it cannot be read.
        """
        path = self.path / RUN_FILE
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise RunRefused(
                f"{self.path} is not the directory of a run: there is no {RUN_FILE}"
            ) from None
        except ValueError as error:
            raise RunRefused(f"{path}: cannot be read: {error}") from error

    def write_run(self, content: dict) -> None:
        """Replace run.json."""
        write_atomically(self.path / RUN_FILE, json.dumps(content, indent=1, default=str) + "\n")

    def records(self) -> dict[tuple[str, str], Record]:
        """Newest record of every unit: (step label, number) -> Record; read once."""
        sizes = [(path, path.stat().st_size) for path in self.outcome_files()]
        if sizes != self._read_at:
            self._records, self._read_at = self._read_records(), sizes
        return dict(self._records)

    def _read_records(self) -> dict[tuple[str, str], Record]:
        newest: dict[tuple[str, str], Record] = {}
        removed: dict[tuple[str, str, int], list[str]] = {}
        for line in self.lines():
            if "removed" in line:
                unit = line["step"], line["number"], line["try"]
                removed.setdefault(unit, []).extend(line["removed"])
            elif "status" in line:
                key = sys.intern(line["step"]), line["number"]
                attempt = line.get("try", 1)
                if key in newest and newest[key].attempt > attempt:
                    continue
                newest[key] = Record(
                    sys.intern(line["status"]),
                    attempt,
                    sys.intern(line.get("print", "")),
                    tuple(line.get("in", ())),
                    tuple(line.get("out", ())),
                    line.get("wall", 0.0),
                    remade=tuple(line.get("remade", ())),
                )
        for (label, number, attempt), names in removed.items():
            record = newest.get((label, number))
            if record is not None and record.attempt == attempt:
                newest[label, number] = record._replace(removed=tuple(dict.fromkeys(names)))
        return newest

    def lines(self) -> Iterator[dict]:
        """All whole lines of the records: oldest first within a file, the run's own file first.

        Of two lines of one unit that with the higher `try` is the newer one, whatever its file.
        Folders are numbered as in `folders`.
        """
        for path in self.outcome_files():
            table: dict[str, str] = {}
            for line in _read_lines(path):
                if "folder" in line:
                    there, here = line["folder"], self._common_index(line["path"])
                    if there != here:
                        table[str(there)] = str(here)
                elif table and "in" in line:
                    line["in"] = [_renumber(entry, table) for entry in line["in"]]
                yield line

    def own_lines(self) -> Iterator[dict]:
        """Whole lines of the file of records that this process writes, oldest first."""
        if self.outcomes.is_file():
            yield from _read_lines(self.outcomes)

    def last_line(self) -> dict | None:
        """Last whole line of the file of records that this process writes."""
        try:
            with open(self.outcomes, "rb") as stream:
                stream.seek(-min(LAST_BYTES, os.fstat(stream.fileno()).st_size), os.SEEK_END)
                lines = stream.read().splitlines()
        except FileNotFoundError:
            return None
        for raw in reversed(lines):
            try:
                return json.loads(raw)
            except ValueError:
                continue
        return None

    def folders(self) -> dict[int, str]:
        """Folders that records name by number."""
        for path in self.outcome_files():
            for folder in _folders(path).values():
                self._common_index(folder)
        return {index: folder for folder, index in self._common.items()}

    def _common_index(self, folder: str) -> int:
        """Number of a folder that holds for all files, as long as this object lives."""
        return self._common.setdefault(folder, len(self._common))

    def finish_step(self, label: str, counts: dict[str, int], products: int) -> None:
        """Note that a step has come to its end; this is what `last:` looks for."""
        folder = self.path / label
        folder.mkdir(parents=True, exist_ok=True)
        note = {"counts": counts, "products": products, "at": time.time()}
        write_atomically(folder / FINISHED_FILE, json.dumps(note) + "\n")

    def unfinish_step(self, label: str) -> None:
        """Take back the note that a step has ended, because some of it runs again."""
        (self.path / label / FINISHED_FILE).unlink(missing_ok=True)

    def finished(self, label: str) -> dict | None:
        """Counts and number of products of a step that has ended; None if it has not."""
        try:
            return json.loads((self.path / label / FINISHED_FILE).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None


def _close_line(descriptor: int) -> None:
    """End a last line that was torn, lest the next one be glued to it."""
    size = os.fstat(descriptor).st_size
    if size and os.pread(descriptor, 1, size - 1) != b"\n":
        os.write(descriptor, b"\n")


def _append(descriptor: int, data: bytes, path: Path) -> None:
    """Append with a single write, all or nothing."""
    written = os.write(descriptor, data)
    if written != len(data):
        os.ftruncate(descriptor, os.fstat(descriptor).st_size - written)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def _lock_file(path: Path, kind: int, create: bool = True) -> int:
    """Open and lock a file, or say at once that somebody else has it (BlockingIOError)."""
    descriptor = os.open(path, os.O_RDWR | (os.O_CREAT if create else 0), 0o644)
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def this_process(shard: str = "") -> str:
    """Say which process this is, for whoever finds its lock."""
    started = datetime.now().isoformat(" ", "seconds")
    what = f"shard {shard}: " if shard else ""
    return f"{what}process {os.getpid()} on {socket.gethostname()} since {started}\n"


def _read_lines(path: Path) -> Iterator[dict]:
    with open(path, "rb") as stream:
        for raw in stream:
            try:
                line = json.loads(raw.decode())  # text, or its encoding would be guessed each time
            except ValueError:
                continue
            if isinstance(line, dict):
                yield line


def _renumber(entry: str, table: dict[str, str]) -> str:
    """Name the folder of an input by the number that holds for all files of records."""
    folder, slash, name = entry.partition("/")
    return f"{table.get(folder, folder)}{slash}{name}"


def _folders(path: Path) -> dict[int, str]:
    found = {}
    if path.is_file():
        with open(path, "rb") as stream:
            for raw in stream:
                if raw.startswith(b'{"folder"'):
                    try:
                        line = json.loads(raw)
                    except ValueError:
                        continue
                    found[line["folder"]] = line["path"]
    return found


class RunList:
    """The list of all runs in an output directory: `<run directory> <runner>,<runner>` a line."""

    def __init__(self, output_dir: Path, name: str = "shapepipe_runs"):
        self.path = Path(output_dir) / f"{name}.txt"

    def add(self, run: Path, labels: list[str]) -> None:
        """Append a run."""
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            _close_line(descriptor)
            _append(descriptor, f"{run} {','.join(labels)}\n".encode(), self.path)
        finally:
            os.close(descriptor)

    def runs(self) -> list[tuple[Path, list[str]]]:
        """All runs that still exist, oldest first: (directory, names of its steps)."""
        if not self.path.is_file():
            return []
        found = {}
        for line in self.path.read_text(encoding="utf-8").splitlines():
            folder, _, names = line.strip().rpartition(" ")
            path = Path(folder)
            if not path.is_absolute():
                path = next(
                    (p for p in (self.path.parent / path.name, path.absolute()) if p.is_dir()), path
                )
            if folder and path.is_dir():
                found[path] = [name for name in names.split(",") if name]
        return list(found.items())


def this_machine() -> dict[str, str]:
    """Who runs, and where."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return {
        "host": socket.gethostname(),
        "user": user,
        "system": platform.platform(),
        "python": platform.python_version(),
    }
