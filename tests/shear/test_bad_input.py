"""Each kind of bad input is flagged by name, raises nothing and leaves its neighbours alone."""

from dataclasses import fields, replace

import numpy as np
import pytest

from shapepipe.shear import Batch, Settings, ShapeFlag, measure
from shapepipe.simulate.stamps import StampSet

VICTIM = 3


def spoiled(batch, spoil):
    """A copy of the batch with one object changed by `spoil(arrays, its epochs)`."""
    arrays = {name: getattr(batch, name).copy() for name in ("image", "weight", "psf", "jacobian")}
    spoil(arrays, slice(batch.offsets[VICTIM], batch.offsets[VICTIM + 1]))
    return replace(batch, **arrays)


def zero_weight(a, own):
    a["weight"][own] = 0


def one_epoch_without_weight(a, own):
    a["weight"][own.start] = 0


def nan_pixels(a, own):
    a["image"][own, 10, 12] = np.nan
    a["image"][own, 30, 5] = np.inf


def all_nan(a, own):
    a["image"][own] = np.nan


def nan_weight(a, own):
    a["weight"][own] = np.nan


def negative_flux(a, own):
    a["image"][own] *= -1


def empty_stamp(a, own):
    a["image"][own] = 0


def singular_jacobian(a, own):
    a["jacobian"][own] = [[0.187, 0.187], [0.187, 0.187]]


def nan_jacobian(a, own):
    a["jacobian"][own] = np.nan


def no_psf(a, own):
    a["psf"][own] = 0


def nan_psf(a, own):
    a["psf"][own] = np.nan


def half_masked(a, own):
    a["weight"][own, :26] = 0


def spike(a, own):
    """Narrower than the PSF: a single bright pixel."""
    a["image"][own] *= 0.02
    a["image"][own, 25, 25] += 2.0 * a["image"][own].max() + 100 / np.sqrt(a["weight"][own].max())


def pure_noise(a, own):
    a["image"][own] = np.random.default_rng(3).normal(size=a["image"][own].shape)


FAILURES = [
    (zero_weight, ShapeFlag.NO_EPOCH, ShapeFlag.ZERO_WEIGHT),
    (nan_weight, ShapeFlag.NO_EPOCH, ShapeFlag.ZERO_WEIGHT),
    (all_nan, ShapeFlag.NO_EPOCH, ShapeFlag.MASKED | ShapeFlag.NONFINITE_PIXELS),
    (empty_stamp, ShapeFlag.NO_EPOCH, ShapeFlag.EMPTY_STAMP),
    (singular_jacobian, ShapeFlag.NO_EPOCH, ShapeFlag.BAD_JACOBIAN),
    (nan_jacobian, ShapeFlag.NO_EPOCH, ShapeFlag.BAD_JACOBIAN),
    (no_psf, ShapeFlag.NO_EPOCH, ShapeFlag.BAD_PSF),
    (nan_psf, ShapeFlag.NO_EPOCH, ShapeFlag.BAD_PSF),
    (half_masked, ShapeFlag.NO_EPOCH, ShapeFlag.MASKED),
    (negative_flux, None, None),
    (nan_pixels, ShapeFlag(0), ShapeFlag.NONFINITE_PIXELS),
    (one_epoch_without_weight, ShapeFlag(0), ShapeFlag.ZERO_WEIGHT),
    (spike, None, None),
    (pure_noise, None, None),
]


@pytest.mark.parametrize("estimator", ["fit", "wmom", "admom"])
@pytest.mark.parametrize("spoil, flag, note", FAILURES, ids=[f[0].__name__ for f in FAILURES])
def test_failure_is_named_and_neighbours_are_unchanged(
    batch_of, galaxies, spoil, flag, note, estimator
):
    batch = batch_of(galaxies, kind=np.float32)
    settings = Settings(estimator=estimator)
    clean, bad = measure(batch, settings), measure(spoiled(batch, spoil), settings)
    assert clean.good.all()
    others = np.arange(len(batch)) != VICTIM
    for item in fields(clean):
        before, after = getattr(clean, item.name)[others], getattr(bad, item.name)[others]
        np.testing.assert_array_equal(before, after, err_msg=item.name)
    if flag is not None:
        assert (bad.flags[VICTIM] == flag).all()
        assert bad.notes[VICTIM] & note == note
    failed = bad.flags[VICTIM] != 0
    assert np.isnan(bad.g1[VICTIM][failed & (bad.flags[VICTIM] != ShapeFlag.NEGATIVE_FLUX)]).all()
    assert np.isfinite(bad.g1[VICTIM][~failed]).all()


def test_negative_flux_is_flagged(batch_of, galaxies):
    batch = batch_of(galaxies, kind=np.float32)
    flags = measure(spoiled(batch, negative_flux)).flags[VICTIM]
    assert (flags & ShapeFlag.NEGATIVE_FLUX != 0).all()


def test_psf_wider_than_the_object_is_noted(batch_of, galaxies):
    bad = measure(spoiled(batch_of(galaxies), spike))
    unresolved = bad.notes[VICTIM] & ShapeFlag.UNRESOLVED != 0
    assert unresolved or (bad.flags[VICTIM] != 0).all()


@pytest.mark.parametrize("epochs", [1, 60])
def test_any_number_of_epochs(batch_of, epochs):
    shapes = measure(batch_of(StampSet(seed=2, count=2, epochs=epochs, galaxy="gaussian")))
    assert shapes.good.all()
    assert (shapes.n_epoch == epochs).all()


def test_object_without_epochs_comes_back(batch_of, galaxies):
    batch = batch_of(galaxies)
    offsets = np.insert(batch.offsets, 4, batch.offsets[4])
    more = {"ra": np.insert(batch.ra, 4, 9.0), "dec": np.insert(batch.dec, 4, 9.0)}
    shapes, alone = measure(replace(batch, offsets=offsets, **more)), measure(batch)
    assert (shapes.flags[4] == ShapeFlag.NO_EPOCH).all()
    assert np.isnan(shapes.g1[4]).all() and np.isnan(shapes.T_psfo[4])
    np.testing.assert_array_equal(np.delete(shapes.g1, 4, axis=0), alone.g1)


@pytest.mark.parametrize("shape", [(48, 61), (33, 33), (40, 64)])
def test_stamps_of_any_shape(batch_of, shape):
    """Shape, size and flux do not depend on the stamp's format, nor on that of the PSF."""
    square = StampSet(seed=4, count=4, galaxy="gaussian", half_light=(0.2, 0.3))
    wanted = measure(batch_of(square, s2n=1e5), Settings(fixnoise=False))
    other = square.twin(shape=shape, psf_shape_pixels=(41, 63))
    found = measure(batch_of(other, s2n=1e5), Settings(fixnoise=False))
    assert found.good.all()
    for name in ("g1", "g2", "T"):
        np.testing.assert_allclose(getattr(found, name), getattr(wanted, name), atol=2e-3)
    np.testing.assert_allclose(found.response, wanted.response, rtol=1e-2, atol=0.3)


def test_wrong_shape_is_an_error():
    with pytest.raises(ValueError, match="weight has shape"):
        Batch.regular(
            np.zeros((1, 1, 5, 5)),
            np.zeros((1, 1, 4, 5)),
            np.zeros((1, 1, 5, 5)),
            np.zeros((1, 1, 2, 2)),
            np.zeros((1, 1, 2)),
        )


def test_wrong_setting_is_an_error():
    with pytest.raises(ValueError, match="fit, wmom, admom"):
        Settings(estimator="hsm")
