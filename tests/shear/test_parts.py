"""Cells, neighbours, noise fields, masked pixels, the kernel and ngmix as the other engine."""

import importlib
import logging
from dataclasses import replace

import numpy as np
import pytest

from shapepipe.shear import Settings, epoch_identity, measure
from shapepipe.shear.cell import sheared_cell
from shapepipe.shear.metacal import transform_size
from shapepipe.shear.neighbours import neighbour_pixels
from shapepipe.shear.noise import FILL, FIXNOISE, WhiteFields, white_field
from shapepipe.simulate.stamps import StampSet


def test_sheared_cell_has_the_round_psf_and_the_shear():
    """A point source becomes the target; sheared images differ by the shear of the galaxy."""
    size, scale = 128, 0.2
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    psf = np.exp(-0.5 * (x[40:-40, 40:-40] ** 2 + 1.1 * y[40:-40, 40:-40] ** 2) / 6)
    image = np.exp(-0.5 * (x**2 + 1.1 * y**2) / 6)  # the PSF itself: a star
    cell = sheared_cell(
        image, np.ones_like(image), psf, scale * np.eye(2), 10.0, 20.0, "r",
        Settings(fixnoise=False, precision="double"),
    )  # fmt: skip
    assert cell.status == 0
    variance = cell.psf_variance / scale**2
    target = np.exp(-0.5 * (x**2 + y**2) / variance)
    target *= image.sum() / target.sum()
    for kind in ("noshear", "1p", "2m"):
        np.testing.assert_allclose(cell.images[kind], target, atol=2e-4 * target.max())


def test_neighbour_pixels_are_the_nearer_half():
    segmentation = np.zeros((5, 9), int)
    segmentation[2, 2], segmentation[2, 6] = 4, 9
    other = neighbour_pixels(segmentation, 4)
    assert not other[:, :4].any() and other[:, 5:].all()
    assert not neighbour_pixels(np.zeros((5, 5), int), 4).any()


def test_neighbours_have_no_weight(batch_of):
    """What stands in the neighbour's pixels, beyond the reach of the kernel, does not matter."""
    batch = batch_of(StampSet(seed=41, count=4, epochs=1), s2n=200)
    neighbour = np.zeros(batch.image.shape, bool)
    neighbour[:, :, 40:] = True
    image = batch.image.copy()
    image[:, 20:30, 46:] += 50 / np.sqrt(batch.weight.max(axis=(1, 2)))[:, None, None]
    clean = measure(replace(batch, neighbour=neighbour))
    dirty = measure(replace(batch, image=image, neighbour=neighbour))
    without = measure(replace(batch, image=image))
    np.testing.assert_allclose(dirty.g1, clean.g1, atol=3e-4)
    assert np.abs(without.g1 - clean.g1).max() > np.abs(dirty.g1 - clean.g1).max()


def test_noise_fields():
    field = white_field((200, 200), 10.0, -5.0, epoch_identity("2366993-18"), FIXNOISE)
    assert abs(field.mean()) < 0.02 and abs(field.std() - 1) < 0.02
    same = white_field((200, 200), 10.0, -5.0, epoch_identity("2366993-18"), FIXNOISE)
    np.testing.assert_array_equal(field, same)
    fields = WhiteFields()
    fields.field((7, 3), 1.0, 2.0, 2**64 - 1, FILL)  # leaves nothing behind
    again = fields.field((200, 200), 10.0, -5.0, epoch_identity("2366993-18"), FIXNOISE)
    np.testing.assert_array_equal(field, again)
    others = [(10.0, -5.0 - 2e-6, epoch_identity("2366993-18"), FIXNOISE),
              (10.0, -5.0, epoch_identity("2366993-18") ^ 1, FIXNOISE),
              (10.0, -5.0, 7, FIXNOISE), (10.0, -5.0, epoch_identity("2366993-18"), FILL),
              (10.1, -5.0, epoch_identity("2366993-18"), FIXNOISE)]  # fmt: skip
    for other in others:
        assert abs((field * white_field((200, 200), *other)).mean()) < 0.03


@pytest.mark.parametrize("fill", ["mirror", "noise"])
def test_masked_column_changes_little(batch_of, fill):
    batch = batch_of(StampSet(seed=42, count=6, epochs=2), s2n=1e3)
    weight, image = batch.weight.copy(), batch.image.copy()
    weight[::2, :, 18] = 0
    image[::2, :, 18] = 1e6
    clean = measure(batch, Settings(fill=fill))
    masked = measure(replace(batch, weight=weight, image=image), Settings(fill=fill))
    assert masked.good.all()
    np.testing.assert_allclose(masked.g1, clean.g1, atol=2e-2)


def test_transform_size():
    assert [transform_size(n) for n in (20, 51, 53, 64, 101, 300)] == [32, 64, 64, 96, 128, 384]


def test_first_call_says_that_it_compiles(tmp_path, monkeypatch, caplog):
    module = importlib.import_module("shapepipe.shear.measure")

    class Fresh:
        """A compiled function on a machine without a cache."""

        __name__ = "fit_objects"
        signatures = ()

        class stats:
            cache_path = str(tmp_path)

    monkeypatch.setattr(module.fit, "fit_objects", Fresh)
    with caplog.at_level(logging.INFO, "shapepipe.shear"):
        module._announce_compilation()
    assert "compiling" in caplog.text


@pytest.mark.ngmix
@pytest.mark.parametrize("s2n", [20.0, 100.0])
@pytest.mark.parametrize(
    "changes",
    [{}, {"psf": "lopsided", "galaxy": "sersic"}, {"distortion": 20.0}],
    ids=["moffat", "sersic", "jacobian"],
)
def test_equal_to_ngmix(batch_of, s2n, changes):
    engine = importlib.import_module("shapepipe.shear.ngmix_engine")
    wanted = StampSet(seed=43, count=6, **changes)
    batch = batch_of(wanted, s2n=s2n, own_noise=True, spread=(0.8, 1.0, 1.4))
    theirs = engine.measure(batch, Settings(pair=False), tolerance=1e-11)
    ours = measure(batch, Settings(pair=False))
    assert theirs.good.all() and ours.good.all()
    for name in ("g1", "g2"):
        difference = getattr(ours, name) - getattr(theirs, name)
        assert np.sqrt((difference**2).mean(axis=0)).max() < 3e-5
    for name in ("flux", "s2n"):
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=1e-3)
    np.testing.assert_allclose(ours.T, theirs.T, atol=1e-3 * ours.T_psf.max())
