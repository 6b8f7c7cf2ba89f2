"""One network laid beside the hand-designed one: units matched, signs aligned, the logic of both in words (floor 3).

Axes: R networks (here 1), H hidden units, K hidden units of the reference, N inputs, M samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from nnexp.network import reference as references
from nnexp.network.model import Array, Parameters, encode, hidden
from nnexp.network.settings import Settings
from nnexp.network.tasks import Task
from nnexp.recovery import gates, networks_table


@dataclass(frozen=True, eq=False)
class Portrait:
    """A network beside the hand-designed one.

    Attributes:
        task: what they compute. activation, encoding: the form in which both are given.
        parameters: R = 1; the units matched to the reference's come first, in its order and with its signs.
        reference: R = 1, in the same form; None for a task without one.
        explained: the network's logic (`gates.explain_network`). designed: the reference's, None without one.
        title: which network it is.
    """

    task: Task
    activation: str
    encoding: str
    parameters: Parameters
    reference: Parameters | None
    explained: dict[str, Any]
    designed: dict[str, Any] | None
    title: str = ""

    @property
    def matched(self) -> int:
        """How many of the first units stand beside one of the reference."""
        return 0 if self.reference is None else min(self.parameters.hidden_size, self.reference.hidden_size)

    def unit(self, position: int) -> str:
        """A hidden unit's name and gate, such as ``a1: AND``."""
        return f"a{position + 1}: {self.explained['hidden'][position]['gate']}"


def portrait(
    parameters: Parameters, task: Task, *, activation: str, encoding: str = "binary", title: str = ""
) -> Portrait:
    """Lays one network beside the task's hand-designed one.

    Args:
        parameters: R = 1.
        task: what it was to learn.
        activation: its hidden units'.
        encoding: of its inputs.
        title: which network it is.

    Raises:
        UsageError: not one network, or one of another shape than the task needs.
    """
    reference, designed = None, None
    if references.has_reference(task):
        reference = references.reference(task, activation, encoding)
        designed = gates.explain_network(reference, task, activation=activation, encoding=encoding)
        parameters = align(parameters, reference, encode(task, encoding)[0], activation)
    explained = gates.explain_network(parameters, task, activation=activation, encoding=encoding)
    return Portrait(task, activation, encoding, parameters, reference, explained, designed, title)


def align(parameters: Parameters, reference: Parameters, X: Array, activation: str) -> Parameters:
    """The same function with its units in the reference's order and signs; spare units follow, the heaviest first.

    Units are matched so that their signs agree at most samples, up to a flip; ties go by the cosine of the weights,
    then by the output weight. A flip turns (w, b, v) into (-w, -b, -v), and for sigmoid units adds v to b2.

    Args:
        parameters: R = 1 with finite weights.
        reference: R = 1.
        X: (N, M) the samples.
        activation: of both.
    """
    patterns, wanted = (_signs(p, X, activation) for p in (parameters, reference))
    agreement = patterns @ wanted.T / X.shape[1]
    cosine = _directions(parameters) @ _directions(reference).T
    weight = np.abs(parameters.W2[0].astype(np.float64))
    score = np.abs(agreement) + 1e-2 * np.abs(cosine) + 1e-4 * (weight / max(weight.max(), 1e-300))[:, None]
    units, targets = linear_sum_assignment(-score)
    order = units[np.argsort(targets)]
    flips = np.ones(parameters.hidden_size)
    for unit, target in zip(units, targets, strict=True):
        lean = agreement[unit, target] or cosine[unit, target]
        flips[unit] = -1.0 if lean < 0 else 1.0
    spare = [unit for unit in np.argsort(-weight, kind="stable") if unit not in order]
    taken = np.array([*order, *spare], dtype=np.int64)
    sign = flips[taken]
    b2 = parameters.b2.astype(np.float64)
    if activation == "sigmoid":
        b2 = b2 + parameters.W2[0, flips < 0].sum()
    return Parameters(
        parameters.W1[:, taken] * sign[:, None], parameters.b1[:, taken] * sign, parameters.W2[:, taken] * sign, b2
    )


def _signs(p: Parameters, X: Array, activation: str) -> NDArray[np.float64]:
    """(H, M) +1 where a unit is on, -1 where it is off."""
    values = hidden(p, X, activation)[0]
    return np.where(values > (0.0 if activation == "tanh" else 0.5), 1.0, -1.0)


def _directions(p: Parameters) -> NDArray[np.float64]:
    """(H, N + 1) each unit's weights and bias, of length 1."""
    rows = np.concatenate([p.W1[0], p.b1[0][:, None]], axis=1).astype(np.float64)
    unit: NDArray[np.float64] = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-300)
    return unit


def best_position(table: pa.Table) -> int | None:
    """The lowest loss among the recovered networks, else the solved, else all; None where no weights are finite."""
    loss = table.column("loss").to_numpy(zero_copy_only=False).astype(np.float64)
    loss = np.where(np.isfinite(loss), loss, np.inf)
    if not np.isfinite(loss).any():
        return None
    for name in ("recovered", "solved"):
        if name in table.column_names:
            mask = np.array([flag is True for flag in table.column(name).to_pylist()])
            if mask.any():
                return int(np.argmin(np.where(mask, loss, np.inf)))
    return int(np.argmin(loss))


def best_portrait(table: pa.Table, settings: Settings, trial: int | None = None) -> Portrait | None:
    """The best network of a run (`best_position`) beside the hand-designed one; None where all have diverged.

    Args:
        table: the run's networks.parquet.
        settings: the run's settings.
        trial: its number, for the title.
    """
    position = best_position(table)
    if position is None:
        return None
    row = table.slice(position, 1)
    index = row.column("index")[0].as_py()
    title = f"network {index}" + (f" of trial {trial}" if trial is not None else "")
    return portrait(
        networks_table.read_parameters(row),
        settings.truth_table,
        activation=settings.activation,
        encoding=settings.encoding,
        title=title,
    )
