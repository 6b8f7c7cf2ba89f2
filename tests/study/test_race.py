"""The rule of racing over seeds: its rounds, what its bounds cover, and what it never drops."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from nnexp.study.race import Race, bounds, decide, dropped, interval, lower_bound, rungs, settled, upper_bound

RATES = [1e-9, 1e-5, 0.001, 0.01, 0.03, 0.1, 0.3, 0.5, 0.753, 0.9, 0.99, 0.999, 1 - 1e-9]
RACES = [
    Race(settings=1, seeds=20, start=5),
    Race(settings=3, seeds=40, start=3, confidence=0.9),
    Race(settings=40, seeds=256),
    Race(settings=600, seeds=1000),
    Race(settings=10_000, seeds=64, start=64, confidence=0.99),
]


@st.composite
def standings(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, Race]:
    """Successes and networks of some settings of a race, each at one of its rungs."""
    race = Race(
        settings=draw(st.integers(1, 2000)),
        seeds=draw(st.integers(1, 3000)),
        start=draw(st.integers(1, 300)),
        confidence=draw(st.floats(0.5, 0.999)),
        tolerance=draw(st.floats(0, 0.3)),
    )
    counts = draw(
        st.lists(
            st.sampled_from(race.rungs).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))),
            min_size=1,
            max_size=min(race.settings, 12),
        )
    )
    successes, networks = np.array(counts).T
    return successes, networks, race


@given(st.integers(1, 500), st.integers(1, 20_000))
def test_rungs_double_from_the_first_round_to_all_networks(start: int, seeds: int) -> None:
    found = rungs(start, seeds)
    assert found[0] == min(start, seeds)
    assert found[-1] == seeds
    assert all(b == min(2 * a, seeds) for a, b in itertools.pairwise(found))


@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.floats(1e-12, 0.5))
def test_one_sided_bounds_agree_with_the_binomial_distribution(counts: tuple[int, int], error: float) -> None:
    """At the lower bound k or more successes have the probability ``error``; at the upper bound k or fewer do."""
    k, n = counts
    low, high = float(lower_bound(k, n, error)), float(upper_bound(k, n, error))
    assert 0 <= low <= k / n <= high <= 1
    assert low == 0 if k == 0 else stats.binom.sf(k - 1, n, low) == pytest.approx(error, rel=1e-6)
    assert high == 1 if k == n else stats.binom.cdf(k, n, high) == pytest.approx(error, rel=1e-4)


def chance_of_missing(rate: float, race: Race, missed: Callable[[np.ndarray, int], np.ndarray]) -> float:
    """The probability that ``missed``, of the successes and the networks, holds at some rung of a race.

    Summed over all courses that the rounds can take: those that have missed are taken out at each rung.
    """
    chance = 0.0
    reached, before = np.ones(1), 0
    for n in race.rungs:
        more = n - before
        reached = np.convolve(reached, stats.binom.pmf(np.arange(more + 1), more, rate))
        wrong = missed(np.arange(n + 1), n)
        chance += reached[wrong].sum()
        reached[wrong] = 0
        before = n
    return chance


@pytest.mark.parametrize("race", RACES, ids=str)
@pytest.mark.parametrize("rate", RATES)
def test_bounds_hold_at_all_rungs_with_their_share_of_the_error(race: Race, rate: float) -> None:
    """Lower bounds: half of the error for all settings. Upper bounds: half of it for the best one. Exact sums."""
    half = (1 - race.confidence) / 2
    assert chance_of_missing(rate, race, lambda k, n: bounds(k, n, race)[0] > rate) <= half / race.settings * (1 + 1e-6)
    assert chance_of_missing(rate, race, lambda k, n: bounds(k, n, race)[1] < rate) <= half * (1 + 1e-6)


@pytest.mark.parametrize("race", RACES, ids=str)
@pytest.mark.parametrize("rate", RATES)
def test_the_interval_to_report_covers_at_whichever_rung_the_race_ends(race: Race, rate: float) -> None:
    """At all rungs together, so at any; it has no zero width."""

    def missed(k: np.ndarray, n: int) -> np.ndarray:
        low, high = interval(k, n, race)
        assert (low < high).all()
        return (low > rate) | (high < rate)

    assert chance_of_missing(rate, race, missed) <= 0.05 * (1 + 1e-6)


@pytest.mark.parametrize("race", RACES, ids=str)
def test_bounds_are_tighter_than_those_of_chernoff(race: Race) -> None:
    """At Chernoff's bound n kl(k/n, b) = log(1/error), so the exact bound is at most that far away."""
    error = (1 - race.confidence) / 2 / len(race.rungs)
    for n in race.rungs:
        k = np.arange(1, n)
        lower, upper = bounds(k, n, race)
        for bound, share in ((lower, error / race.settings), (upper, error)):
            divergence = k / n * np.log(k / n / bound) + (1 - k / n) * np.log((1 - k / n) / (1 - bound))
            assert (n * divergence <= np.log(1 / share) + 1e-9).all()


@given(standings())
def test_bounds_are_rates_and_rise_with_the_successes(case: tuple[np.ndarray, np.ndarray, Race]) -> None:
    """They are inside [0, 1], on both sides of the rate, and of positive width."""
    successes, networks, race = case
    lower, upper = bounds(successes, networks, race)
    assert ((lower >= 0) & (lower <= successes / networks) & (successes / networks <= upper) & (upper <= 1)).all()
    assert (lower < upper).all()
    more = np.minimum(successes + 1, networks)
    higher_lower, higher_upper = bounds(more, networks, race)
    assert (higher_lower >= lower).all()
    assert (higher_upper >= upper).all()


def test_bounds_away_from_the_rungs_are_refused() -> None:
    with pytest.raises(ValueError, match=r"48.*expected rungs of the race"):
        bounds(10, 48, Race(settings=5, seeds=128))


@given(standings(), st.floats(0, 1))
def test_a_decision_is_a_partition_that_keeps_the_leader(
    case: tuple[np.ndarray, np.ndarray, Race], known: float
) -> None:
    """Each setting is dropped, settled or racing. The one with the best lower bound of the sweep is not dropped."""
    successes, networks, race = case
    decision = decide(successes, networks, race, known)
    states = np.stack([decision.dropped, decision.settled, decision.racing]).astype(int)
    assert (states.sum(axis=0) == 1).all()
    lower, _ = bounds(successes, networks, race)
    assert decision.best_lower == max(known, lower.max())
    if lower.max() >= known:
        assert not decision.dropped[np.argmax(lower)]


@given(standings(), st.floats(0, 1), st.floats(0, 1))
def test_a_later_and_higher_best_lower_bound_changes_no_decision_back(
    case: tuple[np.ndarray, np.ndarray, Race], early: float, late: float
) -> None:
    """What was dropped stays dropped, and what got no more networks gets no more."""
    successes, networks, race = case
    first = decide(successes, networks, race, min(early, late))
    then = decide(successes, networks, race, max(early, late, first.best_lower))
    assert (then.dropped >= first.dropped).all()
    assert (then.racing <= first.racing).all()


@given(standings(), st.data())
def test_settings_decided_apart_are_decided_as_together(
    case: tuple[np.ndarray, np.ndarray, Race], data: st.DataObject
) -> None:
    """Two workers that tell each other their best lower bound decide as one worker that has all settings."""
    successes, networks, race = case
    together = decide(successes, networks, race)
    cut = data.draw(st.integers(0, len(successes)))
    parts = [slice(0, cut), slice(cut, None)]
    known = max(decide(successes[part], networks[part], race).best_lower for part in parts)
    apart = [decide(successes[part], networks[part], race, known) for part in parts]
    assert known == together.best_lower
    assert np.array_equal(np.concatenate([d.dropped for d in apart]), together.dropped)
    assert np.array_equal(np.concatenate([d.settled for d in apart]), together.settled)


def test_the_tolerance_ends_the_training_but_drops_nothing() -> None:
    """An upper bound just above the best lower bound: racing without a tolerance, settled with one."""
    upper = np.array([0.49, 0.51, 0.53])
    assert dropped(upper, 0.5).tolist() == [True, False, False]
    assert settled(upper, 0.5, 0.02).tolist() == [True, True, False]
    exact = Race(settings=2, seeds=2048, start=2048, tolerance=0.0)
    assert decide([1024, 700], [2048, 2048], exact).racing.tolist() == [True, False]
    wide = Race(settings=2, seeds=2048, start=2048, tolerance=0.2)
    assert decide([1024, 980], [2048, 2048], wide).settled.tolist() == [True, True]


@pytest.mark.parametrize("shared", [False, True], ids=["independent seeds", "shared seeds"])
def test_the_best_setting_is_kept(shared: bool) -> None:
    """At a confidence of one half, where errors would show: 40 equal settings, of which any one may be the best."""
    race = Race(settings=40, seeds=256, start=8, confidence=0.5, tolerance=0.0)
    rng = np.random.default_rng(0)
    kept = []
    for _ in range(200):
        luck = rng.random((256, 1 if shared else race.settings)) < 0.6
        successes = np.cumsum(np.broadcast_to(luck, (256, race.settings)), axis=0)
        racing, best_lower = np.arange(race.settings), 0.0
        for n in race.rungs:
            decision = decide(successes[n - 1, racing], np.full(len(racing), n), race, best_lower)
            racing, best_lower = racing[decision.racing | decision.settled], decision.best_lower
        kept.append(0 in racing)
    assert np.mean(kept) >= 0.5
