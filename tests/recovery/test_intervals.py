"""Wilson's interval and the one after rounds, against SciPy's and by their coverage."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from nnexp.errors import UsageError
from nnexp.recovery.intervals import Round, after_rounds, wilson


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
def test_its_coverage_is_about_nominal(rate):
    """Exact coverage by summing the binomial: 95% within 3 points at 256 seeds."""
    k = np.arange(257)
    low, high = wilson(k, 256)
    coverage = stats.binom.pmf(k, 256, rate)[(low <= rate) & (rate <= high)].sum()
    assert abs(coverage - 0.95) < 0.03


@pytest.mark.parametrize(("k", "n", "confidence"), [(5, 4, 0.95), (-1, 4, 0.95), (1, 4, 0.0), (1, 4, 1.0)])
def test_impossible_counts_are_refused(k, n, confidence):
    with pytest.raises(UsageError):
        wilson(k, n, confidence)


@given(st.integers(1, 3000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.floats(0.5, 0.999))
def test_a_plan_of_one_round_has_the_interval_of_clopper_and_pearson(counts, confidence):
    k, n = counts
    expected = stats.binomtest(k, n).proportion_ci(confidence, method="exact")
    assert after_rounds(k, n, [Round(n, n)], confidence) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_stopping_early_with_few_successes_counts_as_lower():
    """0 of 10 is the lowest outcome and 10 of 10 the highest; 4 of 20 may have been preceded by a stop at 0 of 10."""
    plan = [Round(10, 0), Round(20, 20)]
    assert after_rounds(0, 10, plan)[0] == 0
    assert after_rounds(10, 10, plan)[1] == 1
    low, high = after_rounds(4, 20, plan)
    exact = stats.binomtest(4, 20).proportion_ci(method="exact")
    assert low == pytest.approx(exact.low, rel=0.05)
    assert high > exact.high
    assert np.allclose(after_rounds(16, 20, plan), (1 - high, 1 - low))


def test_a_share_that_an_unlikely_course_puts_outside_is_included():
    """7 of 64 where 7 of the first 16 were needed to go on: the share is at the end of the interval."""
    low, high = after_rounds(7, 64, [Round(16, 6), Round(64, 64)])
    assert low == 7 / 64
    assert high > low


@pytest.mark.parametrize(("k", "n"), [(5, 10), (3, 15), (-1, 10), (21, 20)])
def test_outcomes_at_which_no_round_stops_are_refused(k, n):
    with pytest.raises(ValueError, match="expected an outcome at which one of the rounds stops"):
        after_rounds(k, n, [Round(10, 0), Round(20, 20)])
