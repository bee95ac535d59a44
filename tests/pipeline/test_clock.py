"""Clocks that are set back, or run backwards, change neither order nor costs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from datetime import datetime, timedelta

import pytest

from shapepipe.pipeline import run
from shapepipe.pipeline.records import RunList

BACKWARDS = """\
import time

class Clock:
    now = time.time()

    def __call__(self):
        Clock.now -= 100.0
        return Clock.now

time.time = Clock()
"""
"""A `sitecustomize.py` with which the clock of each process goes back whenever it is looked at."""


@pytest.fixture
def backwards(tmp_path):
    """Call `shapepipe` where clocks run backwards."""
    folder = tmp_path / "backwards"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(BACKWARDS)
    paths = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))

    def call(*words) -> str:
        command = [sys.executable, "-m", "shapepipe", *(str(word) for word in words)]
        environment = {**os.environ, "PYTHONPATH": paths, "COLUMNS": "200"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return call


@pytest.fixture
def calendar(monkeypatch):
    """Set the time that names runs."""

    class Calendar(datetime):
        moment = datetime(2026, 10, 25, 2, 30)

        @classmethod
        def now(cls, tz=None):
            return cls.moment

    monkeypatch.setattr(run, "datetime", Calendar)
    return Calendar


def test_a_clock_that_runs_backwards_costs_nothing(case, backwards):
    case.files("a", "b", numbers=range(3))
    case.ini("noop_runner, expand_runner, join_runner", "[NOOP_RUNNER]\nSLEEP = 0.01")
    backwards("run", "-c", case.path)
    (case.directory().output("noop_runner") / "c-000001.txt").unlink()
    backwards("run", "-c", case.path)
    lines = case.records()
    assert len(lines) == 7 + 3
    assert [line["at"] for line in lines] != sorted(line["at"] for line in lines)
    for line in lines:
        assert 0 < line["wall"] < 60 and 0 <= line["cpu"] < 60
        assert min(line["mem"], line["read"], line["written"]) >= 0
    said = backwards("report", case.out / "run", "--png", case.folder / "png", "--rest", "10")
    assert "noop_runner" in said and not re.search(r"(?<!e)-\d[\d.]* (s|min|h|d|B|kB|MB)\b", said)
    assert len(list((case.folder / "png").glob("*.png"))) == 4
    case.ini("expand_runner", "[EXPAND_RUNNER]\nINPUT_DIR = last:noop_runner", RUN_NAME="next")
    backwards("run", "-c", case.path)
    assert case.plan().addresses == {"last:noop_runner": [str(case.out / "run/noop_runner/output")]}


def test_the_last_run_is_the_one_that_was_started_last(case, calendar):
    case.files("a", "b", numbers=range(2))
    case.ini("noop_runner", RUN_DATETIME="True")
    first = case.run().path
    calendar.moment -= timedelta(minutes=20)  # as at the end of summer time
    second = case.run().path
    assert second.name < first.name
    assert case.plan(continue_run=True).directory.path == second
    case.ini("expand_runner", "[EXPAND_RUNNER]\nINPUT_DIR = last:noop_runner", RUN_NAME="next")
    assert case.plan().addresses == {"last:noop_runner": [str(second / "noop_runner/output")]}


def test_a_time_that_comes_again_names_another_run(case, calendar):
    case.files("a", "b", numbers=range(1))
    case.ini("noop_runner", RUN_DATETIME="True")
    names = [case.run().path.name for _ in range(3)]
    assert names == [f"run_2026-10-25_02-30-0{k}" for k in range(3)]


def test_a_run_that_is_not_listed_yet_was_started_last(case, calendar):
    case.files("a", "b", numbers=range(1))
    case.ini("noop_runner", RUN_DATETIME="True")
    case.run()
    calendar.moment -= timedelta(hours=1)
    killed = case.run().path
    runs = case.out / "shapepipe_runs.txt"
    runs.write_text("".join(runs.read_text().splitlines(keepends=True)[:-1]))
    assert case.plan(continue_run=True).directory.path == killed


def test_each_torn_end_of_the_records_loses_one_line(case):
    case.files("a", "b", numbers=range(3))
    case.ini("noop_runner")
    case.run()
    directory = case.directory()
    whole, lines = directory.outcomes.read_bytes(), list(directory.lines())
    last = whole.splitlines(keepends=True)[-1]
    for cut in range(1, len(last)):
        directory.outcomes.write_bytes(whole[:-cut])
        directory.open()
        directory.commit({"status": "ok", "number": "new"})
        directory.close()
        kept = lines if cut == 1 else lines[:-1]
        assert list(directory.lines()) == [*kept, {"status": "ok", "number": "new"}]


def test_a_torn_end_of_the_list_of_runs_is_closed(tmp_path):
    for name in ("one", "two", "three"):
        (tmp_path / name).mkdir()
    listed = RunList(tmp_path)
    for name in ("one", "two"):
        listed.add(tmp_path / name, ["noop_runner"])
    listed.path.write_bytes(listed.path.read_bytes()[:-15])
    listed.add(tmp_path / "three", ["noop_runner", "join_runner"])
    found = dict(listed.runs())
    assert found[tmp_path / "one"] == ["noop_runner"]
    assert found[tmp_path / "three"] == ["noop_runner", "join_runner"]
