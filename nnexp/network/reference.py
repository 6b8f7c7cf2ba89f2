"""The hand-designed networks, and the exact changes of form between which they do not change (floor 1).

Axes: R networks (here 1), K hidden units of a reference, N inputs, M samples.

For XNOR, from the source text (sigmoid hidden units): a1 = x1 AND x2, a2 = NOT x1 AND NOT x2, output = a1 OR a2. XOR is
that network with its output negated. The source has none for parity:3; ours counts: its three hidden units ask whether
at least one, two and three inputs are 1, and the output adds and subtracts them in turn (1 - 1 + 1).
"""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np

from nnexp.errors import UsageError
from nnexp.network import tasks
from nnexp.network.model import Network, check_name, encode, forward, hidden, logits, losses
from nnexp.network.settings import ACTIVATIONS, ENCODINGS, Activation, Encoding
from nnexp.network.tasks import ReferenceWeights, Task

_XNOR: ReferenceWeights = (((20.0, 20.0), (-20.0, -20.0)), (-30.0, 10.0), (20.0, 20.0), -10.0)
_XOR: ReferenceWeights = (*_XNOR[:2], (-20.0, -20.0), 10.0)
_PARITY_3: ReferenceWeights = (((20.0, 20.0, 20.0),) * 3, (-10.0, -30.0, -50.0), (20.0, -20.0, 20.0), -10.0)
_KNOWN = {"xnor": _XNOR, "xor": _XOR, "parity:3": _PARITY_3}


def solving_loss(n_samples: int) -> float:
    """The mean cross-entropy below which M samples can be `solved`: 1.2/M, which is 0.3 for XNOR."""
    return 1.2 / n_samples


def has_reference(task: Task | str) -> bool:
    """Whether the task comes with a hand-designed network.

    Raises:
        UsageError: an unknown task, or a table whose reference does not solve the table's own task.
    """
    return _designed(_task(task)) is not None


def reference(task: Task | str, activation: Activation = "sigmoid", encoding: Encoding = "binary") -> Network:
    """The hand-designed network of a task, R = 1, in the form asked for; all forms are the same function.

    Args:
        task: a known task's name, or a task.
        activation: "sigmoid", the form it was designed in, or "tanh", its exact equivalent.
        encoding: of the inputs: "binary" 0/1, or "bipolar" -1/+1 (W1/2, b1 + ½ W1·1).

    Raises:
        UsageError: a task without a reference, a table whose reference does not solve it, or an unknown name.
    """
    check_name("activation", activation, ACTIVATIONS)
    wanted = _task(task)
    found = _designed(wanted)
    if found is None:
        raise UsageError(
            f"task = {wanted.spec!r}: no hand-designed network is known for it;"
            f" expected one of {', '.join(_KNOWN)}, or a [task] table with a reference"
        )
    form = found.copy() if activation == "sigmoid" else to_tanh(found)
    return to_encoding(form, encoding)


def mirror(task: Task | str, encoding: Encoding = "binary") -> Network | None:
    """The reference with x1 complemented and the output negated, R = 1 in tanh form, where that solves the same task.

    It does for XNOR, XOR and parity: for XNOR it is the other logic, {x1 AND NOT x2, NOT x1 AND x2}, then NOR.
    None where it does not, or where there is no reference.

    Raises:
        UsageError: an unknown name, or a table whose reference does not solve it.
    """
    wanted = _task(task)
    found = _designed(wanted)
    if found is None:
        return None
    tanh = to_tanh(found)
    W1 = tanh.W1.copy()
    W1[:, :, 0] *= -1  # w (1 - x1) = -w x1 + w
    mirrored = tanh.with_weights(W1, tanh.b1 + tanh.W1[:, :, 0], -tanh.W2, -tanh.b2)
    X, Y = encode(wanted, "binary")
    A1, Z2 = forward(mirrored, X)
    solves = bool(((2 * Y - 1) * Z2 > 0).all() and (A1 != 0).all())
    return to_encoding(mirrored, encoding) if solves else None


def to_tanh(network: Network) -> Network:
    """The same functions with tanh hidden units: sigmoid(z) = ½ (1 + tanh(z/2)), exactly.

    v sigmoid(z) = ½ v tanh(z/2) + ½ v, so W1/2, b1/2, W2/2, and the output's bias takes up ½ Σ v.
    """
    if network.activation == "tanh":
        return network
    W2 = network.W2 / 2
    b2 = network.b2.copy()
    for k in range(network.hidden_size):  # one by one: the sum's bits do not depend on how many networks there are
        b2 += W2[:, k]
    return replace(network, W1=network.W1 / 2, b1=network.b1 / 2, W2=W2, b2=b2, activation="tanh")


def to_encoding(network: Network, encoding: Encoding) -> Network:
    """The same functions for inputs of another encoding.

    From 0/1 to -1/+1, x = ½ (1 + x') gives W1/2 and b1 + ½ W1·1; back, x' = 2x - 1 gives 2 W1 and b1 - W1·1.
    """
    check_name("encoding", encoding, ENCODINGS)
    if encoding == network.encoding:
        return network
    if encoding == "bipolar":
        return replace(network, W1=network.W1 / 2, b1=network.b1 + (network.W1 / 2).sum(axis=2), encoding=encoding)
    return replace(network, W1=network.W1 * 2, b1=network.b1 - network.W1.sum(axis=2), encoding=encoding)


def _task(task: Task | str) -> Task:
    return tasks.get(task) if isinstance(task, str) else task


@functools.lru_cache(maxsize=256)
def _designed(task: Task) -> Network | None:
    """The reference as designed: sigmoid hidden units, 0/1 inputs. A table's own is checked."""
    weights = task.reference if task.is_custom else _KNOWN.get(task.spec)
    if weights is None:
        return None
    designed = Network(*(np.array([array]) for array in weights), activation="sigmoid")
    for array in designed.weights:
        array.setflags(write=False)  # shared by all callers
    if task.is_custom:
        _check_solves(designed, task)
    return designed


def _check_solves(designed: Network, task: Task) -> None:
    X, Y = encode(task, "binary")
    A1 = hidden(designed, X)
    if (undecided := np.argwhere(A1[0] == 0.5)).size:
        unit, row = undecided[0]
        raise UsageError(
            f"task.reference: hidden unit {unit + 1} is undecided (W1·x + b1 = 0) at inputs[{row}] = "
            f"{list(task.inputs[row])}; expected every hidden unit to be on or off at every row"
        )
    Z2 = logits(designed, A1)
    right = (2 * Y - 1) * Z2[0] > 0
    if not right.all():
        row = int(np.argmin(right))
        raise UsageError(
            f"task.reference: answers {int(right.sum())} of {len(right)} rows right, first wrong at inputs[{row}] = "
            f"{list(task.inputs[row])}; expected a network that solves its own task (sigmoid hidden units, 0/1 inputs)"
        )
    cost, limit = float(losses(Z2, Y, "cross_entropy")[0]), solving_loss(task.n_samples)
    if cost >= limit:
        raise UsageError(
            f"task.reference: mean cross-entropy {cost:.4g}, expected less than 1.2/{task.n_samples} = {limit:.4g}"
            " so that it solves its own task; larger W2 and b2 make its answers surer"
        )
