"""Initial weights have the distributions of the papers; those of a network depend on its own number alone."""

from __future__ import annotations

import math

import numpy as np
import pytest

from nnexp.network import initializers
from nnexp.network.settings import INITIALIZERS, Settings


@pytest.mark.parametrize("init", INITIALIZERS)
def test_a_network_is_drawn_the_same_in_any_group(init: str) -> None:
    """The weights of network i do not depend on which others are drawn, nor on their order or number."""
    s = Settings(init=init, hidden_size=3)
    rng = np.random.default_rng(0)
    whole = initializers.draw(s, range(1000))
    for _ in range(20):
        index = rng.integers(0, 1000, rng.integers(1, 40))
        some = initializers.draw(s, index)
        np.testing.assert_array_equal(some.W1, whole.W1[index])
        np.testing.assert_array_equal(some.W2, whole.W2[index])


def test_settings_that_differ_elsewhere_share_their_draws() -> None:
    """Learning rate, epochs and activation do not change the draw; scale and dtype scale and round it."""
    a = initializers.draw(Settings(), [5, 900])
    b = initializers.draw(Settings(learning_rate=9.0, epochs=3, activation="sigmoid", loss="mse"), [5, 900])
    np.testing.assert_array_equal(a.W1, b.W1)
    c = initializers.draw(Settings(init_scale=4.0, dtype="float32"), [5, 900])
    np.testing.assert_array_equal((4 * a.W1).astype("float32"), c.W1)
    assert c.W1.dtype == c.b1.dtype == c.W2.dtype == c.b2.dtype == np.float32


def test_seed_hidden_size_and_initializer_each_give_other_draws() -> None:
    """No two of them share their random numbers."""
    first = [
        initializers.draw(Settings(**changes), [7]).W1.ravel()[0]
        for changes in ({}, {"seed": 1}, {"hidden_size": 5}, {"init": "he_normal"}, {"init": "uniform"})
    ]
    assert len(set(first)) == len(first)


@pytest.mark.parametrize(
    ("init", "std1", "std2"),
    [
        ("normal", 1, 1),
        ("uniform", 1 / math.sqrt(3), 1 / math.sqrt(3)),
        ("glorot_uniform", math.sqrt(2 / 8), math.sqrt(2 / 7)),
        ("glorot_normal", math.sqrt(2 / 8), math.sqrt(2 / 7)),
        ("he_normal", 1, math.sqrt(2 / 6)),
        ("orthogonal", 1 / math.sqrt(6), 1 / math.sqrt(6)),
    ],
)
def test_spread_is_that_of_the_papers(init: str, std1: float, std2: float) -> None:
    """W1 has fans (2, 6), W2 has fans (6, 1); means are 0, biases exactly so."""
    p = initializers.draw(Settings(init=init, hidden_size=6, task="xnor"), range(20_000))
    for W, std in ((p.W1, std1), (p.W2, std2)):
        assert abs(W.mean()) < 0.01
        assert W.std() == pytest.approx(std, rel=0.02)
    assert not p.b1.any()
    assert not p.b2.any()


def test_bounded_initializers_keep_their_bounds() -> None:
    """U(-1, 1), and Glorot's a = sqrt(6 / (fan_in + fan_out))."""
    assert np.abs(initializers.draw(Settings(init="uniform"), range(5000)).W1).max() < 1
    p = initializers.draw(Settings(init="glorot_uniform", hidden_size=4), range(5000))
    assert 0.99 < np.abs(p.W1).max() <= 1.0
    assert np.abs(p.W2).max() <= math.sqrt(6 / 5)


@pytest.mark.parametrize(("hidden", "task"), [(1, "xnor"), (2, "xnor"), (5, "xnor"), (3, "parity:4")])
def test_orthogonal_rows_or_columns_are_orthonormal(hidden: int, task: str) -> None:
    """Rows or columns, whichever are fewer; both signs of an entry are equally frequent."""
    p = initializers.draw(Settings(init="orthogonal", hidden_size=hidden, task=task), range(512))
    W = p.W1 if p.W1.shape[1] <= p.W1.shape[2] else p.W1.transpose(0, 2, 1)
    identity = np.broadcast_to(np.eye(W.shape[1]), (512, W.shape[1], W.shape[1]))
    np.testing.assert_allclose(W @ W.transpose(0, 2, 1), identity, atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(p.W2, axis=1), 1, atol=1e-12)
    assert 0.4 < (p.W1[:, 0, 0] > 0).mean() < 0.6


def test_a_scale_beyond_the_dtype_is_silent() -> None:
    """Such a network is counted as diverged later; drawing it causes no warning."""
    p = initializers.draw(Settings(init="normal", init_scale=1e300, dtype="float32"), range(10))
    assert np.isinf(p.W1).all()
