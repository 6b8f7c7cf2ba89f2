"""The two-layer network: forward, cost and every gradient, as pure functions on arrays (floor 1).

Axes: R networks, H hidden units, N inputs, M samples (the source text's m). Samples are columns.

The derivation, equation by equation. g is tanh or sigmoid, s = 2y - 1 is the target as -1 or +1, ∘ is elementwise::

    forward     Z1 = W1 X + b1         A1 = g(Z1)             (H, M)
                Z2 = W2 A1 + b2        A2 = sigmoid(Z2)       (1, M)

    1) cost     J  = -1/m Σ_i [ y_i log a2_i + (1 - y_i) log(1 - a2_i) ]
                   =  1/m Σ_i softplus((1 - 2 y_i) z2_i)  as -log sigmoid(z) = softplus(-z); 1 - a(z) = a(-z)
    2) J by a2  dJ/da2_i = -1/m [ y_i / a2_i - (1 - y_i) / (1 - a2_i) ]
    3) sigmoid  da/dz = a (1 - a)
    4) J by z2  dZ2 = (A2 - Y) / m = ½ (tanh(Z2/2) - S) / m   as sigmoid(z) = ½ (1 + tanh(z/2)); odd in (z2, s)
    5) z2       z2_i = Σ_k w2_k a1_ki + b2:   dz2_i/dw2_k = a1_ki,   dz2_i/db2 = 1,   dz2_i/da1_ki = w2_k
    6) layer 2  dW2 = dZ2 A1ᵀ                                 (1, H)
                db2 = Σ_i dZ2_i                               (the source stops before this one)
    7) hidden   dZ1 = (W2ᵀ dZ2) ∘ g'(Z1)                      g' = 1 - a1² for tanh, a1 (1 - a1) for sigmoid
    8) layer 1  z1_ki = Σ_j w1_kj x_ji + b1_k:   dz1_ki/dw1_kj = x_ji,   dz1_ki/db1_k = 1, hence
                dW1 = dZ1 Xᵀ                                  (H, N)
                db1 = Σ_i dZ1_i                               (H,)

With ``loss="mse"`` only J and step 4 differ::

    J   = 1/m Σ_i ½ (a2_i - y_i)²
    dZ2 = (A2 - Y) ∘ A2 ∘ (1 - A2) / m = (T - S) ∘ (1 - T²) / (8 m),   T = tanh(Z2/2)

The program follows the mathematics where the source text slips:

- layer 2 is printed as ``W2 X + b2``: its input is A1; the XNOR section prints its input as ``a[2]``: it is ``a[1]``
- the biases carry a sample index: they are shared by all samples
- the cost lacks the ``+`` between its two terms; the matrix form in step 4 lacks the minus in ``(y - a)``
- step 5 mixes the indices k and l, and the layer of a4; step 7 reuses l; the rows of the layer-1 display are garbled
- the derivation stops at dZ1: dW1, db1 and db2 are completed above
- the XNOR section prints ``tanh`` for a1, a2 and y beside a matrix form with ``sigmoid``. With the printed weights only
  sigmoid works: tanh hidden units give the logits -10, -50, -50, -10, a constant answer (see `gates.explain_reference`)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnexp.errors import UsageError, nearest
from nnexp.network.tasks import Task

Array = NDArray[np.floating]

ACTIVATIONS = ("tanh", "sigmoid")
LOSSES = ("cross_entropy", "mse")
ENCODINGS = ("binary", "bipolar")

#: Weights beyond this are scaled down before they are summed, so that a sum of finite weights is never inf - inf.
_HUGE = 1e30


@dataclass(frozen=True, eq=False)
class Parameters:
    """Weights of R networks of N inputs and H hidden units.

    Attributes:
        W1: (R, H, N). b1: (R, H). W2: (R, H). b2: (R,).
    """

    W1: Array
    b1: Array
    W2: Array
    b2: Array

    def __len__(self) -> int:
        return len(self.b2)

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

    def select(self, index: slice | Sequence[int] | NDArray[np.integer] | NDArray[np.bool_]) -> Parameters:
        """The networks at ``index`` (positions, a slice or a mask), in that order."""
        return Parameters(self.W1[index], self.b1[index], self.W2[index], self.b2[index])

    def astype(self, dtype: Any) -> Parameters:
        """The same weights in another type; the same arrays where they have it already."""
        return Parameters(*(a.astype(dtype, copy=False) for a in (self.W1, self.b1, self.W2, self.b2)))

    def copy(self) -> Parameters:
        """The same weights in arrays of their own."""
        return Parameters(self.W1.copy(), self.b1.copy(), self.W2.copy(), self.b2.copy())

    def finite(self) -> NDArray[np.bool_]:
        """(R,) whether all of a network's weights are finite numbers."""
        found = np.isfinite(self.b2)
        for array in (self.W1, self.b1, self.W2):
            found &= np.isfinite(array).all(axis=tuple(range(1, array.ndim)))
        return found


def encode(task: Task, encoding: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What a network sees of a task: X (N, M), 0/1 (binary) or -1/+1 (bipolar), and Y (M,), always 0/1.

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


def hidden(parameters: Parameters, X: Array, activation: str) -> Array:
    """A1 = g(W1 X + b1), (R, H, M)."""
    Z1 = _sum(parameters.W1, X[None, None], parameters.b1)
    return np.tanh(Z1) if activation == "tanh" else sigmoid(Z1)


def logits(parameters: Parameters, A1: Array) -> Array:
    """Z2 = W2 A1 + b2, (R, M), from the hidden units' values A1 (R, H, M)."""
    return _sum(parameters.W2, A1, parameters.b2)


def forward(parameters: Parameters, X: Array, activation: str) -> tuple[Array, Array]:
    """A1 (R, H, M) and the logits Z2 (R, M) for inputs X (N, M); unchecked, see `predict`."""
    A1 = hidden(parameters, X, activation)
    return A1, logits(parameters, A1)


def _sum(W: Array, A: Array, b: Array) -> Array:
    """Σ_k W[..., k] A[..., k, :] + b: (..., K), (..., K, M), (...) -> (..., M).

    Term by term, in one order, so that a network's bits do not depend on the batch it stands in. Rows with huge weights
    are summed at a smaller scale (a power of two: exact), so that an overflow keeps the sum's sign.
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
    # networks are innermost in memory: long rows of R instead of short ones of M, several times faster
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
    """Each network's mean cost over the samples, (R,), from logits Z2 (R, M) and targets Y (M,) of 0 and 1.

    ``cross_entropy`` is mean softplus((1 - 2y) z2): no log(0), no cancellation. ``mse`` is the mean of ½ (a2 - y)².
    """
    S = 2 * Y - 1
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        if loss == "cross_entropy":
            cost: Array = np.logaddexp(0, -S * Z2)
        else:  # a2 - y = ½ (tanh(z2/2) - s)
            cost = np.square(np.tanh(Z2 / 2) - S) / 8
        return _mean(cost)


def _mean(values: Array) -> Array:
    """The mean over the last axis, summed in one order whatever the number of rows."""
    total = np.zeros_like(values[..., 0])
    for i in range(values.shape[-1]):
        total += values[..., i]
    total /= values.shape[-1]
    return total


def loss_and_gradients(
    parameters: Parameters, X: ArrayLike, Y: ArrayLike, activation: str = "tanh", loss: str = "cross_entropy"
) -> tuple[Array, Parameters]:
    """The cost and its gradient with respect to every weight, for R networks at once.

    Args:
        parameters: R networks.
        X: (N, M) inputs, samples as columns.
        Y: (M,) targets, 0 or 1.
        activation: the hidden units', "tanh" or "sigmoid".
        loss: "cross_entropy" or "mse" (the mean of ½ (a2 - y)²).

    Returns:
        The costs (R,), and the gradients in the shape of the parameters.

    Raises:
        UsageError: a wrong name or shape, inputs that are not finite, targets other than 0 and 1.
    """
    check_name("activation", activation, ACTIVATIONS)
    check_name("loss", loss, LOSSES)
    p, x = _checked_inputs(parameters, X)
    y = _checked_targets(Y, x)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        A1, Z2 = forward(p, x, activation)
        T, S = np.tanh(Z2 / 2), 2 * y - 1
        dZ2 = (T - S) / (2 * len(y))
        if loss == "mse":
            dZ2 *= (1 - T * T) / 4
        slope = 1 - A1 * A1 if activation == "tanh" else A1 * (1 - A1)
        dZ1 = p.W2[:, :, None] * dZ2[:, None, :] * slope
        dW1 = dZ1 @ x.T
        dW2 = (A1 @ dZ2[:, :, None])[:, :, 0]
        return losses(Z2, y, loss), Parameters(dW1, dZ1.sum(axis=2), dW2, dZ2.sum(axis=1))


def predict(parameters: Parameters, X: ArrayLike, *, activation: str) -> Array:
    """The networks' answers as probabilities, (R, M), for inputs X (N, M), samples as columns.

    Raises:
        UsageError: a wrong name or shape, or inputs that are not finite.
    """
    check_name("activation", activation, ACTIVATIONS)
    p, x = _checked_inputs(parameters, X)
    return sigmoid(forward(p, x, activation)[1])


def check_name(key: str, value: object, known: Sequence[str]) -> None:
    """Raises a UsageError unless ``value`` is one of ``known``."""
    if value not in known:
        raise UsageError(f"{key} = {value!r}: expected one of {', '.join(known)}{_guess(value, known)}")


def _guess(value: object, known: Sequence[str]) -> str:
    guess = nearest(value, known) if isinstance(value, str) else ""
    return guess if "did you mean" in guess else ""


def checked(parameters: Parameters, n_inputs: int | None = None) -> Parameters:
    """The parameters as arrays of one float type, after a check of their shapes.

    Raises:
        UsageError: arrays that do not fit together or (if given) do not take ``n_inputs`` inputs.
    """
    arrays = {key: np.asarray(getattr(parameters, key)) for key in ("W1", "b1", "W2", "b2")}
    for key, array in arrays.items():
        if array.dtype.kind not in "fiu":
            raise UsageError(f"parameters.{key}: found {array.dtype} values, expected real numbers")
    if arrays["W1"].ndim != 3 or 0 in arrays["W1"].shape[1:]:
        raise UsageError(
            f"parameters.W1: shape {arrays['W1'].shape}, expected (R, H, N): networks, hidden units, inputs"
        )
    R, H, N = arrays["W1"].shape
    for key, shape in (("b1", (R, H)), ("W2", (R, H)), ("b2", (R,))):
        if arrays[key].shape != shape:
            raise UsageError(f"parameters.{key}: shape {arrays[key].shape}, expected {shape} to go with W1 {(R, H, N)}")
    if n_inputs is not None and n_inputs != N:
        raise UsageError(f"parameters.W1: takes {N} inputs (shape {(R, H, N)}), expected {n_inputs}")
    dtype = np.result_type(*arrays.values(), np.float32)
    return Parameters(**{key: array.astype(dtype, copy=False) for key, array in arrays.items()})


def _checked_inputs(parameters: Parameters, X: ArrayLike) -> tuple[Parameters, Array]:
    p = checked(parameters)
    x = np.asarray(X, dtype=p.dtype)
    if x.ndim != 2 or x.shape[0] != p.n_inputs or x.shape[1] == 0:
        raise UsageError(f"X: shape {x.shape}, expected ({p.n_inputs}, M): {p.n_inputs} inputs, M samples as columns")
    if not np.isfinite(x).all():
        raise UsageError("X: holds nan or inf, expected finite numbers")
    return p, x


def _checked_targets(Y: ArrayLike, X: Array) -> Array:
    y = np.asarray(Y, dtype=X.dtype)
    if y.shape != X.shape[1:]:
        raise UsageError(f"Y: shape {y.shape}, expected ({X.shape[1]},), a target for each column of X")
    if not np.isin(y, (0, 1)).all():
        raise UsageError("Y: expected targets of 0 and 1 only")
    return y
