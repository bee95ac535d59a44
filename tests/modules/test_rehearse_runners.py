"""The units of a rehearsal."""

from __future__ import annotations

from shapepipe.modules.rehearse_join_runner import rehearse_join_runner
from shapepipe.modules.rehearse_runner import rehearse_runner
from shapepipe.testing import trial


def test_a_unit_is_cut_and_joined(tmp_path):
    path = tmp_path / "numbers_1.txt"
    path.write_text("3\n4\n")
    cut = trial(rehearse_runner, {"numbers": path}, {"PARTS": "3"}, "_1", tmp_path / "cut")
    assert [product.name for product in cut.products] == [f"unit_1-{k}.txt" for k in range(3)]
    assert all(product.read_text().startswith("3 4 0.") for product in cut.products)
    units = {f"_1-{k}": product for k, product in enumerate(cut.products)}
    joined = trial(rehearse_join_runner, {"unit": units}, folder=tmp_path / "joined")
    assert joined.metrics == {"n_units": 3}
    lines = joined.products[0].read_text().splitlines()
    assert [line.split()[0] for line in lines] == ["_1-0", "_1-1", "_1-2"]
