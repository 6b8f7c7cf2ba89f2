"""Confidence intervals of rates: for a fixed number of networks, and for rounds whose number depends on the results."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnexp.errors import UsageError


def wilson(k: ArrayLike, n: ArrayLike, confidence: float = 0.95) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Wilson's score interval of a rate: ``k`` of ``n`` succeeded.

    The rates p at which (k/n - p)² <= z² p (1 - p)/n, solved for p (Wilson, J. Am. Stat. Assoc. 22, 1927, 209-212). In
    the form below the ends at k = 0 and k = n are exactly 0 and 1.

    Args:
        k: successes, any shape.
        n: networks, of a shape that broadcasts with that of ``k``.
        confidence: the interval's coverage, between 0 and 1.

    Returns:
        The lower and upper ends; nan where n is 0.

    Raises:
        UsageError: k outside 0..n, or a confidence outside (0, 1).
    """
    if not 0 < confidence < 1:
        raise UsageError(f"confidence = {confidence!r}: expected a number between 0 and 1, such as 0.95")
    hits, total = np.broadcast_arrays(np.asarray(k, dtype=np.float64), np.asarray(n, dtype=np.float64))
    if not ((hits >= 0) & (hits <= total)).all():
        raise UsageError("k: expected 0 <= k <= n, successes among n networks")
    z2 = NormalDist().inv_cdf(0.5 + confidence / 2) ** 2
    misses = total - hits
    with np.errstate(invalid="ignore"):
        spread = math.sqrt(z2) * np.sqrt(z2 + 4 * hits * misses / total)
        # (2k + z² - spread) / (2 (n + z²)), times its conjugate: no cancellation near 0; the upper by symmetry
        low = 2 * hits**2 / (total * (2 * hits + z2 + spread))
        high = 1 - 2 * misses**2 / (total * (2 * misses + z2 + spread))
    return low, high


@dataclass(frozen=True)
class Round:
    """When a plan of several rounds stops.

    Attributes:
        networks: n, trained by the end of this round.
        edge: the plan stops here when at most ``edge`` networks succeeded, or at most ``edge`` did not. It is -1 where
            it never stops, and n in the last round.
    """

    networks: int
    edge: int


def after_rounds(k: int, n: int, plan: Sequence[Round], confidence: float = 0.95) -> tuple[float, float]:
    """The exact interval of a rate after a plan of rounds that stopped at ``k`` of ``n``.

    It is Clopper & Pearson's construction for the stage-wise order of outcomes (Armitage, J. R. Stat. Soc. B 20, 1958,
    533-545; Jennison & Turnbull, Technometrics 25, 1983, 49-58). To stop earlier with few successes counts as lower, to
    stop earlier with many counts as higher, and within a round the number of successes counts. The lower end is the
    rate at which an outcome as high as this one or higher has the probability α/2, with α = 1 - ``confidence``. The
    upper end is the same for the failures. The probabilities are sums over all courses that the rounds can take, so
    that the interval contains the true rate with a probability of at least ``confidence``, whatever the rate is.

    In a very unlikely course (all its successes early, none later) the interval may not contain k/n; it is then
    extended to k/n.

    Args:
        k: successes.
        n: networks, those of one round of the plan, in which k stops it.
        plan: the rounds in their order; the last one always stops.
        confidence: between 0 and 1.

    Raises:
        UsageError: a confidence outside (0, 1).
        ValueError: an outcome at which the plan does not stop.
    """
    if not 0 < confidence < 1:
        raise UsageError(f"confidence = {confidence!r}: expected a number between 0 and 1, such as 0.95")
    if not any(part.networks == n and (0 <= k <= part.edge or 0 <= n - k <= part.edge) for part in plan):
        raise ValueError(f"{k} of {n} networks: expected an outcome at which one of the rounds stops")
    error = (1 - confidence) / 2
    low, high = _lower_end(k, n, plan, error), 1 - _lower_end(n - k, n, plan, error)
    return min(low, k / n), max(high, k / n)


def _lower_end(k: int, n: int, plan: Sequence[Round], error: float) -> float:
    """The rate at which an outcome as high as ``k`` of ``n`` or higher has the probability ``error``, or 0."""
    from scipy.optimize import brentq  # loaded on first use: few sweeps have adaptive seeds

    if _at_least(k, n, plan, 0.0) >= error:
        return 0.0
    return float(brentq(lambda rate: _at_least(k, n, plan, rate) - error, 0.0, 1.0, xtol=1e-10))


def _at_least(k: int, n: int, plan: Sequence[Round], rate: float) -> float:
    """The probability of ``k`` of ``n`` or of an outcome higher in the stage-wise order, at a true ``rate``."""
    going, fewest = np.ones(1), 0  # going[i]: the probability to be still going, with fewest + i successes
    stopped_high, before = 0.0, 0
    for part in plan:
        more, first = _binomial(part.networks - before, rate)
        going, fewest = np.convolve(going, more), fewest + first
        count = fewest + np.arange(len(going))
        if part.networks == n:
            return float(stopped_high + going[count >= k].sum())
        high = count >= part.networks - part.edge
        stopped_high += going[high].sum()
        inside = ~high & (count > part.edge)
        if not inside.any():
            return float(stopped_high)
        going, fewest = going[inside], int(count[inside][0])
        before = part.networks
    raise AssertionError  # `after_rounds` has checked that n is in the plan


def _binomial(n: int, rate: float) -> tuple[NDArray[np.float64], int]:
    """The probabilities of a binomial variable where they are not negligible, and the first value that has one."""
    from scipy.special import gammaln, xlog1py, xlogy

    reach = 10 * math.sqrt(n * rate * (1 - rate)) + 50  # Bernstein: what is outside has less than 1e-16
    k = np.arange(max(math.floor(n * rate - reach), 0), min(math.ceil(n * rate + reach), n) + 1)
    log = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1) + xlogy(k, rate) + xlog1py(n - k, -rate)
    return np.exp(log), int(k[0])
