"""A network compared with the hand-designed one: units matched, signs aligned, the logic of both explained.

Axes: R networks (here 1), H hidden units, K hidden units of the reference, N inputs, M samples.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from nnexp.network import network_file, tasks
from nnexp.network import reference as references
from nnexp.network.model import Array, Network, encode, hidden
from nnexp.network.tasks import Task
from nnexp.recovery import gates


@dataclass(frozen=True, eq=False)
class AlignedNetwork:
    """A network, aligned with the hand-designed one.

    Attributes:
        task: the task of both.
        network: R = 1; the units matched to the reference come first, in its order and with its signs.
        reference: R = 1, of the same activation and encoding; None for a task without one.
        explained: the network's logic, see `nnexp.recovery.gates.explain_network`.
        designed: the reference's logic; None without one.
        title: names the network.
    """

    task: Task
    network: Network
    reference: Network | None
    explained: dict[str, Any]
    designed: dict[str, Any] | None
    title: str = ""

    @property
    def matched(self) -> int:
        """How many of the first units are matched to a unit of the reference."""
        return 0 if self.reference is None else min(self.network.hidden_size, self.reference.hidden_size)


def align_best(content: Mapping[str, Any], title: str) -> AlignedNetwork | None:
    """The best network of a run, aligned with the hand-designed one; None if it diverged.

    Args:
        content: of the run's ``best_network.json``.
        title: names the network.
    """
    network = network_file.network_of(content)
    if not network.finite().all():
        return None
    return align_with_reference(network, tasks.get(content["settings"]["task"]), title)


def align_with_reference(network: Network, task: Task, title: str) -> AlignedNetwork:
    """Align one network with the task's hand-designed one.

    Args:
        network: R = 1.
        task: the task that it was trained on.
        title: names the network.

    Raises:
        UsageError: not one network, or one of another shape than the task needs.
    """
    reference, designed = None, None
    if references.has_reference(task):
        reference = references.reference(task, network.activation, network.encoding)
        designed = gates.explain_network(reference, task)
        network = align(network, reference, encode(task, network.encoding)[0])
    return AlignedNetwork(task, network, reference, gates.explain_network(network, task), designed, title)


def align(network: Network, reference: Network, X: Array) -> Network:
    """A network of the same function with its units in the order and with the signs of the reference.

    Units are matched so that their signs agree at as many samples as possible, up to a flip. Ties are decided by the
    cosine of the weights, then by the output weight. A flip turns (w, b, v) into (-w, -b, -v), and for sigmoid units
    adds v to b2. Units without a partner follow, in the order of decreasing output weight.

    Args:
        network: R = 1 with finite weights.
        reference: R = 1, of the same activation and encoding.
        X: (N, M) the samples.
    """
    patterns, wanted = (_signs(p, X) for p in (network, reference))
    agreement = patterns @ wanted.T / X.shape[1]
    cosine = _directions(network) @ _directions(reference).T
    weight = np.abs(network.W2[0].astype(np.float64))
    score = np.abs(agreement) + 1e-2 * np.abs(cosine) + 1e-4 * (weight / max(weight.max(), 1e-300))[:, None]
    units, targets = linear_sum_assignment(-score)
    order = units[np.argsort(targets)]
    flips = np.ones(network.hidden_size)
    for unit, target in zip(units, targets, strict=True):
        similarity = agreement[unit, target] or cosine[unit, target]
        flips[unit] = -1.0 if similarity < 0 else 1.0
    spare = [unit for unit in np.argsort(-weight, kind="stable") if unit not in order]
    taken = np.array([*order, *spare], dtype=np.int64)
    sign = flips[taken]
    b2 = network.b2.astype(np.float64)
    if network.activation == "sigmoid":
        b2 = b2 + network.W2[0, flips < 0].sum()
    return network.with_weights(
        network.W1[:, taken] * sign[:, None], network.b1[:, taken] * sign, network.W2[:, taken] * sign, b2
    )


def _signs(p: Network, X: Array) -> NDArray[np.float64]:
    """(H, M) +1 where a unit is on, -1 where it is off."""
    values = hidden(p, X)[0]
    return np.where(values > (0.0 if p.activation == "tanh" else 0.5), 1.0, -1.0)


def _directions(p: Network) -> NDArray[np.float64]:
    """(H, N + 1) each unit's weights and bias, of length 1."""
    rows = np.concatenate([p.W1[0], p.b1[0][:, None]], axis=1).astype(np.float64)
    unit: NDArray[np.float64] = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-300)
    return unit
