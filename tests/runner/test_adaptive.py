"""The rule of adaptive seeds, and the coverage of its intervals."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from nnexp.recovery.intervals import wilson
from nnexp.runner.adaptive import next_round
from nnexp.search.sweep_file import AdaptiveSeeds


@given(st.integers(1, 300), st.integers(0, 3000), st.floats(0.005, 0.9), st.floats(0, 1))
def test_rounds_double_until_narrow_or_full(least: int, more: int, width: float, rate: float) -> None:
    """The total goes min, 2 min, 4 min, …, ends at max, and ends earlier only when the interval is narrow."""
    rule = AdaptiveSeeds(min=least, max=least + more, width=width)
    totals = [0]
    while size := next_round(round(rate * totals[-1]), totals[-1], rule):
        totals.append(totals[-1] + size)
    assert totals[1] == least
    assert totals[-1] <= rule.max
    assert all(b == min(2 * a, rule.max) for a, b in itertools.pairwise(totals[1:]))
    low, high = wilson(round(rate * totals[-1]), totals[-1])
    assert totals[-1] == rule.max or high - low < width


def test_a_resumed_setting_goes_on_where_it_was() -> None:
    """From any number of networks the next round is the same as without the break, an odd number included."""
    rule = AdaptiveSeeds(min=64, max=4096, width=0.04)
    assert next_round(0, 0, rule) == 64
    assert next_round(10, 40, rule) == 24
    assert next_round(32, 64, rule) == 64
    assert next_round(500, 1000, rule) == 1000
    assert next_round(1500, 3000, AdaptiveSeeds(min=64, max=4096, width=0.03)) == 1096
    assert next_round(1500, 3000, rule) == 0
    assert next_round(2048, 4096, rule) == 0


def simulated_coverage(rate: float, rule: AdaptiveSeeds, repeats: int, rng: np.random.Generator) -> float:
    """How often the 95% interval of the last round contains the true rate, in simulations."""
    covered = 0
    for _ in range(repeats):
        k = n = 0
        while size := next_round(k, n, rule):
            k += int(rng.binomial(size, rate))
            n += size
        low, high = wilson(k, n)
        covered += bool(low <= rate <= high)
    return covered / repeats


def exact_coverage(rate: float, rule: AdaptiveSeeds) -> float:
    """The same probability, summed over every sequence of rounds; the rule is implemented a second time here."""
    total = rule.min
    reached = stats.binom.pmf(np.arange(total + 1), total, rate)
    covered = 0.0
    while True:
        low, high = wilson(np.arange(total + 1), total)
        stops = (high - low < rule.width) | (total >= rule.max)
        covered += reached[stops & (low <= rate) & (rate <= high)].sum()
        if total >= rule.max:
            return float(covered)
        size = min(total, rule.max - total)
        reached = np.convolve(np.where(stops, 0.0, reached), stats.binom.pmf(np.arange(size + 1), size, rate))
        total += size


RULE = AdaptiveSeeds(min=64, max=4096, width=0.04)


@pytest.mark.parametrize("rate", [0.002, 0.05, 0.3, 0.5, 0.95])
def test_coverage_of_the_adaptive_rule_by_simulation(rate: float) -> None:
    """The coverage simulated with the rule itself agrees with the sum over all sequences of rounds."""
    repeats = 1500
    error = np.sqrt(0.05 * 0.95 / repeats)
    simulated = simulated_coverage(rate, RULE, repeats, np.random.default_rng(0))
    assert simulated == pytest.approx(exact_coverage(rate, RULE), abs=4 * error)


def test_stopping_on_what_was_seen_costs_little() -> None:
    """A 95% interval covers 95% on average over rates and 92% at each, better than one of a fixed 256 networks."""
    rates = np.concatenate([np.arange(0.0005, 0.02, 0.001), np.arange(0.02, 0.5, 0.02)])
    exact = np.array([exact_coverage(rate, RULE) for rate in rates])
    assert exact.min() >= 0.92
    assert exact.mean() == pytest.approx(0.955, abs=0.005)
    low, high = wilson(np.arange(257), 256)
    fixed = [stats.binom.pmf(np.arange(257), 256, rate)[(low <= rate) & (rate <= high)].sum() for rate in rates]
    assert min(fixed) < exact.min()
