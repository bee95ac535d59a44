"""Where log lines go: the terminal, the run's log, one log per step, one per failed job."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import BinaryIO

LINE = logging.Formatter("%(asctime)s %(levelname)-7s %(message)s", "%Y-%m-%d %H:%M:%S")


_APPENDED = os.O_WRONLY | os.O_CREAT | os.O_APPEND


class LogFile(logging.Handler):
    """Appends to a file that is made at the first line, so that a silent job costs no file.

    What is worth keeping stands in the records: a line for which the disk has no room is left out,
    and whoever wrote it goes on until something fails that counts.
    """

    def __init__(self, path: Path):
        super().__init__()
        self._path, self._descriptor = path, -1
        self.setFormatter(LINE)

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line at once."""
        data = f"{self.format(record)}\n".encode(errors="backslashreplace")
        try:
            if self._descriptor < 0:
                self._descriptor = os.open(self._path, _APPENDED, 0o644)
            os.write(self._descriptor, data)
        except OSError:
            return

    def close(self) -> None:
        """Close the file, if there is one."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        super().close()


def job_logger(path: Path) -> logging.Logger:
    """Make the logger of a job."""
    logger = logging.Logger("job", logging.INFO)
    logger.addHandler(LogFile(path))
    return logger


def run_logger(path: Path) -> logging.Logger:
    """Make the logger of a run; what is for the terminal as well is said by the display."""
    logger = logging.Logger("run", logging.INFO)
    logger.addHandler(LogFile(path))
    return logger


def close_logger(logger: logging.Logger) -> None:
    """Close the files of a logger."""
    for handler in logger.handlers:
        handler.close()


class StepLog:
    """The log of a step: the texts of its jobs, one after the other, each found by its offset."""

    def __init__(self, path: Path):
        self.path = path
        self._stream: BinaryIO | None = None

    def add(self, title: str, text: str) -> tuple[int, int]:
        """Append the log of one job; return where it starts and how long it is, in bytes."""
        if self._stream is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._stream = open(self.path, "ab")  # noqa: SIM115 (open as long as the step runs)
        start = self._stream.tell()
        data = f"== {title}\n{text.rstrip()}\n".encode()
        self._stream.write(data)
        self._stream.flush()
        return start, len(data)

    def close(self) -> None:
        """Close the file, if any line was written."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None
