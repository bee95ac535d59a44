"""Cost of a job in CPU seconds, of a plan in time and memory, beside the bare cost of joblib.

    python scripts/bench.d/dispatch.py                      10,000 and 20,000 jobs
    python scripts/bench.d/dispatch.py --jobs 100000        other numbers of jobs
    python scripts/bench.d/dispatch.py --plan 1000000       a plan of that many units

Jobs do nothing, have two input files each and run under smp with two workers. CPU is user and
system time of the head and all its workers, start included. Files are made in --folder: on /dev/shm
the figures are our own cost; on a disk the file system adds to them.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

NOOP = '''"""Nothing, as fast as possible."""
from shapepipe import Input, Options, Output, runner


@runner(
    inputs=[Input("left"), Input("right")],
    outputs=[Output("none", optional=True)],
    numbering="-0000000",
)
def idle_runner(job, opts: Options):
    """Do nothing, or write a product."""
    if {write}:
        job.output("none").write_bytes(b"nothing")
'''
INI = """[DEFAULT]
RUN_NAME = bench
RUN_DATETIME = False
VERBOSE = False
[EXECUTION]
MODULE = idle_runner
MODULE_PATH = {folder}
[FILE]
INPUT_DIR = {folder}/in
OUTPUT_DIR = {folder}
[JOB]
SMP_BATCH_SIZE = 2
SMP_BACKEND = {backend}
"""
PLAN = """
import resource, sys, time
from shapepipe.pipeline.run import prepare
start, cpu = time.perf_counter(), time.process_time()
plan = prepare(sys.argv[1])
print(len(plan.steps[0].numbers), time.perf_counter() - start, time.process_time() - cpu,
      resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""
BARE = """
import sys
from joblib import Parallel, delayed
def idle(number, left, right):
    return number, "ok"
if __name__ == "__main__":
    calls = (delayed(idle)(f"-{k:07d}", f"left-{k:07d}", f"right-{k:07d}")
             for k in range(int(sys.argv[1])))
    Parallel(n_jobs=2, batch_size=1)(calls)
"""


def main() -> None:
    """Print one line of JSON for each figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, nargs="*", default=None)
    parser.add_argument("--plan", type=int, nargs="*", default=[])
    parser.add_argument("--backend", default="supervised")
    parser.add_argument("--write", action="store_true", help="each job writes a small product")
    parser.add_argument("--folder", default="/dev/shm" if os.path.isdir("/dev/shm") else None)
    parser.add_argument("--bare", type=int, default=None, help="number of bare joblib tasks")
    given = parser.parse_args()
    jobs = given.jobs if given.jobs is not None else ([] if given.plan else [10_000, 20_000])
    for n in given.plan:
        with tempfile.TemporaryDirectory(dir=given.folder) as text:
            measure_plan(Path(text), n)
    cost = {n: measure_jobs(given.folder, n, given.backend, given.write) for n in jobs}
    if len(jobs) > 1:
        show(f"cost per job at {jobs[-1]} over {jobs[0]}", cost[jobs[-1]] / cost[jobs[0]], "")
    bare = given.bare if given.bare is not None else (20_000 if jobs else 0)
    if bare:
        with tempfile.TemporaryDirectory(dir=given.folder) as text:
            script = Path(text) / "bare.py"
            script.write_text(BARE)
            _, cpu, _ = cost_of([sys.executable, str(script), str(bare)])
            show(f"joblib loky alone, {bare} tasks", 1e3 * cpu / bare, "ms CPU per task")


def show(name: str, value: float, unit: str) -> None:
    """Print a figure."""
    print(json.dumps({"what": name, "value": round(value, 4), "unit": unit}), flush=True)


def prepare_case(folder: Path, n: int, backend: str, write: bool) -> Path:
    """Make the files and the INI file."""
    (folder / "in").mkdir()
    for k in range(n):
        for name in ("left", "right"):
            os.mknod(f"{folder}/in/{name}-{k:07d}.fits")
    (folder / "idle_runner.py").write_text(NOOP.format(write=write))
    ini = folder / "bench.ini"
    ini.write_text(INI.format(folder=folder, backend=backend))
    return ini


def cost_of(command: list[str]) -> tuple[float, float, float]:
    """Wall and CPU seconds of a command with all that it starts, and its own peak memory in MB."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(command)}: exit status {process.returncode}")
    wall = time.perf_counter() - start
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def measure_jobs(where: str | None, n: int, backend: str, write: bool) -> float:
    """CPU seconds of one of `n` jobs; a second start, with nothing left to do, is timed too."""
    with tempfile.TemporaryDirectory(dir=where) as text:
        ini = prepare_case(Path(text), n, backend, write)
        command = [sys.executable, "-m", "shapepipe", "run", "-c", str(ini)]
        wall, cpu, memory = cost_of(command)
        what = f"{backend}, {n} jobs{', one product each' if write else ''}"
        show(what, 1e3 * cpu / n, "ms CPU per job")
        show(what, n / wall, "jobs per second")
        show(f"{what}, memory of the largest process", memory, "MB")
        _, again, _ = cost_of(command)
        show(f"{what}, start again with all done", 1e3 * again / n, "ms CPU per job")
        return cpu / n


def measure_plan(folder: Path, n: int) -> None:
    """Time and peak memory of a plan of `n` units with two files each."""
    ini = prepare_case(folder, n, "supervised", write=False)
    words = [sys.executable, "-c", PLAN, str(ini)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    units, wall, cpu, memory = (float(word) for word in done.stdout.split())
    show(f"plan of {units:.0f} units, {2 * n} files", wall, "s")
    show(f"plan of {units:.0f} units, {2 * n} files", cpu, "s CPU")
    show(f"plan of {units:.0f} units, peak memory", memory, "MB")


if __name__ == "__main__":
    main()
