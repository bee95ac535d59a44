"""The command line is kind: help with examples on a screen, completion, colours only if wanted."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest
from click.testing import CliRunner

from shapepipe import cli

SCREEN = 36
"""Lines of a terminal window of ordinary size."""
VERBS = sorted(cli.verbs.commands)


def invoke(command, *words, name="shapepipe"):
    return CliRunner().invoke(command, words, terminal_width=80, prog_name=name).output


@pytest.mark.parametrize("verb", ["", *VERBS])
def test_help_fits_a_screen_and_shows_an_example(verb):
    text = invoke(cli.verbs, *([verb] if verb else []), "--help")
    assert len(text.splitlines()) <= SCREEN
    assert text.count("shapepipe ") >= (2 if verb else 6), text


def test_help_of_the_old_command_fits_too():
    text = invoke(cli.shapepipe_run, "--help", name="shapepipe_run")
    assert len(text.splitlines()) <= SCREEN + 4
    assert "shapepipe_run -c config.ini" in text


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_script(shell):
    text = invoke(cli.verbs, "completion", shell)
    assert "_SHAPEPIPE_COMPLETE" in text and "_SHAPEPIPE_RUN_COMPLETE" in text


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("shapepipe describe mas", "plain,mask_runner\n"),
        ("shapepipe expl", "plain,explain\n"),
        ("shapepipe_run --res", "plain,--resume\n"),
        ("shapepipe_run -c conf", "file,conf\n"),
    ],
)
def test_words_are_completed(words, found):
    name, number = words.split()[0], len(words.split()) - 1
    entry = "main" if name == "shapepipe" else "run_command"
    start = f"import sys; sys.argv = ['{name}']; from shapepipe.cli import {entry}; {entry}()"
    asked = {"COMP_WORDS": words, "COMP_CWORD": str(number)}
    done = subprocess.run(
        [sys.executable, "-c", start],
        env={**os.environ, **asked, f"_{name.upper()}_COMPLETE": "bash_complete"},
        capture_output=True,
        text=True,
    )
    assert done.stdout == found, done.stderr


def test_bash_takes_the_completion_of_both_commands(tmp_path):
    (tmp_path / "complete").write_text(invoke(cli.verbs, "completion", "bash"))
    asked = "source ./complete; complete -p shapepipe shapepipe_run"
    done = subprocess.run(["bash", "-c", asked], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and len(done.stdout.splitlines()) == 2, done.stderr


def on_a_terminal(folder, **environment):
    """What is printed of a mistake when standard error is a terminal."""
    head, tail = pty.openpty()
    env = {**os.environ, "TERM": "xterm-256color", **environment}
    subprocess.run(
        [sys.executable, "-m", "shapepipe", "check", "-c", "absent.ini"],
        cwd=folder, env=env, stdin=tail, stdout=tail, stderr=tail, check=False,
    )  # fmt: skip
    os.close(tail)
    text = os.read(head, 10000).decode()
    os.close(head)
    return text


def test_colours_respect_no_color(tmp_path, monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[31m" in on_a_terminal(tmp_path)
    plain = on_a_terminal(tmp_path, NO_COLOR="1")
    assert "\x1b[3" not in plain
    assert "absent.ini does not exist" in plain
