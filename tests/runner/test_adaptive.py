"""The rule of adaptive seeds: its rounds, what its interval covers, and the bias of its rate."""

from __future__ import annotations

import functools
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from nnexp.recovery.intervals import wilson
from nnexp.runner.adaptive import interval, next_round
from nnexp.search.seeds import AdaptiveSeeds


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


def test_a_resumed_setting_continues() -> None:
    """From any number of networks the next round is the same as without the break, an odd number included."""
    rule = AdaptiveSeeds(min=64, max=4096, width=0.04)
    assert next_round(0, 0, rule) == 64
    assert next_round(10, 40, rule) == 24
    assert next_round(32, 64, rule) == 64
    assert next_round(500, 1000, rule) == 1000
    assert next_round(1500, 3000, AdaptiveSeeds(min=64, max=4096, width=0.03)) == 1096
    assert next_round(1500, 3000, rule) == 0
    assert next_round(2048, 4096, rule) == 0


RULE = AdaptiveSeeds(min=64, max=4096, width=0.04)
RULES = [
    RULE,
    *(
        AdaptiveSeeds(min=least, max=most, width=width)
        for least, most, width in ((16, 1024, 0.1), (16, 64, 0.3), (10, 100, 0.2), (32, 500, 0.12), (1, 9, 0.5))
    ),
]
#: Near 0 and 1 the coverage of an interval jumps from one rate to the next.
RATES = [0, *np.geomspace(1e-5, 0.1, 41), *np.linspace(0.12, 0.5, 20), *(1 - np.geomspace(1e-5, 0.4, 21)), 1]
FEW_RATES = [0, 0.0002, 0.00065, 0.002, 0.01, 0.03, 0.998]

#: Rates share most of their outcomes.
cached_interval = functools.cache(interval)


@functools.cache
def stopping(rule: AdaptiveSeeds, n: int) -> np.ndarray:
    """(n + 1,) whether the rule is done after n networks, by the number of successes."""
    return np.array([next_round(k, n, rule) == 0 for k in range(n + 1)])


def outcomes(rate: float, rule: AdaptiveSeeds) -> list[tuple[int, int, float]]:
    """Every outcome (k, n) of the rule with its probability, summed over all courses that the rounds can take."""
    found, total = [], rule.min
    reached = stats.binom.pmf(np.arange(total + 1), total, rate)
    while True:
        stops = stopping(rule, total)
        found += [(int(k), total, float(reached[k])) for k in np.flatnonzero(stops & (reached > 1e-7))]
        if total >= rule.max:
            return found
        size = min(total, rule.max - total)
        reached = np.convolve(np.where(stops, 0.0, reached), stats.binom.pmf(np.arange(size + 1), size, rate))
        total += size


def coverage_of_wilson(rate: float, rule: AdaptiveSeeds) -> float:
    """How often Wilson's interval contains the true rate, with the numbers of networks that the rule ends with."""
    k, n, probability = map(np.array, zip(*outcomes(rate, rule), strict=True))
    low, high = wilson(k, n)
    return float(probability[(low <= rate) & (rate <= high)].sum())


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_the_interval_has_at_least_its_nominal_coverage(rule: AdaptiveSeeds) -> None:
    """Exact sums over all outcomes; no interval has zero width, and each contains the share that succeeded."""
    for rate in FEW_RATES if rule is RULE else RATES:
        covered = 0.0
        for k, n, probability in outcomes(rate, rule):
            low, high = cached_interval(k, n, rule)
            assert 0 <= low <= k / n <= high <= 1
            assert high - low > 0.5 / n
            covered += probability * (low - 1e-9 <= rate <= high + 1e-9)
        assert covered >= 0.95 - 1e-4, rate  # what is rarer than 1e-7 is not counted as covered


def test_wilsons_interval_does_not_cover_with_adaptive_seeds() -> None:
    """The reason for an interval of its own: the figures of the module's docstring."""
    assert coverage_of_wilson(0.00065, RULE) == pytest.approx(0.920, abs=5e-4)
    assert coverage_of_wilson(0.0027, AdaptiveSeeds(min=16, max=1024, width=0.1)) == pytest.approx(0.84, abs=5e-3)


def test_the_interval_is_at_most_about_a_tenth_wider_than_the_width_asked_for() -> None:
    """Of the outcomes before the last round that are not very unlikely, with at least ten networks to begin with."""
    for rule in RULES[:-1]:
        for rate in (0.002, 0.01, 0.1):
            for k, n, probability in outcomes(rate, rule):
                if probability > 1e-3 and n < rule.max:
                    low, high = cached_interval(k, n, rule)
                    assert high - low < 1.11 * rule.width, (rule, k, n)


def test_the_share_that_succeeded_is_biased_away_from_one_half() -> None:
    """The averages of the module's docstring; a rate of one half has no bias."""
    for rate, average in ((0.002, 0.0012), (0.01, 0.0085), (0.5, 0.5)):
        assert sum(p * k / n for k, n, p in outcomes(rate, RULE)) == pytest.approx(average, abs=5e-5)


def test_a_simulated_setting_ends_in_the_outcomes_summed_over() -> None:
    """The exact sums describe what `next_round` does: networks and successes on average, at a rate of 3%."""
    rng = np.random.default_rng(0)
    ends = []
    for _ in range(2000):
        k = n = 0
        while size := next_round(k, n, RULE):
            k += int(rng.binomial(size, 0.03))
            n += size
        ends.append((k, n))
    k, n, probability = map(np.array, zip(*outcomes(0.03, RULE), strict=True))
    error = np.std(ends, axis=0) / np.sqrt(len(ends))
    expected = np.array([(k * probability).sum(), (n * probability).sum()])
    assert (np.abs(np.mean(ends, axis=0) - expected) < 4 * error).all()
