"""Named points between the steps by which a run gets on disk, where a rehearsal can strike.

    SHAPEPIPE_FAULT_AT=record-written:3 shapepipe_run -c config.ini

kills the process that passes the point for the third time; `record-written:3:full` lets it find the
disk full there instead. Every process counts for itself. With SHAPEPIPE_FAULT_MARK=FILE the fault
strikes once only: the process that makes the file is the one. Without the variable nothing happens.
"""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable, Mapping
from types import MappingProxyType

from shapepipe.errors import ConfigurationError

VARIABLE, MARK = "SHAPEPIPE_FAULT_AT", "SHAPEPIPE_FAULT_MARK"
HEAD, WORKER, RANK, SUBMISSION = "head", "worker", "rank", "submission"

POINTS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "directory-made": (HEAD, "the directory of the run is there, and empty"),
        "lock-taken": (HEAD, "the run is locked; the lock does not say by whom yet"),
        "lock-signed": (HEAD, "the lock says by whom"),
        "configuration-copied": (HEAD, "the INI file and its secondary files are copied"),
        "part-written": (HEAD, "a file is whole under its part name, and not renamed"),
        "launch-written": (HEAD, "run.json tells of this start"),
        "run-listed": (HEAD, "the list of runs names the run"),
        "scratch-cleared": (HEAD, "what an earlier process left is removed"),
        "records-opened": (HEAD, "the records are open, a torn last line is closed"),
        "log-opened": (HEAD, "the log of the run is open"),
        "step-begun": (HEAD, "the directories of a step are made"),
        "missing-listed": (HEAD, "a gathering step has its list of missing units"),
        "step-described": (HEAD, "the workers can read what the jobs of a step have in common"),
        "step-reopened": (HEAD, "the step is no longer noted as ended"),
        "worker-started": (HEAD, "a worker process is started"),
        "dead-job-cleared": (HEAD, "the log and the leftovers of a dead worker's job are in order"),
        "outcome-received": (HEAD, "the outcome of a job has come"),
        "old-products-removed": (HEAD, "products that the job no longer makes are removed"),
        "log-kept": (HEAD, "what the job logged is in the log of its step"),
        "record-written": (HEAD, "a line of the records is written"),
        "try-counted": (HEAD, "a job is queued to be tried again"),
        "products-withdrawn": (HEAD, "products of a unit that can no longer run are removed"),
        "step-over": (HEAD, "the last unit of a step is settled"),
        "step-finished": (HEAD, "the step is noted as ended"),
        "step-bound": (HEAD, "the units of a step are found while the run goes on"),
        "pool-closed": (HEAD, "the workers have gone"),
        "run-over": (HEAD, "the log says that the run has ended"),
        "task-received": (WORKER, "the worker has a task"),
        "products-ready": (WORKER, "all products are whole in the private directory"),
        "product-renamed": (WORKER, "one product has its final name"),
        "job-log-kept": (WORKER, "the log of the job is where it belongs"),
        "outcome-ready": (WORKER, "the private directory is empty, the outcome can be sent"),
        "outcome-sent": (WORKER, "the head can read the outcome"),
        "rank-has-task": (RANK, "a rank other than the head has got a task"),
        "rank-has-outcome": (RANK, "the worker of the rank is done, the head does not know"),
        "rank-has-answered": (RANK, "the outcome is on its way to the head"),
        "submission-begun": (SUBMISSION, "run.json tells of this start"),
        "submission-written": (SUBMISSION, "scripts and shares are written"),
        "submission-queued": (SUBMISSION, "the batch system has the jobs; nothing tells of it"),
        "submission-noted": (SUBMISSION, "the numbers of the jobs are noted"),
    }
)
"""Name of each point -> whose it is, and what has just been done."""


class Fault:
    """What strikes at a point.

    Parameters
    ----------
    text : str
        `point`, `point:n` or `point:n:full`.
    mark : str
        File that is made when it strikes; it does not strike where the file is there already.
    """

    def __init__(self, text: str, mark: str = ""):
        self.text, self.mark, self._passed = text, mark, 0

    def __call__(self, point: str) -> None:
        """Pass a point, if the fault lets one."""
        name, count, full = self._parts()
        if point != name:
            return
        self._passed += 1
        if self._passed != count or not self._is_first():
            return
        if full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), f"(rehearsed at {point})")
        os.kill(os.getpid(), signal.SIGKILL)

    def _parts(self) -> tuple[str, int, bool]:
        name, _, rest = self.text.partition(":")
        count, _, how = rest.partition(":")
        if name not in POINTS or not (count or "1").isdigit() or how not in ("", "full"):
            raise ConfigurationError(
                f"{VARIABLE} = {self.text}: is not of the form POINT:N or POINT:N:full "
                f"(points: {', '.join(POINTS)})"
            )
        return name, int(count or 1), bool(how)

    def _is_first(self) -> bool:
        if not self.mark:
            return True
        try:
            os.close(os.open(self.mark, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return False
        return True


def _go_on(point: str) -> None:
    """Do nothing: this is not a rehearsal."""


reach: Callable[[str], None] = (
    Fault(os.environ[VARIABLE], os.environ.get(MARK, "")) if VARIABLE in os.environ else _go_on
)
"""Pass a point."""
