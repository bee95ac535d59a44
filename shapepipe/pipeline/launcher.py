"""Was this process started together with others by mpiexec or srun? Asked without MPI itself."""

from __future__ import annotations

from collections.abc import Mapping

from shapepipe.errors import ConfigurationError

LAUNCHERS = (
    ("mpiexec", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    ("mpiexec", "MV2_COMM_WORLD_RANK", "MV2_COMM_WORLD_SIZE"),
    ("mpiexec", "PMI_RANK", "PMI_SIZE"),
    ("srun", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS"),
)
"""Who starts several processes, and the variables of their number and count.

The count is that of a step of Slurm, which only srun makes: a batch script with many tasks is one
process.
"""


def launched_by(environment: Mapping[str, str]) -> tuple[str, int, int]:
    """Who started this process, its number from 0, and how many there are: ("", 0, 1) if alone."""
    for name, rank, size in LAUNCHERS:
        count = environment.get(size, "")
        if count.isdigit():  # the innermost counts: mpiexec may itself have been started by srun
            alone = int(count) == 1
            return ("", 0, 1) if alone else (name, int(environment.get(rank, "0")), int(count))
    return "", 0, 1


def is_one_too_many(mode: str, environment: Mapping[str, str]) -> bool:
    """Whether this process should leave everything to the first of those started with it.

    Parameters
    ----------
    mode : str
        MODE of the run; empty when it cannot be read, which the first process will complain of.

    Raises
    ------
    ConfigurationError
        In the first process, when all of them would carry out the same run.
    """
    name, rank, size = launched_by(environment)
    if mode and size > 1 and rank == 0:
        raise ConfigurationError(
            f"{name} has started {size} processes, each of which would do the whole run under "
            f"[EXECUTION] MODE = {mode}; take MODE = mpi, or start it once, without {name}"
        )
    return rank > 0
