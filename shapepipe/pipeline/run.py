"""A run from its configuration to its end: plan, dispatch, record.

`run` is also the entry from Python. A unit goes on to the next step as soon as its own inputs are
there; only steps that take all files wait for whole steps.
"""

from __future__ import annotations

import importlib
import os
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from shapepipe.errors import ConfigurationError, RunRefused
from shapepipe.pipeline.batch import refuse_stray
from shapepipe.pipeline.config import RunConfig, load_config, secondary_files
from shapepipe.pipeline.dispatch import Pool, make_pool
from shapepipe.pipeline.flow import Flow
from shapepipe.pipeline.logs import close_logger, run_logger
from shapepipe.pipeline.notice import Notice
from shapepipe.pipeline.options import parse_duration
from shapepipe.pipeline.plan import make_plan
from shapepipe.pipeline.points import reach
from shapepipe.pipeline.progress import Display, NoDisplay
from shapepipe.pipeline.records import RUN_FILE, RunDirectory, RunList, this_machine
from shapepipe.pipeline.resume import mark_done, take_fingerprint, what_changed
from shapepipe.pipeline.shards import Part
from shapepipe.pipeline.slurm import time_left
from shapepipe.pipeline.steps import BAD, Plan, State
from shapepipe.pipeline.tables import html_table, outcome_rows

INTERRUPTED = 130
TO_CONTINUE = 75


@dataclass(frozen=True)
class Result:
    """What became of a run.

    Attributes
    ----------
    exit_status : int
        0: all well; 1: something failed; 75: out of time, to be continued; 130: interrupted.
    path : Path
        The run directory.
    counts : dict
        Step label -> {state name: number of units}.
    """

    exit_status: int
    path: Path
    counts: dict[str, dict[str, int]]
    plan: Any = None
    stopped_by: str = ""

    def table(self, step: str = "") -> list[dict]:
        """Newest outcome of each unit as a flat row, metrics included; see `tables.outcome_rows`.

        `pandas.DataFrame(result.table())` and `astropy.table.Table(result.table())` take it.
        """
        return outcome_rows(RunDirectory(self.path), step)

    def _repr_html_(self) -> str:
        """What a notebook shows: units by step and state."""
        return html_table(self.counts, f"{self.path}: exit status {self.exit_status}")

    def outcomes(self) -> list[dict]:
        """Records of all jobs, oldest first, as dictionaries."""
        return [line for line in RunDirectory(self.path).lines() if "status" in line]

    def products(self, step: str) -> list[Path]:
        """Products of a step."""
        directory = RunDirectory(self.path)
        return [
            directory.output(step) / name
            for (label, _), record in sorted(directory.records().items())
            if label == step and record.status == "ok"
            for name in record.products
            if name not in record.removed
        ]


def prepare(
    path: str | Path,
    overrides: Sequence[str] = (),
    only: Sequence[str] = (),
    continue_run: str | Path | bool = False,
    part: Part | None = None,
) -> Plan:
    """Read, check and plan; nothing is created.

    Parameters
    ----------
    path : path
        INI file.
    overrides : sequence of str
        `SECTION:KEY=VALUE`.
    only : sequence of str
        Numbers to process.
    continue_run : path or bool
        The run to continue: its directory, or True for the last one of this name.
    part : Part, optional
        What this process does of the run; default: all.

    Returns
    -------
    Plan
        With what is done already marked, if the run exists.
    """
    config = load_config(path, overrides)
    path = _run_path(config, continue_run)
    directory = RunDirectory(path, part.name if part else "")
    if part is not None and part.submission:
        refuse_stray(directory, part.submission)
    earlier = directory.read_run() if directory.exists() else {}
    plan = make_plan(config, directory, only, earlier.get("addresses"))
    plan.part = part
    if part is not None:
        part.prepare(plan)
    for step in plan.steps:
        take_fingerprint(plan, step)
    if earlier or part is not None:
        mark_done(plan, directory.records(), earlier.get("prints", {}))
    plan.warnings += config.warnings
    return plan


def _run_path(config: RunConfig, continue_run: str | Path | bool) -> Path:
    output, name = config.file.output_dir, config.default.run_name
    if isinstance(continue_run, (str, Path)):
        return Path(continue_run).absolute()
    if continue_run:
        listed = RunList(output, config.file.run_log_name)
        return latest_run(output, name, config.default.run_datetime, listed)
    return _dated(output / name) if config.default.run_datetime else output / name


def _dated(path: Path) -> Path:
    """Add date and time; if the clock has shown them before, the next second that is free."""
    now = datetime.now()
    while (dated := path.with_name(f"{path.name}_{now:%Y-%m-%d_%H-%M-%S}")).exists():
        now += timedelta(seconds=1)
    return dated


def latest_run(output: Path, name: str, dated: bool, listed: RunList) -> Path:
    """The run of this name in an output directory that was started last.

    The list of runs tells, not the names: clocks are set back, once a year even on purpose.

    Raises
    ------
    RunRefused
        When there is none.
    """
    pattern = f"{name}_????-??-??_??-??-??" if dated else name
    runs = [path for path in output.glob(pattern) if (path / RUN_FILE).is_file()]
    if not runs:
        raise RunRefused(f"there is no run {pattern} in {output} to continue")
    order = {path: index for index, (path, _) in enumerate(listed.runs())}
    return max(runs, key=lambda path: (order.get(path, len(order)), path.name))


def changes(plan: Plan) -> list[str]:
    """What differs between the configuration of a plan and that of the run which it continues."""
    if not plan.directory.exists():
        return []
    content = plan.directory.read_run()
    before, prints = content["launches"][-1]["steps"], content.get("prints", {})
    now = {step.label: step for step in plan.steps}
    found = [f"step {label} is new" for label in now if label not in before]
    found += [f"step {label} is no longer in MODULE" for label in before if label not in now]
    for label, step in now.items():
        if label in before and before[label] != step.fingerprint:
            found.append(f"{label}: {what_changed(step, prints.get(before[label]))}")
    return found


def execute(plan: Plan, *, command: Sequence[str] = (), allow_change: bool = False,
            overrides: Sequence[str] = (), display=None,
            stop_after: float | None = None) -> Result:  # fmt: skip
    """Run a plan to its end.

    Parameters
    ----------
    plan : Plan
        From `prepare`.
    command : sequence of str
        The command line, for the record.
    allow_change : bool
        Continue a run although options, code or steps are not those that it was started with.
    overrides : sequence of str
        As given to `prepare`, for the record.
    display : Display, optional
        What people see; default: as [DEFAULT] VERBOSE says.
    stop_after : float, optional
        Begin no unit after so many seconds; the run can be continued.

    Raises
    ------
    RunRefused
        When the run belongs to another process, or its configuration changed.
    """
    refuse_changes(plan, allow_change)
    directory = plan.directory
    try:
        if plan.part is None:
            directory.acquire()
            begin(plan, command, overrides)
        else:
            _begin_together(plan, command, overrides)
            directory.acquire()
        directory.clear([step.label for step in plan.steps])
        reach("scratch-cleared")
        directory.open()
        if plan.part is not None:
            directory.commit(_launch_of_part(plan))
        return _go(plan, display, stop_after)
    except OSError as error:
        error.filename = error.filename or str(directory.path)  # as where a buffer was written out
        raise
    finally:
        directory.close()


def refuse_changes(plan: Plan, allow_change: bool) -> None:
    """Raise RunRefused when a plan would continue a run that was made otherwise."""
    differing = changes(plan)
    if differing and not allow_change:
        raise RunRefused(
            f"{plan.directory.path} was made with another configuration: {'; '.join(differing)}. "
            "Start a new run, or continue this one with --allow-change."
        )


def begin(plan: Plan, command: Sequence[str], overrides: Sequence[str]) -> None:
    """Add a start to the records of a run, and the run to the list of runs."""
    directory, config = plan.directory, plan.config
    _write_launch(plan, command, overrides)
    reach("launch-written")
    listed = RunList(config.file.output_dir, config.file.run_log_name)
    if directory.path not in dict(listed.runs()):  # a first start may have been cut short here
        listed.add(directory.path, [step.label for step in config.steps])
    reach("run-listed")


def _begin_together(plan: Plan, command: Sequence[str], overrides: Sequence[str]) -> None:
    """Make the run, unless another of its parts has done so."""
    whole = RunDirectory(plan.directory.path)
    while not whole.exists():
        try:
            whole.acquire()
        except RunRefused:  # another part is just making it
            time.sleep(0.1)
            continue
        try:
            if not whole.exists():
                begin(plan, command, overrides)
        finally:
            whole.close()


def _launch_of_part(plan: Plan) -> dict:
    """What the records of a part keep of its start."""
    launch = {"at": round(time.time(), 3), "submission": plan.part.submission}
    batch = {k: v for k, v in os.environ.items() if k in BATCH_VARIABLES}
    return {"launch": launch | {"stage": plan.part.stage} | this_machine() | batch}


BATCH_VARIABLES = (
    "SLURM_JOB_ID",
    "SLURM_ARRAY_JOB_ID",
    "SLURM_ARRAY_TASK_ID",
    "SLURM_RESTART_COUNT",
    "SLURMD_NODENAME",
)


def _go(plan: Plan, display, stop_after: float | None) -> Result:
    config, directory = plan.config, plan.directory
    log = run_logger(directory.path / "logs" / f"{config.file.log_name}{directory.ending}.log")
    reach("log-opened")
    display = display or (Display(plan) if config.default.verbose else NoDisplay())
    notice = Notice(config.batch.warning, stop_after, lambda: time_left(os.environ))
    try:
        with display:
            flow = Flow(plan, log, display)
            result = _drive_to_the_end(plan, flow, open_pool(config, directory.scratch), notice)
        log.info("end of the run, exit status %d", result.exit_status)
        if plan.part is not None:
            ended = {"at": round(time.time(), 3), "as": result.exit_status}
            directory.commit({"ended": ended | {"submission": plan.part.submission}})
        reach("run-over")
    finally:
        close_logger(log)
    display.summary(flow, result)
    return result


def _drive_to_the_end(plan: Plan, flow: Flow, pool: Pool, notice: Notice) -> Result:
    directory, status, stopped = plan.directory, None, ""
    try:
        with notice:
            taken = drive(flow, pool, notice)
        if notice.given() and any(step.count(State.TO_DO) for step in plan.steps):
            status, stopped = _out_of_time(taken)
    except KeyboardInterrupt:
        status, stopped = INTERRUPTED, "interrupted"
    except OSError as error:
        where = error.filename or directory.path
        status, stopped = 1, f"the run stopped: {error.strerror}: {where}"
        flow.log.error("%s", stopped)
    finally:
        pool.close()
        reach("pool-closed")
        flow.close()
        directory.clear([step.label for step in plan.steps])
    if status is None:
        bad = any(step.count(*BAD) or step.incomplete for step in plan.steps) or flow.complaints
        status = 1 if bad else 0
    return Result(status, directory.path, flow.counts(), plan, stopped)


def _out_of_time(taken: int) -> tuple[int, str]:
    """Exit status and reason when the time was over before the units were."""
    if taken:
        return TO_CONTINUE, "the time is over; the run is to be continued"
    return 1, "the time is too short: not one job has ended in it"


def drive(flow: Flow, pool: Pool, notice: Notice) -> int:
    """Keep the pool busy until nothing is left to do or the time is over; count the outcomes."""
    taken = 0
    while True:
        if not notice.given():
            for assignment in flow.next(pool.room()):
                pool.submit(assignment)
        if not pool.busy() or notice.over():
            return taken
        for outcome in pool.wait(1.0):
            flow.take(outcome)
            taken += 1
        flow.display.refresh()


def open_pool(config: RunConfig, folder: Path) -> Pool:
    """Open the pool that MODE asks for."""
    if config.execution.mode == "dask":
        return load_dask().DaskPool(config, folder)
    if config.execution.mode == "mpi":
        mpi = load_mpi()
        if mpi.world_size() > 1:
            return mpi.MpiPool(folder, parse_duration(config.job.rank_silence) or 0.0)
        return make_pool("serial", "supervised", 1, folder)
    return make_pool(
        config.execution.mode, config.job.smp_backend, config.job.smp_batch_size, folder
    )


def load_dask():
    """Import the pool of a Dask cluster, which needs distributed.

    Raises
    ------
    ConfigurationError
        When it is not installed.
    """
    try:
        return importlib.import_module("shapepipe.pipeline.dask_pool")
    except ImportError as error:
        text = f"[EXECUTION] MODE = dask needs distributed (pip install shapepipe[dask]): {error}"
        raise ConfigurationError(text) from error


def load_mpi():
    """Import the MPI pool, which needs mpi4py.

    Raises
    ------
    ConfigurationError
        When mpi4py or the MPI library is not there.
    """
    try:
        return importlib.import_module("shapepipe.pipeline.mpi")
    except (ImportError, RuntimeError) as error:
        raise ConfigurationError(
            f"[EXECUTION] MODE = mpi needs mpi4py and an MPI library: {error}"
        ) from error


def _write_launch(plan: Plan, command: Sequence[str], overrides: Sequence[str]) -> None:
    """Add this start to run.json, and copy the configuration."""
    directory, config = plan.directory, plan.config
    content = directory.read_run() if directory.exists() else {"launches": [], "prints": {}}
    launch = len(content["launches"])
    logs = directory.path / "logs"
    files = logs / "files"
    files.mkdir(parents=True, exist_ok=True)
    ending = f".{launch}" if launch else ""
    (logs / f"{config.path.name}{ending}").write_text(config.text, encoding="utf-8")
    for path in secondary_files(config):
        shutil.copyfile(path, files / f"{path.name}{ending}")
    reach("configuration-copied")
    content |= {
        "name": directory.path.name,
        "output_dir": str(config.file.output_dir),
        "addresses": plan.addresses,
    }
    content["prints"] |= {step.fingerprint: step.print_values for step in plan.steps}
    content["launches"].append(
        {
            "at": datetime.now().isoformat(" ", "seconds"),
            "command": list(command) or sys.argv,
            "directory": os.getcwd(),
            "config": str(config.path),
            "text": config.text,
            "overrides": list(overrides),
            "only": list(plan.only.texts),
            "environment": {k: v for k, v in os.environ.items() if k.startswith("SP_")},
            "machine": this_machine(),
            "versions": versions(plan),
            "cores": config.job.smp_batch_size,
            "shards": config.batch.shards,
            "steps": {step.label: step.fingerprint for step in plan.steps},
            "started": time.time(),
        }
    )
    directory.write_run(content)


def versions(plan: Plan) -> dict[str, str]:
    """Versions of the package, of the libraries that the runners ask for, and of the programs."""
    from_metadata = sys.modules["shapepipe"].__version__
    programs = {name: f"{item['version']} ({item['path']})" for name, item in plan.programs.items()}
    return {"shapepipe": from_metadata, **plan.packages, **programs}


def run(path: str | Path, *, overrides: Sequence[str] = (), only: Sequence[str] = (),
        resume: str | Path | bool = False, allow_change: bool = False) -> Result:  # fmt: skip
    """Run an INI file.

    Parameters
    ----------
    path : path
        The INI file.
    overrides : sequence of str
        `SECTION:KEY=VALUE`, over what the file says.
    only : sequence of str
        Numbers to process; default: all.
    resume : bool or path
        Continue the last run of this name, or the run in this directory.
    allow_change : bool
        Continue although the configuration changed.

    Returns
    -------
    Result

    Raises
    ------
    ConfigurationError
        When the configuration or the plan is wrong; nothing has been created then.
    RunRefused
        When the run cannot be continued.
    """
    plan = prepare(path, overrides, only, resume)
    return execute(plan, allow_change=allow_change, overrides=overrides)
