"""Results do not depend on order, chunks, batch size or threads, to the bit."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace

import numpy as np
import pytest
from numba.core.registry import CPUDispatcher

from shapepipe.shear import (
    Batch,
    Settings,
    fit,
    gaussian,
    kspace,
    measure,
    measure_halves,
    momentfit,
    moments,
    normal,
    pixels,
    response,
)
from shapepipe.simulate.stamps import StampSet

WANTED = StampSet(seed=8, count=11, epochs=2)


def assert_same(one, other):
    for item in fields(one):
        np.testing.assert_array_equal(
            getattr(one, item.name), getattr(other, item.name), err_msg=item.name
        )


@pytest.mark.parametrize("precision", ["single", "double"])
@pytest.mark.parametrize("chunk", [1, 2, 7])
def test_chunk_size(batch_of, precision, chunk):
    batch = batch_of(WANTED, s2n=20, kind=np.float32)
    whole = measure(batch, Settings(precision=precision))
    assert_same(whole, measure(batch, Settings(precision=precision, chunk=chunk)))


@pytest.mark.parametrize("estimator", ["fit", "wmom", "admom"])
def test_order_of_objects(batch_of, estimator):
    batch = batch_of(WANTED, s2n=20, kind=np.float32)
    settings = Settings(estimator=estimator)
    order = np.random.default_rng(1).permutation(len(batch))
    epochs = (2 * order[:, None] + np.arange(2)).ravel()
    names = ("image", "weight", "psf", "jacobian", "centre")
    arrays = (getattr(batch, name)[epochs] for name in names)
    turned = Batch(*arrays, batch.offsets, batch.ra[order], batch.dec[order], batch.epoch[epochs])
    assert_same(measure(batch, settings)[order], measure(turned, settings))


def test_threads(batch_of):
    batch = batch_of(WANTED, s2n=20, kind=np.float32)
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: measure(batch), range(4)))
    for result in results:
        assert_same(results[0], result)


def test_noise_follows_from_position_and_epoch(batch_of):
    batch = batch_of(WANTED, s2n=20)
    settings = Settings(pair=False)
    wanted = measure(batch, settings)
    jitter = replace(batch, ra=batch.ra + 1e-12)
    assert_same(wanted, measure(jitter, settings))
    for moved in (replace(batch, ra=batch.ra + 1.0), replace(batch, epoch=batch.epoch + 7)):
        assert (measure(moved, settings).g1[:, 0] != wanted.g1[:, 0]).all()


def test_halves_average_to_the_pair(batch_of):
    batch = batch_of(WANTED, s2n=50)
    whole, (one, other) = measure(batch), measure_halves(batch)
    np.testing.assert_allclose((one.g1 + other.g1) / 2, whole.g1, rtol=1e-12)
    assert (one.g1 != other.g1).all()
    with pytest.raises(ValueError, match="pair"):
        measure_halves(batch, Settings(pair=False))


def test_compiled_functions_are_part_of_their_callers():
    """Else the last digits depend on whether a process compiled them or found them in the cache."""
    modules = (fit, gaussian, kspace, momentfit, moments, normal, pixels, response)
    found = {
        value for module in modules for value in vars(module).values()
        if isinstance(value, CPUDispatcher)
    }  # fmt: skip
    assert len(found) > 30
    assert [one for one in found if not one.targetoptions.get("forceinline")] == []
