"""KEEP and `shapepipe clean`: what has served goes, what is needed stays, nothing is done twice."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from shapepipe.errors import RunRefused
from shapepipe.pipeline.clean import clean
from shapepipe.pipeline.steps import State

CHAIN = "noop_runner, expand_runner, part_runner, join_runner"
FINAL = {
    "expand_runner": "head",
    "part_runner": "piece",
    "join_runner": "all",
}
"""Products that no later step of the chain takes."""
OTHER = "[PART_RUNNER]\nINPUT_DIR = last:expand_runner\nNUMBERING_SCHEME = -000000-0\n"
"""A run of its own that reads products of this one."""
MOCKS = Path(__file__).parent / "mock_runners"
LOOKER = '''"""Looks into a directory."""
from shapepipe import Address, Input, Options, Output, option, runner


class LookOptions(Options):
    """Where to look."""

    where: Address = option(doc="Directory.")


@runner(inputs=[Input("part", ext=".txt")], outputs=[Output("look", ext=".txt")],
        after=["expand_runner"])
def look_runner(job, opts: LookOptions):
    """Count the files in the directory."""
    job.output("look").write_text(str(len(list(opts.where[0].iterdir()))))
'''
"""A runner with an option that names the directory of an earlier step."""


@pytest.fixture
def done(case):
    """A chain that has run to its end."""
    case.files("a", "b")
    case.ini(CHAIN)
    assert case.run().exit_status == 0
    return case


def tidy(case, *overrides, keep="final", **how):
    """Clean without a command line."""
    overrides = [*overrides, f"EXECUTION:KEEP={keep}"]
    return clean(case.out / "run", str(case.path), overrides, now=True, **how)


def again(case, *overrides, **how) -> list[tuple[str, str]]:
    """Continue; return the units that were done."""
    before = len(case.records())
    assert case.run(*overrides, **how).exit_status == 0
    return sorted((line["step"], line["number"]) for line in case.records()[before:])


def final(products) -> dict[str, str]:
    """Those of a chain's products that are final."""
    return {
        name: text
        for name, text in products.items()
        for step, _, file in [name.partition("/")]
        if file.startswith(FINAL.get(step, "-"))
    }


def test_the_table_tells_what_would_go_and_changes_nothing(done):
    products = done.products()
    status, out, err = done.call("clean", done.out / "run", "--keep", "final")
    assert (status, err) == (0, "")
    rows = [line.split() for line in out.splitlines()]
    assert ["noop_runner", "4"] == rows[1][:2] and rows[1][4:] == ["goes", "have", "served"]
    assert ["expand_runner", "12"] == rows[2][:2]
    size = sum(len(products[name]) for name in products if name not in final(products))
    assert f"to remove: 16 files, {size} B; nothing was changed; --yes removes them" in out
    assert done.products() == products


def test_by_default_nothing_goes(done):
    status, out, _ = done.call("clean", done.out / "run", "--yes")
    assert status == 0 and "KEEP = all: every product stays" in out and "removed: 0 files" in out


def test_final_products_stay_and_nothing_is_done_again(done):
    products, counts = done.products(), done.call("status", done.out / "run", "--json")
    records = done.directory().outcomes.read_bytes()
    status, out, _ = done.call("clean", done.out / "run", "--keep", "final", "--yes")
    assert status == 0 and "removed: 16 files" in out
    assert done.products() == final(products)
    assert done.directory().outcomes.read_bytes().startswith(records)
    assert done.call("status", done.out / "run", "--json") == counts
    plan = done.plan()
    assert all(step.count(State.DONE) == len(step.numbers) for step in plan.steps)
    assert again(done) == [] and done.products() == final(products)
    status, out, _ = done.call("clean", done.out / "run", "--keep", "final", "--yes")
    assert "removed: 0 files" in out


def test_what_is_needed_again_is_made_again_and_nothing_else(done):
    products = done.products()
    tidy(done)
    (done.directory().output("part_runner") / "piece-000001-0.txt").unlink()
    status, out, _ = done.call("plan", "-c", done.path)
    assert "expand_runner: 1 again because part_runner needs products that were removed" in out
    assert "noop_runner: 1 again because expand_runner needs products that were removed" in out
    assert "part_runner: 1 again because product piece-000001-0.txt is gone" in out
    assert again(done) == [
        ("expand_runner", "-000001"),
        ("noop_runner", "-000001"),
        ("part_runner", "-000001-0"),
    ]
    assert final(done.products()) == final(products)
    assert again(done) == []
    tidy(done)
    assert done.products() == final(products) and again(done) == []


def test_a_file_that_was_made_again_and_then_changed_is_noticed(done):
    tidy(done)
    (done.directory().output("expand_runner") / "head-000001.txt").unlink()
    again(done)
    made = done.directory().output("noop_runner") / "c-000001.txt"
    made.write_text("changed by hand")
    units = again(done)
    assert ("expand_runner", "-000001") in units and ("join_runner", "") in units


def test_a_product_that_went_by_hand_is_missed_all_the_same(done):
    tidy(done)
    (done.directory().output("expand_runner") / "head-000002.txt").unlink()
    assert done.plan().steps[1].reasons == {2: "product head-000002.txt is gone"}


def test_a_new_unit_has_a_joining_step_take_all_files_again(done):
    tidy(done)
    done.files("a", "b", numbers=[7])
    plan = done.plan()
    assert plan.steps[0].count(State.TO_DO) == 5
    assert set(plan.steps[0].reasons.values()) == {"join_runner needs products that were removed"}
    units = again(done)
    assert ("noop_runner", "-000001") in units and ("part_runner", "-000001-0") not in units
    assert done.products()["join_runner/all.txt"].count("-0000") == 10


def test_what_an_unfinished_unit_needs_stays(case):
    case.files("a", "b")
    case.ini(CHAIN)
    case.run("REHEARSAL:FAULTS=part_runner 000001-0 raise")
    tidy(case)
    kept = [name for name in case.products() if name.startswith("expand_runner/part")]
    assert kept == [f"expand_runner/part-000001-{k}.txt" for k in range(3)]
    assert again(case, allow_change=True) == [("part_runner", "-000001-0")]


def test_what_a_joining_step_will_take_once_more_stays(case):
    case.files("a", "b")
    case.ini("noop_runner, join_runner")
    case.run("REHEARSAL:FAULTS=noop_runner 000001 raise")
    piles = tidy(case)
    assert [(pile.files, pile.goes, pile.why) for pile in piles] == [
        (3, False, "join_runner is not done with them")
    ]
    assert again(case) == [("join_runner", ""), ("noop_runner", "-000001")]


def test_what_a_changed_option_will_ask_for_stays(done):
    status, out, _ = done.call(
        "clean", done.out / "run", "--keep", "final", "--yes", "-o", "EXPAND_RUNNER:PARTS=2"
    )
    assert "what depends on it counts as not done: expand_runner: option PARTS changed" in out
    assert len([name for name in done.products() if name.startswith("noop_runner")]) == 4


@pytest.mark.parametrize("mode", ["serial", "smp"])
def test_products_go_while_the_run_goes_on(case, mode):
    case.files("a", "b")
    case.ini(CHAIN, job="SMP_BACKEND = supervised")
    case.run()
    everything = case.products()
    (case.out / "run").rename(case.out / "before")
    assert case.run(f"EXECUTION:MODE={mode}", "EXECUTION:KEEP=final").exit_status == 0
    assert case.products() == final(everything)
    lines = list(case.directory().lines())
    gone = {line["number"]: k for k, line in enumerate(lines) if "removed" in line}
    parts = {line["number"]: k for k, line in enumerate(lines) if line.get("step") == "part_runner"}
    for k in range(4):  # each after the last unit that took it, not at the end of a step
        assert gone[f"-{k:06d}"] > max(parts[f"-{k:06d}-{part}"] for part in range(3))
    assert again(case, f"EXECUTION:MODE={mode}", "EXECUTION:KEEP=final") == []


def test_a_run_goes_on_after_it_was_cut_short_with_keep(case):
    case.files("a", "b")
    case.ini(CHAIN)
    case.run()
    everything = case.products()
    (case.out / "run").rename(case.out / "before")
    for point in ("record-written:17", "record-written:9"):
        words = [sys.executable, "-m", "shapepipe", "run", "-c", case.path]
        more = ["-o", "EXECUTION:KEEP=final", *(["--resume"] if case.directory().exists() else [])]
        done = subprocess.run(
            [*words, *more], env=os.environ | {"SHAPEPIPE_FAULT_AT": point}, capture_output=True
        )
        assert done.returncode == -signal.SIGKILL, done.stderr
    assert case.run("EXECUTION:KEEP=final").exit_status == 0
    assert case.products() == final(everything)
    jobs = [(line["step"], line["number"]) for line in case.records()]
    assert len(jobs) == len(set(jobs))


def test_files_whose_names_only_the_job_knows_stay(case):
    case.files("a", "b")
    case.ini("many_runner, found_runner, noop_runner, expand_runner")
    assert case.run("EXECUTION:KEEP=final").exit_status == 0
    left = {name.partition("/")[0] for name in case.products()}
    assert left == {"many_runner", "found_runner", "expand_runner"}
    assert tidy(case) == []
    assert again(case, "EXECUTION:KEEP=final") == []


def test_units_that_were_skipped_for_want_of_a_product_stay_skipped(case):
    case.files("a", "b")
    case.ini(
        "noop_runner, optional_runner, extra_runner",
        "[OPTIONAL_RUNNER]\nWITHOUT = 000001\nEMPTY = 000002",
    )
    assert case.run("EXECUTION:KEEP=final").exit_status == 0
    left = case.products()
    assert {name.partition("-")[0] for name in left} == {
        "optional_runner/table",
        "extra_runner/more",
    }
    assert again(case, "EXECUTION:KEEP=final") == [] and case.products() == left
    assert case.plan().steps[2].count(State.SKIPPED) == 2


def test_what_an_option_of_a_later_step_looks_at_stays(case):
    folder = case.folder / "runners"
    folder.mkdir()
    (folder / "look_runner.py").write_text(LOOKER)
    case.files("a", "b")
    case.ini("noop_runner, expand_runner, look_runner", "[LOOK_RUNNER]\nWHERE = last:expand_runner")
    path = f"EXECUTION:MODULE_PATH={case.path.parent / 'runners'}, {MOCKS}"
    assert case.run(path, "EXECUTION:KEEP=final").exit_status == 0
    left = {name.partition("-")[0] for name in case.products()}
    assert left == {"expand_runner/part", "expand_runner/head", "look_runner/look"}
    assert again(case, path, "EXECUTION:KEEP=final") == []
    (pile,) = tidy(case, path)
    assert pile.why == "an option of look_runner names its directory" and not pile.goes


def test_products_come_back_when_their_section_keeps_all(done):
    products = done.products()
    tidy(done)
    units = again(done, "EXPAND_RUNNER:KEEP=all")
    assert {step for step, _ in units} == {"noop_runner", "expand_runner"} and len(units) == 8
    assert done.products() == products
    assert again(done, "EXPAND_RUNNER:KEEP=all") == again(done) == []


def test_shards_make_again_what_their_units_need(done):
    products = done.products()
    tidy(done)
    for number in ("000001-0", "000002-2"):
        (done.directory().output("part_runner") / f"piece-{number}.txt").unlink()
    before = len(done.records())
    for shard in ("1/2", "2/2"):
        assert done.call("", "-c", done.path, "--shard", shard)[0] == 0
    units = sorted((line["step"], line["number"]) for line in done.records())
    assert len(units) == before + 6 and final(done.products()) == final(products)
    assert again(done) == []


def test_shards_remove_what_has_served_in_them(case):
    case.files("a", "b")
    case.ini("noop_runner, expand_runner, part_runner")
    for shard in ("1/2", "2/2"):
        words = ["-o", "EXECUTION:KEEP=final", "--shard", shard]
        assert case.call("", "-c", case.path, *words)[0] == 0
    assert case.products() == final(case.products()) and len(case.products()) == 16
    assert again(case, "EXECUTION:KEEP=final") == []


def test_a_section_may_keep_more_or_less(case):
    case.files("a", "b")
    case.ini(CHAIN, "[NOOP_RUNNER]\nKEEP = all\n[EXPAND_RUNNER]\nKEEP = final\n")
    assert case.run().exit_status == 0
    left = case.products()
    assert "noop_runner/c-000001.txt" in left and "expand_runner/part-000001-0.txt" not in left
    assert again(case, "NOOP_RUNNER:KEEP=final") == []
    assert "noop_runner/c-000001.txt" not in case.products()


@pytest.mark.parametrize("keep, shares", [("all", 8), ("products", 0), ("final", 0)])
def test_shares_of_a_catalogue_go_when_they_are_joined(case, keep, shares):
    case.files("a", "b")
    case.ini("noop_runner, lines_runner", "[LINES_RUNNER]\nCHUNKS = 2\n")
    assert case.run(f"EXECUTION:KEEP={keep}").exit_status == 0
    files = [path.parent.parent.name for path in case.directory().path.rglob("output/*.txt")]
    assert files.count("rows") == shares
    assert files.count("lines_runner") == 4
    assert files.count("noop_runner") == (0 if keep == "final" else 4)
    assert again(case, f"EXECUTION:KEEP={keep}") == []


def test_keep_is_checked(case):
    case.files("a", "b")
    case.ini(CHAIN)
    status, _, err = case.call("check", "-c", case.path, "-o", "EXECUTION:KEEP=some")
    assert status == 2 and "KEEP" in err and "final" in err


def test_what_another_run_reads_stays_unless_told(done):
    other = done.ini("part_runner", OTHER, RUN_NAME="other")
    assert done.run().exit_status == 0 and other.exists()
    done.ini(CHAIN)
    status, out, _ = done.call("clean", done.out / "run", "--keep", "final", "--yes")
    assert "run other reads them" in out and "--even-if-read" in out
    assert "expand_runner/part-000001-0.txt" in done.products()
    assert "noop_runner/c-000001.txt" not in done.products()
    done.call("clean", done.out / "run", "--keep", "final", "--yes", "--even-if-read")
    assert "expand_runner/part-000001-0.txt" not in done.products()


def test_a_later_run_is_told_that_its_inputs_were_removed(done):
    tidy(done)
    done.ini("part_runner", OTHER, RUN_NAME="other")
    status, _, err = done.call("plan", "-c", done.path)
    assert status == 2 and "12 products of expand_runner were removed from run run" in err


def test_a_run_under_way_is_left_alone(done):
    lock = os.open(done.out / "run" / "lock", os.O_RDWR)
    fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        with pytest.raises(RunRefused, match="is being run by process"):
            tidy(done)
    finally:
        os.close(lock)
    assert len(tidy(done)) == 2


@pytest.mark.parametrize("point", ["record-written:1", "record-written:7"])
def test_a_clean_that_was_killed_is_taken_up_again(done, point):
    products = done.products()
    words = [sys.executable, "-m", "shapepipe", "clean", done.out / "run", "--keep", "final"]
    env = os.environ | {"SHAPEPIPE_FAULT_AT": point}
    assert subprocess.run([*words, "--yes"], env=env).returncode == -signal.SIGKILL
    assert final(products).items() < done.products().items()
    assert again(done) == []
    tidy(done)
    assert done.products() == final(products) and again(done) == []


def test_orphans_go_only_when_asked_for(done):
    for name in ("a", "b"):
        (done.inputs / f"{name}-000003.txt").unlink()
    output = done.directory().output("noop_runner")
    (output / "c-000009.txt").write_text("of a run that was killed")
    (output / "notes.txt").write_text("of a person")
    status, out, _ = done.call("clean", done.out / "run", "--yes")
    assert "orphans: of no unit of the chain" in out and "orphans: no record tells of them" in out
    assert "--orphans lets the orphans go as well" in out and "removed: 0 files" in out
    left = [name for name in done.products() if "000003" in name or "000009" in name]
    assert len(left) == 9
    done.call("clean", done.out / "run", "--yes", "--orphans")
    assert not [name for name in done.products() if "000003" in name or "000009" in name]
    assert (output / "notes.txt").exists()
    done.files("a", "b", numbers=[3])
    assert ("noop_runner", "-000003") in again(done)


def test_a_step_that_is_no_longer_there_leaves_orphans(done):
    done.ini("noop_runner, expand_runner")
    piles = tidy(done, keep="all", orphans=True)
    assert [(pile.step, pile.files, pile.goes) for pile in piles] == [
        ("join_runner", 1, True),
        ("part_runner", 12, True),
    ]


def test_a_link_goes_and_what_it_leads_to_stays(done):
    raw = done.folder / "raw.txt"
    raw.write_text("taken at the telescope")
    product = done.directory().output("noop_runner") / "c-000009.txt"
    product.symlink_to(raw)
    tidy(done, orphans=True)
    assert raw.exists() and not product.is_symlink()


def test_leftovers_of_attempts_go(done):
    scratch = done.out / "run" / "tmp" / "noop_runner" / "attempt"
    scratch.mkdir(parents=True)
    (scratch / "half.fits").write_text("half")
    (done.out / "run" / "run.json.123.part").write_text("{")
    piles = tidy(done, keep="all")
    assert [(pile.files, pile.goes) for pile in piles] == [(2, True)]
    assert not scratch.exists() and again(done) == []


def test_numbers_that_were_chosen_do_not_make_the_others_orphans(done):
    done.ini(CHAIN, file="NUMBER_LIST = 000001")
    piles = tidy(done, keep="all", orphans=True)
    assert piles == []


def test_results_name_only_what_is_there(done):
    tidy(done)
    result = done.run()
    assert result.products("noop_runner") == []
    assert all(path.exists() for path in result.products("expand_runner"))
