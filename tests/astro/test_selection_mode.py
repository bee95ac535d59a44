"""The mode of a sample, where the procedure of ShapePipe 1.x ended and where it did not."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shapepipe.astro.selection import mode


def mode_as_described(values, width=0.001):
    """Plain transcription of the procedure as it is documented; None where it fails."""
    values = np.asarray(values, dtype=float)
    if len(values) == 0:
        return -1.0
    if len(values) < 20:
        return float(np.median(values))
    n_bins = int(len(values) / 10) if len(values) > 100 else int(len(values) / 5)
    centre = None
    for _ in range(1000):
        try:
            counts, edges = np.histogram(values, n_bins)
        except ValueError:
            return None
        if counts.max() == 1:
            return centre
        best = np.argmax(counts)
        centre = float((edges[best] + edges[best + 1]) / 2)
        if edges[best + 1] - edges[best] <= width:
            return centre
        numbered = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, n_bins - 1)
        values = values[numbered == best]
    return None


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([0, 1, 19, 20, 21, 99, 100, 101, 160, 3000]))
def test_agrees_with_the_procedure_on_continuous_samples(seed, size):
    rng = np.random.default_rng(seed)
    locus = rng.normal(4, 0.1, size // 3)
    values = np.concatenate([locus, rng.gamma(6, 1.1, size - size // 3) + 2])
    expected = mode_as_described(values)
    assert expected is not None
    assert mode(values) == expected


def test_finds_the_stellar_locus():
    rng = np.random.default_rng(3)
    sizes = np.concatenate([rng.normal(3.95, 0.05, 800), rng.gamma(6, 1.1, 3000) + 2])
    assert mode(sizes) == pytest.approx(3.95, abs=0.06)


@pytest.mark.parametrize("size", [20, 50, 101, 5000])
@pytest.mark.parametrize("value", [4.0, -1.0, 0.0, 1e30, 1e-30])
def test_of_one_number_repeated_is_that_number(size, value):
    assert mode(np.full(size, value)) == value


@pytest.mark.parametrize("size", [20, 77, 101, 1000])
def test_survives_nearly_identical_single_precision_values(size):
    steps = np.random.default_rng(size).integers(0, 3, size)
    values = (np.float32(3.9483) + steps * np.spacing(np.float32(3.9483))).astype(np.float32)
    assert values.min() - 1e-6 <= mode(values) <= values.max() + 1e-6


def test_survives_neighbouring_double_precision_values():
    values = np.where(np.arange(500) % 2, 4.0, np.nextafter(4.0, 5.0))
    assert mode(values) in (4.0, np.nextafter(4.0, 5.0))


def test_of_discrete_values_is_the_most_frequent():
    values = np.repeat([1.0, 2.0, 3.0, 7.0], [50, 200, 60, 90])
    assert mode_as_described(values) is None
    assert mode(values) == 2.0


def test_of_few_values_is_their_median_and_of_none_minus_one():
    assert mode(np.array([5.0, 1.0, 2.0])) == 2.0
    assert mode(np.arange(19.0)) == 9.0
    assert mode(np.array([])) == -1.0


def test_leaves_out_values_that_are_not_finite():
    values = np.concatenate([np.random.default_rng(1).normal(4, 1, 500), [np.nan, np.inf, -np.inf]])
    assert mode(values) == mode(values[:500])
    assert mode(np.full(30, np.nan)) == -1.0


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.floats(-1e300, 1e300),
            st.sampled_from([np.nan, np.inf, -np.inf]),
            st.sampled_from([0.0, 1.0, 4.0]),
        ),
        max_size=150,
    )
)
def test_always_ends_within_the_range_of_the_sample(values):
    finite = np.array([value for value in values if np.isfinite(value)])
    found = mode(np.array(values))
    if finite.size:
        assert finite.min() <= found <= finite.max()
    else:
        assert found == -1.0
