"""How many networks to train next for one setting when its seeds are adaptive, and the interval of its rate.

The total doubles: ``min`` networks, then 2 ``min``, 4 ``min``, …, never more than ``max``. After each round the
setting is done when the Wilson interval of its success rate is narrower than ``width``. Networks keep their numbers, so
a round extends a setting and does not change the earlier networks.

The number of networks thus depends on the results. Two consequences:

- Wilson's interval has less than its nominal coverage. With min = 64, max = 4096, width = 0.04 a 95% interval covers
  only 92.0% at a true rate of 0.00065; with min = 16, max = 1024, width = 0.1 only 84% at 0.0027. So the interval to
  report is `interval`, which takes the rounds into account and covers at least 95% at every rate. It can be about a
  tenth wider than ``width``.
- The share of networks that succeeded is biased away from ½, since a setting stops earlier when its share is extreme
  by chance. With min = 64, max = 4096, width = 0.04 the share is 0.85% on average where the true rate is 1%, and 0.12%
  where it is 0.2%. Nevertheless `interval` has at least its nominal coverage.

`tests/runner/test_adaptive.py` computes all these numbers as sums over all courses that the rounds can take.
"""

from __future__ import annotations

from bisect import bisect_left
from functools import lru_cache

from nnexp.recovery.intervals import Round, after_rounds, wilson
from nnexp.search.seeds import AdaptiveSeeds


def next_round(successes: int, networks: int, seeds: AdaptiveSeeds) -> int:
    """The size of the next round of networks; 0 when the setting is done.

    Args:
        successes: networks so far that recovered (that solved, for a task without a reference).
        networks: networks trained so far.
        seeds: the rule: ``min``, ``max`` and ``width``.

    Returns:
        The number of networks to train next, those numbered from ``networks`` on.
    """
    if networks >= seeds.max:
        return 0
    if networks < seeds.min:
        return min(seeds.min, seeds.max) - networks
    return 0 if _narrow(successes, networks, seeds.width) else min(networks, seeds.max - networks)


def interval(successes: int, networks: int, seeds: AdaptiveSeeds, confidence: float = 0.95) -> tuple[float, float]:
    """The interval of the rate of a setting that is done.

    Args:
        successes: networks that recovered (that solved, for a task without a reference).
        networks: networks trained.
        seeds: the rule by which they were trained.
        confidence: the least probability that the interval contains the true rate.

    Raises:
        ValueError: these are not numbers with which the rule is done.
    """
    return after_rounds(successes, networks, _plan(seeds), confidence)


def _narrow(successes: int, networks: int, width: float) -> bool:
    low, high = wilson(successes, networks)
    return float(high) - float(low) < width


@lru_cache(maxsize=64)
def _plan(seeds: AdaptiveSeeds) -> tuple[Round, ...]:
    """The rounds, each with the edge up to which it stops: the interval is wider the nearer the share is to ½."""
    plan, n = [], seeds.min
    while n < seeds.max:
        # the first number of successes from 0 to n/2 whose interval is too wide
        edge = bisect_left(range(n // 2 + 1), True, key=lambda k: not _narrow(k, n, seeds.width)) - 1
        plan.append(Round(n, edge))
        n = min(2 * n, seeds.max)
    return (*plan, Round(seeds.max, seeds.max))
