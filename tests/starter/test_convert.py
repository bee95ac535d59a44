"""INI files of ShapePipe 1.x become INI files that pass the check, or it is said what to change."""

from __future__ import annotations

import configparser
import re
import sys
from pathlib import Path

import pytest

from shapepipe import cli
from shapepipe.pipeline.config import load_config
from shapepipe.pipeline.options import spellings
from shapepipe.pipeline.runner import find_runner, list_runners
from shapepipe.starter import moves
from shapepipe.starter.convert import convert

HERE = Path(__file__).parent
EXAMPLES = HERE.parents[1] / "example" / "config"
PAGE = HERE.parents[1] / "docs" / "from_1x.md"
OLD = sorted((HERE / "old").glob("*.ini"))


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Directories and files that the old configurations name."""
    run, config = tmp_path / "run", tmp_path / "config"
    for folder in (run / "output", run / "input_tiles", config):
        folder.mkdir(parents=True)
    (run / "output" / "log_exp_headers.sqlite").touch()
    for path in EXAMPLES.glob("default*"):
        (config / path.name).write_text(path.read_text())
    (config / "star_selection.setools").write_text("[MASK:star_selection]\nFLAGS == 0\n")
    (config / "config.mask").write_text("[BORDER_PARAMETERS]\nBORDER_MAKE = True\n")
    monkeypatch.setenv("SP_RUN", str(run))
    monkeypatch.setenv("SP_CONFIG", str(config))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def runners_of(path: Path) -> list[str]:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.read_string(path.read_text())
    names = re.findall(r"\w+_runner\w*", parser["EXECUTION"]["MODULE"])
    return [moves.RUNNERS.get(name, name) for name in names]


def call(*words, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["shapepipe", *[str(word) for word in words]])
    with pytest.raises(SystemExit) as end:
        cli.main()
    return end.value.code, *capsys.readouterr()


@pytest.mark.parametrize("path", OLD, ids=lambda path: path.stem)
def test_old_file_passes_the_check_once_converted(path, place, capsys, monkeypatch):
    status, _, said = call(
        "convert", path, "-o", place / "new.ini", capsys=capsys, monkeypatch=monkeypatch
    )
    assert status == 0, said
    assert "0 complaints" in said
    steps = load_config(place / "new.ini").steps
    assert [step.runner.name for step in steps] == runners_of(path)


def test_two_copies_of_a_runner_become_two_calls(place):
    text = convert((HERE / "old/config_tile.ini").read_text()).text
    (place / "new.ini").write_text(text)
    steps = {step.label: step for step in load_config(place / "new.ini").steps}
    assert steps["vignetmaker_runner_run_1"].opts.mode == "CLASSIC"
    assert steps["vignetmaker_runner_run_2"].opts.mode == "MULTI-EPOCH"
    assert steps["vignetmaker_runner_run_2"].opts.me_image_pattern[-1] == "sexcat_background"
    assert steps["spread_model_runner"].opts.input_module[-1] == "vignetmaker_runner_run_1"
    assert "write RUN:sextractor_runner for that of an earlier run" in text


def test_comments_and_what_needs_no_change_stay(place):
    old = "; my notes\n[JOB]\nSMP_BATCH_SIZE = 4  # two per core\n\n[FILE]\nINPUT_DIR=a,\n    b\n"
    found = convert(old)
    assert found.text == old
    assert not found.changes


def test_windows_line_ends_and_byte_order_mark_go():
    found = convert("\ufeff[MASK_RUNNER]\r\nSUFFIX = pipeline\r\n")
    assert found.text.splitlines()[0] == "[MASK_RUNNER]"
    assert "PREFIX = pipeline" in found.text.splitlines()
    assert "\r" not in found.text
    assert found.changes[0].startswith("line 1: Windows line ends")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("[FILE]\nINPUT_DIR = last:split_exp, $SP_RUN/x",
         "INPUT_DIR = last:split_exp_runner, $SP_RUN/x"),
        ("[X_RUNNER]\nINPUT_MODULE = psfinterp_runner, mask_runner_exp",
         "INPUT_MODULE = psf_interp_runner, mask_runner"),
        ("[X_RUNNER]\nADD_INPUT_DIR = all:merge_star_cat_runner",
         "ADD_INPUT_DIR = all:merge_starcat_runner"),
        ("[PSFEX_INTERP_RUNNER]\nME_DOT_PSF_DIR = psfex_runner",
         "ME_DOT_PSF_DIR = last:psfex_runner"),
        ("[PSFEX_INTERP_RUNNER]\nME_DOT_PSF_DIR = input_psfex", "ME_DOT_PSF_DIR = input_psfex"),
        ("[PSFEX_INTERP_RUNNER_RUN_2]\nMODE = CLASSIC", "[PSF_INTERP_RUNNER_RUN_2]"),
        ("[SEXTRACTOR_RUNNER]\nSUFFIX = a\nPREFIX = b", "# SUFFIX = a"),
        ("[SEXTRACTOR_RUNNER]\nRUN_METHOD = parallel", "# RUN_METHOD = parallel"),
        ("[EXECUTION]\nMODULE = sextractor_runner, galsim_shapes_runner",
         "# 1.x: was MODULE = sextractor_runner, galsim_shapes_runner; ngmix_runner measures the "
         "shapes"),
        ("[SWARP_RUNNER]\nTIMEOUT = 1:00:00", "[STACK_RUNNER]"),
    ],
)  # fmt: skip
def test_single_moves(old, new):
    assert new in convert(old).text.splitlines()


def test_what_is_left_to_do_is_said(place, capsys, monkeypatch):
    old = place / "old.ini"
    old.write_text(
        "[EXECUTION]\nMODULE = galsim_shapes_runner\n[FILE]\nOUTPUT_DIR = $SP_RUN/outptu\n"
        "[GALSIM_SHAPES_RUNNER]\n"
    )
    status, new, said = call("convert", old, capsys=capsys, monkeypatch=monkeypatch)
    assert status == 2
    assert "there is no runner 'galsim_shapes_runner'" in said
    assert "did you mean" in said
    assert "ngmix_runner measures the shapes" in new


def test_nothing_is_overwritten(place, capsys, monkeypatch):
    status, _, said = call("convert", OLD[0], "-o", OLD[0], capsys=capsys, monkeypatch=monkeypatch)
    assert status == 2
    assert "exists already" in said


@pytest.mark.parametrize("new", sorted(set(moves.RUNNERS.values())))
def test_new_names_of_runners_exist(new):
    assert new in list_runners()


@pytest.mark.parametrize("runner", sorted(moves.OPTIONS))
def test_new_names_of_options_exist(runner):
    known = spellings(find_runner(runner).options)
    for old, new in moves.OPTIONS[runner].items():
        assert known.get(new.lower()) == new.lower()
        assert known.get(old.lower(), new.lower()) == new.lower()


@pytest.mark.parametrize("runner", sorted(set(moves.DEAD_OPTIONS) - {"*"}))
def test_dead_options_are_dead(runner):
    known = spellings(find_runner(runner).options)
    assert not [name for name in moves.DEAD_OPTIONS[runner] if name.lower() in known]


def test_retired_options_of_runners_are_in_the_table():
    for name in list_runners():
        for option in find_runner(name).options.retired:
            assert option.upper() in moves.DEAD_OPTIONS.get(name, {}), f"{option} of {name}"


def test_aliases_of_runners_are_in_the_table():
    for name in list_runners():
        runner = find_runner(name)
        for alias in runner.aliases:
            assert moves.RUNNERS.get(alias) == name, f"{alias} of {name} is not in moves.RUNNERS"


def test_every_old_name_is_on_the_page():
    rows = re.findall(r"^\| (.+) \|$", PAGE.read_text(), re.MULTILINE)
    expected = [f"`{old}` | `{new}`" for old, new in moves.RUNNERS.items()]
    expected += [f"`{old}` | {why}" for old, why in moves.GONE_RUNNERS.items()]
    for runner, names in moves.OPTIONS.items():
        expected += [f"`[{runner.upper()}]` | `{old}` | `{new}`" for old, new in names.items()]
    for runner, names in moves.DEAD_OPTIONS.items():
        section = "any" if runner == "*" else f"`[{runner.upper()}]`"
        expected += [f"{section} | `{old}` | {why}" for old, why in names.items()]
    assert [row for row in rows if "`" in row] == expected


def test_runner_of_the_page_runs(tmp_path):
    code = re.search(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL).group(1)
    (tmp_path / "my_runner.py").write_text(code)
    assert find_runner("my_runner", [str(tmp_path)]).open_inputs
