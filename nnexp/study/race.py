"""Racing over seeds: the rule by which settings of a sweep get more networks. It uses no storage.

Every setting is trained in rounds. The numbers of networks after the rounds are the *rungs*: ``start``, 2 ``start``,
4 ``start``, …, ``seeds``. After each rung a setting is dropped when its upper bound is below the best lower bound of
any setting of the sweep. The rule has K settings (the ``trials`` of the sweep), M rungs and α = 1 - ``confidence``.

**Theorem.** With probability at least ``confidence`` the best of the K settings is never dropped.

*Proof.* Let p be the rate of the best setting (any one of them, if several are equal). It can be dropped only if its
own upper bound is below p at some rung, or if the lower bound of some setting is above p, and thus above that setting's
own rate, at some rung. An upper bound has an error of α / (2 M), and there are M of them. A lower bound has an error of
α / (2 K M), and there are K M of them. By Bonferroni's inequality one of them fails with probability at most α. ∎

The upper bounds are thus not corrected for the number of settings. Each of them holds at all rungs with probability
1 - α/2, and the proof needs only the one of the best setting. Lower bounds hold for all settings and rungs together.

**The bounds** are the exact ones of Clopper & Pearson (Biometrika 26, 1934, 404-413). The bounds of Chernoff (Ann.
Math. Stat. 23, 1952, 493-507), n kl(k/n, b) = log(1/error), which the KL-UCB algorithm uses (Garivier & Cappé, COLT
2011), are never tighter: with 16 successes of 32 networks, K = 600, M = 6 and confidence 0.95 they are (0.138, 0.769),
where the exact ones are (0.158, 0.733).

**Why the order of events does not matter.** The proof is about the bounds of every setting at every rung, whether or
not they were looked at. So the guarantee holds for every way to choose which setting is trained next, and for every
number of workers. The best lower bound is the highest one found so far, by any worker; it never falls. A setting that
is below an early value of it is also below every later value: a decision made with a part of the information is still
right at the end.

**Shared seeds.** Network i starts from the same random numbers under all settings, so that the outcomes of different
settings depend on each other. Bonferroni's inequality needs no independence between settings. It needs that the
networks of one setting are independent, which they are.

**Samplers.** The K settings must not depend on the outcomes. This holds for ``random``, ``qmc`` and ``grid``, where
setting k is a function of the sweep file and k. An adaptive sampler (``tpe``, ``nsga2``) prefers settings that are near
to those that were lucky on the same seeds, so for these the theorem does not apply. There the fresh networks of the
play-off carry the guarantee, for the best of the settings that enter it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnexp.search.sweep_file import Sweep

Rates = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Race:
    """The rule of a race.

    Attributes:
        settings: K, how many settings take part: the ``trials`` of the sweep.
        seeds: the most networks of one setting.
        start: networks in the first round; each further round doubles the total, up to ``seeds``.
        confidence: the least probability that the best setting is never dropped.
        tolerance: settings whose rates differ by at most this need not be distinguished.
    """

    settings: int
    seeds: int
    start: int = 32
    confidence: float = 0.95
    tolerance: float = 0.02

    @classmethod
    def of(cls, sweep: Sweep) -> Race | None:
        """The rule of a sweep; None if it does not race.

        The ``confidence`` of the sweep file is that of the answer, so the race and the play-off that follows it get
        half of the error each. A sweep that is extended by more ``trials`` keeps the trials that it dropped with the
        bounds of fewer settings: its error grows by at most a quarter of what the file allows.
        """
        if sweep.race is None or not isinstance(sweep.seeds, int):
            return None
        table = sweep.race
        return cls(sweep.trials, sweep.seeds, table.start, (1 + table.confidence) / 2, table.tolerance)

    @property
    def rungs(self) -> tuple[int, ...]:
        """The numbers of networks at which the race decides."""
        return rungs(self.start, self.seeds)


def rungs(start: int, seeds: int) -> tuple[int, ...]:
    """``start``, 2 ``start``, 4 ``start``, …, ``seeds``; the last step may be shorter, and none is above ``seeds``."""
    found = [min(start, seeds)]
    while found[-1] < seeds:
        found.append(min(2 * found[-1], seeds))
    return tuple(found)


def lower_bound(successes: ArrayLike, networks: ArrayLike, error: float) -> Rates:
    """Clopper & Pearson's lower bound of a rate: above the true rate with probability at most ``error``.

    The rate b at which a binomial variable of n networks is at least k with probability ``error``; 0 where k is 0. By
    P(B(n, b) >= k) = I_b(k, n - k + 1) it is an inverse of the regularized incomplete beta function I.

    Args:
        successes: k, any shape.
        networks: n, of a shape that broadcasts with it.
        error: between 0 and 1.

    Returns:
        The bounds, of the shape of k and n together; each at most k/n where ``error`` is at most ½.
    """
    from scipy.special import betaincinv  # loaded on first use: few sweeps race

    k, n = np.broadcast_arrays(np.asarray(successes, dtype=np.float64), np.asarray(networks, dtype=np.float64))
    bounds: Rates = np.where(k > 0, betaincinv(np.maximum(k, 1.0), n - k + 1, error), 0.0)
    return bounds


def upper_bound(successes: ArrayLike, networks: ArrayLike, error: float) -> Rates:
    """Clopper & Pearson's upper bound: one minus the lower bound of the rate of failures. See `lower_bound`."""
    return 1.0 - lower_bound(np.subtract(networks, successes), networks, error)


def bounds(successes: ArrayLike, networks: ArrayLike, race: Race) -> tuple[Rates, Rates]:
    """The bounds with which the race decides; see the theorem above for what holds with which probability.

    Args:
        successes: networks that succeeded, any shape.
        networks: networks trained, of a shape that broadcasts with it; each a rung of the race.
        race: the rule.

    Returns:
        Lower and upper bounds of the settings' rates, of the shape of both together.

    Raises:
        ValueError: a number of networks that is not a rung; the bounds are valid only at the rungs.
    """
    if not np.isin(networks, race.rungs).all():
        raise ValueError(f"networks = {networks!r}: expected rungs of the race, which are {race.rungs}")
    error = (1 - race.confidence) / 2 / len(race.rungs)
    return lower_bound(successes, networks, error / race.settings), upper_bound(successes, networks, error)


def interval(successes: ArrayLike, networks: ArrayLike, race: Race, confidence: float = 0.95) -> tuple[Rates, Rates]:
    """The interval to report of a setting's rate, at whichever rung its race ended.

    The end of a race depends on its results, so an interval for a fixed number of networks would be wrong too often.
    This one has Bonferroni's correction for the M rungs: it contains the true rate at all of them with probability
    ``confidence``.

    Args:
        successes: networks that succeeded, any shape.
        networks: networks trained, of a shape that broadcasts with it.
        race: the rule.
        confidence: of each setting's interval alone.
    """
    error = (1 - confidence) / 2 / len(race.rungs)
    return lower_bound(successes, networks, error), upper_bound(successes, networks, error)


def dropped(upper: Rates, best_lower: float) -> Flags:
    """Which settings are worse than the setting that has the best lower bound. Shapes as ``upper``."""
    return upper < best_lower


def settled(upper: Rates, best_lower: float, tolerance: float) -> Flags:
    """Which settings are at most ``tolerance`` better than the setting that has the best lower bound.

    These get no more networks. Those of them that are not dropped may still be the best, by no more than ``tolerance``.
    The setting that has the best lower bound is itself settled when its rate is known to within ``tolerance``.
    """
    return upper <= best_lower + tolerance


@dataclass(frozen=True, eq=False)
class Decision:
    """The decision on n settings after a round.

    Attributes:
        dropped: (n,) worse than another setting: they get no more networks and cannot be the best.
        settled: (n,) not dropped, but at most ``tolerance`` better than another setting: they get no more networks, but
            may be the best.
        best_lower: the best lower bound of the sweep, to be passed to the next call.
    """

    dropped: Flags
    settled: Flags
    best_lower: float

    @property
    def racing(self) -> Flags:
        """(n,) those that get another round, unless they have all their networks."""
        return ~(self.dropped | self.settled)


def decide(successes: ArrayLike, networks: ArrayLike, race: Race, best_lower: float = 0.0) -> Decision:
    """Compare n settings with each other and with the rest of the sweep.

    The setting with the best lower bound is never dropped, since no upper bound is below its own lower bound.

    Args:
        successes: (n,) networks that succeeded.
        networks: (n,) networks trained, each a rung of the race.
        race: the rule.
        best_lower: the best lower bound so far in the sweep, found by any worker.

    Returns:
        Which settings are dropped, which are settled, and the best lower bound, now with these settings included.
    """
    lower, upper = bounds(successes, networks, race)
    best_lower = max(best_lower, float(lower.max(initial=0.0)))
    out = dropped(upper, best_lower)
    return Decision(out, ~out & settled(upper, best_lower, race.tolerance), best_lower)
