"""Several processes of one command line are ranks of MPI, or a mistake that one of them tells."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from shapepipe.errors import ConfigurationError
from shapepipe.pipeline.launcher import is_one_too_many, launched_by

OPENMPI = {"OMPI_COMM_WORLD_SIZE": "3", "OMPI_COMM_WORLD_RANK": "1"}
MPICH = {"PMI_SIZE": "3", "PMI_RANK": "1"}
SRUN = {"SLURM_NTASKS": "3", "SLURM_STEP_NUM_TASKS": "3", "SLURM_PROCID": "1"}
SBATCH = {"SLURM_NTASKS": "64", "SLURM_JOB_ID": "7", "SLURM_PROCID": "0"}


@pytest.mark.parametrize(
    "environment, expected",
    [
        ({}, ("", 0, 1)),
        (OPENMPI, ("mpiexec", 1, 3)),
        (MPICH, ("mpiexec", 1, 3)),
        (SRUN, ("srun", 1, 3)),
        (SBATCH, ("", 0, 1)),  # a batch script is one process, however many tasks it may start
        (SBATCH | {"SLURM_STEP_NUM_TASKS": "1"}, ("", 0, 1)),
        ({"OMPI_COMM_WORLD_SIZE": "1", "OMPI_COMM_WORLD_RANK": "0"}, ("", 0, 1)),
        (SRUN | {"OMPI_COMM_WORLD_SIZE": "1", "OMPI_COMM_WORLD_RANK": "0"}, ("", 0, 1)),
    ],
)
def test_who_started_a_process(environment, expected):
    assert launched_by(environment) == expected


def test_the_first_of_several_tells_and_the_others_leave_it_to_them():
    assert not is_one_too_many("smp", SBATCH)
    assert is_one_too_many("smp", OPENMPI)
    with pytest.raises(ConfigurationError, match="mpiexec has started 3 processes, each of which"):
        is_one_too_many("smp", OPENMPI | {"OMPI_COMM_WORLD_RANK": "0"})


def test_an_unreadable_configuration_is_told_by_the_first_alone():
    assert is_one_too_many("", OPENMPI)
    assert not is_one_too_many("", OPENMPI | {"OMPI_COMM_WORLD_RANK": "0"})


@pytest.mark.mpi
def test_mpiexec_without_mode_mpi_is_refused(case):
    case.files("a", "b")
    case.ini("noop_runner")
    words = ["mpiexec", "-n", "2", sys.executable, "-m", "shapepipe", "run", "-c", case.path]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 2
    text = " ".join((done.stdout + done.stderr).split())
    assert text.count("mpiexec has started 2 processes") == 1
    assert text.count("[EXECUTION] MODE = smp; take MODE = mpi") == 1
    assert os.listdir(case.out) == []


def test_shards_of_one_run_may_be_started_together(case, monkeypatch):
    case.files("a", "b")
    case.ini("noop_runner")
    for name, value in SRUN.items():
        monkeypatch.setenv(name, value)
    assert case.call("", "-c", case.path, "--shard", "2/3")[0] == 0
    assert case.call("", "-c", case.path) == (0, "", "")
    assert len(case.records()) < 4
