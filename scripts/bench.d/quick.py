"""Benchmarks: matching of files, dispatch of jobs, moments of stamps, shapes of galaxies.

Each benchmark is a function that returns {name: (value, unit)}; the smaller the value the better.
Called by `scripts/bench`; results are kept in `results.jsonl` beside it, one line for each figure.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

import click
import galsim
import numpy as np
from figures import PROJECT, commit, processor

import shapepipe
from shapepipe.astro import moments
from shapepipe.pipeline.match import Listing, find_files, join_numbers
from shapepipe.pipeline.run import prepare
from shapepipe.shear.batch import Batch
from shapepipe.shear.measure import measure

RESULTS = PROJECT / "scripts" / "bench.d" / "results.jsonl"

NOOP = '''"""Nothing, as fast as possible."""
from shapepipe import Input, Output, runner


@runner(inputs=[Input("left"), Input("right")], outputs=[Output("none", optional=True)])
def noop_runner(job, opts):
    """Do nothing."""
'''
INI = """[DEFAULT]
RUN_NAME = bench
RUN_DATETIME = False
VERBOSE = False
[EXECUTION]
MODULE = noop_runner
MODULE_PATH = {folder}
[FILE]
INPUT_DIR = {folder}/input
OUTPUT_DIR = {folder}/output
NUMBERING_SCHEME = -0
[JOB]
SMP_BATCH_SIZE = 2
"""


def matching(folder: Path, n: int = 100_000) -> dict:
    """Two patterns with `n` files each: find them and pair them by number."""
    _make_files(folder, n)
    start = time.process_time()
    listing = Listing()
    found = [
        find_files([str(folder / "input")], pattern, ".fits", "-0", listing=listing)
        for pattern in ("left", "right")
    ]
    numbers, _ = join_numbers([f.index for f in found], [f.index for f in found])
    seconds = time.process_time() - start
    assert len(numbers) == n
    return {"match a file": (1e6 * seconds / (2 * n), "us CPU")}


def dispatch(folder: Path, n: int = 20_000) -> dict:
    """`n` jobs that do nothing, with two inputs each, under smp with two workers."""
    config = _make_chain(folder, n)
    start = time.process_time()
    plan = prepare(config)
    planning = time.process_time() - start
    assert sum(len(step.numbers) for step in plan.steps) == n
    before = _cpu_of_children()
    command = [str(Path(sys.executable).with_name("shapepipe_run")), "-c", str(config)]
    wall = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    wall = time.perf_counter() - wall
    cpu = _cpu_of_children() - before
    return {
        "plan a unit": (1e6 * planning / n, "us CPU"),
        "dispatch a job": (1e3 * cpu / n, "ms CPU"),
        "dispatch a job, elapsed": (1e3 * wall / n, "ms"),
    }


def stamps(_: Path, n: int = 400) -> dict:
    """Adaptive moments of star stamps of 51 x 51 pixels."""
    images = _stars(n)
    moments.measure(images[:2])
    start = time.process_time()
    found = moments.measure(images)
    seconds = time.process_time() - start
    assert not found.flag.any()
    return {"adaptive moments of a stamp": (1e3 * seconds / n, "ms CPU")}


def shapes(_: Path, n: int = 400, epochs: int = 3) -> dict:
    """Metacalibration of galaxies in three epochs of 51 x 51 pixels, all five sheared types."""
    batch = _galaxies(n, epochs)
    measure(batch.part(0, 8))
    start = time.process_time()
    measure(batch)
    seconds = time.process_time() - start
    return {"shape of a galaxy, per epoch": (1e3 * seconds / (n * epochs), "ms CPU")}


BENCHMARKS = {f.__name__: f for f in (matching, dispatch, stamps, shapes)}


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(list(BENCHMARKS)))
@click.option("--dry-run", is_flag=True, help="Print, but do not keep the results.")
def main(names, dry_run):
    """Run benchmarks, and compare with the last results kept on this kind of processor."""
    before = last_results()
    for name in names or BENCHMARKS:
        with tempfile.TemporaryDirectory() as folder:
            results = BENCHMARKS[name](Path(folder))
        for what, (value, unit) in results.items():
            old = before.get(what)
            change = f"  ({100 * (value / old - 1):+.0f} % since the last)" if old else ""
            print(f"{what:32s} {value:10.3f} {unit}{change}")
            if not dry_run:
                keep(what, value, unit)


def keep(what: str, value: float, unit: str) -> None:
    """Append one result."""
    line = {
        "date": date.today().isoformat(),
        "version": shapepipe.__version__,
        "commit": commit(),
        "processor": processor(),
        "what": what,
        "value": round(value, 4),
        "unit": unit,
    }
    with open(RESULTS, "a", encoding="utf-8") as stream:
        stream.write(json.dumps(line) + "\n")


def last_results() -> dict[str, float]:
    """Newest kept value of each figure, on this kind of processor."""
    if not RESULTS.is_file():
        return {}
    lines = map(json.loads, RESULTS.read_text(encoding="utf-8").splitlines())
    return {line["what"]: line["value"] for line in lines if line["processor"] == processor()}


def _make_files(folder: Path, n: int) -> None:
    (folder / "input").mkdir()
    for name in ("left", "right"):
        for number in range(n):
            os.close(os.open(folder / "input" / f"{name}-{number}.fits", os.O_CREAT, 0o644))


def _make_chain(folder: Path, n: int) -> Path:
    _make_files(folder, n)
    (folder / "output").mkdir()
    (folder / "noop_runner.py").write_text(NOOP)
    config = folder / "bench.ini"
    config.write_text(INI.format(folder=folder))
    return config


def _cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _stars(n: int) -> np.ndarray:
    rng = np.random.default_rng(5)
    stars = [
        galsim.Moffat(beta=3, fwhm=3.5).shear(g1=g1, g2=g2)
        for g1, g2 in rng.normal(0, 0.03, (n, 2))
    ]
    images = np.array([star.drawImage(nx=51, ny=51, scale=1).array * 1e5 for star in stars])
    return images + rng.normal(0, 5, images.shape)


def _galaxies(n: int, epochs: int) -> Batch:
    rng, scale, side = np.random.default_rng(6), 0.187, 51
    psf = galsim.Moffat(beta=3, fwhm=0.7)
    image = np.empty((n, epochs, side, side), np.float32)
    for stamp, g1, g2 in zip(image, *rng.normal(0, 0.2, (2, n)).clip(-0.6, 0.6), strict=True):
        galaxy = galsim.Exponential(half_light_radius=0.5, flux=2000).shear(g1=g1 / 2, g2=g2 / 2)
        stamp[:] = galsim.Convolve(galaxy, psf).drawImage(nx=side, ny=side, scale=scale).array
    image += rng.normal(0, 5, image.shape)
    model = psf.drawImage(nx=side, ny=side, scale=scale).array.astype(np.float32)
    middle = (side - 1) / 2
    return Batch.regular(
        image,
        np.full_like(image, 1 / 25),
        np.broadcast_to(model, image.shape),
        np.broadcast_to(np.eye(2) * scale, (n, epochs, 2, 2)),
        np.full((n, epochs, 2), middle),
    )


if __name__ == "__main__":
    main()
