"""The two-layer network: its weights, forward pass, cost and gradients, as pure functions.

Axes: R networks, H hidden units, N inputs, M samples. Samples are columns.

The derivation follows the text in which the XNOR network was designed (below: the source text). m is M, g is tanh or
sigmoid, s = 2y - 1 is the target as -1 or +1, ∘ is the elementwise product::

    forward     Z1 = W1 X + b1         A1 = g(Z1)             (H, M)
                Z2 = W2 A1 + b2        A2 = sigmoid(Z2)       (1, M)

    1) cost     J  = -1/m Σ_i [ y_i log a2_i + (1 - y_i) log(1 - a2_i) ]
                   =  1/m Σ_i softplus((1 - 2 y_i) z2_i)  as -log sigmoid(z) = softplus(-z); 1 - a(z) = a(-z)
    2) output   dJ/da2_i = -1/m [ y_i / a2_i - (1 - y_i) / (1 - a2_i) ]
    3) sigmoid  da/dz = a (1 - a)
    4) logit    dZ2 = (A2 - Y) / m = ½ (tanh(Z2/2) - S) / m   as sigmoid(z) = ½ (1 + tanh(z/2)); odd in (z2, s)
    5) z2       z2_i = Σ_k w2_k a1_ki + b2:   dz2_i/dw2_k = a1_ki,   dz2_i/db2 = 1,   dz2_i/da1_ki = w2_k
    6) layer 2  dW2 = dZ2 A1ᵀ                                 (1, H)
                db2 = Σ_i dZ2_i                               (not in the source text)
    7) hidden   dZ1 = (W2ᵀ dZ2) ∘ g'(Z1)                      g' = 1 - a1² for tanh, a1 (1 - a1) for sigmoid
    8) layer 1  z1_ki = Σ_j w1_kj x_ji + b1_k:   dz1_ki/dw1_kj = x_ji,   dz1_ki/db1_k = 1, hence
                dW1 = dZ1 Xᵀ                                  (H, N)
                db1 = Σ_i dZ1_i                               (H,)

With ``loss="mse"`` only J and step 4 differ::

    J   = 1/m Σ_i ½ (a2_i - y_i)²
    dZ2 = (A2 - Y) ∘ A2 ∘ (1 - A2) / m = (T - S) ∘ (1 - T²) / (8 m),   T = tanh(Z2/2)

These errors of the source text are corrected here:

- layer 2 is printed as ``W2 X + b2``; its input is A1. The XNOR section prints its input as ``a[2]``; it is ``a[1]``
- the biases have a sample index, but all samples share them
- the cost lacks the ``+`` between its two terms; the matrix form in step 4 lacks the minus in ``(y - a)``
- step 5 mixes the indices k and l, and the layer of a4; step 7 reuses l; the rows of the layer-1 display are garbled
- the derivation ends at dZ1; dW1, db1 and db2 are added above
- the XNOR section prints ``tanh`` for a1, a2 and y, but ``sigmoid`` in the matrix form. With the printed weights only
  sigmoid works: with tanh hidden units the logits are -10, -50, -50, -10, so that every answer is 0 (see
  `nnexp.recovery.gates.explain_reference`)
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, get_args

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from nnexp.errors import UsageError, nearest
from nnexp.network.settings import ACTIVATIONS, ENCODINGS, Activation, Encoding, Loss
from nnexp.network.tasks import Task

Array = NDArray[np.floating]
Weights = tuple[Array, Array, Array, Array]
"""W1 (R, H, N), b1 (R, H), W2 (R, H), b2 (R,)."""

LOSSES: tuple[Loss, ...] = get_args(Loss)
WEIGHTS = ("W1", "b1", "W2", "b2")
"""The names of a network's arrays, in the order of all files and tables."""

SOLVED = 1.2
"""A correct network is `solved` if its mean cross-entropy over M samples is below this divided by M: 0.3 for XNOR."""
CONFIDENT = 0.1
"""A network is `confident` if every abs(a2 - y) is below this."""

_HUGE = 1e30
"""Weights beyond this are scaled down before they are summed, so that a sum of finite weights is never inf - inf."""


@dataclass(frozen=True, eq=False)
class Network:
    """R networks of N inputs and H hidden units.

    Arrays or nested lists of numbers are converted to float64, unless all are float32. Weights may be infinite or nan:
    training that diverged ends with such weights.

    Attributes:
        W1: (R, H, N). b1: (R, H). W2: (R, H). b2: (R,).
        activation: of the hidden units, "tanh" or "sigmoid".
        encoding: of the inputs, "binary" (0 and 1) or "bipolar" (-1 and +1).

    Raises:
        UsageError: an unknown name, values that are not real numbers, or shapes that do not fit together.
    """

    W1: Array
    b1: Array
    W2: Array
    b2: Array
    activation: Activation = field(kw_only=True)
    encoding: Encoding = field(default="binary", kw_only=True)

    def __post_init__(self) -> None:
        check_name("activation", self.activation, ACTIVATIONS)
        check_name("encoding", self.encoding, ENCODINGS)
        arrays = {name: np.asarray(getattr(self, name)) for name in WEIGHTS}
        for name, array in arrays.items():
            if array.dtype.kind not in "fiu":
                raise UsageError(f"network.{name}: found {array.dtype} values, expected real numbers")
        if arrays["W1"].ndim != 3 or 0 in arrays["W1"].shape[1:]:
            raise UsageError(
                f"network.W1: shape {arrays['W1'].shape}, expected (R, H, N): networks, hidden units, inputs"
            )
        R, H, N = arrays["W1"].shape
        for name, shape in (("b1", (R, H)), ("W2", (R, H)), ("b2", (R,))):
            if arrays[name].shape != shape:
                found = arrays[name].shape
                raise UsageError(f"network.{name}: shape {found}, expected {shape} to go with W1 {(R, H, N)}")
        dtype = np.result_type(*arrays.values(), np.float32)
        for name, array in arrays.items():
            object.__setattr__(self, name, array.astype(dtype, copy=False))

    def __len__(self) -> int:
        return len(self.b2)

    def __repr__(self) -> str:
        return (
            f"<Network: R = {len(self):,}, {self.n_inputs} {self.encoding} inputs,"
            f" {self.hidden_size} {self.activation} hidden units, {self.dtype}>"
        )

    def _repr_html_(self) -> str:
        """The weights of the first network as a table for a notebook: a row per hidden unit, then the output bias."""
        header = ["", *(f"w{n + 1}" for n in range(self.n_inputs)), "b", "to the output"]
        rows = [
            [f"a{k + 1}", *(f"{weight:.4g}" for weight in (*self.W1[0, k], self.b1[0, k], self.W2[0, k]))]
            for k in range(self.hidden_size if len(self) else 0)
        ]
        rows += [["output", *[""] * self.n_inputs, f"{bias:.4g}", ""] for bias in self.b2[:1]]
        lines = ["<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in (header, *rows)]
        return f"<p>{html.escape(repr(self))}</p><table>{''.join(lines)}</table>"

    @property
    def weights(self) -> Weights:
        """The four arrays, in the order of `WEIGHTS`."""
        return self.W1, self.b1, self.W2, self.b2

    @property
    def hidden_size(self) -> int:
        """H."""
        return int(self.W2.shape[1])

    @property
    def n_inputs(self) -> int:
        """N."""
        return int(self.W1.shape[2])

    @property
    def dtype(self) -> np.dtype[Any]:
        """The weights' type, float64 or float32."""
        return self.W1.dtype

    def with_weights(self, W1: Array, b1: Array, W2: Array, b2: Array) -> Network:
        """Networks of the same activation and encoding with other weights; R, H and N may differ."""
        return replace(self, W1=W1, b1=b1, W2=W2, b2=b2)

    def select(self, index: slice | Sequence[int] | NDArray[np.integer] | NDArray[np.bool_]) -> Network:
        """The networks at ``index`` (positions, a slice or a mask), in that order."""
        return self.with_weights(*(array[index] for array in self.weights))

    def astype(self, dtype: DTypeLike) -> Network:
        """The networks with weights of type ``dtype``; arrays that have it already are not copied."""
        return self.with_weights(*(array.astype(dtype, copy=False) for array in self.weights))

    def copy(self) -> Network:
        """A copy with new arrays."""
        return self.with_weights(*(array.copy() for array in self.weights))

    def finite(self) -> NDArray[np.bool_]:
        """(R,) whether all of a network's weights are finite numbers."""
        found = np.isfinite(self.b2)
        for array in (self.W1, self.b1, self.W2):
            found &= np.isfinite(array).all(axis=tuple(range(1, array.ndim)))
        return found


def encode(task: Task, encoding: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The arrays of a task: X (N, M) of 0/1 (binary) or -1/+1 (bipolar), and Y (M,), always 0/1.

    Raises:
        UsageError: an unknown encoding.
    """
    check_name("encoding", encoding, ENCODINGS)
    X = np.array(task.inputs, dtype=np.float64).T.copy()
    if encoding == "bipolar":
        X = 2 * X - 1
    return X, np.array(task.targets, dtype=np.float64)


def sigmoid(z: Array) -> Array:
    """1/(1 + e^-z), with full relative accuracy in both tails."""
    with np.errstate(over="ignore"):  # e^-z = inf gives the right limit, 0
        a: Array = 1 / (1 + np.exp(-z))
    return a


def hidden(network: Network, X: Array) -> Array:
    """A1 = g(W1 X + b1), (R, H, M), for inputs X (N, M)."""
    Z1 = _sum(network.W1, X[None, None], network.b1)
    return np.tanh(Z1) if network.activation == "tanh" else sigmoid(Z1)


def logits(network: Network, A1: Array) -> Array:
    """Z2 = W2 A1 + b2, (R, M), from the hidden units' values A1 (R, H, M)."""
    return _sum(network.W2, A1, network.b2)


def forward(network: Network, X: Array) -> tuple[Array, Array]:
    """A1 (R, H, M) and the logits Z2 (R, M) for inputs X (N, M), which are not checked; `predict` checks them."""
    A1 = hidden(network, X)
    return A1, logits(network, A1)


def _sum(W: Array, A: Array, b: Array) -> Array:
    """Σ_k W[..., k] A[..., k, :] + b: (..., K), (..., K, M), (...) -> (..., M).

    Terms are added in a fixed order, so that a network's result does not depend on R to the last bit. Rows with huge
    weights are scaled down by a power of two (exact) before they are summed, so that an overflow keeps the sum's sign.
    """
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        top = max(np.abs(W).max(initial=0.0), np.abs(b).max(initial=0.0))
        if top <= _HUGE:
            return _accumulate(W, A, b)
        largest = np.maximum(np.abs(W).max(axis=-1), np.abs(b))
        exponent = np.where((largest > _HUGE) & np.isfinite(largest), np.frexp(largest)[1], 0)
        small = _accumulate(np.ldexp(W, -exponent[..., None]), A, np.ldexp(b, -exponent))
        scaled: Array = np.ldexp(small, exponent[..., None])
        return scaled


def _accumulate(W: Array, A: Array, b: Array) -> Array:
    # networks are innermost in memory: loops over R are several times faster than short ones over M
    W, b = np.asfortranarray(W), np.asfortranarray(b)
    total = np.empty((*b.shape, A.shape[-1]), dtype=np.result_type(W, A), order="F")
    np.multiply(W[..., 0, None], A[..., 0, :], out=total)
    term = np.empty_like(total)
    for k in range(1, W.shape[-1]):
        np.multiply(W[..., k, None], A[..., k, :], out=term)
        total += term
    total += b[..., None]
    return total


def losses(Z2: Array, Y: Array, loss: str) -> Array:
    """The mean cost over the samples of each network, (R,), from logits Z2 (R, M) and targets Y (M,) of 0 and 1.

    ``cross_entropy`` is mean softplus((1 - 2y) z2): no log(0), no cancellation. ``mse`` is the mean of ½ (a2 - y)².
    """
    S = 2 * Y - 1
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        if loss == "cross_entropy":
            cost: Array = np.logaddexp(0, -S * Z2)
        else:  # a2 - y = ½ (tanh(z2/2) - s)
            cost = np.square(np.tanh(Z2 / 2) - S) / 8
        return _mean(cost)


def solving_loss(n_samples: int) -> float:
    """The mean cross-entropy below which a correct network is `solved` on M samples."""
    return SOLVED / n_samples


def _mean(values: Array) -> Array:
    """The mean over the last axis, added in a fixed order, so that it does not depend on the number of rows."""
    total = np.zeros_like(values[..., 0])
    for i in range(values.shape[-1]):
        total += values[..., i]
    total /= values.shape[-1]
    return total


def loss_and_gradients(
    network: Network, X: ArrayLike, Y: ArrayLike, loss: Loss = "cross_entropy"
) -> tuple[Array, Network]:
    """The cost and its gradient with respect to every weight, for R networks at once.

    Args:
        network: R networks.
        X: (N, M) inputs in the network's encoding, samples as columns.
        Y: (M,) targets, 0 or 1.
        loss: "cross_entropy" or "mse" (the mean of ½ (a2 - y)²).

    Returns:
        The costs (R,), and the gradients as a `Network` of the same shapes.

    Raises:
        UsageError: a wrong name or shape, inputs that are not finite, targets other than 0 and 1.
    """
    check_name("loss", loss, LOSSES)
    x = _checked_inputs(network, X)
    y = _checked_targets(Y, x)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        A1, Z2 = forward(network, x)
        T, S = np.tanh(Z2 / 2), 2 * y - 1
        dZ2 = (T - S) / (2 * len(y))
        if loss == "mse":
            dZ2 *= (1 - T * T) / 4
        slope = 1 - A1 * A1 if network.activation == "tanh" else A1 * (1 - A1)
        dZ1 = network.W2[:, :, None] * dZ2[:, None, :] * slope
        dW1 = dZ1 @ x.T
        dW2 = (A1 @ dZ2[:, :, None])[:, :, 0]
        return losses(Z2, y, loss), network.with_weights(dW1, dZ1.sum(axis=2), dW2, dZ2.sum(axis=1))


def predict(network: Network, X: ArrayLike) -> Array:
    """The networks' answers as probabilities, (R, M), for inputs X (N, M) in their encoding, samples as columns.

    Raises:
        UsageError: a wrong shape, or inputs that are not finite.
    """
    return sigmoid(forward(network, _checked_inputs(network, X))[1])


def check_name(key: str, value: object, known: Sequence[str]) -> None:
    """Raise a UsageError unless ``value`` is one of ``known``."""
    if value not in known:
        raise UsageError(f"{key} = {value!r}: expected one of {', '.join(known)}{_guess(value, known)}")


def _guess(value: object, known: Sequence[str]) -> str:
    guess = nearest(value, known) if isinstance(value, str) else ""
    return guess if "did you mean" in guess else ""


def check_inputs(network: Network, task: Task) -> None:
    """Raise a UsageError unless the network has as many inputs as the task."""
    if network.n_inputs != task.n_inputs:
        raise UsageError(
            f"network.W1: takes {network.n_inputs} inputs (shape {network.W1.shape}), expected {task.n_inputs}"
        )


def _checked_inputs(network: Network, X: ArrayLike) -> Array:
    x = np.asarray(X, dtype=network.dtype)
    N = network.n_inputs
    if x.ndim != 2 or x.shape[0] != N or x.shape[1] == 0:
        raise UsageError(f"X: shape {x.shape}, expected ({N}, M): {N} inputs, M samples as columns")
    if not np.isfinite(x).all():
        raise UsageError("X: holds nan or inf, expected finite numbers")
    return x


def _checked_targets(Y: ArrayLike, X: Array) -> Array:
    y = np.asarray(Y, dtype=X.dtype)
    if y.shape != X.shape[1:]:
        raise UsageError(f"Y: shape {y.shape}, expected ({X.shape[1]},), a target for each column of X")
    if not np.isin(y, (0, 1)).all():
        raise UsageError("Y: expected targets of 0 and 1 only")
    return y
