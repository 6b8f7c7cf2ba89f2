"""Which hidden units of a network compute the gates of a hand-designed one, and where their lines are.

Axes: R networks, H hidden units, N inputs, M samples, K hidden units of the reference, C classes of them.

The logic of a hidden unit is its sign pattern over the samples, up to a flip of the unit.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnexp.network import reference as references
from nnexp.network.model import Array, Network, encode, hidden, logits
from nnexp.network.settings import Encoding
from nnexp.network.tasks import Task

Bools = NDArray[np.bool_]

#: A unit computes a gate only if its value on the scale of tanh is at least this far from 0 at every sample.
SATURATED = 0.5


@dataclass(frozen=True, eq=False)
class Logic:
    """The sign patterns of a hand-designed network's units, as classes: equal up to a flip.

    Attributes:
        patterns: (C, M) the signs of each class relative to the first sample, True where they differ.
        counts: how many units of the design are in each class.
        unit_class: (K,) each unit's class.
        first_positive: (K,) whether the unit is positive at the first sample.
    """

    patterns: Bools
    counts: NDArray[np.int64]
    unit_class: NDArray[np.int64]
    first_positive: Bools

    @classmethod
    def of(cls, design: Network, X: Array) -> Logic:
        """The logic of a design (R = 1, tanh form) at the samples X (N, M)."""
        positive = hidden(design, X)[0] > 0
        patterns, unit_class, counts = np.unique(
            positive ^ positive[:, :1], axis=0, return_inverse=True, return_counts=True
        )
        return cls(patterns, counts, unit_class.reshape(-1), positive[:, 0])


@dataclass(frozen=True, eq=False)
class Design:
    """The reference and the mirrors of a task for one encoding, prepared for the comparison with networks."""

    weights: Network  # tanh form, R = 1
    reference: Logic
    mirrors: tuple[Logic, ...]
    direction: Array  # (K, N) unit vectors
    offset: Array  # (K,)


@functools.lru_cache(maxsize=256)
def design_of(task: Task, encoding: Encoding) -> Design | None:
    """The design of a task; None if it has no reference."""
    if not references.has_reference(task):
        return None
    X, _ = encode(task, encoding)
    weights = references.reference(task, "tanh", encoding)
    mirrors = references.mirrors(task, encoding)
    others = () if mirrors is None else tuple(Logic.of(mirrors.select([i]), X) for i in range(len(mirrors)))
    direction, offset = _line(weights.W1[0], weights.b1[0])
    return Design(weights, Logic.of(weights, X), others, direction, offset)


@dataclass(frozen=True, eq=False)
class HiddenUnits:
    """The hidden units of R networks over the samples.

    Attributes:
        network: the networks.
        A: (R, H, M) values of the activation function.
        mean: (R, H) the mean of A over the samples; mean_h the same on tanh's scale.
        least: (R, H) the least abs(h) over the samples.
        positive: (R, H, M) whether h > 0.
    """

    network: Network
    A: Array
    mean: Array
    mean_h: Array
    least: Array
    positive: Bools

    @classmethod
    def read(cls, network: Network, A: Array, h: Array) -> HiddenUnits:
        """The hidden units of networks with the values A (R, H, M), which are h (R, H, M) on the scale of tanh."""

        def mean(values: Array) -> Array:
            average: Array = ordered_sum(values, axis=-1) / values.shape[-1]
            return average

        average = mean(A)
        return cls(network, A, average, average if h is A else mean(h), np.abs(h).min(axis=-1), h > 0)

    def logits_holding(self, rows: NDArray[np.int64], held: Bools) -> Array:
        """The logits (len(rows), M) of some networks, with the hidden units ``held`` (R, H) at their means."""
        A = np.where(held[rows, :, None], self.mean[rows, :, None], self.A[rows])
        return logits(self.network.select(rows), A)


def matches(units: HiddenUnits, logic: Logic) -> list[Bools]:
    """For each class of the design's units: (R, H) which hidden units compute it, saturated, up to a flip."""
    relative, saturated = units.positive ^ units.positive[:, :, :1], units.least >= SATURATED
    return [everywhere(relative == pattern) & saturated for pattern in logic.patterns]


def everywhere(values: Bools) -> Bools:
    """Whether ``values`` are true at every sample, the last axis."""
    holds: Bools = np.logical_and.reduce(values, axis=-1)
    return holds


def ordered_sum(values: Array, axis: int) -> Array:
    """A sum in a fixed order, so that its rounding does not depend on the number of networks."""
    total: Array = functools.reduce(np.add, np.moveaxis(values, axis, 0))
    return total


def _line(W: Array, b: Array) -> tuple[Array, Array]:
    """Where w·x + b is 0: the unit vector w/norm(w), (..., N), and the offset -b/norm(w), (...); nan where w is 0."""
    with np.errstate(all="ignore"):
        largest = np.abs(W).max(axis=-1)  # norms are taken of w/largest, whose squares cannot overflow
        scaled = W / largest[..., None]
        norm = np.sqrt(functools.reduce(np.add, np.moveaxis(np.square(scaled), -1, 0)))
        offset = np.where(largest > 0, -(b / largest) / norm, np.nan)
        return scaled / norm[..., None], offset


def geometry(
    p: Network, units: HiddenUnits, matched: list[Bools], design: Design, contains: Bools
) -> tuple[Array, Array]:
    """Cosine and offset, (R, K) each, of the unit matched to each reference unit after sign alignment.

    Both are nan where not contained. Of several hidden units with the same logic, the one with the largest output
    weight is used (if equal, the first). If the reference has several units of one pattern, they are matched in their
    order to hidden units of decreasing output weight.
    """
    K = len(design.offset)
    cosine, offset = np.full((len(p), K), np.nan), np.full((len(p), K), np.nan)
    rows = np.flatnonzero(contains)
    if not rows.size:
        return cosine, offset
    weight = np.abs(p.W2[rows])
    free = [np.where(match[rows], weight, -1.0) for match in matched]
    every = np.arange(len(rows))
    for k, (group, first) in enumerate(zip(design.reference.unit_class, design.reference.first_positive, strict=True)):
        unit = free[group].argmax(axis=1)
        free[group][every, unit] = -1.0
        sign = np.where(units.positive[rows, unit, 0] == first, 1.0, -1.0)
        direction, distance = _line(p.W1[rows, unit], p.b1[rows, unit])
        along = functools.reduce(np.add, (direction[:, n] * design.direction[k, n] for n in range(p.n_inputs)))
        cosine[rows, k] = np.clip(sign * along, -1, 1)
        offset[rows, k] = sign * distance
    return cosine, offset
