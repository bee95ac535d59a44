"""The INI sections of the framework itself: DEFAULT, EXECUTION, FILE, JOB, BATCH, and others."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator

from shapepipe.pipeline.options import Address, Duration, Folder, Keep, Scheme, Section, option
from shapepipe.pipeline.rehearsal import parse_planted


def _plain_name(text: str) -> str:
    if not text or re.search(r"[\s/]", text):
        raise ValueError(f"{text!r} is not a name (allowed: no blanks, no '/')")
    return text


Name = Annotated[str, AfterValidator(_plain_name)]


def _planted(text: str) -> str:
    parse_planted(text)
    return text


PlantedFault = Annotated[str, AfterValidator(_planted)]


class DefaultSection(Section):
    """[DEFAULT]: how the run is called."""

    verbose: bool = option(
        True, doc="Show progress and messages on the terminal as well as in the log."
    )
    run_name: Name = option("shapepipe_run", doc="Base of the run directory's name.")
    run_datetime: bool = option(
        True, doc="Append date and time (_YYYY-MM-DD_HH-MM-SS) to RUN_NAME."
    )


class ExecutionSection(Section):
    """[EXECUTION]: what runs, and on what."""

    module: list[str] = option(
        doc="Runners in order: names, or package.module:function. A name may appear more than once."
    )
    mode: Literal["smp", "mpi", "dask", "serial"] = option(
        "smp",
        doc="Pool: workers here (smp), ranks of mpiexec, workers of a Dask cluster, or one worker.",
    )
    module_path: list[str] = option([], doc="Folders with runners of your own, one file each.")
    keep: Keep = option(
        "all",
        doc="What stays: all; products (of every step, but not the shares that were joined); final"
        " (products that no later step takes, and those of steps that take all files at once).",
    )


class FileSection(Section):
    """[FILE]: where files are and how they are named."""

    log_name: Name = option("shapepipe", doc="Name of the run's log in logs/.")
    run_log_name: Name = option(
        "shapepipe_runs", doc="Name (without .txt) of the list of all runs in OUTPUT_DIR."
    )
    input_dir: Address | None = option(
        None, doc="Directories or addresses (last:, all:, RUN:runner) that hold the inputs."
    )
    output_dir: Folder = option(doc="Existing directory in which the run directory is made.")
    file_pattern: list[str] | None = option(
        None, doc="File names before the number, for steps that read INPUT_DIR of this section."
    )
    file_ext: list[str] | None = option(None, doc="Extensions that go with FILE_PATTERN.")
    numbering_scheme: Scheme | None = option(
        None, doc="Form of the number in file names: one zero = digits, several = that many digits."
    )
    number_list: str | None = option(
        None, doc="Numbers to process: a comma list, or a file with one number a line."
    )
    correct_file_pattern: bool = option(
        True, doc="Accept a FILE_PATTERN that is only part of the name before the number."
    )


class JobSection(Section):
    """[JOB]: how many jobs at a time, and for how long."""

    smp_batch_size: int = option(1, at_least=1, doc="Number of jobs that run at the same time.")
    smp_backend: Literal["supervised", "loky", "multiprocessing", "threading"] = option(
        "supervised",
        doc="What hands out the jobs under smp; in each, a job runs in a supervised process.",
    )
    timeout: Duration | None = option(
        None, doc="Longest time of one job, in seconds or H:M:S; its programs are ended as well."
    )
    timeout_max: Duration | None = option(
        None, doc="A job that took too long is tried again with twice the time, up to this."
    )
    memory: float | None = option(
        None, above=0, unit="MB", doc="Most memory of one job with its programs; more ends the job."
    )
    memory_max: float | None = option(
        None, above=0, unit="MB",
        doc="A job that needed too much is tried again with twice the memory, up to this.",
    )  # fmt: skip
    retries: int = option(
        0,
        at_least=0,
        doc="How often a job is tried again that was killed, out of memory or time, or met an I/O"
        " error. Bad data and faults of the code are never tried again.",
    )
    retries_per_run: int = option(
        100, at_least=0, doc="Most such tries in one run, so that a sick machine cannot eat it up."
    )
    rank_silence: Duration = option(
        "00:05:00",
        doc="A rank of MPI that has jobs and gives no sign of life for so long is given up: the job"
        " it had under way is lost, the others go on.",
    )
    dask_scheduler: str | None = option(
        None, doc="Dask cluster that runs already: address (tcp://...) or file of its scheduler."
    )
    dask_cluster: str = option(
        "local",
        doc="Dask cluster to start for the run, with SMP_BATCH_SIZE workers: local, or one of"
        " dask-jobqueue's by name (slurm, pbs, lsf, ...), which gets what [BATCH] asks for.",
    )


class BatchSection(Section):
    """[BATCH]: what `shapepipe submit` asks a batch system for."""

    shards: int = option(
        4, at_least=1, doc="Number of array elements that share the units; no result depends on it."
    )
    time: Duration = option("04:00:00", doc="Longest time of one element, in seconds or H:M:S.")
    memory: str | None = option(None, doc="Memory of one element, such as 8G.")
    partition: str | None = option(None, doc="Partition or queue.")
    account: str | None = option(None, doc="Account that pays.")
    warning: float = option(
        120.0, at_least=15, unit="s",
        doc="How long before the end of its time an element is told to end and to be queued again.",
    )  # fmt: skip
    directives: list[str] = option(
        [], doc="More options of the batch system: --qos=long, --constraint=... (comma list)."
    )
    prologue: str = option("", doc="Shell lines to run first, such as: module load gcc.")


class WorkerSection(Section):
    """[WORKER]: what workers show."""

    process_print_limit: int = option(
        200, at_least=0, unit="characters", doc="Longest list of unit numbers shown in a message."
    )


class RehearsalSection(Section):
    """[REHEARSAL]: faults that are planted on purpose, to see what they cost."""

    faults: list[PlantedFault] = option(
        [],
        doc="What fails, and how: STEP NUMBER FAULT, with `once` after it for a fault that spares "
        "units which were tried before (comma list). 5% for NUMBER stands for that share of the "
        "units. FAULT is raise, baddata, exit, sigkill, sigsegv, hang, deaf, leak, half, missing, "
        "enospc, eio or slow.",
    )
    slow: float = option(10.0, at_least=0, unit="s", doc="Time by which `slow` delays a job.")
    leak: float = option(
        2000.0, above=0, unit="MB", doc="Memory that `leak` takes at most before it goes on."
    )


SECTIONS = {
    "DEFAULT": DefaultSection,
    "EXECUTION": ExecutionSection,
    "FILE": FileSection,
    "JOB": JobSection,
    "BATCH": BatchSection,
    "WORKER": WorkerSection,
    "REHEARSAL": RehearsalSection,
}
"""Section name to declaration. Everything else in an INI file is the section of a runner."""
