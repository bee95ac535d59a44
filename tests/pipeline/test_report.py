"""What a run cost: the table, the figures, what to ask for next, and the price of the rest."""

from __future__ import annotations

import base64
import json
import re

import numpy as np
import pytest

from shapepipe.pipeline.accounting import newest_lines, price, step_costs, suggest
from shapepipe.pipeline.records import RunDirectory

PER_STEP = {"one_runner": 2.0, "two_runner": 5.0}
"""Mean time of a job of each step of a run that is made up, in seconds."""


def made_up(folder, exposures: int, seed: int) -> RunDirectory:
    """Records of a run: a job for each exposure, then one for each of its four CCDs, then one."""
    rng = np.random.default_rng(seed)
    directory = RunDirectory(folder)
    folder.mkdir()
    launch = {"steps": {"one_runner": "", "two_runner": "", "all_runner": ""}, "versions": {},
              "cores": 2, "shards": 5, "at": "2026-01-01 00:00:00"}  # fmt: skip
    directory.write_run({"launches": [launch], "prints": {}})
    directory.open()
    clock = 1.7e9
    for k in range(exposures):
        numbers = {"one_runner": [f"-{k:06d}"], "two_runner": [f"-{k:06d}-{c}" for c in range(4)]}
        slow = rng.gamma(4.0, 0.25)
        for label, names in numbers.items():
            for name in names:
                wall = PER_STEP[label] * slow
                directory.commit(record(label, name, clock, wall))
                clock += wall
    directory.commit(record("all_runner", "", clock, 10.0))
    directory.close()
    return directory


def record(label, number, at, wall, status="ok", attempt=1) -> dict:
    """One line of the records."""
    return {"step": label, "status": status, "number": number, "try": attempt, "at": at,
            "wall": wall, "cpu": 0.8 * wall, "mem": 3e8, "read": 1e6, "written": 2e6,
            "print": "", "in": [], "out": []}  # fmt: skip


def total(directory) -> float:
    """Time of all jobs of a run, in seconds."""
    return sum(line["wall"] for line in newest_lines(directory))


def test_the_price_holds_what_the_rest_costs_in_nine_of_ten_cases(tmp_path):
    hits, n_trials = 0, 60
    for k in range(n_trials):
        seen = made_up(tmp_path / f"seen{k}", 12, 2 * k)
        rest = made_up(tmp_path / f"rest{k}", 30, 2 * k + 1)
        cost = price(newest_lines(seen), seen, 30)
        assert cost.seen == 12 and cost.cpu.value == pytest.approx(0.8 * cost.wall.value)
        without_last_step = total(rest) - 10.0 + 30 * 10.0 / 12  # which is taken as linear
        hits += abs(cost.wall.value - without_last_step) < cost.wall.margin
    assert 0.8 <= hits / n_trials <= 0.99  # 0.9, with the scatter of 60 trials and gamma tails


def test_one_unit_alone_gives_no_range(tmp_path):
    directory = made_up(tmp_path / "run", 1, 0)
    assert np.isnan(price(newest_lines(directory), directory, 5).wall.margin)


def test_time_and_memory_for_the_next_submission_suffice_for_the_same_units(tmp_path):
    directory = made_up(tmp_path / "run", 50, 1)
    costs = step_costs(newest_lines(directory), list(PER_STEP) + ["all_runner"])
    for cores, shards in ((1, 1), (2, 5), (4, 50)):
        wishes = suggest(costs, cores, shards)
        longest_shard = (total(directory) - 10) / (cores * shards)
        assert longest_shard < wishes.seconds < 1.5 * longest_shard + 60
        assert cores * 3e8 < wishes.memory < 2 * cores * 3e8 + 5e8
    assert suggest(costs, 1000, 1000).seconds > max(cost.wall.max() for cost in costs)


def test_only_the_newest_record_of_a_unit_counts(tmp_path):
    directory = made_up(tmp_path / "run", 2, 0)
    directory.open()
    directory.commit(record("one_runner", "-000001", 1.8e9, 77.0, attempt=2))
    directory.close()
    costs = {c.label: c for c in step_costs(newest_lines(directory), list(PER_STEP))}
    assert costs["one_runner"].wall.max() == 77.0 and len(costs["one_runner"].numbers) == 2


@pytest.mark.parametrize("exposures", [3, 1200])
def test_figures_and_page_hold_everything(case, tmp_path, exposures):
    directory = made_up(tmp_path / "run", exposures, 0)
    directory.open()
    directory.commit(record("one_runner", "-000001", 1.8e9, 1.0, "failed", 2) | {"error": "a <b>"})
    directory.close()
    html, png = tmp_path / "report.html", tmp_path / "figures"
    status, text, _ = case.call(
        "report", directory.path, "--html", html, "--png", png, "--rest", 40
    )
    assert status == 0
    assert "for the same units in 5 shards of 2 jobs at a time: [BATCH] MEMORY = " in text
    assert f"40 further units, priced by {exposures} that ran: processor " in text
    page = html.read_text()
    assert "http" not in page.split("</style>")[1] and "a &lt;b&gt;" in page
    images = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    assert len(images) == 4
    assert all(base64.b64decode(data).startswith(b"\x89PNG") for data in images)
    assert {path.name for path in png.iterdir()} == {
        "time_line.png", "time_of_jobs.png", "slowest_jobs.png", "memory.png",
    }  # fmt: skip


def test_bytes_of_a_job_and_of_its_programs_are_counted(case):
    mine = case.folder / "mine"
    mine.mkdir()
    (mine / "copy_runner.py").write_text(
        "import subprocess\nfrom shapepipe import Input, Options, Output, runner\n\n\n"
        "@runner(inputs=[Input('a', ext='.txt')], outputs=[Output('d', ext='.txt')],"
        " numbering='-000000')\n"
        "def copy_runner(job, opts: Options):\n"
        "    subprocess.run(['cp', job.inputs['a'], job.output('d')], check=True)\n"
        "    job.output('d').write_bytes(job.output('d').read_bytes() * 2)\n"
    )
    case.files("a", numbers=range(2))
    size = 3_000_000
    (case.inputs / "a-000001.txt").write_bytes(bytes(size))
    case.ini("copy_runner")
    text = case.path.read_text().replace("MODULE_PATH = ", f"MODULE_PATH = {mine}, ")
    case.path.write_text(text)
    assert case.run().exit_status == 0
    small, large = sorted(case.records(), key=lambda line: line["number"])
    assert 1.99 * size <= large["read"] - small["read"] < 2.2 * size
    assert 2.99 * size <= large["written"] - small["written"] < 3.2 * size
    assert json.loads(case.call("status", case.out / "run", "--json")[1]) == {
        "copy_runner": {"ok": 2}
    }
