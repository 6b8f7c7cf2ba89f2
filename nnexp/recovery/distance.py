"""The distance of a network's weights from those of a reference, after the best permutation and signs.

Axes: R networks, H hidden units, N inputs, K hidden units of the reference. Internally the networks are the last axis.

Both are in tanh form. If H > K, the unmatched (spare) units of the network are removed: each is replaced by its mean
over the samples, and v·mean is added to the output bias. So both have the same K (N + 2) + 1 weights.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from nnexp.network.model import Array, Network

#: Up to this many assignments of hidden to reference units are all tried; for more, a linear assignment is solved.
MAX_ASSIGNMENTS = 2000
#: Elements of the table of all assignments by networks that are held at once.
_CHUNK = 1 << 19
#: Weights beyond this are scaled down by a power of two, so that their squares stay finite.
_HUGE = 1e100


def reference_distance(network: Network, mean: Array, reference: Network) -> tuple[Array, Array]:
    """Relative L2 distance and cosine to the reference, (R,) each; nan where H < K or a weight is not finite.

    Args:
        network: R networks in tanh form, float64.
        mean: (R, H) each hidden unit's mean over the samples, on tanh's scale.
        reference: the reference in tanh form, R = 1.
    """
    R, H, K = len(network), network.hidden_size, reference.hidden_size
    distance, cosine = np.full(R, np.nan), np.full(R, np.nan)
    if K > H:
        return distance, cosine
    fits = np.flatnonzero(network.finite())
    step = max(1, _CHUNK // min(math.perm(H, K), MAX_ASSIGNMENTS))
    for start in range(0, len(fits), step):
        part = fits[start : start + step]
        distance[part], cosine[part] = _distance(network.select(part), mean[part], reference)
    return distance, cosine


def _distance(p: Network, mean: Array, reference: Network) -> tuple[Array, Array]:
    exponent = _scale(p)
    units = np.ldexp(_units(p), -exponent)
    bias = np.ldexp(p.b2, -exponent)
    target = np.ldexp(_units(reference), -exponent) if exponent.any() else _units(reference)
    target_bias = np.ldexp(reference.b2, -exponent)
    folded = units[-1] * mean.T
    flip, cost = _alignment(units, target)
    chosen = _assignment(cost, folded, bias - target_bias)

    rows = np.arange(len(p))
    spare = np.ones(folded.shape, dtype=bool)
    difference2, dot, size2 = np.zeros(len(p)), np.zeros(len(p)), np.zeros(len(p))
    for k, unit in enumerate(chosen):
        spare[unit, rows] = False
        sign = np.where(flip[k, unit, rows], -1.0, 1.0)
        for mine, theirs in zip(units[:, unit, rows] * sign, target[:, k], strict=True):
            difference2 += np.square(mine - theirs)
            dot += mine * theirs
            size2 += np.square(mine)
    bias = bias + _total(np.where(spare, folded, 0.0))
    difference2 += np.square(bias - target_bias)
    dot += bias * target_bias
    size2 += np.square(bias)
    norm = math.sqrt(math.fsum(float(w) ** 2 for w in (*_units(reference).flat, reference.b2[0])))
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        distance = np.ldexp(np.sqrt(difference2) / norm, exponent)
        cosine = np.clip(dot / (np.sqrt(size2) * np.ldexp(norm, -exponent)), -1, 1)
    return distance, cosine


def _scale(p: Network) -> NDArray[np.int64]:
    """(R,) the power of two that brings a network's weights to 1 where they are huge, else 0."""
    largest = np.abs(p.b2)
    for array in (p.W1.reshape(len(p), -1), p.b1, p.W2):
        np.maximum(largest, np.abs(array).max(axis=1), out=largest)
    exponent: NDArray[np.int64] = np.where(largest > _HUGE, np.frexp(largest)[1] + p.hidden_size, 0).astype(np.int64)
    return exponent


def _units(p: Network) -> Array:
    """(N + 2, H, R): each hidden unit's input weights, bias and output weight."""
    units = np.empty((p.n_inputs + 2, p.hidden_size, len(p)))
    units[:-2], units[-2], units[-1] = p.W1.T, p.b1.T, p.W2.T
    return units


def _alignment(units: Array, target: Array) -> tuple[NDArray[np.bool_], Array]:
    """For each reference and hidden unit, (K, H, R): whether a flip brings it closer, and the squared distance then.

    The squared differences are summed, since |u|² + |t|² - 2 |u·t| would result in distances of 1e-8 instead of 0.
    """
    theirs = target[:, :, None]  # (N + 2, K, 1, R or 1) against (N + 2, 1, H, R)
    same = _total(np.square(part[None] - their) for part, their in zip(units, theirs, strict=True))
    flipped = _total(np.square(part[None] + their) for part, their in zip(units, theirs, strict=True))
    return flipped < same, np.minimum(same, flipped)


def _total(terms: Iterable[Array]) -> Array:
    """The sum over the first axis in a fixed order, so that its rounding does not depend on the other axes' lengths."""
    return functools.reduce(np.add, terms)


@functools.lru_cache(maxsize=32)
def _injections(H: int, K: int) -> NDArray[np.int64]:
    """(K, H!/(H - K)!): all assignments of different hidden units to K reference units."""
    return np.array(list(itertools.permutations(range(H), K)), dtype=np.int64).T.copy()


def _assignment(cost: Array, folded: Array, bias: Array) -> NDArray[np.int64]:
    """(K, R) the hidden unit of each reference unit, such that the distance is least.

    The output bias depends on which units are spare. Trying all assignments takes it into account. A linear assignment
    ignores it, which makes no difference if there are no spare units.
    """
    K, H, R = cost.shape
    if math.perm(H, K) > MAX_ASSIGNMENTS:
        from scipy.optimize import linear_sum_assignment  # here: scipy takes long to import, and few networks need it

        return np.array([linear_sum_assignment(cost[:, :, r])[1] for r in range(R)], dtype=np.int64).reshape(R, K).T
    every = _injections(H, K)
    total = cost[0][every[0]]
    left = (bias + _total(folded)) - folded[every[0]]
    for k in range(1, K):
        total += cost[k][every[k]]
        left -= folded[every[k]]
    total += np.square(left)
    return every[:, total.argmin(axis=0)]
