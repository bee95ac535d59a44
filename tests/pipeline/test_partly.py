"""What a unit has made in part goes on; the rest waits, and the unit counts as failed."""

from __future__ import annotations

CHAIN = "partly_runner, part_runner"
MORE = """
[PART_RUNNER]
INPUT_MODULE = partly_runner
FILE_PATTERN = p
[PARTLY_RUNNER]
DAMAGED = 000001
"""


def test_one_damaged_part_does_not_stop_the_others(case):
    case.files("a", numbers=range(3))
    case.ini(CHAIN, MORE)
    result = case.run()
    assert result.exit_status == 1
    assert result.counts["partly_runner"] == {"ok": 2, "failed": 1}
    assert result.counts["part_runner"] == {"ok": 5, "blocked": 1}


def test_a_continued_run_makes_the_rest(case):
    case.files("a", numbers=range(3))
    case.ini(CHAIN, MORE)
    case.run()
    result = case.run("PARTLY_RUNNER:DAMAGED=", allow_change=True)
    assert result.exit_status == 0
    undisturbed = case.products()
    assert len(undisturbed) == 12
