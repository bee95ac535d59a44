"""A run that is shared among shards and stages: the same products, nothing twice, nothing lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest

from shapepipe.errors import ConfigurationError, RunRefused
from shapepipe.pipeline.records import RunDirectory
from shapepipe.pipeline.run import prepare
from shapepipe.pipeline.shards import parse_part

CHAIN = "noop_runner, expand_runner, part_runner, join_runner"
WORDS = """
import shapepipe
from shapepipe import Input, Options, Output, runner


@runner(
    inputs=[Input("c", ext=".txt"), Input("all", ext=".txt", gather=True)],
    outputs=[Output("rank", ext=".txt")],
    after=["noop_runner", "join_runner"],
    numbering="-000000",
)
def rank_runner(job, opts: Options):
    lines = [line for path in job.inputs["all"].values() for line in path.read_text().splitlines()]
    mine = job.inputs["c"].read_text().strip()
    job.output("rank").write_text(str([mine in line for line in lines].index(True)))
"""


def part(case, shard: str | None, stage: int = 0, **how):
    """Do one part of a case's run."""
    return case.run("JOB:SMP_BATCH_SIZE=1", part=parse_part(shard, stage), **how)


def do_all(case, count: int, stages: int = 2) -> list[int]:
    """Do all shards and stages, one after the other; return the exit statuses."""
    statuses = []
    for stage in range(stages):
        shards = [f"{k + 1}/{count}" for k in range(count)] if stage % 2 == 0 else [None]
        statuses += [part(case, shard, stage).exit_status for shard in shards]
    return statuses


@pytest.fixture
def chain(case):
    """Twelve units of a chain that ends with a step for all."""
    case.files("a", "b", numbers=range(12))
    case.ledger = case.folder / "ledger"
    case.ini(CHAIN, f"[NOOP_RUNNER]\nLEDGER = {case.ledger}")
    return case


@pytest.mark.parametrize("count", [1, 3, 13])
def test_products_do_not_depend_on_the_number_of_shards(chain, count):
    assert do_all(chain, count) == [0] * (count + 1)
    products = chain.products()
    assert Counter(chain.ledger.read_text().split()) == {f"-{k:06d}": 1 for k in range(12)}
    chain.ini(CHAIN, RUN_NAME="whole")
    assert chain.run().exit_status == 0
    assert chain.products("whole") == products
    assert len(chain.records()) == 12 + 12 + 36 + 1
    assert {path.parent.name for path in (chain.out / "run").glob("*/finished.json")} == {
        "noop_runner", "expand_runner", "part_runner", "join_runner",
    }  # fmt: skip


def test_a_shard_does_whole_chains_and_an_equal_number_of_them(chain):
    numbers = {}
    for k in (1, 2, 3):
        result = part(chain, f"{k}/3")
        assert result.counts["noop_runner"]["ok"] == 4 and result.counts["part_runner"]["ok"] == 12
        lines = RunDirectory(result.path, f"{k}of3").own_lines()
        numbers[k] = {line["number"][:7] for line in lines if "status" in line}
        assert len(numbers[k]) == 4
    assert not numbers[1] & numbers[2] and len(set().union(*numbers.values())) == 12


def test_steps_before_and_after_one_for_all_are_in_different_stages(chain):
    mine = chain.folder / "mine"
    mine.mkdir()
    (mine / "rank_runner.py").write_text(WORDS)
    chain.ini("noop_runner, join_runner, rank_runner")
    text = chain.path.read_text().replace("MODULE_PATH = ", f"MODULE_PATH = {mine}, ")
    chain.path.write_text(text)
    division = prepare(chain.path, part=parse_part(None)).part.division
    assert division.stages == [0, 1, 2]
    assert do_all(chain, 2, stages=4) == [0] * 6
    ranks = {k: v for k, v in chain.products().items() if k.startswith("rank_runner")}
    assert ranks == {f"rank_runner/rank-{k:06d}.txt": str(k) for k in range(12)}
    assert chain.run().counts == {
        "noop_runner": {"done": 12}, "join_runner": {"done": 1}, "rank_runner": {"done": 12}
    }  # fmt: skip


def test_what_a_lost_shard_should_have_done_is_told_and_done_on_resume(chain):
    assert part(chain, "1/2").exit_status == 0
    closing = part(chain, None, 1)
    assert closing.exit_status == 1
    assert closing.counts["noop_runner"] == {"done": 6, "lost": 6}
    assert closing.counts["part_runner"] == {"done": 18, "blocked": 18}
    assert closing.counts["join_runner"] == {"ok": 1}
    assert len(chain.products()["join_runner/all.txt"].splitlines()) == 6
    result = chain.run()
    assert result.counts["noop_runner"] == {"done": 6, "ok": 6}
    assert len(chain.products()["join_runner/all.txt"].splitlines()) == 12
    assert Counter(chain.ledger.read_text().split()) == {f"-{k:06d}": 1 for k in range(12)}


def test_a_changed_input_is_seen_through_the_records_of_shards(chain):
    do_all(chain, 3)
    (chain.inputs / "b-000004.txt").write_text("another content")
    reasons = {step.label: dict(step.reasons) for step in chain.plan().steps}
    assert reasons["noop_runner"] == {4: "input b-000004.txt changed"}
    assert set(reasons["part_runner"]) == {12, 13, 14}


def test_the_newer_record_counts_whatever_file_it_is_in(chain):
    do_all(chain, 2)
    (chain.inputs / "b-000001.txt").write_text("another content")
    again = chain.run()
    assert again.counts["noop_runner"] == {"done": 11, "ok": 1}
    assert chain.run().counts["noop_runner"] == {"done": 12}
    assert chain.directory().records()["noop_runner", "-000001"].attempt == 2
    status = json.loads(chain.call("status", chain.out / "run", "--json")[1])
    assert status["noop_runner"] == {"ok": 12}


def test_a_torn_line_of_a_shard_is_mended(chain):
    do_all(chain, 2)
    path = chain.out / "run" / "outcomes.1of2.jsonl"
    data = path.read_bytes()
    cut = data.index(b'{"step":"part_runner"') + 30
    path.write_bytes(data[:cut])
    result = part(chain, "1/2")
    assert result.exit_status == 0
    assert result.counts["part_runner"] == {"done": 18, "ok": 18}
    assert chain.run().exit_status == 0


def test_who_has_a_shard_or_the_run_is_told(chain):
    part(chain, "1/2")
    shard = RunDirectory(chain.out / "run", "1of2")
    shard.acquire()
    me = f"process {os.getpid()} on "
    with pytest.raises(RunRefused, match=f"is being run by shard 1of2: {me}"):
        part(chain, "1/2")
    with pytest.raises(RunRefused, match=f"is being run by shard 1of2: {me}"):
        chain.run()
    assert "running: shard 1of2: " in chain.call("status", chain.out / "run")[1]
    assert part(chain, "2/2").exit_status == 0
    shard.close()
    whole = RunDirectory(chain.out / "run")
    whole.acquire()
    with pytest.raises(RunRefused, match=f"is being run by {me}"):
        part(chain, "2/2")
    whole.close()
    assert chain.run().exit_status == 0


def test_shards_that_start_at_once_make_one_run(chain):
    words = [sys.executable, "-m", "shapepipe", "run", "-c", chain.path]
    started = [subprocess.Popen([*words, "--shard", f"{k}/3"]) for k in (1, 2, 3)]
    assert [process.wait(60) for process in started] == [0, 0, 0]
    assert len(chain.directory().read_run()["launches"]) == 1
    assert part(chain, None, 1).exit_status == 0
    assert len((chain.out / "shapepipe_runs.txt").read_text().splitlines()) == 1


@pytest.mark.parametrize("how", ["signal", "clock"])
def test_a_run_that_is_out_of_time_goes_on_where_it_stopped(chain, how):
    chain.ini(CHAIN, f"[NOOP_RUNNER]\nSLEEP = 0.4\nLEDGER = {chain.ledger}")
    words = [sys.executable, "-m", "shapepipe", "run", "-c", chain.path, "--shard", "1/1"]
    process = subprocess.Popen([*words, *(["--stop-after", "1.5"] if how == "clock" else [])])
    until = time.monotonic() + 60
    while how == "signal" and time.monotonic() < until:
        if len([line for line in chain.records() if line["step"] == "noop_runner"]) > 2:
            process.send_signal(signal.SIGUSR1)
            break
        time.sleep(0.02)
    assert process.wait(60) == 75
    done = len(chain.records())
    assert 0 < done < 60 and len(chain.ledger.read_text().split()) < 12
    assert not os.listdir(chain.out / "run" / "tmp" / "1of1")
    assert part(chain, "1/1").exit_status == 0
    assert part(chain, None, 1).exit_status == 0
    assert Counter(chain.ledger.read_text().split()) == {f"-{k:06d}": 1 for k in range(12)}
    assert {line["try"] for line in chain.records()} == {1}


def test_a_time_in_which_no_job_ends_is_an_error(chain):
    chain.ini(CHAIN, "[NOOP_RUNNER]\nSLEEP = 30\n[BATCH]\nWARNING = 15")
    words = [sys.executable, "-m", "shapepipe", "run", "-c", chain.path, "--stop-after", "0.01"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 1 and "the time is too short: not one job has ended" in done.stderr


@pytest.mark.parametrize("text", ["3", "0/4", "5/4", "a/4", "1/"])
def test_a_shard_that_cannot_be_is_told(text):
    with pytest.raises(ConfigurationError, match="is not of the form 3/8"):
        parse_part(text)
