"""Wilson's interval, against SciPy's and by its coverage."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from nnexp.errors import UsageError
from nnexp.recovery.intervals import wilson


@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.floats(0.5, 0.999))
def test_it_agrees_with_scipy(counts, confidence):
    k, n = counts
    low, high = wilson(k, n, confidence)
    expected = stats.binomtest(k, n).proportion_ci(confidence, method="wilson")
    assert low == pytest.approx(expected.low, abs=1e-12)
    assert high == pytest.approx(expected.high, abs=1e-12)


def test_arrays_are_taken_together():
    low, high = wilson(np.array([[0, 5], [7, 10]]), 10)
    assert low.shape == high.shape == (2, 2)
    assert low[1, 0] == wilson(7, 10)[0]


def test_the_ends_are_exactly_0_and_1():
    low, high = wilson([0, 64], 64)
    assert low[0] == 0
    assert high[1] == 1


def test_no_trials_have_no_interval():
    low, high = wilson(0, 0)
    assert np.isnan(low)
    assert np.isnan(high)


@given(st.integers(1, 2000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_failures_mirror_successes(counts):
    k, n = counts
    low, high = wilson(k, n)
    other_low, other_high = wilson(n - k, n)
    assert low == pytest.approx(1 - other_high, abs=1e-15)
    assert high == pytest.approx(1 - other_low, abs=1e-15)
    assert 0 <= low <= k / n <= high <= 1


@pytest.mark.parametrize("rate", [0.02, 0.2, 0.5])
def test_it_covers_the_rate_about_as_often_as_it_says(rate):
    """Exact coverage by summing the binomial: 95% within 3 points at 256 seeds."""
    k = np.arange(257)
    low, high = wilson(k, 256)
    coverage = stats.binom.pmf(k, 256, rate)[(low <= rate) & (rate <= high)].sum()
    assert abs(coverage - 0.95) < 0.03


@pytest.mark.parametrize(("k", "n", "confidence"), [(5, 4, 0.95), (-1, 4, 0.95), (1, 4, 0.0), (1, 4, 1.0)])
def test_impossible_counts_are_refused(k, n, confidence):
    with pytest.raises(UsageError):
        wilson(k, n, confidence)
