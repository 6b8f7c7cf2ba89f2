"""How many networks to train next for one setting, when its seeds are adaptive (floor 2).

Rounds double: ``min`` networks, then 2 ``min``, 4 ``min``, …, never more than ``max`` in all. After each round the
setting is done when the Wilson interval of its success rate is narrower than ``width``. Networks keep their numbers, so
a round extends a setting and changes nothing of what was there.

To stop by what was seen is optional stopping, so the interval is not quite the textbook one. Summed over every course
that the rounds can take, with min = 64, max = 4096, width = 0.04, the 95% interval covers the true rate 95.3% of the
time on average over the rates from 0.0005 to 0.5 and at the least 92.8% (at a rate of 0.002); Wilson's interval at a
fixed 256 networks goes down to 88.0% there. `tests/test_adaptive.py` computes both again, and simulates them.
"""

from __future__ import annotations

from typing import Protocol

from nnexp.recovery.intervals import wilson


class AdaptiveRule(Protocol):
    """`seeds = { min = …, max = …, width = … }` of a sweep file."""

    @property
    def min(self) -> int:
        """Networks of the first round."""

    @property
    def max(self) -> int:
        """Networks at most."""

    @property
    def width(self) -> float:
        """The interval's width that is narrow enough."""


def next_round(k: int, n: int, seeds: AdaptiveRule, confidence: float = 0.95) -> int:
    """Networks to train next, after ``k`` successes of ``n`` networks; 0 when the setting is done.

    Args:
        k: networks so far that succeeded (recovered; solved for a task without a reference).
        n: networks trained so far.
        seeds: the rule: ``min``, ``max`` and ``width``.
        confidence: of the Wilson interval.

    Returns:
        The size of the next round: the networks numbered n to n + size - 1.
    """
    if n >= seeds.max:
        return 0
    if n < seeds.min:
        return min(seeds.min, seeds.max) - n
    low, high = wilson(k, n, confidence)
    if float(high) - float(low) < seeds.width:
        return 0
    return min(n, seeds.max - n)
