"""The hand-designed networks (references), their mirrors, and the exact conversions of activation and encoding.

Axes: R networks (here 1), K hidden units of a reference, N inputs, M samples.

The XNOR design is from the source text (see `model`), with sigmoid hidden units: a1 = x1 AND x2, a2 = NOT x1 AND NOT
x2, output = a1 OR a2. XOR is that network with its output negated. The designs for parity and symmetry are those of
Rumelhart, Hinton and Williams (Learning internal representations by error propagation, 1986). For parity:N hidden unit
k is on when at least k inputs are on, and the output adds and subtracts the units alternately (1 - 1 + 1 ...). For
symmetry:N two hidden units compare the halves of the input: inputs at mirrored positions have the weights w and -w,
where the w are powers of two, so that only a symmetric input sums to 0. One unit is on when the first half is larger,
the other when the second half is larger, and the output is their NOR.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from nnexp.errors import UsageError
from nnexp.network import tasks
from nnexp.network.model import Network, check_name, encode, hidden, logits, losses, solving_loss
from nnexp.network.settings import ACTIVATIONS, ENCODINGS, Activation, Encoding
from nnexp.network.tasks import ReferenceWeights, Task

_XNOR: ReferenceWeights = (((20.0, 20.0), (-20.0, -20.0)), (-30.0, 10.0), (20.0, 20.0), -10.0)
_XOR: ReferenceWeights = (*_XNOR[:2], (-20.0, -20.0), 10.0)

#: Up to this many inputs `mirrors` also permutes the inputs (it tries N! 2^N symmetries).
MAX_PERMUTED = 6


def has_reference(task: Task | str) -> bool:
    """Whether the task has a hand-designed network.

    Raises:
        UsageError: an unknown task, or a table whose reference does not solve the table's own task.
    """
    return _designed(_task(task)) is not None


def reference(task: Task | str, activation: Activation = "sigmoid", encoding: Encoding = "binary") -> Network:
    """The hand-designed network of a task, R = 1. Its function is the same in every activation and encoding.

    Args:
        task: a known task's name, or a task.
        activation: "sigmoid", as it was designed, or "tanh", its exact equivalent.
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
            " expected xnor, xor, parity:N, symmetry:N, or a [task] table with a reference"
        )
    form = found.copy() if activation == "sigmoid" else to_tanh(found)
    return to_encoding(form, encoding)


def mirrors(task: Task | str, encoding: Encoding = "binary") -> Network | None:
    """The mirrors: what the symmetries of the task turn the reference into, R >= 1 networks with tanh hidden units.

    A symmetry permutes and complements inputs such that all targets stay the same, or all are negated. Applied to the
    reference (and its output negated if the targets are) it results in a network that solves the same task. Networks
    with the logic of the reference are left out, and of several with the same logic only one is returned. XNOR has one
    mirror, {x1 AND NOT x2, NOT x1 AND x2}, then NOR; parity:3 has three.

    For tasks of more than `MAX_PERMUTED` inputs only complements are tried.

    Returns:
        None if there is no reference, or no mirror.

    Raises:
        UsageError: an unknown name, or a table whose reference does not solve it.
    """
    found = _mirrors(_task(task))
    return None if found is None else to_encoding(found, encoding)


@functools.lru_cache(maxsize=256)
def _mirrors(task: Task) -> Network | None:
    designed = _designed(task)
    if designed is None:
        return None
    tanh = to_tanh(designed)
    positive = hidden(tanh, encode(task, "binary")[0])[0] > 0
    images: dict[bytes, Network] = {}
    for order, complemented, rows, negated in _symmetries(task):
        logic = _logic(positive[:, rows])
        if logic not in images:
            images[logic] = _image(tanh, order, complemented, negated)
    del images[_logic(positive)]
    if not images:
        return None
    arrays = zip(*(image.weights for image in images.values()), strict=True)
    return tanh.with_weights(*(np.concatenate(parts) for parts in arrays))


def _symmetries(task: Task) -> Iterator[tuple[list[int], NDArray[np.bool_], NDArray[np.int64], bool]]:
    """The symmetries of a truth table: x -> x[order] with some inputs complemented.

    Yields:
        The order (N,); which inputs are complemented (N,); the row that each row becomes (M,); whether the targets are
        negated.
    """
    N = task.n_inputs
    bits, targets = np.array(task.inputs), np.array(task.targets)
    powers = 1 << np.arange(N)
    row_of = np.full(1 << N, -1)
    row_of[bits @ powers] = np.arange(task.n_samples)
    masks = np.arange(1 << N)
    orders = itertools.permutations(range(N)) if N <= MAX_PERMUTED else [tuple(range(N))]
    for order in map(list, orders):
        rows = row_of[(bits[:, order] @ powers) ^ masks[:, None]]  # (masks, M)
        negated = targets[rows] != targets
        valid = (rows >= 0).all(axis=1) & (negated == negated[:, :1]).all(axis=1)
        for mask in np.flatnonzero(valid):
            yield order, (mask & powers) > 0, rows[mask], bool(negated[mask, 0])


def _logic(positive: NDArray[np.bool_]) -> bytes:
    """The sign patterns of hidden units over the samples (K, M) as bytes, regardless of their flips and order."""
    return b"".join(sorted(np.packbits(row).tobytes() for row in positive ^ positive[:, :1]))


def _image(tanh: Network, order: list[int], complemented: NDArray[np.bool_], negated: bool) -> Network:
    """The network applied to x[order] with some inputs complemented: w (1 - x) = -w x + w."""
    W1 = np.empty_like(tanh.W1)
    W1[:, :, order] = np.where(complemented, -tanh.W1, tanh.W1)
    b1 = tanh.b1 + (tanh.W1 * complemented).sum(axis=2)
    sign = -1 if negated else 1
    return tanh.with_weights(W1, b1, sign * tanh.W2, sign * tanh.b2)


def to_tanh(network: Network) -> Network:
    """The same functions with tanh hidden units: sigmoid(z) = ½ (1 + tanh(z/2)), exactly.

    v sigmoid(z) = ½ v tanh(z/2) + ½ v, so W1, b1 and W2 are halved, and ½ Σ v is added to the output bias.
    """
    if network.activation == "tanh":
        return network
    W2 = network.W2 / 2
    b2 = network.b2.copy()
    for k in range(network.hidden_size):  # a fixed order: the rounding does not depend on the number of networks
        b2 += W2[:, k]
    return replace(network, W1=network.W1 / 2, b1=network.b1 / 2, W2=W2, b2=b2, activation="tanh")


def to_encoding(network: Network, encoding: Encoding) -> Network:
    """The same functions for inputs of another encoding.

    From 0/1 to -1/+1, by x = ½ (1 + x'): W1/2 and b1 + ½ W1·1. Back, by x' = 2x - 1: 2 W1 and b1 - W1·1.
    """
    check_name("encoding", encoding, ENCODINGS)
    if encoding == network.encoding:
        return network
    if encoding == "bipolar":
        return replace(network, W1=network.W1 / 2, b1=network.b1 + (network.W1 / 2).sum(axis=2), encoding=encoding)
    return replace(network, W1=network.W1 * 2, b1=network.b1 - network.W1.sum(axis=2), encoding=encoding)


def _task(task: Task | str) -> Task:
    return tasks.get(task) if isinstance(task, str) else task


def _known(task: Task) -> ReferenceWeights | None:
    name, N = task.spec.partition(":")[0], task.n_inputs
    if name == "parity":
        biases = tuple(-20.0 * k + 10 for k in range(1, N + 1))
        return ((20.0,) * N,) * N, biases, tuple(20.0 * (-1) ** k for k in range(N)), -10.0
    if name == "symmetry":
        half = [20.0 * 2**k for k in range(N // 2)]
        rising = (*half, *[0.0] * (N % 2), *(-w for w in reversed(half)))
        return (rising, tuple(-w for w in rising)), (-10.0, -10.0), (-20.0, -20.0), 10.0
    return {"xnor": _XNOR, "xor": _XOR}.get(name)


@functools.lru_cache(maxsize=256)
def _designed(task: Task) -> Network | None:
    """The reference as designed, with sigmoid hidden units and 0/1 inputs; that of a [task] table is checked."""
    weights = task.reference if task.is_custom else _known(task)
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
            " so that it solves its own task; larger W2 and b2 bring its outputs closer to 0 and 1"
        )
