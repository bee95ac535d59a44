"""Cost of a job that does nothing, under every pool, beside that of the bare engine below it.

    python scripts/bench.d/engines.py smp mpi              100,000 jobs each
    python scripts/bench.d/engines.py dask --jobs 20000
    python scripts/bench.d/engines.py smp mpi --keep       add the figures to engines.jsonl as well

Jobs have two input files and leave a record. CPU is user and system time of the command with all
that it starts, start included; ranks of MPI that wait for a message keep a processor busy, so their
elapsed time tells more. The bare engines do not look at files, supervise nothing, keep no records:
joblib's loky and a loop of send and receive with mpi4py and mpi4py.futures, on as many workers as
the pool has (two), and Dask's `Client.map` and `Client.submit` on a cluster of two processes.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

from dispatch import BARE, cost_of, prepare_case
from figures import show

MPIEXEC = ["mpiexec", "-n", "3", "--oversubscribe"]
LOOP = """
import sys
from mpi4py import MPI
def idle(number, left, right):
    return number, "ok"
world, n = MPI.COMM_WORLD, int(sys.argv[1])
if world.Get_rank():
    while (task := world.recv(source=0)) is not None:
        world.send(idle(*task), 0)
else:
    tasks = ((f"-{k:07d}", f"left-{k:07d}", f"right-{k:07d}") for k in range(n))
    for target in range(1, world.Get_size()):
        world.send(next(tasks), target)
    status, ended = MPI.Status(), 0
    while ended < n:
        assert world.recv(status=status)[1] == "ok"
        ended += 1
        task = next(tasks, None)
        world.send(task, status.Get_source())
"""
FUTURES = """
import sys
from mpi4py.futures import MPICommExecutor
def idle(number, left, right):
    return number, "ok"
with MPICommExecutor() as pool:
    if pool is not None:
        names = [[f"{name}-{k:07d}" for k in range(int(sys.argv[1]))]
                 for name in ("", "left", "right")]
        assert all(status == "ok" for _, status in pool.map(idle, *names, unordered=True))
"""
DASK = """
import sys
from distributed import Client, LocalCluster, as_completed
def idle(number, left, right):
    return number, "ok"
if __name__ == "__main__":
    n, how = int(sys.argv[1]), sys.argv[2]
    names = [[f"{name}-{k:07d}" for k in range(n)] for name in ("", "left", "right")]
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        with Client(cluster) as client:
            if how == "map":
                futures = client.map(idle, *names, pure=False)
            else:
                futures = [client.submit(idle, *each, pure=False) for each in zip(*names)]
            for future in as_completed(futures):
                assert future.result()[1] == "ok"
"""
PYTHON = [sys.executable]
BARE_ENGINES = {
    "smp": {"joblib loky": (PYTHON, BARE, [])},
    "mpi": {
        "mpi4py send and receive": ([*MPIEXEC, *PYTHON], LOOP, []),
        "mpi4py.futures": ([*MPIEXEC, *PYTHON], FUTURES, []),
    },
    "dask": {"Client.map": (PYTHON, DASK, ["map"]), "Client.submit": (PYTHON, DASK, ["submit"])},
}


def main() -> None:
    """Measure the pools that are named, each beside the engines below it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pools", nargs="+", choices=list(BARE_ENGINES))
    parser.add_argument("--jobs", type=int, default=100_000)
    parser.add_argument("--folder", default="/dev/shm" if os.path.isdir("/dev/shm") else None)
    parser.add_argument("--keep", action="store_true")
    given = parser.parse_args()
    for pool in given.pools:
        with tempfile.TemporaryDirectory(dir=given.folder) as text:
            measure(pool, Path(text), given)


def measure(pool: str, folder: Path, given) -> None:
    """Measure one pool and its engines."""
    n, ini = given.jobs, prepare_case(folder, given.jobs, "supervised", write=False)
    words = ["-m", "shapepipe", "run", "-c", str(ini), "-o", f"EXECUTION:MODE={pool}"]
    launcher = [*MPIEXEC, *PYTHON] if pool == "mpi" else PYTHON
    tell(f"{pool}, {n} jobs", n, cost_of([*launcher, *words]), given.keep)
    for name, (first, code, more) in BARE_ENGINES[pool].items():
        script = folder / "bare.py"
        script.write_text(code)
        tell(
            f"bare {name}, {n} tasks", n, cost_of([*first, str(script), str(n), *more]), given.keep
        )


def tell(what: str, n: int, cost: tuple[float, float, float], keep: bool) -> None:
    """Show the cost of one engine."""
    wall, cpu, _ = cost
    show(what, 1e3 * cpu / n, "ms CPU per job", keep)
    show(what, 1e3 * wall / n, "ms elapsed per job", keep)
    show(what, n / wall, "jobs per second", keep)


if __name__ == "__main__":
    main()
