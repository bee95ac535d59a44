"""Units flow from step to step: a slow one holds back only what needs it. Time is made up here."""

from __future__ import annotations

import heapq
import logging

import pytest

from shapepipe.pipeline.flow import Flow
from shapepipe.pipeline.job import OK, Outcome
from shapepipe.pipeline.progress import NoDisplay
from shapepipe.pipeline.steps import State

UNITS, WORKERS, SLOW = 40, 2, 20.0
CHAIN = "noop_runner, expand_runner, part_runner, part_runner"
SECTIONS = (
    "[EXPAND_RUNNER]\nPARTS = 1\n"
    "[PART_RUNNER_RUN_2]\nINPUT_MODULE = part_runner_run_1\nFILE_PATTERN = piece\n"
)


@pytest.fixture
def flow_of(case):
    """Make the flow of a chain over forty units, without any worker."""
    case.files("a", "b", numbers=range(UNITS))
    opened = []

    def make(modules: str, more: str = "") -> Flow:
        case.ini(modules, more)
        plan = case.plan()
        plan.directory.acquire()
        plan.directory.open()
        opened.append(plan.directory)
        return Flow(plan, logging.getLogger("flow"), NoDisplay())

    yield make
    for directory in opened:
        directory.close()


def drive(flow: Flow, cost) -> tuple[float, list[tuple[str, str]]]:
    """Do all jobs on two workers in made-up time: when all is over, and the order of the ends."""
    clock, under_way, ended = 0.0, [], []
    while True:
        for assignment in flow.next(WORKERS - len(under_way)):
            task = assignment.task
            label = flow.plan.steps[task.step].label
            seconds = cost(label, task.number)
            heapq.heappush(under_way, (clock + seconds, task.step, task.row, seconds, task))
        if not under_way:
            return clock, ended
        clock, _, _, seconds, task = heapq.heappop(under_way)
        step = flow.plan.steps[task.step]
        names = product_names(step, task.number)
        for name in names:
            (flow.directory.output(step.label) / name).touch()
        started, marks = clock - seconds, ("0:0",) * len(task.inputs)
        flow.take(Outcome(task.step, task.row, OK, seconds, 0, 0, started, names, identities=marks))
        ended.append((step.label, task.number))


def product_names(step, number: str) -> tuple[str, ...]:
    """Names of what a unit of a step makes."""
    return tuple(
        f"{made.pattern}{number}{suffix}{made.ext}"
        for made in step.products()
        for suffix in made.suffixes
    )


def is_slow(number: str, slow: int) -> bool:
    """Whether a unit, or the part of one, is the slow one."""
    return number.startswith(f"-{slow:06d}")


@pytest.mark.parametrize("slow", [0, UNITS // 2, UNITS - 1])
def test_a_chain_with_a_slow_unit_ends_with_the_critical_path(flow_of, slow):
    flow = flow_of(CHAIN, SECTIONS)
    time, ended = drive(flow, lambda _, number: SLOW if is_slow(number, slow) else 1.0)
    line = 4 * SLOW
    work = 4 * (UNITS - 1) + line
    assert len(ended) == len(set(ended)) == 4 * UNITS
    assert time <= 1.1 * max(line, work / WORKERS)


def test_all_other_units_come_to_their_end_while_one_is_in_its_first_step(flow_of):
    flow = flow_of(CHAIN, SECTIONS)
    _, ended = drive(flow, lambda _, number: 1000.0 if is_slow(number, 7) else 1.0)
    assert ended[-4:] == [
        ("noop_runner", "-000007"),
        ("expand_runner", "-000007"),
        ("part_runner_run_1", "-000007-0"),
        ("part_runner_run_2", "-000007-0"),
    ]


def test_what_follows_a_slow_unit_goes_before_what_follows_quick_ones(flow_of):
    flow = flow_of(CHAIN, SECTIONS)
    _, ended = drive(flow, lambda _, number: SLOW if is_slow(number, 0) else 1.0)
    after = ended[ended.index(("noop_runner", "-000000")) :]
    between = after[: after.index(("expand_runner", "-000000"))]
    assert len(between) <= SLOW + WORKERS  # the other worker's jobs meanwhile; no queue before it


def test_a_step_that_takes_all_files_waits_for_the_slow_unit_and_nothing_else_does(flow_of):
    flow = flow_of("noop_runner, expand_runner, join_runner")
    _, ended = drive(flow, lambda _, number: 1000.0 if is_slow(number, 0) else 1.0)
    last = ended.index(("noop_runner", "-000000"))
    assert ended.index(("join_runner", "")) > last
    assert len([step for step, _ in ended[:last] if step == "expand_runner"]) == UNITS - 1
    assert all(step.count(State.OK) == len(step.numbers) for step in flow.plan.steps)
