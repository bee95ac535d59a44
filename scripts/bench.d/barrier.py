"""Elapsed time of a chain in which one unit is slow, beside that of its critical path.

    python scripts/bench.d/barrier.py                   four steps, forty units, one 20 times slower
    python scripts/bench.d/barrier.py --keep            add the figures to barrier.jsonl as well

Jobs sleep, on two workers. The critical path is the longer of two times: that of the slow unit's
own line of jobs, and half of that of all jobs. The elapsed time is that between the start of the
first job and the end of the last one, as the records have them.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from figures import show

from shapepipe.pipeline.records import RunDirectory

WORKERS = 2
NAMES = ("first", "second", "third", "fourth")
RUNNER = '''"""Sleeps."""
import time

from shapepipe import Input, Options, Output, option, runner


class SleepOptions(Options):
    """Times."""

    usual: float = option(doc="Time of most units.", unit="s")
    slow: str = option(doc="Number of the slow unit.")
    factor: float = option(doc="How much slower it is.")


@runner(
    inputs=[Input("{before}", ext=".txt")],
    outputs=[Output("{name}", ext=".txt")],
    after={after},
    numbering="-0000",
)
def {name}_runner(job, opts: SleepOptions):
    """Sleep, and write a product."""
    time.sleep(opts.usual * (opts.factor if job.number == opts.slow else 1))
    job.output("{name}").write_text(job.number)
'''
INI = """[DEFAULT]
RUN_NAME = bench
RUN_DATETIME = False
VERBOSE = False
[EXECUTION]
MODULE = {modules}
MODULE_PATH = {folder}
[FILE]
INPUT_DIR = {folder}/in
OUTPUT_DIR = {folder}
[JOB]
SMP_BATCH_SIZE = 2
"""


def main() -> None:
    """Measure with the slow unit as the first, in the middle, and as the last."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--units", type=int, default=40)
    parser.add_argument("--factor", type=float, default=20.0)
    parser.add_argument("--usual", type=float, default=0.1, help="seconds of most jobs")
    parser.add_argument("--keep", action="store_true")
    given = parser.parse_args()
    line = len(NAMES) * given.factor * given.usual
    work = len(NAMES) * (given.units - 1) * given.usual + line
    critical = max(line, work / WORKERS)
    for slow in (0, given.units // 2, given.units - 1):
        with tempfile.TemporaryDirectory() as text:
            elapsed = measure(Path(text), given, slow)
        what = f"{len(NAMES)} steps x {given.units} units, unit {slow} {given.factor:g} x slower"
        show(f"{what}, elapsed", elapsed, "s", given.keep)
        show(f"{what}, critical path", critical, "s", given.keep)
        show(f"{what}, elapsed over critical path", elapsed / critical, "", given.keep)


def measure(folder: Path, given, slow: int) -> float:
    """Seconds from the start of the first job to the end of the last."""
    (folder / "in").mkdir()
    for k in range(given.units):
        (folder / "in" / f"raw-{k:04d}.txt").write_text("")
    sections = ""
    for before, name in zip(("raw", *NAMES), NAMES, strict=False):
        after = [] if before == "raw" else [f"{before}_runner"]
        code = RUNNER.format(before=before, name=name, after=after)
        (folder / f"{name}_runner.py").write_text(code)
        sections += f"[{name.upper()}_RUNNER]\nUSUAL = {given.usual}\nSLOW = -{slow:04d}\n"
        sections += f"FACTOR = {given.factor}\n"
    modules = ", ".join(f"{name}_runner" for name in NAMES)
    ini = folder / "bench.ini"
    ini.write_text(INI.format(modules=modules, folder=folder) + sections)
    subprocess.run([sys.executable, "-m", "shapepipe", "run", "-c", str(ini)], check=True)
    jobs = [line for line in RunDirectory(folder / "bench").lines() if "status" in line]
    assert len(jobs) == len(NAMES) * given.units and {line["status"] for line in jobs} == {"ok"}
    return max(line["at"] + line["wall"] for line in jobs) - min(line["at"] for line in jobs)


if __name__ == "__main__":
    main()
