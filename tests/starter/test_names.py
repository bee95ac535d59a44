"""File names of strangers are taken apart into pattern, number and role."""

from __future__ import annotations

from pathlib import Path

import pytest

from shapepipe.pipeline.match import scheme_regex
from shapepipe.starter.names import gather, is_fits, scheme_of, take_apart


def units_of(*names):
    parts = [take_apart(Path(name)) for name in names]
    return gather(parts, {name.path: name.role or "image" for name in parts})


@pytest.mark.parametrize(
    ("names", "pattern", "scheme", "numbers", "as_they_are"),
    [
        (["image_1.fits.fz", "image_12.fits.fz"], "image", "_0", ["_1", "_12"], True),
        (["M51_I_001.fit.gz", "M51_I_002.fit.gz"], "M51_I", "_000", ["_001", "_002"], True),
        (["stack_B_30.fit", "stack_V_300.fit"], "stack", r"RE:_[A-Za-z]+_\d+",
         ["_B_30", "_V_300"], True),
        (["exp-4192-image.fits", "exp-6377-image.fits"], "image", "-0000",
         ["-4192", "-6377"], False),
        (["a.r.fits", "b.r.fits"], "image", "-0", ["-1", "-2"], False),
        (["wide_field.fits"], "wide_field", "", [""], True),
        (["night_7.fits"], "night", "_0", ["_7"], True),
    ],
)  # fmt: skip
def test_numbers(names, pattern, scheme, numbers, as_they_are):
    units = units_of(*names)
    if names[0] == "a.r.fits":  # no number of their own: any pattern that tells them apart will do
        assert len(units.files) == 2
        return
    assert units.pattern["image"] == pattern
    assert units.scheme == scheme
    assert list(units.files) == numbers
    assert units.as_they_are is as_they_are
    for number in numbers:
        assert scheme_regex(scheme).fullmatch(number)


def test_roles_are_paired_by_what_is_left_of_the_name():
    names = [f"c4d_{night}_{what}_r.fits" for night in ("150411", "170316")
             for what in ("ooi", "oow", "ood")]  # fmt: skip
    units = units_of(*names)
    assert units.roles == ["image", "weight", "flag"]
    assert units.files["-150411"]["weight"].name == "c4d_150411_oow_r.fits"


def test_roles_in_the_names_of_folders():
    units = units_of("images/a-1.fits", "images/a-2.fits", "weights/a-1.fits", "weights/a-2.fits")
    assert units.roles == ["image", "weight"]


def test_a_role_that_some_lack_is_not_counted():
    units = units_of("x-1-image.fits", "x-2-image.fits", "x-1-weight.fits")
    assert units.roles == ["image"]
    assert len(units.files) == 2


@pytest.mark.parametrize(
    ("numbers", "scheme"),
    [(["-1", "-22"], "-0"), (["-004192-1"], "-000000-0"), (["_a", "_b1"], "RE:_[A-Za-z0-9]+"),
     (["-1", "-1-2"], "RE:[-_A-Za-z0-9]+"), ([""], "")],
)  # fmt: skip
def test_scheme(numbers, scheme):
    assert scheme_of(numbers) == scheme
    assert all(scheme_regex(scheme).fullmatch(number) for number in numbers)


@pytest.mark.parametrize("name", ["a.fits", "a.FIT", "a.fits.fz", "a.fit.gz", "a.fts"])
def test_fits_by_name(name):
    assert is_fits(Path(name))
    assert not is_fits(Path(name + ".txt"))
    assert not is_fits(Path("." + name))
