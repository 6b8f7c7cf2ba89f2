"""The hidden units of a tile and the gradient of their weights, in as few operations as the inputs allow (floor 2).

Axes: m samples (M), k inputs and the bias (K = N + 1), h hidden units (H), r replicas, the networks of a tile.

Two ways, chosen by the inputs alone. Forward, both put tanh(z), z = sum_k X W1 (or half of it), into A; backward, both
put sum_m D A X into dW1.

- `TruthTable`: all 2^N rows of two values, counting up. The rows that raise an input are the rows that do not, plus its
  weight: N doublings of A, and N foldings for the gradient, M additions in all instead of K M multiplications. In
  float64, where powers cost most, the powers are doubled: 2^(b + w) = 2^b 2^w, K H of them instead of M H.
- `Products`: any inputs, by one matrix product of M rows and one of K.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

LANES = 64
"""Widths are multiples of this: whole vectors of any CPU, and of the unrolled loops over them."""

_EXPONENTS = 1000.0
"""Products of powers of two neither overflow nor lose bits while all exponents on the way stay within this."""
_TO_POWER = -2 * math.log2(math.e)
"""e^-2z = 2^U with U this many z."""
_ONE, _TWO = np.array(1.0), np.array(2.0)


def is_truth_table(X: Array) -> bool:
    """Whether X (N, M) holds all rows of 0 and 1, or of -1 and +1, counting up with the first input as highest bit."""
    N, M = X.shape
    if M != 1 << N:
        return False
    bits = np.arange(M) >> np.arange(N)[::-1, None] & 1
    return np.array_equal(X, bits) or np.array_equal(X, 2 * bits - 1)


def tanh_scale(dtype: Any) -> float:
    """How many z `tanh` takes in the place of z."""
    return 1.0 if dtype == np.float32 else _TO_POWER


def tanh(A: Array) -> None:
    """Replace `tanh_scale` z in A by the tanh of z.

    float64: 2/(1 + e^-2z) - 1, to 4e-16 absolutely and exactly 0 at 0. It takes a third of the time of np.tanh where
    that looks up its coefficients by slow gathers (AVX2), and 0.7 of it with AVX-512. float32: np.tanh, whose small
    values are precise too: an absolute error of 1e-7 would be seen in networks that start near zero.
    """
    if A.dtype == np.float32:
        np.tanh(A, out=A)
    else:
        np.exp2(A, out=A)
        _tanh_of_power(A)


def _tanh_of_power(A: Array) -> None:
    """Replace e^-2z in A by tanh(z)."""
    np.add(A, _ONE, out=A)
    np.divide(_TWO, A, out=A)
    np.subtract(A, _ONE, out=A)


class TruthTable:
    """All rows of two values.

    With -1 and +1 the sum b ± w1 ± w2 is that of 0 and 1 with b - w1 - w2, 2 w1 and 2 w2.

    Args:
        halved: A becomes tanh(z/2).
        bipolar: the two values are -1 and +1, else 0 and 1.
        W1: (K, H, r) weights, the bias last. A: (M, H, r). dW1: (K, H, r), which also serves the forward pass.
    """

    def __init__(self, halved: bool, bipolar: bool, W1: Array, A: Array, dW1: Array) -> None:
        self._bipolar, self._W1, self._A, self._dW1 = bipolar, W1, A, dW1
        self._scale = np.asarray(tanh_scale(A.dtype) * (0.5 if halved else 1.0), A.dtype)
        self._doublings = _halves(dW1, A)
        self._foldings = self._doublings[:0:-1]
        self._limit = _EXPONENTS / len(W1)

    def forward(self) -> None:
        """A = tanh(X^T W1)."""
        terms, A = self._terms(), self._A
        if A.dtype == np.float32:
            A[0] = terms[-1]
            _double(np.add, self._doublings)
            tanh(A)
            return
        # argmax starts faster than max does, and finds nan as well
        near = terms.item(terms.argmax()) <= self._limit and terms.item(terms.argmin()) >= -self._limit
        lanes, powers = (None, None) if near else self._far(terms)
        np.exp2(terms[-1], out=A[0])
        np.exp2(terms[:-1], out=terms[:-1])
        _double(np.multiply, self._doublings)
        if lanes is not None:
            A[..., lanes] = powers
        _tanh_of_power(A)

    def _terms(self) -> Array:
        """What a row adds for each input that it raises, and last what every row has: (K, H, r)."""
        terms, W1 = self._dW1, self._W1
        np.multiply(W1, self._scale, out=terms)
        if self._bipolar:
            for term in terms[:-1]:
                terms[-1] -= term
            terms[:-1] *= 2
        return terms

    def _far(self, terms: Array) -> tuple[NDArray[np.intp], Array]:
        """Lanes whose powers may overflow, and theirs (M, H, lanes) from sums; lanes repeat up to whole vectors."""
        lanes = np.flatnonzero(~(np.abs(terms).max(axis=(0, 1)) <= self._limit))
        lanes = np.resize(lanes, -(-len(lanes) // LANES) * LANES)
        own = np.ascontiguousarray(terms[..., lanes])
        powers = np.empty((*self._A.shape[:-1], len(lanes)), terms.dtype)
        powers[0] = own[-1]
        _double(np.add, _halves(own, powers))
        return lanes, np.exp2(powers, out=powers)

    def backward(self, D: Array) -> None:
        """dW1 = sum_m D A X, for D (M, r); A is used up."""
        A, dW1 = self._A, self._dW1
        np.multiply(A, D[:, None], out=A)
        for lower, term, upper in self._foldings:
            np.add.reduce(upper, axis=0, out=term)
            np.add(lower, upper, out=lower)
        dW1[-2] = A[1]
        np.add(A[0], A[1], out=dW1[-1])
        if self._bipolar:  # sum_m ±A = 2 sum over the raised - sum over all
            dW1[:-1] *= 2
            dW1[:-1] -= dW1[-1]


def _halves(terms: Array, out: Array) -> list[tuple[Array, Array, Array]]:
    """For each input, the last first: the rows of ``out`` that do not raise it, its term, the rows that do."""
    return [(out[: 1 << j], terms[-2 - j], out[1 << j : 2 << j]) for j in range(len(terms) - 1)]


def _double(operation: np.ufunc, doublings: list[tuple[Array, Array, Array]]) -> None:
    """Fill a table from its first row: each row gets the terms of the inputs that it raises by ``operation``."""
    for lower, term, upper in doublings:
        operation(lower, term, out=upper)


class Products:
    """Any inputs.

    Args:
        X: (K, M) inputs, the last row ones. halved: A becomes tanh(z/2).
        W1: (K, H, r) weights, the bias last. A: (M, H, r). dW1: (K, H, r).
    """

    def __init__(self, X: Array, halved: bool, W1: Array, A: Array, dW1: Array) -> None:
        self._A, self._A_rows, self._W1_rows = A, A.reshape(len(A), -1), W1.reshape(len(W1), -1)
        self._dW1_rows = dW1.reshape(len(dW1), -1)
        scale = tanh_scale(A.dtype) * (0.5 if halved else 1.0)
        self._back = np.ascontiguousarray(X, A.dtype)
        lanes = W1.shape[2]
        self._forward_products = _row_blocks(np.ascontiguousarray(X.T * scale, A.dtype), self._A_rows, lanes)
        self._backward_products = _row_blocks(self._back, self._dW1_rows, lanes)
        self._scaled = np.empty_like(self._back)

    def forward(self) -> None:
        """A = tanh(X^T W1)."""
        for inputs, rows in self._forward_products:
            np.matmul(inputs, self._W1_rows, out=rows)
        tanh(self._A)

    def backward(self, D: Array) -> None:
        """dW1 = sum_m D A X, for D (M, r); A is used up."""
        if D.shape[1] == 1:  # (D A) X = A (D X), and there are fewer inputs than hidden units
            np.multiply(self._back, D.T, out=self._scaled)
            np.matmul(self._scaled, self._A_rows, out=self._dW1_rows)
            return
        np.multiply(self._A, D[:, None], out=self._A)
        for inputs, rows in self._backward_products:
            np.matmul(inputs, self._A_rows, out=rows)


def _row_blocks(left: Array, out: Array, lanes: int) -> list[tuple[Array, Array]]:
    """The rows of ``left`` and of ``out`` in blocks of one product each, by which all lanes get the same bits.

    In float32 OpenBLAS's kernel for AVX2 sums eight or more products in another order for the first eight columns than
    for the rest, where it makes eight or more rows at once. A lane alone always has the same columns.
    """
    rows, inner = left.shape
    size = 7 if left.dtype == np.float32 and inner >= 8 and lanes > 1 else rows
    return [(left[i : i + size], out[i : i + size]) for i in range(0, rows, size)]
