"""The grades of trained networks, computed from their final weights; among them the criterion of recovery.

Axes: R networks, H hidden units, N inputs, M samples, K hidden units of the reference.

The logic of a hidden unit is its sign pattern over the samples, up to a flip. The symmetries of a network in tanh form
do not change it: hidden units can be permuted, and a unit can be flipped (w, b, v -> -w, -b, -v). Sigmoid units a are
graded as h = 2a - 1 = tanh(z/2), the exact conversion to tanh form.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nnexp.network import reference as references
from nnexp.network.model import (
    CONFIDENT,
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
    solving_loss,
)
from nnexp.network.settings import Loss
from nnexp.network.tasks import Task
from nnexp.recovery.distance import reference_distance
from nnexp.recovery.matching import Bools, HiddenUnits, Logic, design_of, everywhere, geometry, matches, ordered_sum

if TYPE_CHECKING:
    from nnexp.training.result import TrainingResult

FAMILIES = ("other", "hand-designed", "mirror", "both", "none")
#: Mean cross-entropies at which training on a 2-input truth table stagnates; a plateau is up to `PLATEAU_WIDTH` away.
PLATEAUS = {"constant": math.log(2), "one half": math.log(2) / 2, "two thirds": 0.75 * (math.log(3) - math.log(4) / 3)}
PLATEAU_WIDTH = 0.005

_CHUNK = 1 << 20  # hidden values held at once


@dataclass(frozen=True, eq=False)
class Grades:
    """All grades of R networks; None where a grade is undefined for the task.

    Attributes:
        correct: (R,) every sample is on the right side of 0.5; z2 = 0 is wrong.
        solved: (R,) correct, and mean cross-entropy below 1.2/M.
        confident: (R,) every probability is within 0.1 of its target.
        contains: (R,) solved, with the reference's logic: each unit of the reference has its own saturated hidden unit
            of the same sign pattern up to a flip, and the network is still correct with all other units held at their
            means. The *matched* units are all saturated units of such a pattern.
        design_share: (R,) the share of the matched units in the logits z = c + Σ_j v_j h_j: Σ cov(v_j h_j, z) / var(z)
            over the samples. The shares of all hidden units add up to 1. 0 where no unit is matched; nan where the
            logits do not vary or a weight is not finite.
        recovered: (R,) contains, and design_share > ½.
        needed: (R,) contains, and not solved with the matched units held at their means instead.
        saturation: (R,) the least abs(h) over the matched units and the samples; nan where no unit is matched.
        family: (R,) which logic it contains: "hand-designed", "mirror" (one of the `reference.mirrors`), "both" or
            "other"; "none" when not solved.
        cosine: (R, K) between the input weights of a matched unit and of its reference unit; nan unless contained.
        offset: (R, K) -b/norm(w) of the matched units, the distance of their lines from the origin along w; nan unless
            contained.
        reference_offset: (R, K) the same of the reference's units.
        reference_distance: (R,) relative L2 distance after the best permutation and signs, see `distance`.
        reference_cosine: (R,) the cosine after the same permutation and signs.
        plateau: (R,) a key of `PLATEAUS`, or "not converged"; "" when solved.
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
    """Grade R networks, in float64. Networks with weights that are not finite count as failures.

    Args:
        network: the R networks.
        task: the task that they were trained on.
        loss: the cost that they were trained with; plateaus are defined for cross-entropy only.

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
    """(R,) the grade `solved` alone, several times faster than `assess`."""
    check_inputs(network, task)
    X, Y = encode(task, network.encoding)
    p = network.astype(np.float64)
    Z2 = forward(_zero_not_finite(p, p.finite()), X)[1]
    return _solves(Z2, Y)[1]


def columns(grades: Grades) -> dict[str, NDArray[Any]]:
    """The grades as flat columns of length R for tables, in the order of `Grades`.

    A task without a reference has only correct, solved and confident. Other undefined grades are None in every row.
    Grades of shape (R, K) have one column per reference unit, counted from 1: ``cosine_1``, ``offset_1``, ...
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
    q = _zero_not_finite(p, finite)
    A = hidden(q, X)
    Z2 = logits(q, A)
    correct, solved, cross_entropy = _solves(Z2, Y)
    confident = sigmoid(-((2 * Y - 1) * Z2).min(axis=1)) < CONFIDENT  # |a2 - y| = sigmoid(-s z2), with s = 2y - 1
    design = design_of(task, p.encoding)
    if design is None:
        return Grades(correct, solved, confident)

    units = HiddenUnits.read(q, A, A if p.activation == "tanh" else 2 * A - 1)
    matched = matches(units, design.reference)
    used = np.logical_or.reduce(matched)
    contains = _contains(units, Y, solved, matched, design.reference)
    share = np.where(finite, _design_share(units, used), np.nan)
    cosine, offset = geometry(q, units, matched, design, contains)
    family = None
    if design.mirrors:
        mirrored = np.logical_or.reduce(
            [_contains(units, Y, solved, matches(units, logic), logic) for logic in design.mirrors]
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


def _zero_not_finite(p: Network, finite: Bools) -> Network:
    """The networks, where one with a weight that is not finite has all weights 0 (so z2 = 0, wrong at every sample)."""
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
    return everywhere((2 * Y - 1) * Z2 > 0)


def _contains(units: HiddenUnits, Y: Array, solved: Bools, matched: list[Bools], logic: Logic) -> Bools:
    """(R,) `contains`, for the reference or a mirror.

    Units of the same pattern up to a flip form a class. Each unit of the design has its own hidden unit exactly when
    every class has at least as many hidden units as units of the design.
    """
    enough = np.logical_and.reduce([m.sum(axis=1) >= count for m, count in zip(matched, logic.counts, strict=True)])
    contains: Bools = solved & enough
    rows = np.flatnonzero(contains)
    if rows.size:
        contains[rows] = _right(units.logits_holding(rows, ~np.logical_or.reduce(matched)), Y)
    return contains


def _needed(units: HiddenUnits, Y: Array, contains: Bools, used: Bools) -> Bools:
    """(R,) `needed`; the matched units are ``used`` (R, H)."""
    needed = np.zeros_like(contains)
    rows = np.flatnonzero(contains)
    if rows.size:
        needed[rows] = ~_solves(units.logits_holding(rows, used), Y)[1]
    return needed


def _design_share(units: HiddenUnits, used: Bools) -> Array:
    """(R,) Σ_j cov(v_j h_j, z) / var(z) over the hidden units j in ``used`` (R, H).

    A common factor of the output weights does not change it, nor does the output bias. The output weights are scaled to
    at most 1 and the logits to a range of about 1, so that no square overflows or underflows.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        v = units.network.W2 / np.abs(units.network.W2).max(axis=1, keepdims=True)
        parts = v[:, :, None] * (units.A - units.mean[:, :, None])  # (R, H, M), centred
        z = ordered_sum(parts, axis=1)
        z /= np.abs(z).max(axis=1, keepdims=True)
        shares = ordered_sum(parts * z[:, None, :], axis=2)  # (R, H), each times the same factor
        share: Array = ordered_sum(np.where(used, shares, 0.0), axis=1) / ordered_sum(shares, axis=1)
        return share


def _saturation(units: HiddenUnits, used: Bools) -> Array:
    """(R,) the least abs(h) over the units ``used`` (R, H) and the samples; nan where there is none."""
    least = np.where(used, units.least, np.inf).min(axis=1)
    return np.where(np.isinf(least), np.nan, least)


def _plateau(cross_entropy: Array, solved: Bools, task: Task) -> NDArray[np.str_] | None:
    """(R,) the plateau's name, for 2-input truth tables; "" when solved."""
    if task.n_inputs != 2 or task.n_samples != 4:
        return None
    near = [np.abs(cross_entropy - level) <= PLATEAU_WIDTH for level in PLATEAUS.values()]
    named: NDArray[np.str_] = np.select([solved, *near], ["", *PLATEAUS], "not converged")
    return named
