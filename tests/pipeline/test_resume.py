"""A run goes on where it stopped: what is done is not done again, and everything else says why."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from shapepipe.errors import RunRefused
from shapepipe.pipeline.records import OUTCOMES_FILE, RunDirectory
from shapepipe.pipeline.steps import State

CHAIN = "noop_runner, expand_runner, part_runner, join_runner"
N_UNITS = 4 + 4 + 12 + 1


@pytest.fixture
def done(case):
    """A chain that has run to its end."""
    case.files("a", "b")
    case.ini(CHAIN, "[NOOP_RUNNER]\nLEDGER = \n")
    assert case.run().exit_status == 0
    return case


def again(case, *overrides, **how) -> list[tuple[str, str]]:
    """Continue; return the units that were done, in order of name."""
    before = len(case.records())
    case.run(*overrides, **how)
    return sorted((line["step"], line["number"]) for line in case.records()[before:])


def reasons(case, step=0) -> set[str]:
    return set(case.plan().steps[step].reasons.values())


def test_what_is_done_is_not_done_again(done):
    products = done.products()
    times = {path: path.stat().st_mtime_ns for path in done.out.rglob("output/*")}
    assert again(done) == []
    assert done.products() == products
    assert {path: path.stat().st_mtime_ns for path in done.out.rglob("output/*")} == times
    plan = done.plan()
    assert all(step.count(State.DONE) == len(step.numbers) for step in plan.steps)


def test_a_changed_input_runs_again_with_what_depends_on_it(done):
    (done.inputs / "a-000002.txt").write_text("changed")
    plan = done.plan()
    assert plan.steps[0].reasons == {2: "input a-000002.txt changed"}
    assert plan.steps[1].reasons == {2: "noop_runner runs again"}
    assert again(done) == [
        ("expand_runner", "-000002"),
        ("join_runner", ""),
        ("noop_runner", "-000002"),
        ("part_runner", "-000002-0"),
        ("part_runner", "-000002-1"),
        ("part_runner", "-000002-2"),
    ]
    assert "changed" in done.products()["join_runner/all.txt"]


def test_a_product_that_is_gone_is_made_again(done):
    (done.directory().output("expand_runner") / "part-000001-2.txt").unlink()
    assert reasons(done, 1) == {"product part-000001-2.txt is gone"}
    units = again(done)
    assert ("expand_runner", "-000001") in units and ("noop_runner", "-000001") not in units


def test_a_new_unit_is_added(done):
    done.files("a", "b", numbers=[7])
    units = again(done)
    assert ("noop_runner", "-000007") in units and ("noop_runner", "-000001") not in units
    assert "-000007" in done.products()["join_runner/all.txt"]


def test_a_changed_option_is_refused_and_then_named(done):
    with pytest.raises(RunRefused, match=r"noop_runner: option WORD changed \( -> new\)"):
        done.run("NOOP_RUNNER:WORD=new")
    assert len(done.records()) == N_UNITS
    assert len(again(done, "NOOP_RUNNER:WORD=new", allow_change=True)) == N_UNITS
    assert " new " in done.products()["join_runner/all.txt"]
    assert again(done, "NOOP_RUNNER:WORD=new") == []


def test_an_option_of_a_later_step_leaves_the_earlier_ones(done):
    units = again(done, "EXPAND_RUNNER:PARTS=2", allow_change=True)
    assert {step for step, _ in units} == {"expand_runner", "part_runner"}
    assert len(units) == 4 + 8


def test_products_that_are_no_longer_made_are_removed(done):
    again(done, "EXPAND_RUNNER:PARTS=2", allow_change=True)
    names = {name for name in done.products() if name.startswith("expand_runner/part-000001")}
    assert names == {"expand_runner/part-000001-0.txt", "expand_runner/part-000001-1.txt"}


def test_where_inputs_are_does_not_count_as_an_option(done):
    assert again(done, f"NOOP_RUNNER:INPUT_DIR={done.inputs}") == []


def test_changed_code_is_seen(case):
    mine = case.folder / "mine"
    mine.mkdir()
    text = (
        "from shapepipe import Input, Options, Output, runner\n"
        "@runner(inputs=[Input('a', ext='.txt')], outputs=[Output('z', ext='.txt')], "
        "numbering='-0')\ndef own_runner(job, opts: Options):\n"
        "    job.output('z').write_text('one')\n"
    )
    (mine / "own_runner.py").write_text(text)
    case.files("a", numbers=[1])
    case.ini("own_runner")
    case.path.write_text(case.path.read_text().replace("MODULE_PATH = ", f"MODULE_PATH = {mine}, "))
    command = [sys.executable, "-m", "shapepipe", "run", "-c", case.path]
    assert subprocess.run(command).returncode == 0
    (mine / "own_runner.py").write_text(text.replace("one", "two"))
    refused = subprocess.run(command, capture_output=True, text=True)
    assert refused.returncode == 2 and "code of the runner changed" in refused.stderr
    assert subprocess.run([*command, "--allow-change"]).returncode == 0
    assert case.products()["own_runner/z-000001.txt"] == "two"


def test_what_failed_is_tried_again(case):
    case.files("a")
    case.ini("odd_runner", case.plant("odd_runner", {1: "raise once", 2: "sigkill once"}))
    assert case.run().counts["odd_runner"] == {"ok": 2, "failed": 1, "lost": 1}
    assert reasons(case) == {"failed before", "lost before"}
    assert again(case) == [("odd_runner", "-000001"), ("odd_runner", "-000002")]
    assert [line["try"] for line in case.records()] == [1] * 4 + [2] * 2
    assert case.run().exit_status == 0


def test_a_unit_that_fails_takes_back_what_came_from_it(case):
    case.files("a", "b")
    case.ini("noop_runner, optional_runner, extra_runner, join_runner")
    assert case.run().exit_status == 0
    assert "extra_runner/more-000002.txt" in case.products()
    case.run("OPTIONAL_RUNNER:EMPTY=000002", allow_change=True)
    products = case.products()
    assert "optional_runner/table-000002.txt" not in products
    assert "extra_runner/more-000002.txt" not in products
    (case.inputs / "a-000001.txt").write_bytes(b"\xff is no text")
    assert case.run("OPTIONAL_RUNNER:EMPTY=000002").counts["noop_runner"]["failed"] == 1
    assert not [name for name in case.products() if "-000001" in name]
    assert "-000001" not in case.products()["join_runner/all.txt"]


def test_a_file_that_vanishes_is_named_in_the_log(case):
    case.files("a", "b", numbers=range(2))
    case.ini("noop_runner")
    plan = case.plan()
    (case.inputs / "b-000001.txt").unlink()
    from shapepipe.pipeline.run import execute  # noqa: PLC0415

    assert execute(plan).counts["noop_runner"] == {"ok": 1, "failed": 1}
    (line,) = [line for line in case.records() if line["status"] == "failed"]
    assert "b-000001.txt" in line["error"]


def test_a_torn_last_line_is_not_a_record(done):
    path = done.out / "run" / OUTCOMES_FILE
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    assert again(done) == [] and path.read_bytes() == whole
    path.write_bytes(whole[:-20])
    last = json.loads(whole.splitlines()[-1])
    assert again(done) == [(last["step"], last["number"])]
    assert path.read_bytes().startswith(whole[:-20] + b"\n{")


def test_lines_of_rubbish_are_passed_over(done):
    path = done.out / "run" / OUTCOMES_FILE
    path.write_bytes(b"\0\0\0\n[1]\n12\n{}\n" + path.read_bytes() + b'{"step": "x"}\n\xff\n')
    assert again(done) == []
    assert done.call("status", done.out / "run")[0] == 0


def test_an_address_among_the_options_of_a_chain_survives_resume(case):
    mine = case.folder / "mine"
    mine.mkdir()
    (mine / "look_runner.py").write_text(
        "from shapepipe import Address, Input, Options, Output, option, runner\n"
        "class LookOptions(Options):\n    where: Address = option(doc='Directories.')\n"
        "@runner(inputs=[Input('a', ext='.txt')], outputs=[Output('seen', ext='.txt')], "
        "numbering='-0')\ndef look_runner(job, opts: LookOptions):\n"
        "    names = sorted(path.name for path in opts.where[0].iterdir())\n"
        "    job.output('seen').write_text(' '.join(names))\n"
    )
    case.files("a", "b", numbers=range(2))
    case.ini("noop_runner, look_runner", "[LOOK_RUNNER]\nWHERE = last:noop_runner")
    case.path.write_text(case.path.read_text().replace("MODULE_PATH = ", f"MODULE_PATH = {mine}, "))
    assert case.run().exit_status == 0
    assert case.products()["look_runner/seen-000000.txt"] == "c-000000.txt c-000001.txt"
    assert again(case) == []
    case.files("a", "b", numbers=[2])
    units = again(case)
    assert ("look_runner", "-000000") in units
    assert case.products()["look_runner/seen-000000.txt"].split()[-1] == "c-000002.txt"


def test_a_second_head_is_refused_and_told_who_has_the_run(done):
    directory = RunDirectory(done.out / "run")
    directory.acquire()
    with pytest.raises(RunRefused, match=f"is being run by process {os.getpid()} on .* since"):
        done.run()
    directory.close()
    assert again(done) == []


def test_the_lock_of_a_dead_owner_is_free(done):
    (done.out / "run" / "lock").write_text("process 1 on elsewhere since 2001-01-01\n")
    assert again(done) == []


def test_asking_for_the_status_does_not_take_the_run(done):
    lock = done.out / "run" / "lock"
    text, when = lock.read_text(), lock.stat().st_mtime_ns
    assert done.call("status", done.out / "run")[0] == 0
    assert (lock.read_text(), lock.stat().st_mtime_ns) == (text, when)
    with open(lock) as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert "running: process" in done.call("status", done.out / "run")[1]


def test_a_start_that_was_cut_short_is_started_again(case):
    case.files("a", "b")
    case.ini("noop_runner")
    (case.out / "run" / "logs").mkdir(parents=True)
    (case.out / "run" / "lock").touch()
    assert case.run().exit_status == 0
    listed = (case.out / "shapepipe_runs.txt").read_text().splitlines()
    assert listed == [f"{case.out}/run noop_runner"]


def test_a_run_that_never_got_into_the_list_is_added_on_resume(done):
    (done.out / "shapepipe_runs.txt").unlink()
    done.run()
    done.run()
    assert len((done.out / "shapepipe_runs.txt").read_text().splitlines()) == 1


def heed_interrupts():
    """Let SIGINT through, which shells take from whom they put into the background."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("backend", ["supervised", "threading"])
def test_a_signal_ends_the_run_in_order(case, sign, backend):
    case.files("a", "b", numbers=range(6))
    ledger = case.folder / "ledger"
    case.ini("noop_runner, join_runner", f"[NOOP_RUNNER]\nLEDGER = {ledger}\nSLOW = 000003=60")
    command = [sys.executable, "-m", "shapepipe", "run", "-c", case.path]
    head = subprocess.Popen(
        [*command, "-o", f"JOB:SMP_BACKEND={backend}"],
        stderr=-1,
        text=True,
        preexec_fn=heed_interrupts,
    )
    until = time.monotonic() + 60
    while not (ledger.exists() and "-000003" in ledger.read_text()) and time.monotonic() < until:
        time.sleep(0.02)
    while len(case.records()) < 3 and time.monotonic() < until:
        time.sleep(0.02)
    head.send_signal(sign)
    _, err = head.communicate(timeout=30)
    assert head.returncode == 130, err
    assert "interrupted" in err and f"shapepipe resume {case.out}/run" in err
    before = {line["number"] for line in case.records()}
    assert "-000003" not in before and len(before) >= 3
    ledger.unlink()
    assert case.run("NOOP_RUNNER:SLOW=", allow_change=True).exit_status == 0


def test_the_verb_resume_goes_on_with_the_same_command(case, monkeypatch):
    monkeypatch.setenv("SP_IN", str(case.inputs))
    case.files("a", "b")
    case.ini("noop_runner, join_runner", "[NOOP_RUNNER]\nINPUT_DIR = $SP_IN\n")
    status, _, _ = case.call("", "-c", case.path, "-o", "NOOP_RUNNER:WORD=x", "-e", "-000001")
    assert status == 0 and set(case.products()) == {
        "noop_runner/c-000001.txt",
        "join_runner/all.txt",
    }
    monkeypatch.delenv("SP_IN")
    (case.directory().output("noop_runner") / "c-000001.txt").unlink()
    assert case.call("resume", case.out / "run")[0] == 0
    assert " x " in case.products()["noop_runner/c-000001.txt"]
    assert len(case.records()) == 4


def test_a_dated_run_is_found_by_resume(case):
    case.files("a", "b")
    case.ini("noop_runner", RUN_DATETIME="True")
    assert case.call("", "-c", case.path)[0] == 0
    assert case.call("", "-c", case.path, "--resume")[0] == 0
    (name,) = [name for name in os.listdir(case.out) if name.startswith("run_")]
    assert len(case.records(name)) == 4
    assert len(json.loads((case.out / name / "run.json").read_text())["launches"]) == 2


def test_nothing_to_resume(case):
    case.files("a", "b")
    case.ini("noop_runner", RUN_DATETIME="True")
    status, _, err = case.call("", "-c", case.path, "--resume")
    assert status == 2 and "there is no run run_????-??-??_??-??-??" in err
    assert case.call("resume", case.out)[0] == 2


@pytest.fixture
def small_disk(tmp_path):
    """A file system that is soon full."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small tmpfs needs root")
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", folder]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a tmpfs cannot be mounted here")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_a_full_disk_is_named_and_the_run_resumes(case, small_disk):
    case.files("a", "b", numbers=range(30))
    case.ini("noop_runner, join_runner", "[NOOP_RUNNER]\nWORD = " + "x" * 9000)
    case.path.write_text(case.path.read_text().replace(str(case.out), str(small_disk)))
    status, out, err = case.call("", "-c", case.path)
    assert status == 1 and "No space left on device" in out + err, (out, err)
    assert "Traceback" not in out + err and "Logging error" not in out + err
    check_products_are_whole(small_disk)
    for _ in range(3):
        subprocess.run(["mount", "-o", "remount,size=20M", small_disk], check=True)
        status, _, _ = case.call("", "-c", case.path)
    assert status == 0
    check_products_are_whole(small_disk)
    assert len(list((small_disk / "run" / "noop_runner" / "output").iterdir())) == 30


def check_products_are_whole(folder):
    """Every product has its full length, and each recorded product is there."""
    output = folder / "run" / "noop_runner" / "output"
    for path in output.glob("*"):
        assert path.read_text().endswith("\n") and len(path.read_text()) > 9000
    for line in RunDirectory(folder / "run").lines():
        if line.get("status") == "ok" and line["step"] == "noop_runner":
            assert all((output / name).exists() for name in line["out"])


def test_a_joining_step_is_not_repeated_when_its_inputs_are_the_same(case):
    case.files("a", "b")
    (case.inputs / "a-000001.txt").write_bytes(b"\xff is no text")
    case.ini("noop_runner, join_runner")
    assert case.run().counts == {"noop_runner": {"ok": 3, "failed": 1}, "join_runner": {"ok": 1}}
    assert again(case) == [("noop_runner", "-000001")]
