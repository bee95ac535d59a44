"""Stamps are exact copies of pixels, wherever they lie."""

import tempfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlitedict import SqliteDict

from shapepipe.astro import stamps, stampstore
from shapepipe.astro.epochs import Views, find_files

IMAGE = np.random.default_rng(3).normal(size=(60, 80)).astype(np.float32)


def cut_by_hand(image, x, y, size, fill):
    padded = np.pad(image, size + 5, constant_values=fill)
    row, column = (int(np.floor(place + 0.5)) + size + 5 for place in (y, x))
    half = size // 2
    return padded[row - half : row + half + 1, column - half : column + half + 1]


@given(st.floats(-3.4, 82.4), st.floats(-3.4, 62.4), st.sampled_from([1, 5, 11]))
def test_stamp_is_the_slice_around_the_position(x, y, size):
    stamp = stamps.cut(IMAGE, [x], [y], size, fill=7)[0]
    assert stamp.dtype == IMAGE.dtype
    assert np.array_equal(stamp, cut_by_hand(IMAGE, x, y, size, 7))


def test_position_on_a_pixel_centre_is_in_the_middle_of_the_stamp():
    assert stamps.cut(IMAGE, [40.0], [30.0], 5)[0, 2, 2] == IMAGE[30, 40]
    assert stamps.cut(IMAGE, [40.49], [29.51], 5)[0, 2, 2] == IMAGE[30, 40]
    assert stamps.middle_pixel([0.5, 1.5, -0.5]).tolist() == [1, 2, 0]


def test_stamp_beyond_the_image_is_filled():
    assert (stamps.cut(IMAGE, [-500.0], [20.0], 5, fill=1024) == 1024).all()


def test_flags_outside_are_1024_in_whatever_type():
    assert stamps.filling("pipeline_flag") == 1024 and stamps.filling("weight") == 0
    assert stamps.flag_type(np.zeros((2, 2), np.uint8)).dtype == np.int16
    assert stamps.flag_type(np.zeros((2, 2), np.int32)).dtype == np.int32


@pytest.fixture
def views():
    """Three objects in no order; the second is seen by nobody, one CCD has another pixel type."""
    names = [("100", 3), ("101", 0)]
    return Views(np.array([2, 0, 2]), np.array([1, 0, 0]), names)


def test_shelf_gives_all_views_of_each_object_in_order(views):
    images = {("100", 3): IMAGE, ("101", 0): (IMAGE * 100).astype(np.int16)}
    x, y = np.array([10.0, 20.0, 79.0]), np.array([11.0, 21.0, 0.0])
    with tempfile.TemporaryFile() as file:
        shelf = stamps.Shelf(file, views, 9)
        assert not stamps.fill_shelf(shelf, views, x, y, 9, "image", lambda *ccd: images[ccd])
        (chunk,) = shelf.entries([7, 5, 6])
    assert [number for number, _ in chunk] == [7, 5, 6]
    assert [sorted(entry) for _, entry in chunk] == [["100-3"], [], ["100-3", "101-0"]]
    stamp = chunk[2][1]["101-0"]["VIGNET"]
    assert stamp.dtype == np.int16
    assert np.array_equal(stamp, cut_by_hand(images["101", 0], 10, 11, 9, 0))
    stamp = chunk[2][1]["100-3"]["VIGNET"]
    assert np.array_equal(stamp, cut_by_hand(IMAGE, 79, 0, 9, 0))


def test_views_without_image_or_pixel_are_left_out(views):
    x, y = np.array([10.0, np.nan, 30.0]), np.array([11.0, 21.0, 31.0])
    with tempfile.TemporaryFile() as file:
        shelf = stamps.Shelf(file, views, 9)
        read = {("100", 3): IMAGE}.get
        assert stamps.fill_shelf(shelf, views, x, y, 9, "image", lambda *c: read(c)) == ["101-0"]
        (chunk,) = shelf.entries([7, 5, 6])
    assert [list(entry) for _, entry in chunk] == [[], [], ["100-3"]]


@pytest.mark.parametrize("kind", [np.float32, np.int16])
@pytest.mark.parametrize("n_epochs", [1, 3])
def test_store_is_little_larger_than_its_arrays(tmp_path, kind, n_epochs):
    stamp = np.random.default_rng(1).integers(0, 1000, (51, 51)).astype(kind)
    entry = {f"2366993-{i}": {"VIGNET": stamp} for i in range(n_epochs)}
    path = tmp_path / "image_vignet-1.sqlite"
    with stampstore.StampWriter(path) as store:
        store.add((number, entry) for number in range(1, 301))
    assert path.stat().st_size < 1.1 * 300 * n_epochs * stamp.nbytes


def test_a_share_of_the_objects_is_read_in_their_order(tmp_path):
    path = tmp_path / "s#?.sqlite"
    numbers = [30, 10, 20, 5]
    with stampstore.StampWriter(path) as store:
        store.add((number, {"1-0": {"VIGNET": np.full((3, 3), number)}}) for number in numbers)
    parts = [stampstore.read_stamps(path, *share) for share in ((0, 1), (1, 3), (3, 9))]
    found = [(number, epochs["1-0"]["VIGNET"][0, 0]) for part in parts for number, epochs in part]
    assert found == [(number, number) for number in numbers]


def test_a_store_of_shapepipe_1_is_read(tmp_path):
    path = tmp_path / "old.sqlite"
    with SqliteDict(path) as old:
        old["4"], old["5"] = {"1-0": {"VIGNET": np.ones((3, 3))}}, "empty"
        old.commit()
    (four, seen), (five, nothing) = stampstore.read_stamps(path)
    assert (four, five, nothing) == (4, 5, {})
    assert seen["1-0"]["VIGNET"].sum() == 9


def test_files_of_ccds_are_found_by_exposure_and_number(tmp_path):
    for name in ("a/image-100-3.fits", "b/image-100-3.fits", "b/image-101-0.fits",
                 "b/my_image-9-9.fits", "b/image-100.fits", "b/image-1-x.fits"):  # fmt: skip
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    found = find_files([tmp_path / "a", tmp_path / "b"], "image", ".fits")
    assert found == {("100", 3): tmp_path / "a/image-100-3.fits",
                     ("101", 0): tmp_path / "b/image-101-0.fits"}  # fmt: skip
