"""Jobs are tried again by cause, with more time or memory, and joining steps have floors."""

from __future__ import annotations

import pytest

from shapepipe.errors import BadInput, ConfigurationError
from shapepipe.pipeline.job import CODE, DATA, IO, MEMORY, cause_of
from shapepipe.pipeline.retry import floor_of

JOIN = "[JOIN_RUNNER]\nINPUT_MODULE = odd_runner\nFILE_PATTERN = d\n"
BOTH = "odd_runner, join_runner"


@pytest.fixture
def chain(case):
    """Write a chain of four units with faults by number."""

    def write(faults: dict[int, str], more="", job="RETRIES = 2", modules="odd_runner"):
        case.files("a")
        case.ini(modules, case.plant("odd_runner", faults) + more, job=job)

    return write


def tries(case) -> dict[str, list[str]]:
    """Status of each try, by number."""
    found: dict[str, list[str]] = {}
    for line in case.records():
        found.setdefault(line["number"], []).append(line["status"])
    return found


def test_what_can_be_cured_is_tried_again(case, chain):
    chain({1: "sigkill once", 2: "enospc once"})
    assert case.run().exit_status == 0
    assert tries(case) == {
        "-000000": ["ok"],
        "-000001": ["lost", "ok"],
        "-000002": ["failed", "ok"],
        "-000003": ["ok"],
    }


def test_faults_of_code_and_bad_data_are_not_tried_again(case, chain):
    chain({1: "raise once", 2: "baddata once"})
    assert case.run().exit_status == 1
    assert tries(case)["-000001"] == ["failed"]
    assert tries(case)["-000002"] == ["failed"]


def test_a_job_is_not_tried_more_often_than_allowed(case, chain):
    chain({1: "sigkill"})
    assert case.run().exit_status == 1
    assert tries(case)["-000001"] == ["lost"] * 3


def test_a_run_has_a_limit_of_tries(case, chain):
    faults = dict.fromkeys(range(3), "sigkill once")
    chain(faults, job="RETRIES = 1\nRETRIES_PER_RUN = 2")
    assert case.run().exit_status == 1
    lost = [number for number, states in tries(case).items() if states == ["lost"]]
    assert len(lost) == 1


def test_a_late_job_gets_more_time(case, chain):
    chain({1: "slow"}, "SLOW = 1.5", job="RETRIES = 2\nTIMEOUT = 1\nTIMEOUT_MAX = 20")
    assert case.run().exit_status == 0
    assert tries(case)["-000001"] == ["timeout", "ok"]


def test_a_leak_ends_its_job_with_its_name(case, chain):
    chain({1: "leak"}, job="MEMORY = 400")
    assert case.run().exit_status == 1
    line = next(line for line in case.records() if line["status"] == "lost")
    assert line["number"] == "-000001"
    assert "more than MEMORY (400 MB)" in line["error"]


def test_a_joining_step_waits_for_its_floor(case, chain):
    chain({1: "raise"}, f"{JOIN}AT_LEAST = 80 %\n", modules=BOTH)
    assert case.run().exit_status == 1
    assert not case.directory().output("join_runner").joinpath("all.txt").exists()
    assert case.run("JOIN_RUNNER:AT_LEAST=3").exit_status == 1
    folder = case.directory().output("join_runner")
    assert folder.joinpath("all.txt").read_text().count("-00000") == 6
    assert "odd_runner,-000001,failed" in folder.joinpath("missing_units.csv").read_text()


def test_a_joining_step_has_nothing_to_do_where_all_units_are_empty(case, chain):
    nothing = ", ".join(f"{number:06d}=none" for number in range(4))
    chain({}, f"{JOIN}[ODD_RUNNER]\nPLANT = {nothing}\n", modules=BOTH)
    result = case.run()
    assert result.exit_status == 0
    assert result.counts["join_runner"] == {"skipped": 1}


@pytest.mark.parametrize(("text", "number"), [("36", 36), ("90 %", 9), ("50%", 5)])
def test_a_floor_is_a_number_or_a_percentage(text, number):
    assert floor_of(text, 10) == number


def test_a_floor_that_is_neither_is_refused(case, chain):
    chain({}, f"{JOIN}AT_LEAST = most\n", modules=BOTH)
    with pytest.raises(ConfigurationError, match=r"AT_LEAST: 'most' is neither"):
        case.plan()


def test_causes():
    assert cause_of(OSError(28, "No space left on device")) == IO
    assert cause_of(FileNotFoundError(2, "No such file")) == CODE
    assert cause_of(MemoryError()) == MEMORY
    assert cause_of(BadInput("a.fits", "HDU 3 is missing")) == DATA
