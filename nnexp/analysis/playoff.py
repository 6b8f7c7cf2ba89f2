"""The play-off: settings that may still be the best are trained on fresh networks, until it is known which are best.

The settings of a sweep that may be the best by their results in the sweep are the *candidates*. They race once more,
with the rule of `nnexp.study.race`, on fresh networks, which had no part in their selection. The play-off ends when one
setting is left, when the others are at most ``tolerance`` better than it, or at the most networks for each.

**What the answer promises.** The best of the sweep's settings is among the candidates with the confidence of the race
(`candidates` uses the same bounds for a sweep that did not race). The best of the candidates is in the final set with
the confidence of the play-off. Errors add: with 0.975 for each, the best setting is in the final set with probability
0.95. The first part holds for the samplers ``random``, ``qmc`` and ``grid``, and only if no candidate had to be cut.
The second part always holds, since fresh networks do not depend on how the candidates were found.

**The rates to quote** are those of the fresh networks alone. Their intervals hold for all candidates and all rungs
together, so the interval of the first candidate is valid although it was chosen by these networks. Its rate is still
slightly too high on average, because of several close settings the one with the most luck is first.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnexp.search.space import Choice, Dimension, Fixed, FloatRange, IntRange, Value
from nnexp.study.race import Race, bounds, decide, dropped, lower_bound, upper_bound

#: The most candidates of a play-off.
MOST = 32
#: Fresh networks of one candidate: in the first round, and at most.
START, FULL = 256, 8192
#: The share of a searched range, counted from either end, in which a setting is at the edge of the space.
EDGE = 0.05

Counts = NDArray[np.int64]
Edge = Literal["low", "high"]


@dataclass(frozen=True, eq=False)
class Candidates:
    """The settings that may still be the best.

    Attributes:
        index: (c,) their places in the arrays given, the highest rate first.
        cut: how many more may be the best, but had lower rates than the ``MOST`` that were taken.
    """

    index: Counts
    cut: int


def candidates(successes: ArrayLike, networks: ArrayLike, race: Race, best_lower: float = 0.0) -> Candidates:
    """The settings of a sweep whose upper bound is not below the best lower bound.

    Args:
        successes: (n,) networks of each setting that succeeded in the sweep.
        networks: (n,) networks trained, each a rung of the race.
        race: the rule; a sweep that did not race has one rung, ``Race(trials, seeds, start=seeds)``.
        best_lower: the best lower bound that the race recorded.

    Returns:
        At most ``MOST`` of them, by their rates; of equal rates the earlier setting comes first.
    """
    lower, upper = bounds(successes, networks, race)
    may_be_best = np.flatnonzero(~dropped(upper, max(best_lower, float(lower.max(initial=0.0)))))
    rates = np.divide(successes, networks)
    order = may_be_best[np.argsort(-rates[may_be_best], kind="stable")]
    return Candidates(order[:MOST], max(len(order) - MOST, 0))


def rule(settings: int, confidence: float, tolerance: float) -> Race:
    """The rule of a play-off of ``settings`` candidates."""
    return Race(settings, FULL, START, confidence, tolerance)


def next_round(successes: ArrayLike, networks: ArrayLike, race: Race) -> Counts:
    """How many more fresh networks each candidate gets; the play-off is over when all are 0.

    It depends only on the counts, so that an interrupted play-off can be continued.

    Args:
        successes: (c,) fresh networks that succeeded.
        networks: (c,) fresh networks trained; all 0 before the first round, then each a rung.
        race: the rule, from `rule`.

    Returns:
        (c,) the sizes of the next round. The candidate with the best lower bound is trained as long as it has a rival:
        another one that is neither dropped nor settled and has networks left.
    """
    n = np.asarray(networks, dtype=np.int64)
    if not n.any():
        return np.full_like(n, race.rungs[0])
    lower, _ = bounds(successes, n, race)
    racing = decide(successes, n, race).racing & (n < race.seeds)
    rivals = racing.copy()
    rivals[np.argmax(lower)] = False
    if not rivals.any():
        return np.zeros_like(n)
    rungs = np.array([*race.rungs, race.seeds])
    return np.where(racing, rungs[np.searchsorted(rungs, n, side="right")] - n, 0)


@dataclass(frozen=True, eq=False)
class Answer:
    """The outcome of a play-off.

    Attributes:
        index: (k,) the places of the settings that may be the best, the highest rate first.
        confidence: the probability with which the best setting is among them.
        rate: (c,) the rate of each candidate on its fresh networks.
        low, high: (c,) its interval, valid for all candidates and rungs together with the play-off's confidence.
    """

    index: Counts
    confidence: float
    rate: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


def answer(successes: ArrayLike, networks: ArrayLike, race: Race, selection_error: float = 0.0) -> Answer:
    """The settings that remain after the play-off, and the rates to quote.

    Args:
        successes: (c,) fresh networks that succeeded.
        networks: (c,) fresh networks trained, each a rung.
        race: the rule, from `rule`.
        selection_error: the probability that the best setting is not among the candidates: one minus the confidence
            that they were found with. It is taken from the confidence of the answer.
    """
    k, n = np.asarray(successes), np.asarray(networks)
    rates = k / n
    left = np.flatnonzero(~decide(k, n, race).dropped)
    error = (1 - race.confidence) / 2 / (race.settings * len(race.rungs))
    return Answer(
        index=left[np.argsort(-rates[left], kind="stable")],
        confidence=race.confidence - selection_error,
        rate=rates,
        low=lower_bound(k, n, error),
        high=upper_bound(k, n, error),
    )


@dataclass(frozen=True)
class Span:
    """The values of one factor in a set of settings.

    Attributes:
        low, high: the ends of the range that they span; None for words.
        counts: each value with the number of settings that have it, the most frequent first.
        edge: the end of the searched values at which the best setting is; None where it is at neither.
    """

    low: float | None
    high: float | None
    counts: tuple[tuple[Value, int], ...]
    edge: Edge | None


def region(settings: Sequence[Mapping[str, Value]], space: Mapping[str, Dimension]) -> dict[str, Span]:
    """The part of the search space that a set of settings spans, factor by factor.

    Args:
        settings: the values of each setting's factors, the best setting first; at least one.
        space: the searched space; factors with one fixed value are left out.

    Returns:
        Factor -> its span, in the order of the space.
    """
    spans = {}
    for factor, dimension in space.items():
        if isinstance(dimension, Fixed):
            continue
        values = [setting[factor] for setting in settings]
        numbers = [float(value) for value in values if not isinstance(value, str)]
        low, high = (min(numbers), max(numbers)) if numbers else (None, None)
        spans[factor] = Span(low, high, tuple(Counter(values).most_common()), edge(values[0], dimension))
    return spans


def edge(value: Value, dimension: Dimension) -> Edge | None:
    """The end of a dimension at which a value is, so that better values may be outside of what was searched.

    For whole numbers and lists of numbers it is the first or last. In a range of real numbers it is the part within
    ``EDGE`` of an end, on the scale on which the range is drawn. Fewer than three numbers have no edge, since all of
    them would be at it.
    """
    if isinstance(value, str) or isinstance(dimension, Fixed):
        return None
    low, high = _edges(dimension)
    if value <= low:
        return "low"
    return "high" if value >= high else None


def _edges(dimension: IntRange | FloatRange | Choice) -> tuple[float, float]:
    """The highest value at the low edge, and the lowest value at the high edge; infinite where there is no edge."""
    if isinstance(dimension, Choice):
        numbers = [number for number in dimension.values if not isinstance(number, str)]
        return (min(numbers), max(numbers)) if len(numbers) > 2 else (-math.inf, math.inf)
    low, high = dimension.low, dimension.high
    if isinstance(dimension, IntRange):
        return (low, high) if high - low > 1 else (-math.inf, math.inf)
    if low == high:
        return -math.inf, math.inf
    if dimension.log:
        step = (high / low) ** EDGE
        return low * step, high / step
    margin = EDGE * (high - low)
    return low + margin, high - margin
