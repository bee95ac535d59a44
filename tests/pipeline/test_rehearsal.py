"""Faults are planted where the INI file says, and told of."""

from __future__ import annotations

import pytest

from shapepipe.errors import ConfigurationError
from shapepipe.pipeline.rehearsal import FAULTS, parse_planted, planted_in
from shapepipe.pipeline.sections import RehearsalSection

NUMBERS = [f"-{k:06d}" for k in range(1000)]


def planted(*texts: str, labels=("mask_runner",)) -> dict[str, str]:
    """What is planted in a thousand units of a step."""
    found = planted_in(RehearsalSection(faults=texts), labels, NUMBERS)
    return {number: fault.what for number, fault in found.items()}


def test_a_number_is_written_with_or_without_its_separator():
    assert planted("mask_runner 000003 hang", "mask_runner -000005 EIO") == {
        "-000003": "hang",
        "-000005": "eio",
    }


def test_a_step_has_the_name_of_its_runner_and_of_its_call():
    labels = ("mask_runner_run_2", "mask_runner")
    assert planted("mask_runner_run_2 000003 hang", labels=labels)
    assert planted("mask_runner 000003 hang", labels=labels)
    assert not planted("mask_runner_run_1 000003 hang", labels=labels)


def test_a_share_of_the_units_is_the_same_each_time():
    some = planted("mask_runner 5 % sigkill once")
    assert 20 < len(some) < 90 and some == planted("mask_runner 5% sigkill")
    assert not set(some) <= set(planted("mask_runner 5% hang"))


def test_a_step_of_one_job_needs_no_number():
    found = planted_in(RehearsalSection(faults=["join_runner raise"]), ("join_runner",), [""])
    assert list(found) == [""]


@pytest.mark.parametrize(
    "text", ["", "once", "hang", "mask_runner 1 explode", "a 1 2 hang", "a x% hang"]
)
def test_what_is_no_fault_is_told(text):
    with pytest.raises(ValueError, match="is not of the form STEP NUMBER FAULT"):
        parse_planted(text)


def test_a_wrong_plan_of_faults_is_refused_with_its_line(case):
    case.files("a", "b")
    case.ini("noop_runner", "[REHEARSAL]\nFAULTS = noop_runner 000001 explode")
    with pytest.raises(ConfigurationError, match=r"run.ini:\d+ \[REHEARSAL\] FAULTS: .*explode"):
        case.plan()
    case.ini("noop_runner", "[REHEARSAL]\nFAULTS = nop_runner 000001 hang")
    with pytest.raises(ConfigurationError, match=r"no such step; did you mean noop_runner\?"):
        case.plan()


def test_a_plan_warns_of_what_is_planted(case):
    case.files("a", "b")
    case.ini("noop_runner", case.plant("noop_runner", {1: "hang"}))
    assert case.plan().warnings == [
        "rehearsal: faults are planted in noop_runner: 000001 hang",
    ]


def test_faults_do_not_count_as_another_configuration(case):
    case.files("a", "b")
    case.ini("noop_runner, join_runner", case.plant("noop_runner", {1: "missing"}))
    assert case.run().exit_status == 1
    assert case.run("REHEARSAL:FAULTS=").exit_status == 0
    assert [line["try"] for line in case.records() if line["number"] == "-000001"] == [1, 2]


def test_the_section_names_all_faults():
    doc = RehearsalSection.model_fields["faults"].description
    assert all(f" {name}" in doc for name in FAULTS)
