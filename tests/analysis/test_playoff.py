"""The play-off: who enters it, when it ends, what it answers, and the region that its set spans."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnexp.analysis import playoff
from nnexp.search.space import Choice, Fixed, FloatRange, IntRange
from nnexp.study.race import Race, bounds


def test_candidates_may_still_be_the_best_and_the_highest_rates_come_first() -> None:
    """A sweep without a race has one rung; settings that are surely worse do not enter."""
    found = playoff.candidates([120, 20, 140, 139], [256] * 4, Race(settings=4, seeds=256, start=256))
    assert found.index.tolist() == [2, 3, 0]
    assert found.cut == 0


def test_candidates_are_compared_with_the_best_bound_of_the_race() -> None:
    """The bound may come from an earlier rung of a setting whose luck then changed."""
    race = Race(settings=3, seeds=64)
    assert playoff.candidates([30, 16, 29], [64, 32, 64], race).index.tolist() == [1, 0, 2]
    assert playoff.candidates([30, 16, 29], [64, 32, 64], race, best_lower=0.7).index.tolist() == [1]


def test_the_cut_is_stated() -> None:
    """Of 40 equal settings 32 enter, the earlier ones first."""
    found = playoff.candidates([128] * 40, [256] * 40, Race(settings=40, seeds=256, start=256))
    assert found.index.tolist() == list(range(32))
    assert found.cut == 8


def played(rates: list[float], confidence: float, tolerance: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The successes and networks of a simulated play-off that has ended."""
    rule, rng = playoff.rule(len(rates), confidence, tolerance), np.random.default_rng(seed)
    successes = networks = np.zeros(len(rates), dtype=np.int64)
    while (more := playoff.next_round(successes, networks, rule)).any():
        successes, networks = successes + rng.binomial(more, rates), networks + more
        assert np.isin(networks, rule.rungs).all()
    return successes, networks


@given(st.lists(st.floats(0, 1), min_size=1, max_size=32), st.floats(0, 0.2), st.integers(0, 2**32))
def test_a_play_off_ends_for_one_of_its_reasons(rates: list[float], tolerance: float, seed: int) -> None:
    """One setting is left, the others are settled, or each of them has all its networks."""
    successes, networks = played(rates, 0.95, tolerance, seed)
    rule = playoff.rule(len(rates), 0.95, tolerance)
    answer = playoff.answer(successes, networks, rule)
    assert playoff.START <= networks.min() <= networks.max() <= playoff.FULL
    lower, upper = bounds(successes, networks, rule)
    rivals = (upper > lower.max() + tolerance) & (networks < playoff.FULL)
    rivals[np.argmax(lower)] = False
    assert not rivals.any()
    assert np.argmax(answer.rate) in answer.index
    assert ((answer.low <= answer.rate) & (answer.rate <= answer.high) & (answer.low < answer.high)).all()


def test_a_clear_best_needs_one_round() -> None:
    """A single candidate is trained once, for the rate to quote; a setting far behind is dropped at once."""
    assert played([0.4], 0.95, 0.02, 0)[1].tolist() == [playoff.START]
    assert played([0.9, 0.2, 0.1], 0.95, 0.02, 0)[1].tolist() == [playoff.START] * 3


def test_equal_settings_are_all_left() -> None:
    """With a wide tolerance they end early, without one they get all networks."""
    early, late = played([0.5, 0.5], 0.95, 0.2, 0)[1], played([0.5, 0.5], 0.95, 0.0, 0)[1]
    assert early.max() < playoff.FULL
    assert late.tolist() == [playoff.FULL] * 2


def test_the_set_contains_the_best_with_its_confidence() -> None:
    """At a confidence of one half, where errors would show: 10 equal settings, of which any one may be the best."""
    kept = []
    for seed in range(100):
        successes, networks = played([0.3] * 10, 0.5, 0.05, seed)
        kept.append(0 in playoff.answer(successes, networks, playoff.rule(10, 0.5, 0.05)).index)
    assert np.mean(kept) >= 0.5


def test_the_errors_of_the_selection_and_the_play_off_add_up() -> None:
    answer = playoff.answer([200, 190], [256, 256], playoff.rule(2, 0.975, 0.02), selection_error=0.025)
    assert answer.confidence == pytest.approx(0.95)


SPACE = {
    "hidden_size": IntRange(2, 8),
    "learning_rate": FloatRange(1e-3, 10.0, log=True),
    "init": Choice(("glorot_normal", "normal", "uniform")),
    "init_scale": Choice((0.1, 0.3, 1.0, 3.0)),
    "activation": Fixed("tanh"),
}


def setting(hidden_size: int, learning_rate: float, init: str, init_scale: float) -> dict[str, int | float | str]:
    return {
        "hidden_size": hidden_size,
        "learning_rate": learning_rate,
        "init": init,
        "init_scale": init_scale,
        "activation": "tanh",
    }


def test_the_region_spans_the_values_of_the_set() -> None:
    """Ranges of numbers, counts of words, and the edges at which the best setting is."""
    best, *others = [setting(8, 3.8, "normal", 0.1), setting(6, 0.4, "normal", 0.3), setting(7, 2.0, "uniform", 0.1)]
    region = playoff.region([best, *others], SPACE)
    assert list(region) == ["hidden_size", "learning_rate", "init", "init_scale"]
    assert region["hidden_size"] == playoff.Span(6, 8, ((8, 1), (6, 1), (7, 1)), "high")
    assert (region["learning_rate"].low, region["learning_rate"].high) == (0.4, 3.8)
    assert region["learning_rate"].edge is None
    assert region["init"] == playoff.Span(None, None, (("normal", 2), ("uniform", 1)), None)
    assert region["init_scale"].edge == "low"


@pytest.mark.parametrize(
    ("value", "dimension", "expected"),
    [
        (0.0012, FloatRange(1e-3, 10.0, log=True), "low"),
        (0.0012, FloatRange(1e-3, 10.0), "low"),
        (0.1, FloatRange(1e-3, 10.0, log=True), None),
        (9.6, FloatRange(1e-3, 10.0), "high"),
        (6.0, FloatRange(1e-3, 10.0, log=True), None),
        (6.4, FloatRange(1e-3, 10.0, log=True), "high"),
        (0.0, FloatRange(0.0, 0.0), None),
        (2, IntRange(2, 4), "low"),
        (3, IntRange(2, 4), None),
        (4, IntRange(2, 4), "high"),
        (2, IntRange(2, 3), None),
        (0.5, Choice((0.5, 1.0)), None),
        (2.0, Choice((1.0, 2.0, 0.5)), "high"),
        ("normal", Choice(("normal", "uniform", "orthogonal")), None),
    ],
)
def test_the_edge_of_a_dimension(value, dimension, expected) -> None:
    """Words have no edge, and neither have fewer than three numbers."""
    assert playoff.edge(value, dimension) == expected
