"""Word that a run must stop: at once (SIGTERM, Ctrl-C), or soon (SIGUSR1, or its own clock).

A batch system gives such word before the time of a job is over. Then no further unit is begun,
those under way get the time that is left, and the run can be continued by another process.
"""

from __future__ import annotations

import signal
import time
from typing import Self

LEAST = 1
"""Units that a process does whatever the clock says, so that a run which is continued moves on."""


class Notice:
    """Listens for word that the run must stop, as long as the run goes on.

    Parameters
    ----------
    grace : float
        Seconds between the word and the end.
    after : float, optional
        Give the word by itself after so many seconds.
    """

    def __init__(self, grace: float = 0.0, after: float | None = None):
        self._grace, self._at = grace, None if after is None else time.monotonic() + after
        self._before: dict[int, object] = {}

    def __enter__(self) -> Self:
        wanted = {signal.SIGTERM: self._interrupt, signal.SIGUSR1: self._hurry}
        try:
            self._before = {name: signal.signal(name, what) for name, what in wanted.items()}
        except ValueError:  # not in the main thread, as in some notebooks
            self._before = {}
        return self

    def __exit__(self, *_) -> None:
        for name, what in self._before.items():
            signal.signal(name, what)

    def _interrupt(self, *_) -> None:
        raise KeyboardInterrupt

    def _hurry(self, *_) -> None:
        now = time.monotonic()
        self._at = now if self._at is None else min(self._at, now)

    def given(self) -> bool:
        """Whether no further unit may be begun."""
        return self._at is not None and time.monotonic() >= self._at

    def over(self) -> bool:
        """Whether the time of those under way is over as well."""
        return self._at is not None and time.monotonic() >= self._at + self._grace
