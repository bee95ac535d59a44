"""INI text to a configuration: every rule of the format, and all complaints at once."""

from __future__ import annotations

import os

import pytest

from shapepipe.errors import ConfigurationError
from shapepipe.pipeline.config import IniText, load_config, read_number_list
from shapepipe.pipeline.options import parse_duration


def complaints(path, *overrides) -> list[str]:
    with pytest.raises(ConfigurationError) as raised:
        load_config(path, overrides)
    return list(raised.value.complaints)


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    return path


def test_defaults_of_the_framework_sections(case):
    edit(case.ini("noop_runner"), "SMP_BATCH_SIZE = 2", "")
    edit(case.path, "RUN_NAME = run\nRUN_DATETIME = False\nVERBOSE = False\n", "")
    config = load_config(case.path)
    assert (config.default.verbose, config.default.run_name) == (True, "shapepipe_run")
    assert config.default.run_datetime is True
    assert (config.execution.mode, config.job.smp_batch_size) == ("smp", 1)
    assert (config.file.log_name, config.file.run_log_name) == ("shapepipe", "shapepipe_runs")
    assert config.file.correct_file_pattern is True
    assert config.file.numbering_scheme is None and config.job.timeout is None
    assert config.worker.process_print_limit == 200


@pytest.mark.parametrize("text", ["True", "true", "yes", "on", "1", "YES"])
def test_booleans_true(case, text):
    assert load_config(case.ini("noop_runner", VERBOSE=text)).default.verbose is True


@pytest.mark.parametrize("text", ["False", "no", "off", "0", "No"])
def test_booleans_false(case, text):
    assert load_config(case.ini("noop_runner", VERBOSE=text)).default.verbose is False


def test_option_names_ignore_case_and_sections_do_not(case):
    path = case.ini("noop_runner", "[NOOP_RUNNER]\nwOrD = x\n")
    assert load_config(path).steps[0].opts.word == "x"
    path = case.ini("noop_runner", "[noop_runner]\nWORD = x\n")
    assert complaints(path) == [
        "run.ini:15 [noop_runner]: unknown section; did you mean NOOP_RUNNER?"
    ]


def test_byte_order_mark_windows_lines_and_tabs(case):
    path = case.ini("noop_runner, join_runner", "[NOOP_RUNNER]\nWORD\t=\tx y\t\n")
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    config = load_config(path)
    assert [step.label for step in config.steps] == ["noop_runner", "join_runner"]
    assert config.steps[0].opts.word == "x y"


def test_lists_continue_over_indented_lines_with_comments_between(case):
    path = case.ini("noop_runner,\n    expand_runner ,\n\t# the join is left out\n\n\tpart_runner,")
    assert [step.label for step in load_config(path).steps] == [
        "noop_runner",
        "expand_runner",
        "part_runner",
    ]


def test_an_indented_option_is_not_overlooked(case):
    path = case.ini("noop_runner", "[NOOP_RUNNER]\n  WORD = x\n  SLEEP = 0.5\n")
    path.write_text(path.read_text().replace("  SLEEP", "SLEEP"))
    opts = load_config(path).steps[0].opts
    assert (opts.word, opts.sleep) == ("x", 0.5)
    wrong = case.ini("noop_runner", "[NOOP_RUNNER]\n  WROD = x\n")
    assert complaints(wrong) == [
        "run.ini:16 [NOOP_RUNNER] WROD: unknown option; did you mean WORD?"
    ]


def test_percent_interpolation_from_default_and_section(case):
    path = case.ini("noop_runner", "[NOOP_RUNNER]\nWORD = %(base)s-%(run_name)s 5%%\n", BASE="top")
    assert load_config(path).steps[0].opts.word == "top-run 5%"


def test_an_interpolation_that_leads_nowhere(case):
    path = case.ini("noop_runner", "[NOOP_RUNNER]\nWORD = %(nowhere)s\nSLEEP = 50%\n")
    first, second = complaints(path)
    assert first.startswith("run.ini:16 [NOOP_RUNNER] WORD: ") and "nowhere" in first
    assert second.startswith("run.ini:17 [NOOP_RUNNER] SLEEP: ") and "%" in second


def test_paths_expand_variables_and_home(case, monkeypatch):
    monkeypatch.setenv("SP_RUN", str(case.out))
    monkeypatch.setenv("HOME", str(case.folder))
    path = edit(case.ini("noop_runner"), f"OUTPUT_DIR = {case.out}", "OUTPUT_DIR = ${SP_RUN}")
    edit(path, f"INPUT_DIR = {case.inputs}", "INPUT_DIR = ~/in, $SP_RUN")
    config = load_config(path)
    assert config.file.output_dir == case.out
    assert config.file.input_dir == (str(case.inputs), str(case.out))


def test_an_unset_variable_is_named(case):
    path = edit(case.ini("noop_runner"), f"OUTPUT_DIR = {case.out}", "OUTPUT_DIR = $SP_NO_RUN/x")
    assert complaints(path) == [
        "run.ini:10 [FILE] OUTPUT_DIR: environment variable $SP_NO_RUN is not set"
    ]


def test_all_complaints_at_once_with_line_and_nearest_name(case):
    path = case.ini(
        "noop_runner, joyn_runner",
        "[NOOP_RUNNER]\nSLEEP = -1\nWRD = x\n[NOP_RUNNER]\nA = 1\n[JOBS]\nB = 2\n",
        file="FILE_PATERN = a, b\nCORRECT_FILE_PATTERN = maybe",
        job="SMP_BATCH_SIZES = 3\nSMP_BACKEND = dusk\nTIMEOUT = soon",
    )
    assert complaints(path) == [
        "run.ini:6 [EXECUTION] MODULE: there is no runner 'joyn_runner'; did you mean join_runner?",
        "run.ini:11 [FILE] FILE_PATERN: unknown option; did you mean FILE_PATTERN?",
        "run.ini:12 [FILE] CORRECT_FILE_PATTERN: 'maybe' is not allowed (allowed: True | False)",
        "run.ini:15 [JOB] SMP_BATCH_SIZES: unknown option; did you mean SMP_BATCH_SIZE?",
        "run.ini:16 [JOB] SMP_BACKEND: 'dusk' is not allowed (allowed: supervised | loky | "
        "multiprocessing | threading)",
        "run.ini:17 [JOB] TIMEOUT: 'soon' is not a time (allowed: seconds, or H:M:S)",
        "run.ini:19 [NOOP_RUNNER] SLEEP: '-1' is not allowed (allowed: number, >= 0)",
        "run.ini:20 [NOOP_RUNNER] WRD: unknown option; did you mean WORD?",
        "run.ini:21 [NOP_RUNNER]: unknown section; did you mean NOOP_RUNNER?",
        "run.ini:23 [JOBS]: unknown section; did you mean JOB?",
    ]
    assert os.listdir(case.out) == []


def test_a_missing_required_option(case):
    path = edit(case.ini("noop_runner"), f"OUTPUT_DIR = {case.out}", "")
    (complaint,) = complaints(path)
    assert complaint.startswith("run.ini:8 [FILE] OUTPUT_DIR: required option is missing")


def test_an_output_directory_that_is_not_there(case):
    out = case.out
    path = edit(case.ini("noop_runner"), f"OUTPUT_DIR = {out}", f"OUTPUT_DIR = {out}s")
    assert complaints(path) == [
        f"run.ini:10 [FILE] OUTPUT_DIR: directory {out}s does not exist; did you mean {out}? "
        f"(to make it: mkdir -p {out}s)"
    ]


def test_an_output_directory_is_not_mistaken_for_the_input(case):
    (case.folder / "input").mkdir()
    output = case.folder / "output"
    path = edit(case.ini("noop_runner"), f"OUTPUT_DIR = {case.out}", f"OUTPUT_DIR = {output}")
    assert complaints(path) == [
        f"run.ini:10 [FILE] OUTPUT_DIR: directory {output} does not exist "
        f"(to make it: mkdir -p {output})"
    ]


def test_sections_of_other_runners_only_warn(case):
    path = case.ini("noop_runner", "[JOIN_RUNNER]\nINPUT_DIR = .\n[NOOP_RUNNER]\nWORD = x\n")
    assert load_config(path).warnings == (
        "run.ini:15 [JOIN_RUNNER]: its runner is not in MODULE, so the section is not used",
    )


def test_retired_options_are_accepted_with_a_warning(case):
    path = case.ini("noop_runner", "[NOOP_RUNNER]\nRUN_METHOD = parallel\n")
    (warning,) = load_config(path).warnings
    assert warning.startswith("run.ini:16 [NOOP_RUNNER] RUN_METHOD: no longer does anything")


def test_an_option_twice(case):
    path = case.ini("noop_runner", "[NOOP_RUNNER]\nWORD = x\nWORD = x\n")
    assert load_config(path).warnings == (
        "run.ini:17 [NOOP_RUNNER] WORD: stands already in line 16 with the same value",
    )
    path = case.ini("noop_runner", "[NOOP_RUNNER]\nWORD = x\nword = y\n")
    assert complaints(path) == [
        "run.ini:17 [NOOP_RUNNER] WORD: stands already in line 16 with another value"
    ]


def test_a_section_twice_is_one_section(case):
    path = case.ini("noop_runner", "[NOOP_RUNNER]\nWORD = x\n[WORKER]\n[NOOP_RUNNER]\nSLEEP = 1\n")
    opts = load_config(path).steps[0].opts
    assert (opts.word, opts.sleep) == ("x", 1.0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("MODULE = x\n", "run.ini:1 'MODULE = x' stands before the first [SECTION]"),
        ("[FILE]\nINPUT_DIR\n", "run.ini:2 'INPUT_DIR' is neither [SECTION] nor OPTION = value"),
        ("", "run.ini [EXECUTION] MODULE: required option is missing"),
    ],
)
def test_text_that_is_no_ini_file(case, text, said):
    case.path.write_text(text)
    assert any(line.startswith(said) for line in complaints(case.path))


def test_files_that_cannot_be_read(case):
    assert complaints(case.folder) == [f"file {case.folder} is a directory, not a file"]
    case.ini("noop_runner")
    assert complaints(case.folder / "rum.ini") == [
        f"file {case.folder}/rum.ini does not exist; did you mean {case.path}?"
    ]
    case.path.write_bytes(b"\x89HDF\r\n\x1a\n\x00\xff\xfe")
    assert "is not a text file" in complaints(case.path)[0]
    case.path.write_bytes(b"SIMPLE  =                    T\0\0\0 / FITS")
    assert complaints(case.path)


def test_overrides_win_and_are_checked(case):
    path = case.ini("noop_runner", "[NOOP_RUNNER]\nWORD = x\n")
    config = load_config(path, ["NOOP_RUNNER:word=a=b:c", "JOB:SMP_BATCH_SIZE=7"])
    assert (config.steps[0].opts.word, config.job.smp_batch_size) == ("a=b:c", 7)
    assert config.origins["JOB"]["smp_batch_size"] == "-o"
    assert config.steps[0].origins["word"] == "-o"
    assert complaints(path, "JOB:SMP_BACH_SIZE=7", "JOB:TIMEOUT=-1", "nonsense") == [
        "-o nonsense: is not of the form SECTION:KEY=VALUE",
        "-o [JOB] SMP_BACH_SIZE: unknown option; did you mean SMP_BATCH_SIZE?",
        "-o [JOB] TIMEOUT: '-1' is not a positive time",
    ]


def test_an_override_of_a_section_that_is_not_there(case):
    path = case.ini("noop_runner")
    assert load_config(path, ["NOOP_RUNNER:WORD=x"]).steps[0].opts.word == "x"
    assert complaints(path, "NOP_RUNNER:WORD=x") == [
        "-o [NOP_RUNNER]: unknown section; did you mean NOOP_RUNNER?"
    ]


def test_an_override_may_replace_a_value_that_is_wrong_in_the_file(case):
    path = case.ini("noop_runner", job="TIMEOUT = soon")
    assert load_config(path, ["JOB:TIMEOUT=10"]).job.timeout == "10"


def test_two_calls_of_one_runner_have_sections_of_their_own(case):
    path = case.ini(
        "noop_runner, expand_runner, noop_runner",
        "[NOOP_RUNNER]\nWORD = first\n[NOOP_RUNNER_RUN_2]\nWORD = second\nINPUT_MODULE =\n",
    )
    first, _, second = load_config(path).steps
    assert (first.label, second.label) == ("noop_runner_run_1", "noop_runner_run_2")
    assert (first.opts.word, second.opts.word) == ("first", "second")


def test_one_section_may_serve_both_calls(case):
    path = case.ini("noop_runner, noop_runner", "[NOOP_RUNNER]\nWORD = both\n")
    assert [step.opts.word for step in load_config(path).steps] == ["both", "both"]


def test_a_section_of_a_third_call_is_unknown(case):
    path = case.ini("noop_runner, noop_runner", "[NOOP_RUNNER_RUN_3]\nWORD = x\n")
    (warning,) = load_config(path).warnings
    assert warning.startswith("run.ini:15 [NOOP_RUNNER_RUN_3]: is not used")


def test_an_alias_of_a_runner_names_its_section_as_well(case):
    path = case.ini("noop_runner, expand_runner", "[CUT_RUNNER]\nPARTS = 5\n")
    assert load_config(path).steps[1].opts.parts == 5


def test_choices_ignore_case(case):
    path = edit(case.ini("noop_runner"), "[FILE]", "MODE = SMP\n[FILE]")
    assert load_config(path).execution.mode == "smp"


def test_a_module_path_that_is_not_there(case):
    path = case.ini("noop_runner")
    text = path.read_text().replace("mock_runners", "mock_runner")
    path.write_text(text)
    found = complaints(path)
    assert any("MODULE_PATH" in line and "does not exist" in line for line in found), found


def test_a_runner_file_that_cannot_be_loaded(case):
    folder = case.folder / "mine"
    folder.mkdir()
    (folder / "bad_runner.py").write_text("import no_such_package_at_all\n")
    (folder / "other_runner.py").write_text("def other_runner(job, opts):\n    pass\n")
    path = case.ini("bad_runner, other_runner")
    path.write_text(path.read_text().replace("MODULE_PATH = ", f"MODULE_PATH = {folder}, "))
    first, second = complaints(path)
    assert "no_such_package_at_all" in first
    assert "other_runner.py has no @runner function other_runner" in second


@pytest.mark.parametrize(
    ("text", "seconds"), [("5", 5), ("0.5", 0.5), ("1:30", 90), ("02:00:01", 7201), ("", None)]
)
def test_durations(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["0", "-1", "1:2:3:4", "ten", "nan", "inf"])
def test_durations_that_are_none(text):
    with pytest.raises(ValueError, match="time"):
        parse_duration(text)


def test_number_lists(case):
    assert read_number_list(None) is None
    assert read_number_list("-0001, -0002,") == ["-0001", "-0002"]
    listed = case.folder / "numbers.txt"
    listed.write_text("# chosen\n-0001\n\n  -0002  \n")
    assert read_number_list(str(listed)) == ["-0001", "-0002"]
    with pytest.raises(ConfigurationError, match="does not exist"):
        read_number_list(str(case.folder / "nobody.txt"))


def test_where_gives_the_line_of_an_option(case):
    path = case.ini("noop_runner", "[NOOP_RUNNER]\nWORD = x\n")
    ini = IniText(path)
    assert ini.where("NOOP_RUNNER", "word") == "run.ini:16 [NOOP_RUNNER]"


def test_a_comment_may_stand_behind_a_value(tmp_path):
    path = tmp_path / "a.ini"
    path.write_text(
        "[FILE]\nOUTPUT_DIR = /tmp   ; where it goes\nLOG_NAME = a#b  # not a comment inside\n"
    )
    values = IniText(path).values["FILE"]
    assert values["output_dir"].text == "/tmp"
    assert values["log_name"].text == "a#b"


def test_an_option_that_slipped_into_the_value_above_is_named(case):
    case.ini("noop_runner", "[NOOP_RUNNER]\nTIMEOUT = 10\n\tFILE_EXT = .txt\n")
    with pytest.raises(ConfigurationError) as raised:
        case.plan()
    assert "FILE_EXT: is indented, and so continues the value before it" in str(raised.value)
    assert "TIMEOUT" not in str(raised.value)
