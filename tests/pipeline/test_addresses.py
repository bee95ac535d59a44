"""Addresses of earlier products: what wins, what counts as finished, what is said of a mistake."""

from __future__ import annotations

import os

import pytest

from shapepipe.pipeline.addresses import AddressError, Addresses
from shapepipe.pipeline.records import RunDirectory, RunList, write_atomically


@pytest.fixture
def runs(tmp_path):
    """Make runs: name -> {step: number of products, or None if it did not finish}."""
    listed = RunList(tmp_path)

    def make(name: str, **steps):
        directory = RunDirectory(tmp_path / name)
        directory.path.mkdir()
        write_atomically(directory.path / "run.json", "{}\n")
        listed.add(directory.path, list(steps))
        for label, products in steps.items():
            directory.output(label).mkdir(parents=True)
            if products is not None:
                directory.finish_step(label, {}, products)
        return directory

    return make


@pytest.fixture
def resolve(tmp_path):
    """Resolve an address against the runs; aliases: psf_runner is psfex_runner."""
    names = {"psf_runner": "psfex_runner"}

    def find(text: str, chain=()):
        addresses = Addresses(RunList(tmp_path), tmp_path / "own", lambda n: names.get(n, n))
        return addresses.resolve(text, chain)

    return find


def test_a_real_directory_wins(tmp_path, runs, resolve, monkeypatch):
    runs("first", psfex_runner=1)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "last:psfex_runner").mkdir()
    (tmp_path / "blast").mkdir()
    (tmp_path / "small").mkdir()
    assert resolve("last:psfex_runner").folders == (f"{tmp_path}/last:psfex_runner",)
    assert resolve("blast").folders == (f"{tmp_path}/blast",)
    assert resolve("./small").folders == (f"{tmp_path}/small",)


def test_last_passes_over_runs_that_are_unfinished_or_without_products(tmp_path, runs, resolve):
    runs("good", psfex_runner=3, mask_runner=3)
    runs("empty", psfex_runner=0)
    runs("broken", psfex_runner=None)
    runs("other", mask_runner=2)
    assert resolve("last:psfex_runner").folders == (f"{tmp_path}/good/psfex_runner/output",)
    assert resolve("last:mask_runner").folders == (f"{tmp_path}/other/mask_runner/output",)


def test_last_of_a_later_call(tmp_path, runs, resolve):
    runs("one", mask_runner_run_1=2, mask_runner_run_2=2)
    assert resolve("last:mask_runner_run_1").folders == (
        f"{tmp_path}/one/mask_runner_run_1/output",
    )
    assert resolve("last:mask_runner_run_2").folders == (
        f"{tmp_path}/one/mask_runner_run_2/output",
    )
    assert resolve("last:mask_runner").folders == (f"{tmp_path}/one/mask_runner_run_2/output",)


def test_the_first_call_of_a_run_that_called_once(tmp_path, runs, resolve):
    runs("one", mask_runner=2)
    assert resolve("last:mask_runner_run_1").folders == (f"{tmp_path}/one/mask_runner/output",)


def test_all_lists_the_newest_first(tmp_path, runs, resolve):
    for name in ("one", "two", "three"):
        runs(name, psfex_runner=1)
    runs("four", psfex_runner=None)
    place = resolve("all:psfex_runner")
    assert [folder.split("/")[-3] for folder in place.folders] == ["three", "two", "one"]
    assert place.newest_first


def test_a_run_by_name(tmp_path, runs, resolve):
    runs("run_Ng1u", ngmix_runner=1)
    runs("run_Ng10u", ngmix_runner=1)
    assert resolve("run_Ng1u:ngmix_runner").folders == (f"{tmp_path}/run_Ng1u/ngmix_runner/output",)
    assert resolve("Ng10:ngmix_runner").folders == (f"{tmp_path}/run_Ng10u/ngmix_runner/output",)
    with pytest.raises(AddressError, match="2 runs fit 'Ng1'.*run_Ng10u"):
        resolve("Ng1:ngmix_runner")
    with pytest.raises(AddressError, match="no run fits 'run_Ng2u'.*did you mean run_Ng1"):
        resolve("run_Ng2u:ngmix_runner")
    with pytest.raises(AddressError, match="has no products of mask_runner"):
        resolve("run_Ng1u:mask_runner")


def test_aliases_and_capitals_after_the_colon(tmp_path, runs, resolve):
    runs("one", psfex_runner=1)
    for text in ("last:psf_runner", "last:PSFEX_RUNNER", "all:psf_runner", "one:psf_runner"):
        assert resolve(text).folders == (f"{tmp_path}/one/psfex_runner/output",)


def test_a_mistyped_runner_is_told_what_is_near(runs, resolve):
    runs("one", psfex_runner=1)
    with pytest.raises(AddressError, match="did you mean psfex_runner"):
        resolve("last:psfx_runner")
    with pytest.raises(AddressError, match="did you mean psfex_runner"):
        resolve("all:psfx_runner")


def test_a_step_that_did_not_finish_is_said_to_be_so(runs, resolve):
    runs("one", psfex_runner=None)
    with pytest.raises(AddressError, match="one has it, but did not finish it with products"):
        resolve("last:psfex_runner")


def test_no_run_at_all(tmp_path, resolve):
    with pytest.raises(AddressError, match="there is no earlier run"):
        resolve("last:psfex_runner")


def test_a_mistyped_path(tmp_path, resolve):
    (tmp_path / "images").mkdir()
    with pytest.raises(AddressError, match=f"did you mean {tmp_path}/images"):
        resolve(f"{tmp_path}/imagse")
    with pytest.raises(AddressError, match="does not exist"):
        resolve("/data/last:blast/x")


def test_an_earlier_step_of_the_chain_comes_before_earlier_runs(runs, resolve):
    runs("one", psfex_runner=1)
    chain = ["mask_runner_run_1", "psfex_runner", "mask_runner_run_2"]
    assert resolve("last:psfex_runner", chain).step == 1
    assert resolve("last:psf_runner", chain).step == 1
    assert resolve("last:mask_runner", chain).step == 2
    assert resolve("last:mask_runner_run_1", chain).step == 0


def test_a_sub_directory_of_a_step(tmp_path, runs, resolve):
    directory = runs("one", setools_runner=1)
    (directory.output("setools_runner") / "mask").mkdir()
    place = resolve("last:setools_runner/mask")
    assert place.folders == (f"{tmp_path}/one/setools_runner/output/mask",)


def test_runs_of_another_version_count_when_they_hold_files(tmp_path, resolve):
    (tmp_path / "old run" / "mask_runner" / "output").mkdir(parents=True)
    (tmp_path / "bare" / "mask_runner" / "output").mkdir(parents=True)
    (tmp_path / "old run" / "mask_runner" / "output" / "x.fits").touch()
    (tmp_path / "shapepipe_runs.txt").write_text(
        f"{tmp_path}/old run mask_runner,psfex_runner\n{tmp_path}/bare mask_runner\n/gone x\n"
    )
    assert resolve("last:mask_runner").folders == (f"{tmp_path}/old run/mask_runner/output",)


def test_relative_paths_in_the_list_of_runs(tmp_path, runs, resolve):
    runs("one", mask_runner=1)
    (tmp_path / "shapepipe_runs.txt").write_text("./output/one mask_runner\n")
    assert resolve("last:mask_runner").folders == (f"{tmp_path}/one/mask_runner/output",)


def test_the_own_run_is_passed_over(tmp_path, runs, resolve):
    runs("before", mask_runner=1)
    runs("own", mask_runner=1)
    assert resolve("last:mask_runner").folders == (f"{tmp_path}/before/mask_runner/output",)


def test_many_runs_are_added_at_once_without_mixing_lines(tmp_path):
    listed = RunList(tmp_path)
    for k in range(20):
        os.mkdir(tmp_path / f"run {k}")
        listed.add(tmp_path / f"run {k}", [f"mask_runner_run_{j}" for j in range(1, 4)])
    runs = RunList(tmp_path).runs()
    assert [path.name for path, _ in runs] == [f"run {k}" for k in range(20)]
    assert all(len(labels) == 3 for _, labels in runs)
