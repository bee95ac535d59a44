"""The pool of a Dask cluster: one that runs already, or one that is started for this run.

A Dask worker hands each job to a supervised process of its own, so a job that crashes or hangs does
not take the worker along; the job of a worker that dies is done by another one. This file needs
dask's `distributed`, and `dask_jobqueue` for the cluster of a batch system.
"""

from __future__ import annotations

import importlib
import sys
import threading
import time
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

from distributed import Client, LocalCluster, WorkerPlugin, get_worker

from shapepipe.errors import ConfigurationError
from shapepipe.pipeline.crew import Assignment, Crew
from shapepipe.pipeline.dispatch import ExecutorPool, supervise
from shapepipe.pipeline.job import Outcome
from shapepipe.pipeline.options import nearest, parse_duration

LOOK_EVERY = 5.0
"""Seconds between two looks at how many workers there are."""
PATIENCE = 15.0
"""Seconds in which a scheduler must answer."""
LIFETIME = 300.0
"""Seconds before the end of their time at which the workers of a batch system end in order."""
KEEPER = "shapepipe-crews"


def own_version() -> str:
    """Version of the package that this process has."""
    return sys.modules["shapepipe"].__version__


class DaskPool(ExecutorPool):
    """Hands assignments to Dask workers.

    Parameters
    ----------
    config : RunConfig
        [JOB] DASK_SCHEDULER, DASK_CLUSTER and SMP_BATCH_SIZE, and what [BATCH] asks for.
    folder : Path
        Directory, seen by all workers, for what they print.
    """

    def __init__(self, config, folder: Path):
        self._cluster = None
        self._client = self._connect(config, folder)
        try:
            self._client.register_plugin(
                CrewKeeper(str(folder), sys.modules["shapepipe"].__version__)
            )
        except Exception:
            self._end()
            raise
        self._address = self._client.scheduler.addr
        self._looked = -LOOK_EVERY
        super().__init__(self._client.get_executor, config.job.smp_batch_size, folder)

    def _connect(self, config, folder: Path) -> Client:
        address = config.job.dask_scheduler
        if address and Path(address).is_file():
            return Client(scheduler_file=address)
        if address:
            try:
                return Client(address, timeout=PATIENCE)
            except (OSError, ValueError) as error:
                text = f"[JOB] DASK_SCHEDULER = {address}: cannot be reached: {error}"
                raise ConfigurationError(text) from error
        self._cluster = start_cluster(config, folder)
        return Client(self._cluster)

    def room(self) -> int:
        """Number of assignments that can be taken at once; it follows the number of workers."""
        if time.monotonic() - self._looked > LOOK_EVERY:
            self.size = max(1, sum(self._client.nthreads().values()))
            self._looked = time.monotonic()
        return super().room()

    def _send(self, assignment: Assignment):
        return self._executor.submit(do_on_worker, assignment, self._folder)

    def wait(self, timeout: float | None = None) -> list[Outcome]:
        """Wait for outcomes; empty when the time is over.

        Raises
        ------
        OSError
            When the scheduler has gone, and with it all that it knew of this run.
        """
        try:
            if self._client.status in ("running", "connecting"):
                return super().wait(timeout)
        except CancelledError:
            pass
        raise ConnectionError(107, "the Dask scheduler has gone", self._address)

    def close(self) -> None:
        """Give up what is under way; end the workers that were started for this run."""
        super().close()
        self._end()

    def _end(self) -> None:
        if self._client.status == "running":
            self._client.unregister_worker_plugin(KEEPER)
        self._client.close()
        if self._cluster is not None:
            self._cluster.close()


class CrewKeeper(WorkerPlugin):
    """The supervised processes of one Dask worker, one for each of its threads.

    Parameters
    ----------
    folder : str
        Directory for what they print.
    version : str
        Version of this package at the head; a worker with another one is refused.
    """

    name = KEEPER

    def __init__(self, folder: str, version: str):
        self.folder, self.version = folder, version
        self._crews: dict[int, Crew] = {}

    def setup(self, worker) -> None:
        """Check that a worker can take jobs of this run."""
        if own_version() != self.version:
            raise RuntimeError(
                f"{worker.address} has ShapePipe {own_version()}, not {self.version}"
            )
        if not Path(self.folder).is_dir():
            raise RuntimeError(f"{worker.address} does not see {self.folder}")

    def crew(self) -> Crew:
        """Crew of the calling thread."""
        thread = threading.get_ident()
        if thread not in self._crews:
            self._crews[thread] = Crew(1, self.folder)
        return self._crews[thread]

    def teardown(self, worker) -> None:
        """End the processes with the run."""
        for crew in self._crews.values():
            crew.close()
        self._crews.clear()

    def __getstate__(self) -> tuple[str, str]:
        return self.folder, self.version

    def __setstate__(self, state: tuple[str, str]) -> None:
        CrewKeeper.__init__(self, *state)


def do_on_worker(assignment: Assignment, folder: str) -> Outcome:
    """Do one assignment in a supervised process of this Dask worker."""
    keeper: Any = get_worker().plugins[KEEPER]
    return supervise(keeper.crew(), assignment, folder)


def start_cluster(config, folder: Path):
    """Start the cluster that [JOB] DASK_CLUSTER names.

    Raises
    ------
    ConfigurationError
        When `dask_jobqueue` is missing, or has no such cluster.
    """
    name, size = config.job.dask_cluster, config.job.smp_batch_size
    if name.lower() == "local":
        return LocalCluster(
            n_workers=size, threads_per_worker=1, dashboard_address=None,
            local_directory=str(folder),
        )  # fmt: skip
    try:
        jobqueue = importlib.import_module("dask_jobqueue")
    except ImportError as error:
        raise ConfigurationError(f"[JOB] DASK_CLUSTER = {name} needs dask-jobqueue") from error
    names = {n.removesuffix("Cluster").lower(): n for n in dir(jobqueue) if n.endswith("Cluster")}
    chosen = names.get(name.lower().removesuffix("cluster"))
    if chosen is None:
        allowed = ", ".join(["local", *sorted(names)])
        raise ConfigurationError(
            f"[JOB] DASK_CLUSTER = {name}: is not known (allowed: {allowed}){nearest(name, names)}"
        )
    cluster = getattr(jobqueue, chosen)(**_request(config, folder))
    cluster.adapt(minimum_jobs=size, maximum_jobs=size)  # replaces those whose time is over
    return cluster


def _request(config, folder: Path) -> dict:
    """What to ask a batch system for, for one worker; what is not given stays its default."""
    batch = config.batch
    seconds = parse_duration(batch.time) or 0.0
    logs = folder.parent / "logs"
    lifetime = max(60, int(seconds - LIFETIME))
    asked = {"queue": batch.partition, "account": batch.account}
    return {
        "cores": 1,
        "processes": 1,
        "memory": batch.memory or "2GB",
        "walltime": f"{int(seconds) // 3600:02d}:{int(seconds) % 3600 // 60:02d}:00",
        "python": sys.executable,
        "job_extra_directives": list(batch.directives),
        "job_script_prologue": batch.prologue.splitlines(),
        "local_directory": str(folder),
        "log_directory": str(logs),
        "worker_extra_args": ["--lifetime", f"{lifetime}s", "--lifetime-stagger", "30s"],
        "scheduler_options": {"dashboard_address": None},
        **{key: value for key, value in asked.items() if value},
    }
