"""Both classes of the hidden layer compute the sums of the definition, for any weights."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnexp.training.hidden_layer import LANE_MULTIPLE, Products, TruthTable, is_truth_table
from nnexp.training.tile import numeric_mode

TOLERANCE = {"float64": 1e-13, "float32": 3e-6}


def table(N: int, bipolar: bool) -> np.ndarray:
    """X (N, 2^N)."""
    X = np.array(list(itertools.product((0.0, 1.0), repeat=N))).T
    return 2 * X - 1 if bipolar else X


def both(X: np.ndarray, W1: np.ndarray, D: np.ndarray, dtype: Any, halved: bool) -> list[tuple[np.ndarray, np.ndarray]]:
    """A and dW1 by `TruthTable` and by `Products`."""
    M, (K, H, r) = X.shape[1], W1.shape
    found = []
    for kind in (TruthTable, Products):
        A, dW1 = np.empty((M, H, r), dtype), np.empty((K, H, r), dtype)
        weights = W1.astype(dtype)
        hidden = (
            TruthTable(halved, bool((X < 0).any()), weights, A, dW1)
            if kind is TruthTable
            else Products(np.vstack([X, np.ones(M)]), halved, weights, A, dW1)
        )
        with numeric_mode():
            hidden.forward()
            values = A.copy()
            hidden.backward(D.astype(dtype))
        found.append((values, dW1))
    return found


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@given(
    N=st.integers(1, 6),
    H=st.integers(1, 5),
    bipolar=st.booleans(),
    halved=st.booleans(),
    scale=st.sampled_from([0.01, 1.0, 10.0]),
    seed=st.integers(0, 1000),
)
def test_both_classes_agree_with_the_definition(
    dtype: str, N: int, H: int, bipolar: bool, halved: bool, scale: float, seed: int
) -> None:
    """A = tanh(X^T W1) and dW1 = sum_m D A X, to rounding."""
    rng = np.random.default_rng(seed)
    X = table(N, bipolar)
    W1 = rng.normal(size=(N + 1, H, LANE_MULTIPLE)) * scale
    D = rng.normal(size=(X.shape[1], LANE_MULTIPLE))
    exact = W1.astype(dtype).astype("float64")
    inputs = np.vstack([X, np.ones(X.shape[1])])
    expected = np.tanh(np.einsum("km,khr->mhr", inputs, exact) * (0.5 if halved else 1.0))
    for A, dW1 in both(X, W1, D, dtype, halved):
        np.testing.assert_allclose(A, expected, atol=TOLERANCE[dtype] * max(1.0, scale))
        summed = np.einsum("mr,mhr,km->khr", D, A.astype("float64"), inputs)
        np.testing.assert_allclose(dW1, summed, atol=TOLERANCE[dtype] * 10 * X.shape[1])


@pytest.mark.parametrize("bipolar", [False, True])
@pytest.mark.parametrize("size", [100.0, 400.0, 1e4, 1e200])
def test_weights_beyond_the_range_of_powers_are_summed_first(size: float, bipolar: bool) -> None:
    """Huge weights that cancel: 2^b 2^w would be 0 times infinity, or lose the difference that remains of b + w."""
    X = table(2, bipolar)
    rng = np.random.default_rng(0)
    W1 = rng.normal(size=(3, 2, LANE_MULTIPLE))
    W1[:, :, ::3] *= size
    W1[2, :, ::6] = -W1[0, :, ::6]  # where the first input is 1 (binary), b + w1 is 0
    W1[1, :, ::6] = 0.25
    (A, _), (products, _) = both(X, W1, np.zeros((4, LANE_MULTIPLE)), "float64", False)
    exact = np.tanh(np.einsum("km,khr->mhr", np.vstack([X, np.ones(4)]), W1))
    near = np.abs(W1).max(axis=(0, 1)) < 10
    np.testing.assert_allclose(A[..., near], exact[..., near], atol=1e-14)
    # a sum of huge numbers keeps its last bit, and tanh shows it
    far = A[..., ~near]
    assert np.isfinite(far).all()
    np.testing.assert_allclose(far, products[..., ~near], atol=max(1e-12, size * 1e-15) if size < 1e15 else 2)
    if not bipolar:
        np.testing.assert_allclose(A[2][:, ::6], 0, atol=1e-15)
        np.testing.assert_allclose(A[3][:, ::6], np.tanh(0.25), atol=max(1e-14, size * 1e-15) if size < 1e15 else 1)


def test_not_finite_weights_stay_in_their_lane() -> None:
    """nan, and infinity minus infinity, do not reach other lanes."""
    X = table(2, False)
    W1 = np.random.default_rng(1).normal(size=(3, 2, LANE_MULTIPLE))
    W1[0, 0, 5] = np.nan
    W1[0, 0, 9], W1[2, 0, 9] = np.inf, -np.inf
    (A, _), _ = both(X, W1, np.zeros((4, LANE_MULTIPLE)), "float64", False)
    bad = np.zeros(LANE_MULTIPLE, bool)
    bad[[5, 9]] = True
    assert np.isfinite(A[..., ~bad]).all()
    assert np.isnan(A[2, 0, bad]).all()


def test_only_full_tables_in_counting_order_count_as_truth_tables() -> None:
    """Tables with rows that are missing, repeated or in another order do not."""
    for N, bipolar in itertools.product(range(1, 8), (False, True)):
        assert is_truth_table(table(N, bipolar))
    X = table(3, False)
    assert not is_truth_table(X[:, :-1])
    assert not is_truth_table(X[:, ::-1])
    assert not is_truth_table(X[[1, 0, 2]])
    assert not is_truth_table(np.hstack([X[:, :-1], X[:, :1]]))
    assert not is_truth_table(3 * X)
