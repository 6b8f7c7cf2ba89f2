"""Confidence intervals of rates (floor 1)."""

from __future__ import annotations

import math
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
        n: trials, of a shape that goes with ``k``'s.
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
        raise UsageError("k: expected 0 <= k <= n, successes among n trials")
    z2 = NormalDist().inv_cdf(0.5 + confidence / 2) ** 2
    misses = total - hits
    with np.errstate(invalid="ignore"):
        spread = math.sqrt(z2) * np.sqrt(z2 + 4 * hits * misses / total)
        # (2k + z² - spread) / (2 (n + z²)), times its conjugate: no cancellation near 0; the upper by symmetry
        low = 2 * hits**2 / (total * (2 * hits + z2 + spread))
        high = 1 - 2 * misses**2 / (total * (2 * misses + z2 + spread))
    return low, high
