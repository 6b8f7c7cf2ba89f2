"""The hidden units of a tile and the gradient of their weights, in as few operations as the inputs allow.

Axes: m samples (M), k inputs and the bias (K = N + 1), h hidden units (H), r lanes of the tile.

Both classes below do the same. Forward, they compute A = tanh(z) with z = sum_k X W1, or A = tanh(z/2). Backward, they
compute dW1 = sum_m D A X. Which one a tile uses depends on its inputs alone:

- `TruthTable`: X holds all 2^N rows of two values, in counting order. A row that has input j set is the row without it
  plus one term. So each input doubles the number of finished rows: M additions per hidden unit in place of K M
  multiplications. The gradient folds the rows together in the reverse order. In float64, where exponentials cost most,
  the rows are powers of two and the additions become multiplications, 2^(b + w) = 2^b 2^w: K H exponentials in place
  of M H.
- `Products`: any X, by one matrix product in each direction.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

LANE_MULTIPLE = 64
"""The width of a tile is a multiple of this, so that it fills whole vectors of any CPU, in unrolled loops too."""

_MOST_EXPONENT = 1000.0
"""Products of powers of two neither overflow nor lose bits while no sum of their exponents exceeds this in size."""
_LOG2_PER_Z = -2 * math.log2(math.e)
"""e^-2z = 2^U with U = this factor times z."""
_ONE, _TWO = np.array(1.0), np.array(2.0)


def is_truth_table(X: Array) -> bool:
    """Whether X (N, M) holds all rows of 0 and 1, or of -1 and +1, counting up with the first input as highest bit."""
    N, M = X.shape
    if M != 1 << N:
        return False
    bits = np.arange(M) >> np.arange(N)[::-1, None] & 1
    return np.array_equal(X, bits) or np.array_equal(X, 2 * bits - 1)


def tanh_scale(dtype: Any) -> float:
    """The factor by which z has to be multiplied before it is passed to `tanh`."""
    return 1.0 if dtype == np.float32 else _LOG2_PER_Z


def tanh(A: Array) -> None:
    """Compute the hyperbolic tangent of z in place; A holds z times `tanh_scale`.

    float64: 2/(1 + e^-2z) - 1, with an absolute error of 4e-16 and exactly 0 at 0. It takes a third of the time of
    np.tanh where that loads its coefficients by slow gather instructions (AVX2), and 0.7 of it with AVX-512. float32:
    np.tanh, which is accurate for small values too: an absolute error of 1e-7 would matter in networks that start near
    zero.
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
    """Hidden units on all rows of two values.

    The values -1 and +1 are reduced to 0 and 1: b ± w1 ± w2 = (b - w1 - w2) + (0 or 2 w1) + (0 or 2 w2).

    Args:
        halved: compute tanh(z/2) in place of tanh(z).
        bipolar: the two values are -1 and +1, else 0 and 1.
        W1: (K, H, r) weights, the bias last.
        A: (M, H, r) receives the hidden units' values.
        dW1: (K, H, r) receives the gradient; the forward pass uses it as scratch memory.
    """

    def __init__(self, halved: bool, bipolar: bool, W1: Array, A: Array, dW1: Array) -> None:
        self._bipolar, self._W1, self._A, self._dW1 = bipolar, W1, A, dW1
        self._scale = np.asarray(tanh_scale(A.dtype) * (0.5 if halved else 1.0), A.dtype)
        self._doublings = _doublings(dW1, A)
        self._foldings = self._doublings[:0:-1]
        self._limit = _MOST_EXPONENT / len(W1)

    def forward(self) -> None:
        """Compute A = tanh(X^T W1)."""
        terms, A = self._terms(), self._A
        if A.dtype == np.float32:
            A[0] = terms[-1]
            _fill(np.add, self._doublings)
            tanh(A)
            return
        # argmax and argmin have less overhead than max and min, and they find nan as well
        in_range = terms.item(terms.argmax()) <= self._limit and terms.item(terms.argmin()) >= -self._limit
        lanes, powers = (None, None) if in_range else self._powers_of_sums(terms)
        np.exp2(terms[-1], out=A[0])
        np.exp2(terms[:-1], out=terms[:-1])
        _fill(np.multiply, self._doublings)
        if lanes is not None:
            A[..., lanes] = powers
        _tanh_of_power(A)

    def _terms(self) -> Array:
        """The terms of the scaled z, (K, H, r): the last is in every row, term j in the rows that have input j set."""
        terms, W1 = self._dW1, self._W1
        np.multiply(W1, self._scale, out=terms)
        if self._bipolar:
            for term in terms[:-1]:
                terms[-1] -= term
            terms[:-1] *= 2
        return terms

    def _powers_of_sums(self, terms: Array) -> tuple[NDArray[np.intp], Array]:
        """The lanes in which products of powers may overflow, and their powers (M, H, lanes), computed from sums.

        The last lanes are repeated up to a multiple of `LANE_MULTIPLE`.
        """
        lanes = np.flatnonzero(~(np.abs(terms).max(axis=(0, 1)) <= self._limit))
        lanes = np.resize(lanes, -(-len(lanes) // LANE_MULTIPLE) * LANE_MULTIPLE)
        own = np.ascontiguousarray(terms[..., lanes])
        powers = np.empty((*self._A.shape[:-1], len(lanes)), terms.dtype)
        powers[0] = own[-1]
        _fill(np.add, _doublings(own, powers))
        return lanes, np.exp2(powers, out=powers)

    def backward(self, D: Array) -> None:
        """Compute dW1 = sum_m D A X for D (M, r); A is overwritten."""
        A, dW1 = self._A, self._dW1
        np.multiply(A, D[:, None], out=A)
        for without, term, with_input in self._foldings:
            np.add.reduce(with_input, axis=0, out=term)
            np.add(without, with_input, out=without)
        dW1[-2] = A[1]
        np.add(A[0], A[1], out=dW1[-1])
        if self._bipolar:  # sum_m ±A = 2 (the sum over the rows with +1) - the sum over all rows
            dW1[:-1] *= 2
            dW1[:-1] -= dW1[-1]


def _doublings(terms: Array, rows: Array) -> list[tuple[Array, Array, Array]]:
    """For each input, the last one first: the rows without it, its term, and the equally many rows with it."""
    return [(rows[: 1 << j], terms[-2 - j], rows[1 << j : 2 << j]) for j in range(len(terms) - 1)]


def _fill(operation: np.ufunc, doublings: list[tuple[Array, Array, Array]]) -> None:
    """Compute all rows from the first: the rows with an input from the rows without it and the input's term."""
    for without, term, with_input in doublings:
        operation(without, term, out=with_input)


class Products:
    """Hidden units on any inputs.

    Args:
        X: (K, M) inputs; the last row holds ones.
        halved: compute tanh(z/2) in place of tanh(z).
        W1: (K, H, r) weights, the bias last.
        A: (M, H, r) receives the hidden units' values.
        dW1: (K, H, r) receives the gradient.
    """

    def __init__(self, X: Array, halved: bool, W1: Array, A: Array, dW1: Array) -> None:
        self._A, self._A_rows, self._W1_rows = A, A.reshape(len(A), -1), W1.reshape(len(W1), -1)
        self._dW1_rows = dW1.reshape(len(dW1), -1)
        scale = tanh_scale(A.dtype) * (0.5 if halved else 1.0)
        self._X = np.ascontiguousarray(X, A.dtype)
        lanes = W1.shape[2]
        self._forward_products = _row_blocks(np.ascontiguousarray(X.T * scale, A.dtype), self._A_rows, lanes)
        self._backward_products = _row_blocks(self._X, self._dW1_rows, lanes)
        self._DX = np.empty_like(self._X)

    def forward(self) -> None:
        """Compute A = tanh(X^T W1)."""
        for inputs, rows in self._forward_products:
            np.matmul(inputs, self._W1_rows, out=rows)
        tanh(self._A)

    def backward(self, D: Array) -> None:
        """Compute dW1 = sum_m D A X for D (M, r); A is overwritten."""
        if D.shape[1] == 1:  # (D A) X = A (D X), and there are fewer inputs than hidden units
            np.multiply(self._X, D.T, out=self._DX)
            np.matmul(self._DX, self._A_rows, out=self._dW1_rows)
            return
        np.multiply(self._A, D[:, None], out=self._A)
        for inputs, rows in self._backward_products:
            np.matmul(inputs, self._A_rows, out=rows)


def _row_blocks(left: Array, out: Array, lanes: int) -> list[tuple[Array, Array]]:
    """The rows of ``left`` and ``out`` in blocks, each for one product, such that all lanes get the same bits.

    In float32 OpenBLAS's AVX2 kernel adds eight or more terms in another order for the first eight columns than for the
    others when it computes eight or more rows at once. A tile of one lane needs no blocks: its columns never change.
    """
    rows, inner = left.shape
    size = 7 if left.dtype == np.float32 and inner >= 8 and lanes > 1 else rows
    return [(left[i : i + size], out[i : i + size]) for i in range(0, rows, size)]
