"""The chain wired and checked before anything runs."""

from __future__ import annotations

import os

import pytest

from shapepipe.errors import ConfigurationError
from shapepipe.pipeline.steps import State
from shapepipe.pipeline.wiring import Wire


def complaints(case, *overrides, **how) -> list[str]:
    with pytest.raises(ConfigurationError) as raised:
        case.plan(*overrides, **how)
    assert os.listdir(case.out) == []
    return list(raised.value.complaints)


def sources(step, role=0):
    """Labels of steps and folders that an input comes from."""
    column = step.columns[role]
    return [
        source.step if isinstance(source, Wire) else list(source.folders)
        for source in column.sources
    ]


def test_inputs_are_wired_to_earlier_steps_by_role(case):
    case.files("a", "b")
    case.ini("noop_runner, expand_runner, part_runner, join_runner")
    noop, expand, part, join = case.plan().steps
    assert sources(noop) == [[str(case.inputs)]] and sources(expand) == [0] and sources(part) == [1]
    assert noop.numbers == expand.numbers == [f"-{k:06d}" for k in range(4)]
    assert part.numbers == [f"-{k:06d}-{j}" for k in range(4) for j in range(3)]
    assert join.numbers == [""] and join.waits == {0}
    assert part.inputs_of(4) == (f"{case.out}/run/expand_runner/output/part-000001-1.txt",)
    assert os.listdir(case.out) == []


def test_options_decide_what_an_earlier_step_makes(case):
    case.files("a", "b")
    case.ini("noop_runner, expand_runner, part_runner", "[EXPAND_RUNNER]\nPARTS = 5")
    assert len(case.plan().steps[2].numbers) == 20


def test_a_section_wins_over_file_and_file_over_the_declaration(case):
    case.files("mya", "myb", "c", ext=".dat", form="_{:02d}")
    case.ini(
        "noop_runner, expand_runner",
        file="FILE_PATTERN = mya, myb\nFILE_EXT = .dat\nNUMBERING_SCHEME = _00",
    )
    noop, expand = case.plan().steps
    assert noop.inputs_of(0) == (f"{case.inputs}/mya_00.dat", f"{case.inputs}/myb_00.dat")
    assert sources(expand) == [0]  # [FILE] does not say what a step of the chain reads
    case.ini(
        "noop_runner",
        "[NOOP_RUNNER]\nFILE_PATTERN = mya, c\n",
        file="FILE_PATTERN = mya, myb\nFILE_EXT = .dat\nNUMBERING_SCHEME = _00",
    )
    assert case.plan().steps[0].inputs_of(1)[1] == f"{case.inputs}/c_01.dat"


def test_an_input_directory_of_the_section_replaces_the_chain(case):
    case.files("a", "b")
    other = case.files("c", numbers=range(2), where=case.folder / "other")
    case.ini("noop_runner, expand_runner", f"[EXPAND_RUNNER]\nINPUT_DIR = {other}")
    expand = case.plan().steps[1]
    assert sources(expand) == [[str(other)]] and len(expand.numbers) == 2


def test_added_directories_stand_beside_the_chain_and_do_not_leak(case):
    case.files("a", "b")
    other = case.files("c", numbers=range(10, 12), where=case.folder / "other")
    case.ini("noop_runner, expand_runner, noop_runner", f"[EXPAND_RUNNER]\nADD_INPUT_DIR = {other}")
    _, expand, again = case.plan().steps
    assert sources(expand) == [0, [str(other)]] and len(expand.numbers) == 6
    assert sources(again) == [[str(case.inputs)]] and len(again.numbers) == 4


def test_added_patterns_and_modules(case):
    case.files("a", "b", "extra")
    case.ini("noop_runner", "[NOOP_RUNNER]\nFILE_PATTERN = a\nADD_FILE_PATTERN = extra")
    assert case.plan().steps[0].inputs_of(0)[1] == f"{case.inputs}/extra-000000.txt"
    case.ini(
        "noop_runner, expand_runner, optional_runner, part_runner",
        "[PART_RUNNER]\nADD_INPUT_MODULE = optional_runner\nFILE_PATTERN = table",
    )
    assert sources(case.plan().steps[3]) == [2]


def test_one_extension_serves_all_inputs_otherwise_numbers_must_agree(case):
    case.files("a", "b", ext=".dat")
    case.ini("noop_runner", "[NOOP_RUNNER]\nFILE_EXT = dat")
    assert len(case.plan().steps[0].numbers) == 4
    case.ini("noop_runner", "[NOOP_RUNNER]\nFILE_EXT = .dat, .txt, .fits\nFILE_PATTERN = a, b")
    (complaint,) = complaints(case)
    assert "3 extensions for 2 inputs" in complaint
    case.ini("noop_runner", "[NOOP_RUNNER]\nFILE_PATTERN = a")
    (complaint,) = complaints(case)
    assert "1 patterns (a) for 2 inputs (a, b)" in complaint


def test_a_star_in_a_pattern_is_refused(case):
    case.files("a", "b")
    case.ini("noop_runner", "[NOOP_RUNNER]\nFILE_PATTERN = a*, b")
    assert "holds a '*'" in complaints(case)[0]


def test_an_input_module_outside_the_chain_is_the_last_run_of_it(case):
    case.files("a", "b")
    case.ini("noop_runner", RUN_NAME="first")
    assert case.run().exit_status == 0
    case.ini("expand_runner", "[EXPAND_RUNNER]\nINPUT_MODULE = noop_runner", RUN_NAME="second")
    expand = case.plan().steps[0]
    assert sources(expand) == [[f"{case.out}/first/noop_runner/output"]]
    case.ini("expand_runner", "[EXPAND_RUNNER]\nINPUT_MODULE = nop_runner", RUN_NAME="second")
    with pytest.raises(ConfigurationError, match="last:nop_runner.*did you mean noop_runner"):
        case.plan()


def test_incomplete_sets_are_named_and_make_the_run_fail(case):
    case.files("a", numbers=range(4))
    case.files("b", numbers=range(1, 6))
    case.ini("noop_runner")
    (step,) = case.plan().steps
    assert step.numbers == ["-000001", "-000002", "-000003"]
    assert step.incomplete == {"-000000": "no b (b-000000.txt)"}
    assert list(step.unpaired) == ["-000004", "-000005"]
    assert case.run().exit_status == 1


def test_no_common_number(case):
    case.files("a", numbers=range(2))
    case.files("b", numbers=range(5, 7))
    case.ini("noop_runner")
    plan = case.plan()
    assert plan.steps[0].numbers == [] and len(plan.steps[0].incomplete) == 2
    assert case.run().exit_status == 1


def test_no_file_fits(case):
    case.files("a", "b", ext=".dat")
    case.ini("noop_runner")
    first, second = complaints(case)
    assert first.startswith(
        f"run.ini [NOOP_RUNNER] a: no file a<number>.txt with a number of form '-000000' in "
        f"{case.inputs}; there is a-00000"
    )


def test_the_same_number_twice(case):
    case.files("a", "b")
    case.files("a", numbers=[2], where=case.inputs / "old")
    case.ini("noop_runner")
    (complaint,) = complaints(case)
    assert "the same number stands twice" in complaint
    assert f"{case.inputs}/old/a-000002.txt" in complaint


def test_nowhere_to_look(case):
    case.ini("noop_runner")
    case.path.write_text(case.path.read_text().replace(f"INPUT_DIR = {case.inputs}", ""))
    assert "nowhere to look" in complaints(case)[0]


def test_an_input_directory_that_is_not_there(case):
    case.ini("noop_runner")
    case.path.write_text(case.path.read_text().replace("/in\n", "/inn\n"))
    found = complaints(case)
    assert len(found) == 1 and f"did you mean {case.inputs}?" in found[0], found


def test_mistakes_of_all_steps_at_once(case):
    case.files("a", "b")
    case.ini(
        "noop_runner, expand_runner, part_runner",
        "[NOOP_RUNNER]\nNUMBERING_SCHEME = RE:(\n[PART_RUNNER]\nFILE_PATTERN = prat\n"
        "DEPENDS = no_such_package\nEXECUTES = no_such_program\n",
    )
    found = "\n".join(complaints(case))
    for text in ("RE:(", "no_such_package is not installed", "no_such_program is not on PATH"):
        assert text in found
    assert "expand_runner does not make prat*.txt (it makes head*.txt, part*.txt)" in found


@pytest.mark.parametrize("number", ["-000002", "000002"])
def test_single_units(case, number):
    case.files("a", "b")
    case.ini("noop_runner, expand_runner, part_runner, join_runner")
    noop, expand, part, join = case.plan(only=[number]).steps
    assert noop.numbers == expand.numbers == ["-000002"]
    assert part.numbers == [f"-000002-{k}" for k in range(3)]


def test_a_unit_by_the_number_of_its_part(case):
    case.files("a", "b")
    case.ini("noop_runner, expand_runner, part_runner")
    noop, expand, part = case.plan(only=["-000002-1"]).steps
    assert noop.numbers == ["-000002"] and part.numbers == ["-000002-1"]


def test_a_unit_that_is_not_there(case):
    case.files("a", "b")
    case.ini("noop_runner")
    (complaint,) = complaints(case, only=["-000009"])
    assert complaint.startswith("number -000009 was asked for, but there are no such files")


def test_number_list_as_values_and_as_file(case):
    case.files("a", "b")
    case.ini("noop_runner", file="NUMBER_LIST = -000001, -000003")
    assert case.plan().steps[0].numbers == ["-000001", "-000003"]
    listed = case.folder / "numbers.txt"
    listed.write_text("-000000\n-000002\n")
    case.ini("noop_runner", file=f"NUMBER_LIST = {listed}")
    assert case.plan().steps[0].numbers == ["-000000", "-000002"]


def test_a_step_whose_inputs_are_unknown_waits(case):
    case.files("a", numbers=range(2))
    case.ini("many_runner, found_runner")
    many, found = case.plan().steps
    assert many.bound and not found.bound and found.waits == {0}
    assert case.run().exit_status == 0
    assert sorted(case.products()) == sorted(
        [f"many_runner/found-00000{k}-{j}.txt" for k in range(2) for j in range(2)]
        + [f"found_runner/seen-00000{k}-{j}.txt" for k in range(2) for j in range(2)]
    )
    assert [step.count(State.DONE) for step in case.plan().steps] == [2, 4]


def test_what_a_waiting_step_does_not_find_is_said_at_its_turn(case):
    case.files("a", numbers=range(2))
    case.ini("many_runner, found_runner", "[FOUND_RUNNER]\nNUMBERING_SCHEME = _0")
    assert case.call("", "-c", case.path)[0] == 1
    status, out, err = case.call("", "-c", case.path)
    assert status == 1 and "[FOUND_RUNNER] found: no file found<number>.txt" in out + err


def test_two_calls_of_one_runner(case):
    case.files("a", "b")
    case.ini(
        "noop_runner, expand_runner, noop_runner",
        "[NOOP_RUNNER_RUN_2]\nWORD = second\n[EXPAND_RUNNER]\nINPUT_MODULE = noop_runner_run_1\n",
    )
    first, expand, second = case.plan().steps
    assert (first.label, second.label) == ("noop_runner_run_1", "noop_runner_run_2")
    assert sources(expand) == [0]
    assert second.opts.word == "second" and first.opts.word == ""


def test_an_input_module_under_its_alias(case):
    case.files("a", "b")
    case.ini("noop_runner, cut_runner, part_runner", "[PART_RUNNER]\nINPUT_MODULE = cut_runner")
    assert sources(case.plan().steps[2]) == [1]


def test_programs_of_a_runner_are_looked_for_with_their_version(case, monkeypatch):
    case.files("a")
    case.ini("odd_runner")
    plan = case.plan()
    assert plan.programs["sh"]["path"].endswith("/sh") and plan.programs["sh"]["version"] == "1.0"
    monkeypatch.setenv("PATH", str(case.folder))
    assert complaints(case) == ["run.ini [ODD_RUNNER]: program sh is not on PATH"]


def test_an_optional_product_that_is_missing_skips_its_unit(case):
    case.files("a", "b")
    case.ini(
        "noop_runner, optional_runner, extra_runner",
        "[OPTIONAL_RUNNER]\nWITHOUT = 000001\nEMPTY = 000002",
    )
    result = case.run()
    assert result.exit_status == 0
    assert result.counts["optional_runner"] == {"ok": 3, "empty": 1}
    assert result.counts["extra_runner"] == {"ok": 2, "skipped": 2}
    again = case.run()
    assert again.counts["extra_runner"] == {"done": 2, "skipped": 2}
    assert len(case.records()) == 4 + 4 + 2


def test_an_unknown_scheme_character_is_literal(case):
    case.files("a", "b", form=".v{:d}")
    case.ini("noop_runner", "[NOOP_RUNNER]\nNUMBERING_SCHEME = RE:\\.v\\d")
    assert case.plan().steps[0].numbers == [".v0", ".v1", ".v2", ".v3"]
