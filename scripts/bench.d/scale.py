"""How the cost of a run grows with its units: match, plan, run, status, plan again, report, clean.

    python scripts/bench.d/scale.py                      10^3 to 10^6 units, in about ten minutes
    python scripts/bench.d/scale.py --largest 100000
    python scripts/bench.d/scale.py --keep               add the figures to scale.jsonl as well

The records are those of runs that were executed: jobs that do nothing, with two input files each,
under smp with two workers. Times are CPU seconds: of the command with all that it starts for `run`,
less those of a run of ten units, and of the work without the start of Python for all others. An
exponent of 1 means that ten times the units take ten times the time; it is fitted over all sizes,
and taken from the last decade alone, where a step that is slower than linear would show first.
"""

import argparse
import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from dispatch import cost_of, prepare_case
from figures import show

SMALLEST = 1000
PHASES = ("match", "plan", "run", "status", "plan again", "report", "clean")
PHASE = """
import resource, sys, time
from pathlib import Path
from match import measure
from shapepipe.pipeline import clean, show
from shapepipe.pipeline.records import RunDirectory
from shapepipe.pipeline.report import report
from shapepipe.pipeline.run import prepare
name, ini, directory, units = sys.argv[1], sys.argv[2], RunDirectory(Path(sys.argv[3])), sys.argv[4]
work = {
    "match": lambda: measure(int(units)),
    "plan": lambda: prepare(ini),
    "status": lambda: show.status(directory, show.count_records(directory)),
    "plan again": lambda: prepare(ini, continue_run=True),
    "report": lambda: report(directory),
    "clean": lambda: clean.clean(directory.path, ini, ["EXECUTION:KEEP=final"]),
}[name]
start, cpu = time.perf_counter(), time.process_time()
work()
print(time.process_time() - cpu, time.perf_counter() - start,
      resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, file=sys.stderr)
"""


def main() -> None:
    """Print one line of JSON for each figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--largest", type=int, default=1_000_000)
    parser.add_argument("--folder", default="/dev/shm" if os.path.isdir("/dev/shm") else None)
    parser.add_argument("--keep", action="store_true")
    given = parser.parse_args()
    times: dict[str, dict[int, float]] = {name: {} for name in PHASES}
    start, n = 0.0, 10
    while n <= given.largest:
        with tempfile.TemporaryDirectory(dir=given.folder) as text:
            cpu = measure(Path(text), n, start, given.keep and n >= SMALLEST, times)
        start = start or cpu
        n = max(SMALLEST, 10 * n)
    for name in PHASES:
        sizes = [size for size in times[name] if size >= SMALLEST]
        spent = [times[name][size] for size in sizes]
        if len(sizes) > 1:
            power = np.polyfit(np.log(sizes), np.log(spent), 1)[0]
            show(f"{name}, exponent from {sizes[0]} to {sizes[-1]} units", power, "", given.keep)
            power = math.log(spent[-1] / spent[-2]) / math.log(sizes[-1] / sizes[-2])
            show(f"{name}, exponent from {sizes[-2]} to {sizes[-1]} units", power, "", given.keep)


def measure(folder: Path, n: int, start: float, keep: bool, times: dict) -> float:
    """Measure all phases at one size; return the CPU seconds of the run with its start."""
    ini, run = prepare_case(folder, n, "supervised", write=False), folder / "bench"
    shapepipe = [sys.executable, "-m", "shapepipe"]
    ran = 0.0
    for name in PHASES:
        if name == "run":
            wall, ran, memory = cost_of([*shapepipe, "run", "-c", str(ini)])
            cost = (max(ran - start, 1e-3), wall, memory)
            show(f"run, {n} units, start included", 1e3 * ran / n, "ms CPU per job", keep)
            size = sum(path.stat().st_size for path in run.rglob("*") if path.is_file())
            show(f"records and logs, {n} units", size / n, "bytes per unit", keep)
        else:
            cost = phase(name, ini, run, n)
        times[name][n] = cost[0]
        for value, unit in zip(cost, ("s CPU", "s", "MB"), strict=True):
            show(f"{name}, {n} units", value, unit, keep)
    wall, cpu, _ = cost_of([*shapepipe, "status", str(run)])
    show(f"shapepipe status, {n} units, start included", wall, "s", keep)
    show(f"shapepipe status, {n} units, start included", cpu, "s CPU", keep)
    return ran


def phase(name: str, ini: Path, run: Path, n: int) -> tuple[float, float, float]:
    """CPU and wall-clock seconds of a phase in a process of its own, and its memory in MB."""
    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", PHASE, name, str(ini), str(run), str(n)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": path},
    )
    if done.returncode:
        sys.exit(done.stderr)
    cpu, wall, memory = (float(word) for word in done.stderr.splitlines()[-1].split())
    return cpu, wall, memory


if __name__ == "__main__":
    main()
