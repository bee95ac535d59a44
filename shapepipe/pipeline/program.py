"""Call an external program: argument list, exit code, the tail of what it printed, its peak memory.

Success is judged by the exit code; whether the products are right is for the runner to see.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from shapepipe.errors import ProgramFailed

LINES_KEPT = 400
"""Lines of a program's output that are kept; the first half and the last half of them."""


@dataclass(frozen=True)
class ProgramResult:
    """What a program left: its output (stdout and stderr together) and its peak memory in bytes."""

    output: str
    peak_memory: int


def find_program(name: str, alternatives: Sequence[str] = ()) -> str | None:
    """Full path of the first of the names that is on PATH (or is itself a path)."""
    for candidate in (name, *alternatives):
        found = shutil.which(os.path.expanduser(os.path.expandvars(candidate)))
        if found:
            return os.path.abspath(found)
    return None


def program_version(path: str, arguments: Sequence[str]) -> str:
    """First line with a digit that the program prints when asked for its version."""
    try:
        done = subprocess.run(
            [path, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=20,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    lines = done.stdout.decode(errors="replace").splitlines()
    return next((line.strip() for line in lines if any(c.isdigit() for c in line)), "unknown")


def call_program(
    arguments: Sequence[str | Path],
    *,
    cwd: str | Path | None = None,
    env: dict[str, str] | None = None,
) -> ProgramResult:
    """Run a program to its end.

    Parameters
    ----------
    arguments : sequence of str or Path
        Program and arguments; there is no shell, so blanks in paths are safe.
    cwd : path, optional
        Directory to run it in.
    env : dict, optional
        Variables set on top of the present environment.

    Raises
    ------
    ProgramFailed
        When it cannot be started, exits with a code other than 0, or is ended by a signal.
    """
    words = [str(word) for word in arguments]
    name = Path(words[0]).name
    try:
        child = subprocess.Popen(
            words,
            cwd=cwd,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
    except OSError as error:
        raise ProgramFailed(name, f"cannot be started: {error.strerror} ({words[0]})") from error
    kept = _Ends(LINES_KEPT)
    reader = threading.Thread(target=kept.read, args=(child.stdout,), daemon=True)
    reader.start()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    reader.join(timeout=5)
    if child.returncode != 0:
        raise ProgramFailed(name, f"{_ending(child.returncode)}{_last_words(kept.text())}")
    return ProgramResult(kept.text(), usage.ru_maxrss * 1024)


class _Ends:
    """Keeps the first and the last lines of a stream of any length."""

    def __init__(self, lines: int):
        self.room = lines // 2
        self.head: list[str] = []
        self.tail: deque[str] = deque(maxlen=self.room)
        self.left_out = 0

    def read(self, stream):
        with stream:
            for raw in stream:
                line = raw.decode(errors="replace").rstrip("\r\n")
                if len(self.head) < self.room:
                    self.head.append(line)
                else:
                    self.left_out += len(self.tail) == self.tail.maxlen
                    self.tail.append(line)

    def text(self) -> str:
        gap = [f"[... {self.left_out} lines left out ...]"] if self.left_out else []
        return "\n".join([*self.head, *gap, *self.tail])


def _ending(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"ended by signal {-code}"


_ESCAPE = dict.fromkeys(range(32))


def _last_words(output: str) -> str:
    """Say what the program said: the first line that speaks of an error, else the last one."""
    lines = [line.translate(_ESCAPE).strip() for line in output.splitlines()]
    lines = [line for line in lines if line]
    if not lines:
        return ""
    errors = [line for line in lines if "error" in line.lower()]
    words = errors[0] if errors else lines[-1]
    after = lines[lines.index(words) + 1 :] if errors else []
    return ": " + " ".join([words, *after[:1]])[:400]
