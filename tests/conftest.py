"""What every test may rely on: programs are there or said to be missing, and MPI starts anywhere.

A test marked ``programs`` names those it needs, ``@pytest.mark.programs("psfex")``; without names
it needs SExtractor and PSFEx. Where something is missing the test is skipped with the reason; under
``CI=true`` such a skip is a failure, so that a green run has run everything.
"""

from __future__ import annotations

import atexit
import importlib.util
import os
import shutil
import tempfile
from pathlib import Path

import matplotlib
import pytest

matplotlib.use("Agg")

COMMANDS = {
    "sextractor": ("sex", "source-extractor", "sextractor"),
    "psfex": ("psfex",),
    "weightwatcher": ("ww", "weightwatcher", "WeightWatcher"),
    "swarp": ("swarp", "SWarp"),
    "fpack": ("fpack",),
}
ALSO_CALLED = {"sex": "sextractor", "source-extractor": "sextractor", "ww": "weightwatcher"}
REQUIRED_IN_CI = ("programs", "mpi", "slurm", "dask")


def pytest_configure():
    """Prepare the environment that the tests and the processes they start will see."""
    os.environ.update(mpi_settings(is_root=os.geteuid() == 0))
    if "PYTEST_XDIST_WORKER" in os.environ:  # Open MPI removes what another mpiexec begins to use
        own = tempfile.mkdtemp(prefix="mpi-")
        atexit.register(shutil.rmtree, own, ignore_errors=True)
        os.environ |= {"OMPI_MCA_orte_tmpdir_base": own, "PRTE_MCA_prte_tmpdir_base": own}
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    package = Path(__file__).parents[1] / "shapepipe"
    if not os.access(package, os.W_OK):  # where numba would otherwise keep its compiled kernels
        os.environ.setdefault("NUMBA_CACHE_DIR", tempfile.mkdtemp(prefix="numba-"))


def mpi_settings(is_root: bool) -> dict[str, str]:
    """Let Open MPI start more ranks than cores, in a container, and as root where we are root."""
    settings = {
        "OMPI_MCA_rmaps_base_oversubscribe": "1",  # Open MPI 4
        "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",  # Open MPI 5
        "OMPI_MCA_btl_vader_single_copy_mechanism": "none",  # needs a right that containers lack
    }
    if is_root:
        settings |= {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    return settings


def pytest_runtest_setup(item):
    """Skip a test, with the reason, when what its marks ask for is not installed."""
    for mark in item.iter_markers("programs"):
        for name in mark.args or ("sextractor", "psfex"):
            name = ALSO_CALLED.get(name.lower(), name.lower())
            if not any(shutil.which(command) for command in COMMANDS[name]):
                pytest.skip(f"{name} is not installed; scripts/test installs it")
    if item.get_closest_marker("mpi"):
        if not shutil.which("mpiexec"):
            pytest.skip("mpiexec is not installed; scripts/test installs it")
        if importlib.util.find_spec("mpi4py") is None:
            pytest.skip("mpi4py is not installed; scripts/test installs it")
    if item.get_closest_marker("slurm"):
        for command in ("slurmctld", "slurmd", "sbatch", "munged"):
            if not shutil.which(command, path=f"{os.environ['PATH']}:/usr/sbin"):
                pytest.skip(f"{command} is not installed; scripts/test installs it")
    if item.get_closest_marker("dask") and importlib.util.find_spec("distributed") is None:
        pytest.skip("distributed is not installed; scripts/test installs it")
    if item.get_closest_marker("ngmix") and importlib.util.find_spec("ngmix") is None:
        pytest.skip("ngmix is not installed; it comes from conda-forge")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    """Turn the skip of a test that continuous integration must run into a failure."""
    outcome = yield
    report = outcome.get_result()
    required = any(item.get_closest_marker(name) for name in REQUIRED_IN_CI)
    if report.skipped and required and os.environ.get("CI") == "true":
        if not hasattr(report, "wasxfail"):
            report.outcome = "failed"
            report.longrepr = f"skipped, but CI must run it: {report.longrepr[2]}"
