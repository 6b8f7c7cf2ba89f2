"""The grades: what a trained network found, from its final weights (floor 2).

Axes: R networks, H hidden units, N inputs, M samples, K hidden units of the reference.

Every network gets every grade. The logic of a hidden unit is its sign pattern over the samples, which the network's
symmetries leave as it is but for the sign: permuting hidden units, and flipping a unit (w, b, v -> -w, -b, -v) in tanh
form. Sigmoid units a are graded as h = 2a - 1 = tanh(z/2), the exact conversion to tanh form.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nnexp.network import reference as references
from nnexp.network.model import (
    LOSSES,
    Array,
    Network,
    check_inputs,
    check_name,
    encode,
    forward,
    hidden,
    logits,
    losses,
    sigmoid,
)
from nnexp.network.reference import solving_loss
from nnexp.network.settings import Encoding, Loss
from nnexp.network.tasks import Task
from nnexp.recovery.distance import reference_distance

if TYPE_CHECKING:
    from nnexp.training.trainer import TrainingResult

Bools = NDArray[np.bool_]

SATURATED = 0.5
CONFIDENT = 0.1
FAMILIES = ("other", "hand-designed", "mirror", "both", "none")
#: Mean cross-entropies at which training rests on a 2-input truth table, and how near counts.
PLATEAUS = {"constant": math.log(2), "one half": math.log(2) / 2, "two thirds": 0.75 * (math.log(3) - math.log(4) / 3)}
PLATEAU_WIDTH = 0.005

_CHUNK = 1 << 20  # hidden values held at once


@dataclass(frozen=True, eq=False)
class Grades:
    """Every grade of R networks; None where a grade is undefined for the task.

    Attributes:
        correct: (R,) every sample is on the right side of 0.5; z2 = 0 is wrong.
        solved: (R,) correct, and mean cross-entropy below 1.2/M.
        confident: (R,) every probability is within 0.1 of its target.
        contains: (R,) solved, with the reference's logic: for each of the reference's units a saturated unit of its own
            of the same sign pattern up to a flip, and still correct with all other units held at their means. The
            *matched* units are all saturated units of such a pattern.
        design_share: (R,) the share of the matched units in the logits z = c + Σ_j v_j h_j: Σ cov(v_j h_j, z) / var(z)
            over the samples. The shares of all hidden units add up to 1. 0 where no unit is matched; nan where the
            logits do not vary or a weight is not finite.
        recovered: (R,) contains, and design_share > ½.
        needed: (R,) contains, and not solved with the matched units held at their means instead.
        saturation: (R,) the least abs(h) over the matched units and the samples; nan where no unit is matched.
        family: (R,) by what is contained: "hand-designed", "mirror" (one of the `reference.mirrors`), "both" or
            "other"; "none" when not solved.
        cosine: (R, K) of each matched unit's input weights with its reference unit's; nan where not contained.
        offset: (R, K) each matched unit's -b/norm(w), its line's distance from the origin along w; nan likewise.
        reference_offset: (R, K) the same of the reference's units.
        reference_distance: (R,) relative L2 distance after the best permutation and signs, as `distances` takes it.
        reference_cosine: (R,) the cosine there.
        plateau: (R,) where what is not solved rests; "" when solved.
    """

    correct: Bools
    solved: Bools
    confident: Bools
    contains: Bools | None = None
    design_share: Array | None = None
    recovered: Bools | None = None
    needed: Bools | None = None
    saturation: Array | None = None
    family: NDArray[np.str_] | None = None
    cosine: Array | None = None
    offset: Array | None = None
    reference_offset: Array | None = None
    reference_distance: Array | None = None
    reference_cosine: Array | None = None
    plateau: NDArray[np.str_] | None = None

    def __len__(self) -> int:
        return len(self.correct)


class GradedNetworks(NamedTuple):
    """R trained networks of one setting with their grades, and the seconds that training and grading took."""

    result: TrainingResult
    grades: Grades
    seconds: float


def assess(network: Network, task: Task, loss: Loss = "cross_entropy") -> Grades:
    """Grades R networks; float32 weights are graded in float64, networks with weights that are not finite as failures.

    Args:
        network: the R networks.
        task: what they were to learn.
        loss: what they were trained with; plateaus are named under cross-entropy alone.

    Raises:
        UsageError: an unknown loss, or networks for another number of inputs.
    """
    check_name("loss", loss, LOSSES)
    check_inputs(network, task)
    p = network.astype(np.float64)
    step = max(1, _CHUNK // (p.hidden_size * task.n_samples))
    starts = range(0, max(len(p), 1), step)
    return concatenate([_assess(p.select(slice(i, i + step)), task, loss) for i in starts])


def solved(network: Network, task: Task) -> Bools:
    """(R,) the grade `solved` alone, several times faster than all of them."""
    check_inputs(network, task)
    X, Y = encode(task, network.encoding)
    p = network.astype(np.float64)
    Z2 = forward(_calm(p, p.finite()), X)[1]
    return _solves(Z2, Y)[1]


def columns(grades: Grades) -> dict[str, NDArray[Any]]:
    """The grades as flat columns of length R for tables, in the contract's order.

    A task without a reference has correct, solved and confident alone. What else is undefined for a task is None in
    every row. Geometry has a column a reference unit, counted from 1: ``cosine_1``, ``offset_1``, ...
    """
    flat: dict[str, NDArray[Any]] = {}
    for field in dataclasses.fields(grades):
        values = getattr(grades, field.name)
        if grades.contains is None and values is None:
            continue
        if values is None:
            values = np.full(len(grades), None)
        if values.ndim == 1:
            flat[field.name] = values
        else:
            flat |= {f"{field.name}_{k + 1}": values[:, k] for k in range(values.shape[1])}
    return flat


def concatenate(parts: Sequence[Grades]) -> Grades:
    """The grades of several groups of networks on one task, in order."""
    if len(parts) == 1:
        return parts[0]
    names = [field.name for field in dataclasses.fields(Grades)]
    joined: dict[str, Any] = {}
    for name in names:
        values = [getattr(part, name) for part in parts]
        joined[name] = None if values[0] is None else np.concatenate(values)
    return Grades(**joined)


def _assess(p: Network, task: Task, loss: Loss) -> Grades:
    X, Y = encode(task, p.encoding)
    finite = p.finite()
    q = _calm(p, finite)
    A = hidden(q, X)
    Z2 = logits(q, A)
    correct, solved, cross_entropy = _solves(Z2, Y)
    confident = sigmoid(-((2 * Y - 1) * Z2).min(axis=1)) < CONFIDENT  # |a2 - y| = sigmoid(-s z2), with s = 2y - 1
    design = _design(task, p.encoding)
    if design is None:
        return Grades(correct, solved, confident)

    units = _Units.read(q, A, A if p.activation == "tanh" else 2 * A - 1)
    matched = _matches(units, design.reference)
    used = np.logical_or.reduce(matched)
    contains = _contains(units, Y, solved, matched, design.reference)
    share = np.where(finite, _design_share(units, used), np.nan)
    cosine, offset = _geometry(q, units, matched, design, contains)
    family = None
    if design.mirrors:
        mirrored = np.logical_or.reduce(
            [_contains(units, Y, solved, _matches(units, logic), logic) for logic in design.mirrors]
        )
        family = np.array(FAMILIES)[np.where(solved, contains + 2 * mirrored, 4)]
    distance, distance_cosine = reference_distance(references.to_tanh(p), units.mean_h, design.weights)
    return Grades(
        correct=correct,
        solved=solved,
        confident=confident,
        contains=contains,
        design_share=share,
        recovered=contains & (share > 0.5),
        needed=_needed(units, Y, contains, used),
        saturation=_saturation(units, used),
        family=family,
        cosine=cosine,
        offset=offset,
        reference_offset=np.repeat(design.offset[None], len(p), axis=0),
        reference_distance=distance,
        reference_cosine=distance_cosine,
        plateau=_plateau(np.where(finite, cross_entropy, np.inf), solved, task) if loss == "cross_entropy" else None,
    )


def _calm(p: Network, finite: Bools) -> Network:
    """The same networks with all weights 0 (wrong at every sample: z2 = 0) where one is not finite."""
    if finite.all():
        return p
    q = p.copy()
    for array in q.weights:
        array[~finite] = 0
    return q


def _solves(Z2: Array, Y: Array) -> tuple[Bools, Bools, Array]:
    """(R,) each: `correct`, `solved` and the mean cross-entropy."""
    correct, cross_entropy = _right(Z2, Y), losses(Z2, Y, "cross_entropy")
    return correct, correct & (cross_entropy < solving_loss(len(Y))), cross_entropy


def _right(Z2: Array, Y: Array) -> Bools:
    """(R,) whether every logit is on its target's side of 0."""
    return _everywhere((2 * Y - 1) * Z2 > 0)


def _everywhere(values: Bools) -> Bools:
    """Whether it holds at every sample, the last axis."""
    holds: Bools = np.logical_and.reduce(values, axis=-1)
    return holds


@dataclass(frozen=True, eq=False)
class _Logic:
    """The sign patterns of a hand-designed network's units, as classes: equal up to a flip.

    Attributes:
        patterns: (C, M) a class's signs relative to the first sample's, True where they differ.
        counts: how many units of the design are in each class.
        unit_class: (K,) each unit's class.
        first_positive: (K,) whether the unit is positive at the first sample.
    """

    patterns: Bools
    counts: NDArray[np.int64]
    unit_class: NDArray[np.int64]
    first_positive: Bools

    @classmethod
    def of(cls, design: Network, X: Array) -> _Logic:
        positive = hidden(design, X)[0] > 0
        patterns, unit_class, counts = np.unique(
            positive ^ positive[:, :1], axis=0, return_inverse=True, return_counts=True
        )
        return cls(patterns, counts, unit_class.reshape(-1), positive[:, 0])


@dataclass(frozen=True, eq=False)
class _Design:
    """The forms of a task's reference and mirrors that networks are compared with, for one encoding."""

    weights: Network  # tanh form, R = 1
    reference: _Logic
    mirrors: tuple[_Logic, ...]
    direction: Array  # (K, N) unit vectors
    offset: Array  # (K,)


@functools.lru_cache(maxsize=256)
def _design(task: Task, encoding: Encoding) -> _Design | None:
    if not references.has_reference(task):
        return None
    X, _ = encode(task, encoding)
    weights = references.reference(task, "tanh", encoding)
    mirrors = references.mirrors(task, encoding)
    others = () if mirrors is None else tuple(_Logic.of(mirrors.select([i]), X) for i in range(len(mirrors)))
    direction, offset = _line(weights.W1[0], weights.b1[0])
    return _Design(weights, _Logic.of(weights, X), others, direction, offset)


@dataclass(frozen=True, eq=False)
class _Units:
    """The hidden units of R networks over the samples.

    Attributes:
        network: the networks.
        A: (R, H, M) values as the activation gives them.
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
    def read(cls, network: Network, A: Array, h: Array) -> _Units:
        def mean(values: Array) -> Array:
            average: Array = _ordered_sum(values, axis=-1) / values.shape[-1]
            return average

        average = mean(A)
        return cls(network, A, average, average if h is A else mean(h), np.abs(h).min(axis=-1), h > 0)

    def logits_holding(self, rows: NDArray[np.int64], held: Bools) -> Array:
        """The logits (len(rows), M) of some networks, with the hidden units ``held`` (R, H) at their means."""
        A = np.where(held[rows, :, None], self.mean[rows, :, None], self.A[rows])
        return logits(self.network.select(rows), A)


def _matches(units: _Units, logic: _Logic) -> list[Bools]:
    """For each class of the design's units: (R, H) which hidden units compute it, saturated, up to a flip."""
    relative, saturated = units.positive ^ units.positive[:, :, :1], units.least >= SATURATED
    return [_everywhere(relative == pattern) & saturated for pattern in logic.patterns]


def _contains(units: _Units, Y: Array, solved: Bools, matched: list[Bools], logic: _Logic) -> Bools:
    """(R,) `contains`, for a mirror as for the reference.

    Computing the same pattern is an equivalence, so each of the design's units has a hidden unit of its own exactly
    when every class has as many hidden units as the design's.
    """
    enough = np.logical_and.reduce([m.sum(axis=1) >= count for m, count in zip(matched, logic.counts, strict=True)])
    contains: Bools = solved & enough
    rows = np.flatnonzero(contains)
    if rows.size:
        contains[rows] = _right(units.logits_holding(rows, ~np.logical_or.reduce(matched)), Y)
    return contains


def _needed(units: _Units, Y: Array, contains: Bools, used: Bools) -> Bools:
    """(R,) whether a network that contains the design is not solved with the matched units ``used`` (R, H) held."""
    needed = np.zeros_like(contains)
    rows = np.flatnonzero(contains)
    if rows.size:
        needed[rows] = ~_solves(units.logits_holding(rows, used), Y)[1]
    return needed


def _design_share(units: _Units, used: Bools) -> Array:
    """(R,) Σ_j cov(v_j h_j, z) / var(z) over the hidden units j in ``used`` (R, H).

    Neither the output's bias nor a common factor of the output weights changes it: they are scaled to at most 1 and
    the logits to a range of about 1, so that no square overflows or vanishes.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        v = units.network.W2 / np.abs(units.network.W2).max(axis=1, keepdims=True)
        parts = v[:, :, None] * (units.A - units.mean[:, :, None])  # (R, H, M), centred
        z = _ordered_sum(parts, axis=1)
        z /= np.abs(z).max(axis=1, keepdims=True)
        shares = _ordered_sum(parts * z[:, None, :], axis=2)  # (R, H), each times the same factor
        share: Array = _ordered_sum(np.where(used, shares, 0.0), axis=1) / _ordered_sum(shares, axis=1)
        return share


def _ordered_sum(values: Array, axis: int) -> Array:
    """A sum whose bits do not depend on the number of networks."""
    total: Array = functools.reduce(np.add, np.moveaxis(values, axis, 0))
    return total


def _saturation(units: _Units, used: Bools) -> Array:
    """(R,) the least abs(h) over the units ``used`` (R, H) and the samples; nan where there is none."""
    least = np.where(used, units.least, np.inf).min(axis=1)
    return np.where(np.isinf(least), np.nan, least)


def _line(W: Array, b: Array) -> tuple[Array, Array]:
    """Where w·x + b is 0: the unit vector w/norm(w), (..., N), and the offset -b/norm(w), (...); nan where w is 0."""
    with np.errstate(all="ignore"):
        largest = np.abs(W).max(axis=-1)  # norms are taken of w/largest, whose squares cannot overflow
        scaled = W / largest[..., None]
        norm = np.sqrt(functools.reduce(np.add, np.moveaxis(np.square(scaled), -1, 0)))
        offset = np.where(largest > 0, -(b / largest) / norm, np.nan)
        return scaled / norm[..., None], offset


def _geometry(p: Network, units: _Units, matched: list[Bools], design: _Design, contains: Bools) -> tuple[Array, Array]:
    """Cosine and offset, (R, K) each, of the unit matched to each reference unit after sign alignment.

    Both are nan where not contained. Of several hidden units with the same logic, the one with the largest output
    weight stands for it (then the first); where the reference has several units of one pattern, they take the largest
    in turn.
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


def _plateau(cross_entropy: Array, solved: Bools, task: Task) -> NDArray[np.str_] | None:
    """(R,) the plateau's name, for 2-input truth tables; "" when solved."""
    if task.n_inputs != 2 or task.n_samples != 4:
        return None
    near = [np.abs(cross_entropy - level) <= PLATEAU_WIDTH for level in PLATEAUS.values()]
    named: NDArray[np.str_] = np.select([solved, *near], ["", *PLATEAUS], "not converged")
    return named
