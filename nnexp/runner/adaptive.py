"""How many networks to train next for one setting, when its seeds are adaptive.

Rounds double: ``min`` networks, then 2 ``min``, 4 ``min``, …, never more than ``max`` in all. After each round the
setting is done when the Wilson interval of its success rate is narrower than ``width``. Networks keep their numbers, so
that a round extends a setting and changes none of its earlier networks.

To stop because of the results so far is optional stopping, so the interval does not have exactly its nominal coverage.
Summed over every sequence of rounds, with min = 64, max = 4096, width = 0.04, the 95% interval covers the true rate
95.3% of the time on average over the rates from 0.0005 to 0.5, and at least 92.8% (at a rate of 0.002). Wilson's
interval at a fixed number of 256 networks has a lowest coverage of 88.0% there. `tests/runner/test_adaptive.py`
computes both, and simulates them.
"""

from __future__ import annotations

from nnexp.recovery.intervals import wilson
from nnexp.search.sweep_file import AdaptiveSeeds


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
    low, high = wilson(successes, networks)
    if float(high) - float(low) < seeds.width:
        return 0
    return min(networks, seeds.max - networks)
