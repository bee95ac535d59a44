"""A process dies at every named point of the commit protocol; the run ends as if none had."""

from __future__ import annotations

import errno
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from shapepipe.errors import ConfigurationError
from shapepipe.pipeline.points import HEAD, MARK, POINTS, RANK, VARIABLE, WORKER, Fault
from shapepipe.pipeline.show import count_records

PIPELINE = Path(__file__).parents[2] / "shapepipe" / "pipeline"
SPEC = importlib.util.spec_from_file_location(
    "kill_campaign", Path(__file__).parent / "kill_campaign.py"
)
kill_campaign = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(kill_campaign)

CHAIN = "many_runner, found_runner, noop_runner, expand_runner, join_runner"
KILLED = "noop_runner 000001 sigkill once"
LATER = {"part-written": (2, 4), "record-written": (2, 5, 9), "product-renamed": (2,)}
"""Points that are passed for different things, by the further times at which to strike."""
AGAIN = ("products-withdrawn", "old-products-removed", "record-written", "step-reopened")
"""Points that are struck in a continuation; the first of them is passed in none but such."""


EARLY = ("dead-job-cleared", "try-counted", "step-bound")
"""Points that are passed only where the first units are done."""


def struck_at(who: str) -> list[str]:
    """Points of the head or the worker, each with the times at which to strike."""
    names = [name for name, (owner, _) in POINTS.items() if owner == who]
    return [f"{name}:{time}" for name in names for time in (1, *LATER.get(name, ()))]


def before_the_work() -> list[str]:
    """Points that the head passes before it plans the first step."""
    names = struck_at(HEAD)
    return [name for name in names[: names.index("step-begun:1")] if name.endswith(":1")]


def at_work() -> list[str]:
    """All other points of the head in a first run."""
    return [name for name in struck_at(HEAD)
            if name not in (*before_the_work(), "products-withdrawn:1")]  # fmt: skip


def is_early(fault: str) -> bool:
    """Whether a continuation that has little left to do may not come to it."""
    name, _, passing = fault.partition(":")
    return name in EARLY or passing != "1"


class Chain:
    """A case whose runs are compared with an undisturbed one."""

    def __init__(self, case):
        self.case = case
        case.files("a", "b", numbers=range(3))
        case.ini(CHAIN, job="RETRIES = 1")
        case.path.write_text(case.path.read_text().replace("SIZE = 2", "SIZE = 1"))
        self.before = None

    def change(self) -> None:
        """Finish the run, then change one input and spoil another."""
        assert self.case.run().exit_status == 0
        (self.case.inputs / "a-000000.txt").write_text("other")
        (self.case.inputs / "b-000002.txt").write_bytes(b"\xff is no text")
        self.before = self.case.folder / "before"
        shutil.copytree(self.case.out, self.before)

    def begin(self) -> None:
        """Go back to where the disturbed run starts."""
        shutil.rmtree(self.case.out)
        if self.before:
            shutil.copytree(self.before, self.case.out)
        else:
            self.case.out.mkdir()

    def undisturbed(self) -> None:
        """Run without a fault; this is what the others must end as."""
        self.begin()
        self.status = self.case.run().exit_status
        self.products = self.case.products()
        self.counts = count_records(self.case.directory())

    def strike(self, fault: str, mode: str = "smp", *options: str) -> int:
        """Run with a fault; return how the command ended."""
        mark = self.case.folder / "mark"
        mark.unlink(missing_ok=True)
        words = [sys.executable, "-m", "shapepipe", "run", "-c", self.case.path]
        words += [
            part for option in (f"EXECUTION:MODE={mode}", *options) for part in ("-o", option)
        ]
        if mode == "mpi":
            words = ["mpiexec", "-n", "3", *words]
        environment = {**os.environ, VARIABLE: fault, MARK: str(mark)}
        done = subprocess.run(words, env=environment, capture_output=True, text=True)
        assert mark.exists(), f"{fault} was not reached"
        self.wait_free()
        self.said = done.stdout + done.stderr
        return done.returncode

    def wait_free(self) -> None:
        """Wait until the run is nobody's: rank 0 may outlive mpiexec by a moment."""
        until = time.monotonic() + 30
        while self.case.directory().owners() and time.monotonic() < until:
            time.sleep(0.05)

    def check_resumed(self) -> None:
        """Continue, and compare with the run that nobody disturbed."""
        assert self.case.run().exit_status == self.status
        assert self.case.products() == self.products
        directory = self.case.directory()
        assert kill_campaign.done_twice(directory) == []
        assert count_records(directory) == self.counts
        assert os.listdir(directory.scratch) == []
        assert list(directory.path.rglob("*.part")) == []


@pytest.fixture(scope="module")
def first(tmp_path_factory, make_case):
    """A first run."""
    chain = Chain(make_case(tmp_path_factory.mktemp("first")))
    chain.undisturbed()
    return chain


@pytest.fixture(scope="module")
def again(tmp_path_factory, make_case):
    """The continuation of a run some of whose inputs are others than before."""
    chain = Chain(make_case(tmp_path_factory.mktemp("again")))
    chain.change()
    chain.undisturbed()
    return chain


def test_the_head_dies_at_each_point_before_the_work(first):
    first.begin()
    for fault in before_the_work():  # each continues what the one before it has left
        assert first.strike(fault) == -9
    first.check_resumed()


def test_the_head_dies_at_each_point_of_the_work(first):
    first.begin()
    for fault in at_work():  # again, each continues what the one before it has left
        if not is_early(fault):
            assert first.strike(fault, "smp", f"REHEARSAL:FAULTS={KILLED}") == -9
    first.check_resumed()


@pytest.mark.parametrize("fault", list(filter(is_early, at_work())))
def test_the_head_of_a_fresh_run_dies_at_a_point(first, fault):
    first.begin()
    assert first.strike(fault, "smp", f"REHEARSAL:FAULTS={KILLED}") == -9
    first.check_resumed()


@pytest.mark.parametrize("fault", struck_at(WORKER))
def test_a_worker_dies_at_a_point(first, fault):
    first.begin()
    assert first.strike(fault) == 0
    first.check_resumed()


@pytest.mark.parametrize("fault", AGAIN)
def test_the_head_of_a_continuation_dies_at_a_point(again, fault):
    again.begin()
    assert again.strike(fault) == -9
    again.check_resumed()


@pytest.mark.mpi
@pytest.mark.parametrize("fault", struck_at(RANK))
def test_a_rank_dies_at_a_point(first, fault):
    first.begin()
    assert first.strike(fault, "mpi") != 0
    first.check_resumed()


def test_every_point_that_is_declared_stands_in_the_code():
    """That each of them is passed is seen above, and in `test_submit_kills`."""
    text = "".join(path.read_text() for path in PIPELINE.glob("*.py"))
    passed = re.findall(r'\breach\("([\w-]+)"\)', text)
    assert sorted(passed) == sorted(set(passed)) == sorted(POINTS)


def test_a_fault_strikes_once_at_its_time(tmp_path):
    mark = tmp_path / "mark"
    fault = Fault("record-written:2:full", str(mark))
    for point in ("record-written", "log-kept"):
        fault(point)
    with pytest.raises(OSError, match="No space left on device") as raised:
        fault("record-written")
    assert raised.value.errno == errno.ENOSPC
    fault("record-written")
    other = Fault("record-written:1:full", str(mark))
    other("record-written")


def test_a_point_that_does_not_exist_is_told():
    with pytest.raises(ConfigurationError, match="is not of the form POINT:N .* record-written"):
        Fault("record-writen")("lock-taken")
