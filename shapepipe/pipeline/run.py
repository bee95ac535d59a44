"""A run from its configuration to its end: plan, dispatch, record.

`run` is also the entry from Python. A unit goes on to the next step as soon as its own inputs are
there; only steps that take all files wait for whole steps.
"""

from __future__ import annotations

import importlib
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from shapepipe.errors import ConfigurationError, RunRefused
from shapepipe.pipeline.config import RunConfig, load_config, secondary_files
from shapepipe.pipeline.dispatch import Pool, make_pool
from shapepipe.pipeline.flow import Flow
from shapepipe.pipeline.logs import close_logger, run_logger
from shapepipe.pipeline.plan import make_plan
from shapepipe.pipeline.progress import Display, NoDisplay
from shapepipe.pipeline.records import RUN_FILE, RunDirectory, RunList, this_machine
from shapepipe.pipeline.resume import mark_done, take_fingerprint, what_changed
from shapepipe.pipeline.steps import BAD, Plan

INTERRUPTED = 130


@dataclass(frozen=True)
class Result:
    """What became of a run.

    Attributes
    ----------
    exit_status : int
        0: all well; 1: something failed; 130: interrupted.
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
        ]


def prepare(
    path: str | Path,
    overrides: Sequence[str] = (),
    only: Sequence[str] = (),
    continue_run: str | Path | bool = False,
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

    Returns
    -------
    Plan
        With what is done already marked, if the run exists.
    """
    config = load_config(path, overrides)
    directory = RunDirectory(_run_path(config, continue_run))
    earlier = directory.read_run() if directory.exists() else {}
    plan = make_plan(config, directory, only, earlier.get("addresses"))
    for step in plan.steps:
        take_fingerprint(plan, step)
    if earlier:
        mark_done(plan, directory.records(), earlier.get("prints", {}))
    plan.warnings += config.warnings
    return plan


def _run_path(config: RunConfig, continue_run: str | Path | bool) -> Path:
    output, name = config.file.output_dir, config.default.run_name
    if isinstance(continue_run, (str, Path)):
        return Path(continue_run).absolute()
    if continue_run:
        return latest_run(output, name, config.default.run_datetime)
    if config.default.run_datetime:
        name = f"{name}_{datetime.now():%Y-%m-%d_%H-%M-%S}"
    return output / name


def latest_run(output: Path, name: str, dated: bool) -> Path:
    """The newest run of this name in an output directory.

    Raises
    ------
    RunRefused
        When there is none.
    """
    pattern = f"{name}_????-??-??_??-??-??" if dated else name
    runs = sorted(path for path in output.glob(pattern) if (path / RUN_FILE).is_file())
    if not runs:
        raise RunRefused(f"there is no run {pattern} in {output} to continue")
    return runs[-1]


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
            overrides: Sequence[str] = (), display=None) -> Result:  # fmt: skip
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

    Raises
    ------
    RunRefused
        When the run belongs to another process, or its configuration changed.
    """
    directory, config = plan.directory, plan.config
    differing = changes(plan)
    if differing and not allow_change:
        raise RunRefused(
            f"{directory.path} was made with another configuration: {'; '.join(differing)}. "
            "Start a new run, or continue this one with --allow-change."
        )
    new = not directory.exists()
    directory.acquire()
    try:
        _write_launch(plan, command, overrides)
        listed = RunList(config.file.output_dir, config.file.run_log_name)
        if directory.path not in dict(listed.runs()):
            listed.add(directory.path, [step.label for step in config.steps])
        _clear(directory.scratch)
        directory.open()
        return _go(plan, display)
    finally:
        directory.close()


def _go(plan: Plan, display) -> Result:
    config, directory = plan.config, plan.directory
    log = run_logger(directory.path / "logs" / f"{config.file.log_name}.log")
    display = display or (Display(plan) if config.default.verbose else NoDisplay())
    try:
        flow = Flow(plan, log, display)
        result = _drive_to_the_end(plan, flow, open_pool(config, directory.scratch))
        log.info("end of the run, exit status %d", result.exit_status)
    finally:
        close_logger(log)
    display.summary(flow, result)
    return result


def _drive_to_the_end(plan: Plan, flow: Flow, pool: Pool) -> Result:
    directory, status, stopped = plan.directory, None, ""
    try:
        with _termination_interrupts(), flow.display:
            drive(flow, pool)
    except KeyboardInterrupt:
        status, stopped = INTERRUPTED, "interrupted"
    except OSError as error:
        where = error.filename or directory.path
        status, stopped = 1, f"the run stopped: {error.strerror}: {where}"
        flow.log.error("%s", stopped)
    finally:
        pool.close()
        flow.close()
        _clear(directory.scratch)
    if status is None:
        bad = any(step.count(*BAD) or step.incomplete for step in plan.steps) or flow.complaints
        status = 1 if bad else 0
    return Result(status, directory.path, flow.counts(), plan, stopped)


def drive(flow: Flow, pool: Pool) -> None:
    """Keep the pool busy until nothing is left to do."""
    while True:
        for assignment in flow.next(pool.room()):
            pool.submit(assignment)
        if not pool.busy():
            break
        for outcome in pool.wait(1.0):
            flow.take(outcome)
        flow.display.refresh()


def open_pool(config: RunConfig, folder: Path) -> Pool:
    """Open the pool that MODE asks for."""
    if config.execution.mode == "mpi":
        mpi = load_mpi()
        if mpi.world_size() > 1:
            return mpi.MpiPool(folder)
        return make_pool("serial", "supervised", 1, folder)
    return make_pool(
        config.execution.mode, config.job.smp_backend, config.job.smp_batch_size, folder
    )


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


@contextmanager
def _termination_interrupts() -> Iterator[None]:
    """Treat SIGTERM as Ctrl-C, so that a batch system's first warning ends the run in order."""

    def interrupt(*_):
        raise KeyboardInterrupt

    try:
        before = signal.signal(signal.SIGTERM, interrupt)
    except ValueError:  # not in the main thread, as in some notebooks
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _clear(scratch: Path) -> None:
    """Remove what attempts left behind."""
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True, exist_ok=True)


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
