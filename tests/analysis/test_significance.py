"""Exact tests against enumeration by hand, and error rates by simulation."""

from __future__ import annotations

from math import comb

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from nnexp.analysis.significance import Outcomes, against_rest, holm, mcnemar, outcomes_of, pair, unpaired

flags = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60)


def enumerated_p(b: int, c: int) -> float:
    """The two-sided exact p-value: the outcomes of b + c fair coins that are not more likely than the one observed."""
    n = b + c
    seen = comb(n, b)
    return sum(comb(n, k) for k in range(n + 1) if comb(n, k) <= seen) / 2**n


@given(flags)
def test_mcnemar_agrees_with_enumeration(pairs: list[tuple[bool, bool]]) -> None:
    """The p-value counts all the ways in which the discordant networks could have been divided."""
    first, second = (np.array(side) for side in zip(*pairs, strict=True))
    test = mcnemar(first, second)
    assert test.both + test.only_first + test.only_second + test.neither == len(pairs)
    assert test.both == sum(a and b for a, b in pairs)
    assert test.only_first == sum(a and not b for a, b in pairs)
    assert test.p_value == pytest.approx(enumerated_p(test.only_first, test.only_second), rel=1e-9)
    assert mcnemar(second, first).p_value == test.p_value


def test_mcnemar_known_value() -> None:
    """9 against 1 of 10 discordant networks: 2 (1 + 10) / 1024."""
    first = np.array([True] * 9 + [False] + [True] * 5)
    second = np.array([False] * 9 + [True] + [True] * 5)
    assert mcnemar(first, second).p_value == pytest.approx(22 / 1024)


def holm_by_definition(p_values: list[float], alpha: float) -> set[int]:
    """What Holm's step-down rejects: it compares the i-th smallest with α / (m - i), up to the first that is larger."""
    rejected = set()
    for i, at in enumerate(sorted(range(len(p_values)), key=lambda j: p_values[j])):
        if p_values[at] > alpha / (len(p_values) - i):
            break
        rejected.add(at)
    return rejected


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.sampled_from([0.01, 0.05, 0.2]))
def test_holm_rejects_what_the_step_down_rejects(p_values: list[float], alpha: float) -> None:
    """Adjusted p-values at most α are the hypotheses that Holm's procedure rejects."""
    adjusted = holm(p_values)
    slack = 1e-12  # p·(m - i) <= α and p <= α/(m - i) may differ in the last bit
    assert {i for i, p in enumerate(adjusted) if p <= alpha - slack} <= holm_by_definition(p_values, alpha)
    assert holm_by_definition(p_values, alpha) <= {i for i, p in enumerate(adjusted) if p <= alpha + slack}


@given(st.lists(st.floats(0, 0.2), min_size=3, max_size=9), st.data())
def test_holm_of_picked_comparisons_rejects_part_of_the_whole_family(
    p_values: list[float], data: st.DataObject
) -> None:
    """Testing some of a family with the family's size rejects nothing that Holm over all of it would not."""
    picked = data.draw(st.lists(st.integers(0, len(p_values) - 1), unique=True, min_size=1))
    whole = holm(p_values)
    part = holm([p_values[i] for i in picked], family=len(p_values))
    for i, p in zip(picked, part, strict=True):
        assert p >= whole[i] - 1e-12


def test_holm_of_nothing_is_nothing() -> None:
    """No comparison, no p-value."""
    assert len(holm([])) == 0


def test_unpaired_is_fishers_exact_test() -> None:
    """Settings without a common network: the hypergeometric sum by hand."""
    first = Outcomes(np.arange(10), np.arange(10) < 8)
    second = Outcomes(np.arange(100, 112), np.arange(12) < 2)
    ways = [comb(10, k) * comb(12, 10 - k) for k in range(11)]
    by_hand = sum(w for w in ways if w <= ways[8]) / comb(22, 10)
    assert unpaired(first, second) == pytest.approx(by_hand)


def test_networks_are_paired_by_their_index() -> None:
    """Networks are paired by index in any order; those that one setting lacks are left out."""
    first = Outcomes(np.array([5, 3, 1]), np.array([True, False, True]))
    second = Outcomes(np.array([1, 2, 5]), np.array([False, True, True]))
    mine, theirs = pair(first, second)
    assert mine.tolist() == [True, True]
    assert theirs.tolist() == [False, True]


def test_outcomes_of_a_table_without_the_grade_are_none() -> None:
    """A task without a reference has no recovery to compare."""
    table = pd.DataFrame({"index": [0, 1], "solved": [True, False], "recovered": [None, None]})
    solved = outcomes_of(table, "solved")
    assert solved is not None
    assert solved.successes == 1
    assert outcomes_of(table, "recovered") is None
    assert outcomes_of(table, "contains") is None


def test_against_rest_leaves_out_trials_that_share_no_network() -> None:
    """A trial on other network numbers cannot be paired."""
    some = {t: Outcomes(np.arange(8) + (100 if t == 2 else 0), np.arange(8) < 4 + t) for t in range(3)}
    table = against_rest(some, 1)
    assert table["trial"].tolist() == [0]
    assert table["only_best"].tolist() == [1]
    assert table["difference"].tolist() == [1 / 8]


def false_findings(repeats: int, settings: int, networks: int, rate: float, *, picked: bool, seed: int) -> float:
    """How often the first of equal settings is said to beat another, by the networks that chose it."""
    rng = np.random.default_rng(seed)
    found = 0
    for _ in range(repeats):
        success = rng.random((settings, networks)) < rate
        best = int(success.sum(axis=1).argmax())
        only_best = (success[best] & ~success).sum(axis=1)
        only_other = (success & ~success[best]).sum(axis=1)
        p = np.minimum(1, 2 * stats.binom.cdf(np.minimum(only_best, only_other), only_best + only_other, 0.5))
        p = np.delete(p, best)
        family = settings * (settings - 1) // 2 if picked else None
        found += bool((holm(p, family) <= 0.05).any())
    return found / repeats


@pytest.mark.parametrize(("settings", "rate"), [(20, 0.3), (200, 0.3), (200, 0.03)])
def test_equal_settings_show_no_winner(settings: int, rate: float) -> None:
    """Counting all pairs that could have been picked, equal settings show a winner at most 5% of the time."""
    assert false_findings(200, settings, 256, rate, picked=True, seed=1) <= 0.05


def test_counting_only_the_comparisons_made_would_show_winners() -> None:
    """With Holm over the 199 comparisons made, more than 15% of sweeps with equal settings show a winner."""
    assert false_findings(200, 200, 256, 0.3, picked=False, seed=1) > 0.15


def test_a_real_winner_is_found() -> None:
    """The correction for picking leaves power: 60% against 30% of 256 networks is seen among 50 settings."""
    rng = np.random.default_rng(3)
    outcomes = {t: Outcomes(np.arange(256), rng.random(256) < (0.6 if t == 7 else 0.3)) for t in range(50)}
    table = against_rest(outcomes, 7)
    assert (table["p_holm"] <= 0.05).all()
