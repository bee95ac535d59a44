"""Calibration from the columns of both halves of the noise pair, as they stand in files."""

import numpy as np
import pytest
from astropy.table import Table

from shapepipe.shear import SHEAR_TYPES, Batch, calibrate, measure_with_halves
from shapepipe.shear.halves import HALF_COLUMNS, halves_of, tables_of
from shapepipe.simulate.stamps import StampSet, draw_stamps, noise_level

COUNT, SHEAR = 240, 0.05


def file_tables(shapes):
    """Columns as ngmix_runner writes them."""
    mean, *halves = shapes
    made = {}
    for kind in SHEAR_TYPES:
        table = mean.columns(kind)
        table["Tpsf"] = table.pop("T_psf")
        for suffix, half in zip("ab", halves, strict=True):
            own = half.columns(kind)
            table |= {f"{name}_{suffix}": own[name] for name in HALF_COLUMNS}
        made[kind] = Table(table)
    return made


@pytest.fixture(scope="module")
def scenes():
    """Average and halves for both signs of the shear, over twins in orientation and noise."""
    found, sigma = {1: [], -1: []}, None
    for sign in found:
        for turn in (False, True):
            drawn = draw_stamps(
                StampSet(seed=61, count=COUNT, epochs=1, shear=(sign * SHEAR, 0.0), turn=turn)
            )
            if sigma is None:
                sigma = noise_level(drawn["image"], 20.0)[:, None, None, None]
            found[sign] += [measured(drawn, sigma, reverse) for reverse in (1, -1)]
    return found


def measured(drawn, sigma, reverse):
    """One scene with noise, or its negative, added."""
    noise = np.random.default_rng(3).normal(size=drawn["image"].shape) * sigma
    weight = np.broadcast_to(1 / sigma**2, noise.shape)
    arrays = (drawn["image"] + reverse * noise, weight, drawn["psf"])
    arrays = (array.astype(np.float32) for array in arrays)
    return measure_with_halves(Batch.regular(*arrays, drawn["jacobian"], drawn["centre"]))


@pytest.fixture(scope="module")
def tables(scenes):
    return file_tables(scenes[1][0])


def test_cuts_see_each_half(scenes, tables):
    """From the columns of a file the same sums as from the two catalogues of the engine."""
    cut = calibrate.cut(10.0, 0.5)
    _, one, other = scenes[1][0]
    sums = sum(
        calibrate.group_sums({kind: half.columns(kind) for kind in SHEAR_TYPES}, cut, 20)
        for half in (one, other)
    )
    shear, response, selection, _ = calibrate.solve(sums.sum(axis=0), 0.01)
    found = calibrate.mean_shear(tables, cut, groups=20)
    np.testing.assert_allclose(found.shear, shear, rtol=1e-12)
    np.testing.assert_allclose(found.response, response, rtol=1e-12)
    np.testing.assert_allclose(found.selection, selection, rtol=1e-9, atol=1e-12)
    assert found.weight == pytest.approx(sums[:, 0].sum() / 2)
    averaged = calibrate.mean_shear(tables, cut, groups=20, halves=False)
    assert averaged.weight != found.weight
    assert (averaged.shear != found.shear).all()


def test_shear_is_recovered_under_a_cut(scenes):
    """Twins cancel most of shapes and noise; the scatter of m that is left is 0.007."""
    cut = calibrate.cut(10.0, 0.5)
    kept, raw, total = [], {}, 0
    for sign, found in scenes.items():
        sums = 0
        for shapes in found:
            for part in halves_of(file_tables(shapes)):
                sums = sums + calibrate.group_sums(part, cut, 1)[0]
        kept.append(sums[0] / (len(found) * 2 * COUNT))
        raw[sign] = sums[1] / sums[0]
        _, response, selection, _ = calibrate.solve(sums, 0.01)
        total += (response + selection)[0, 0] / 2
    assert all(0.5 < share < 0.99 for share in kept)
    shear = (raw[1] - raw[-1]) / 2 / total
    assert abs(shear / SHEAR - 1) < 0.03


def test_without_cuts_halves_and_averages_agree(tables):
    found = calibrate.mean_shear(tables)
    averaged = calibrate.mean_shear(tables, halves=False)
    np.testing.assert_allclose(found.shear, averaged.shear, rtol=1e-9)


def test_weights_from_errors_read_the_half(tables):
    seen = []

    def weight(table):
        seen.append(np.asarray(table["g1_err"]))
        return calibrate.inverse_variance()(table)

    assert np.isfinite(calibrate.mean_shear(tables, weight).shear).all()
    np.testing.assert_array_equal(seen[0], tables["noshear"]["g1_err_a"])


def test_averages_that_a_half_lacks_are_not_there(tables):
    for part in halves_of(tables):
        assert not {"r50", "T_err", "R1_g1", "g1_a"} & set(part["1p"])
        assert {"Tpsf", "T_psfo", "n_epoch"} <= set(part["1p"])
    plain = {kind: tables[kind].copy() for kind in SHEAR_TYPES}
    for table in plain.values():
        table.remove_column("g1_a")
    assert halves_of(plain) == [plain]


def test_catalogue_of_a_stack_gives_the_tables_back(tables):
    """Names of make_cat_runner; further columns go with every type."""
    made = {"NUMBER": np.arange(COUNT)}
    for kind in SHEAR_TYPES:
        table, end = tables[kind], kind.upper()
        made[f"NGMIX_ELL_{end}"] = np.column_stack([table["g1"], table["g2"]])
        made[f"NGMIX_SNR_{end}"] = table["s2n"]
        for name in ("T", "Tpsf", "FLAGS"):
            made[f"NGMIX_{name}_{end}"] = table[name.lower() if name == "FLAGS" else name]
        for name in (f"{name}_{h}" for name in HALF_COLUMNS for h in "ab"):
            made[f"NGMIX_{name.upper()}_{end}"] = table[name]
    back = tables_of(made)
    assert set(back) == set(SHEAR_TYPES) and "NUMBER" in back["2m"]
    cut = calibrate.cut(10.0, 0.5)
    for halves in (True, False):
        one = calibrate.mean_shear(tables, cut, halves=halves)
        other = calibrate.mean_shear(back, cut, halves=halves)
        np.testing.assert_array_equal(one.shear, other.shear)
