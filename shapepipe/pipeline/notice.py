"""Word that a run must stop: at once (SIGTERM, Ctrl-C), or soon (SIGUSR1, or its own clock).

A batch system gives such word before the time of a job is over. Then no further unit is begun,
those under way get the time that is left, and the run can be continued by another process.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from typing import Any, Self

TIDYING = 10.0
"""Seconds before the end that are kept for giving up what is under way; less if time is short."""


class Notice:
    """Listens for word that the run must stop, as long as the run goes on.

    Parameters
    ----------
    warning : float
        Seconds before the end from which on no unit is begun.
    after : float, optional
        Give the word by itself after so many seconds.
    time_left : callable, optional
        Seconds until the end, if somebody knows; asked at the beginning, since the word can come
        before anybody listens, and when the word comes, since it can come early.
    """

    def __init__(
        self,
        warning: float = 0.0,
        after: float | None = None,
        time_left: Callable[[], float | None] | None = None,
    ):
        self._warning, self._time_left, self._word = warning, time_left, False
        self._end = None if after is None else time.monotonic() + after + warning
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        left = self._time_left() if self._time_left else None
        if left is not None:
            self._warning = min(self._warning, 0.5 * left)
            self._end_in(left)
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
        self._word = True

    def given(self) -> bool:
        """Whether no further unit may be begun."""
        if self._word:
            self._word, left = False, self._time_left() if self._time_left else None
            self._end_in(self._warning if left is None else left)
        return self._end is not None and time.monotonic() >= self._end - self._warning

    def _end_in(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        self._end = end if self._end is None else min(self._end, end)

    def over(self) -> bool:
        """Whether the time of those under way is over as well."""
        tidying = min(TIDYING, 0.3 * self._warning)
        given = self.given()
        return given and self._end is not None and time.monotonic() >= self._end - tidying
