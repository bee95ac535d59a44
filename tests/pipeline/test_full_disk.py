"""A disk that is full at any write costs time and nothing else."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from shapepipe import Input, Options, Output, Program, runner
from shapepipe.pipeline import crew, flow, records, run
from shapepipe.pipeline.job import IO
from shapepipe.pipeline.logs import close_logger, run_logger
from shapepipe.pipeline.points import HEAD, MARK, POINTS, VARIABLE, Fault
from shapepipe.pipeline.records import RunDirectory
from shapepipe.testing import trial

SPEC = importlib.util.spec_from_file_location(
    "kill_campaign", Path(__file__).parent / "kill_campaign.py"
)
kill_campaign = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(kill_campaign)
done_twice = kill_campaign.done_twice

CHAIN = "noop_runner, expand_runner, join_runner"
SAID = "No space left on device"
PLENTY, FEW = 200, 20
"""More starts than can be needed, and fewer than must be."""
ENDS = ("pool-closed", "run-over")
"""Points after which nothing is left to do."""
NOT_HERE = ("dead-job-cleared", "try-counted", "products-withdrawn", "step-bound")
"""Points that this chain does not pass; no file is written at them."""


class SmallDisk:
    """A file system of so many pages, or so many files and directories.

    Parameters
    ----------
    limit : {'size', 'nr_inodes'}
        What it has few of.
    """

    def __init__(self, folder, limit: str):
        self.folder, self.limit = folder, limit
        folder.mkdir()
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", self._options(1), "tmpfs", folder], check=True
        )

    def _options(self, number: int) -> str:
        return (
            f"size={number * os.sysconf('SC_PAGE_SIZE')}"
            if self.limit == "size"
            else (f"nr_inodes={number + 1},size=10M")
        )

    def grow(self, number: int) -> None:
        """Let it hold so many pages, or files."""
        words = ["mount", "-o", f"remount,{self._options(number)}", self.folder]
        subprocess.run(words, check=True)

    def close(self) -> None:
        """Take it away."""
        subprocess.run(["umount", "-l", self.folder], check=True)


@pytest.fixture
def small_disk(tmp_path):
    """Mount a small disk; needs root, as continuous integration is."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small tmpfs needs root")
    disks = []

    def mount(limit: str) -> SmallDisk:
        disks.append(SmallDisk(tmp_path / "small", limit))
        return disks[-1]

    yield mount
    for disk in disks:
        disk.close()


@pytest.fixture
def chain(case):
    """A chain, and what it makes when the disk is large."""
    case.files("a", "b", numbers=range(2))
    case.ini(CHAIN, f"[NOOP_RUNNER]\nWORD = {'x' * 5000}\n[JOIN_RUNNER]\nAT_LEAST = 100 %")
    case.path.write_text(case.path.read_text().replace("SIZE = 2", "SIZE = 1"))
    assert case.run().exit_status == 0
    case.reference = case.products()
    return case


def check_whole(case) -> None:
    """No product is cut short, and no record is without its products."""
    found = case.products()
    assert {name: found[name] for name in found if not name.endswith("missing_units.csv")} == {
        name: case.reference[name] for name in found if not name.endswith("missing_units.csv")
    }
    directory = RunDirectory(case.out / "run")
    for (label, _), record in directory.records().items():
        assert record.status != "ok" or all(
            (directory.output(label) / name).exists() for name in record.products
        )


def check_said(status: int, out: str, err: str) -> None:
    """One clear line, and no trace of the code."""
    assert status == 1, (out, err)
    assert SAID in err and "Traceback" not in err and "Logging error" not in err, err


@pytest.mark.parametrize(("limit", "step"), [("size", 1), ("nr_inodes", 2)])
def test_each_write_in_turn_finds_the_disk_full(chain, small_disk, limit, step):
    """Each start may write a little more than the one before; it takes a few itself."""
    disk = small_disk(limit)
    chain.path.write_text(chain.path.read_text().replace(str(chain.out), str(disk.folder)))
    chain.out, starts, status = disk.folder, 0, 1
    while status:
        starts += 1
        status, out, err = chain.call("", "-c", chain.path)
        if status:
            check_said(status, out, err)
        check_whole(chain)
        disk.grow(1 + step * starts)
        assert starts < PLENTY
    assert starts > FEW
    assert chain.products() == chain.reference
    assert done_twice(chain.directory()) == []


def strike(monkeypatch, chain, fault) -> tuple[int, str, str]:
    """Run in this process with a fault at a point of the head, and take the fault away again."""
    with monkeypatch.context() as patch:
        for module in (crew, flow, records, run):
            patch.setattr(module, "reach", fault)
        return chain.call("", "-c", chain.path)


def test_the_disk_is_full_at_each_point_of_the_head(chain, monkeypatch):
    points = [name for name, (who, _) in POINTS.items() if who == HEAD]
    shutil.rmtree(chain.out / "run")
    for point in points:
        mark = chain.folder / point
        status, out, err = strike(monkeypatch, chain, Fault(f"{point}:1:full", str(mark)))
        if mark.exists():
            check_said(status, out, err)
        check_whole(chain)
        if status == 0 or point in ENDS:
            shutil.rmtree(chain.out / "run")
    assert chain.run().exit_status == 0
    assert chain.products() == chain.reference
    reached = {name for name in points if (chain.folder / name).exists()}
    assert set(points) - reached == {*NOT_HERE}


@pytest.mark.parametrize("point", ["products-ready", "product-renamed"])
def test_a_job_that_finds_the_disk_full_fails_alone(chain, monkeypatch, point):
    shutil.rmtree(chain.out / "run")
    monkeypatch.setenv(VARIABLE, f"{point}:2:full")
    monkeypatch.setenv(MARK, str(chain.folder / "mark"))
    status, out, err = chain.call("", "-c", chain.path)
    check_said(status, out, err)
    assert [line["status"] for line in chain.records()].count("failed") == 1
    check_whole(chain)
    monkeypatch.delenv(VARIABLE)
    assert chain.run().exit_status == 0
    assert chain.products() == chain.reference


@runner(inputs=[Input("a", ext=".txt")], outputs=[Output("big", ext=".fits")], numbering="-0",
        programs=[Program("sh")])  # fmt: skip
def greedy_runner(job, opts: Options):
    """Write more than there is room for, by a library or by a program."""
    path = job.output("big")
    if job.number == "-1":
        fits.PrimaryHDU(np.ones(2**18)).writeto(path)
    else:
        job.call("sh", ["-c", f"cat /dev/zero >{path} 2>/dev/null || exit 3"])


@pytest.mark.parametrize(
    ("number", "said"), [("-1", "Not enough space on disk"), ("-2", "sh: exit code 3")]
)
def test_a_full_disk_is_told_whatever_a_library_or_a_program_says(
    tmp_path, small_disk, number, said
):
    (tmp_path / "a.txt").touch()
    disk = small_disk("size")
    disk.grow(100)
    outcome = trial(greedy_runner, {"a": tmp_path / "a.txt"}, number=number, folder=disk.folder)
    assert (outcome.status, outcome.cause) == ("failed", IO)
    assert outcome.error.startswith(f"{SAID}: {disk.folder}") and said in outcome.error


def test_a_line_of_a_log_that_finds_no_room_is_left_out(tmp_path):
    logger = run_logger(tmp_path / "there" / "run.log")
    logger.info("nobody can hear this")
    (tmp_path / "there").mkdir()
    logger.info("caf\u00e9 \udcff")
    close_logger(logger)
    text = (tmp_path / "there" / "run.log").read_text()
    assert text.endswith("INFO    caf\u00e9 \\udcff\n") and "nobody" not in text
