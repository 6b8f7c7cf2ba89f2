"""The forward pass, cost and gradients are each compared with another way to compute them."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnexp.errors import UsageError
from nnexp.network import model, tasks
from nnexp.network.model import Network, encode, forward, loss_and_gradients, losses, predict
from tests.helpers.symmetries import flip, permute, random_networks

ACTIVATIONS = st.sampled_from(model.ACTIVATIONS)
LOSSES = st.sampled_from(model.LOSSES)
SEEDS = st.integers(0, 2**32 - 1)
SIZES = st.integers(1, 5)


def problem(
    seed: int, R: int, H: int, N: int, M: int, activation: str = "tanh"
) -> tuple[Network, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return (
        random_networks(rng, R, H, N, activation=activation),
        rng.normal(size=(N, M)),
        rng.integers(0, 2, M).astype(float),
    )


def flat(p: Network) -> np.ndarray:
    """(R, number of weights)."""
    return np.concatenate([p.W1.reshape(len(p), -1), p.b1, p.W2, p.b2[:, None]], axis=1)


def unflat(weights: np.ndarray, p: Network) -> Network:
    R, H, N = len(weights), p.hidden_size, p.n_inputs
    W1, b1, W2, b2 = np.split(weights, np.cumsum([H * N, H, H]), axis=1)
    return p.with_weights(W1.reshape(R, H, N), b1, W2, b2[:, 0])


def assert_gradients(p, X, Y, loss, gradients) -> None:
    """Central differences of the cost, one weight at a time, agree with the gradients within 1e-7·norm(g) + 1e-8."""
    step, found, weights = 1e-5, flat(gradients), flat(p)
    differences = np.empty_like(found)
    for k in range(weights.shape[1]):
        costs = []
        for sign in (1, -1):
            moved = weights.copy()
            moved[:, k] += sign * step
            _, Z2 = forward(unflat(moved, p), X)
            costs.append(losses(Z2, Y, loss))
        differences[:, k] = (costs[0] - costs[1]) / (2 * step)
    norm = np.linalg.norm(found, axis=1, keepdims=True)
    assert (np.abs(differences - found) <= 1e-7 * norm + 1e-8).all()


@given(SEEDS, SIZES, SIZES, SIZES, st.integers(1, 6), ACTIVATIONS, LOSSES)
def test_gradients_agree_with_central_differences(seed, R, H, N, M, activation, loss):
    p, X, Y = problem(seed, R, H, N, M, activation)
    assert_gradients(p, X, Y, loss, loss_and_gradients(p, X, Y, loss)[1])


@pytest.mark.parametrize("field", ["W1", "b1", "W2", "b2"])
@pytest.mark.parametrize("loss", model.LOSSES)
def test_the_check_of_gradients_catches_a_wrong_one(field, loss):
    """A gradient that is 0.1% too long in one place fails the same check."""
    p, X, Y = problem(3, 2, 3, 2, 4)
    _, right = loss_and_gradients(p, X, Y, loss)
    arrays = {name: getattr(right, name).copy() for name in ("W1", "b1", "W2", "b2")}
    largest = np.unravel_index(np.abs(arrays[field]).argmax(), arrays[field].shape)
    arrays[field][largest] *= 1.001
    with pytest.raises(AssertionError):
        assert_gradients(p, X, Y, loss, p.with_weights(**arrays))


def by_hand(weights: np.ndarray, p: Network, X, Y, loss: str) -> complex | float:
    """The cost of a network of p's form by the textbook's formulas in plain Python, from flat complex weights."""
    import cmath

    H, N, total = p.hidden_size, p.n_inputs, 0
    W1, b1, W2, (b2,) = np.split(weights, np.cumsum([H * N, H, H]))
    for i, y in enumerate(Y):
        z2 = b2
        for k in range(H):
            z1 = b1[k] + sum(W1[k * N + n] * X[n, i] for n in range(N))
            z2 += W2[k] * (cmath.tanh(z1) if p.activation == "tanh" else 1 / (1 + cmath.exp(-z1)))
        a2 = 1 / (1 + cmath.exp(-z2))
        total += -y * cmath.log(a2) - (1 - y) * cmath.log(1 - a2) if loss == "cross_entropy" else (a2 - y) ** 2 / 2
    return total / len(Y)


@given(SEEDS, ACTIVATIONS, LOSSES)
def test_cost_and_gradients_agree_with_complex_steps_through_plain_python(seed, activation, loss):
    """Im J(w + ih)/h is dJ/dw to the last digits: no difference is taken, so h can be 1e-30."""
    p, X, Y = problem(seed, 2, 3, 2, 4, activation)
    cost, gradients = loss_and_gradients(p, X, Y, loss)
    weights = flat(p).astype(complex)
    for r in range(2):
        assert cost[r] == pytest.approx(by_hand(weights[r], p, X, Y, loss).real, rel=1e-12)
        for k in range(weights.shape[1]):
            moved = weights[r].copy()
            moved[k] += 1e-30j
            slope = by_hand(moved, p, X, Y, loss).imag / 1e-30
            assert flat(gradients)[r, k] == pytest.approx(slope, rel=1e-10, abs=1e-14)


@given(SEEDS, st.integers(2, 6), ACTIVATIONS)
def test_networks_have_the_same_bits_together_and_alone(seed, R, activation):
    p, X, Y = problem(seed, R, 3, 2, 4, activation)
    together = predict(p, X)
    Z2 = forward(p, X)[1]
    cost = losses(Z2, Y, "cross_entropy")
    for r in range(R):
        alone = p.select([r])
        assert (predict(alone, X)[0] == together[r]).all()
        assert losses(forward(alone, X)[1], Y, "cross_entropy")[0] == cost[r]


@given(SEEDS, st.permutations(range(4)), st.lists(st.sampled_from([-1.0, 1.0]), min_size=4, max_size=4), ACTIVATIONS)
def test_permuting_and_flipping_hidden_units_changes_nothing(seed, order, signs, activation):
    p, X, _ = problem(seed, 3, 4, 2, 5, activation)
    q = permute(flip(p, np.array(signs)), np.array(order))
    np.testing.assert_allclose(forward(q, X)[1], forward(p, X)[1], rtol=0, atol=1e-12)


def test_negated_outputs_and_targets_mirror_the_cost_and_gradients_to_the_bit():
    """XOR's training is XNOR's with W2 and b2 negated: cost and gradients are exactly odd."""
    p, X, Y = problem(0, 5, 3, 2, 4)
    negated = p.with_weights(p.W1, p.b1, -p.W2, -p.b2)
    for loss in model.LOSSES:
        cost, g = loss_and_gradients(p, X, Y, loss)
        other_cost, other = loss_and_gradients(negated, X, 1 - Y, loss)
        assert (cost == other_cost).all()
        assert (g.W1 == other.W1).all()
        assert (g.b1 == other.b1).all()
        assert (g.W2 == -other.W2).all()
        assert (g.b2 == -other.b2).all()


def test_the_cost_of_certain_answers_is_exact():
    """Softplus neither overflows nor cancels: a wrong logit of 800 costs 800, a right one 0, a right 40 e^-40."""
    Z2 = np.array([[800.0, -800.0], [-800.0, 800.0], [40.0, -40.0]])
    cost = losses(Z2, np.array([1.0, 0.0]), "cross_entropy")
    assert cost[:2].tolist() == [0, 800]
    assert cost[2] == pytest.approx(math.exp(-40), rel=1e-12)
    assert losses(Z2, np.array([1.0, 0.0]), "mse").tolist() == [0, 0.5, pytest.approx(0, abs=1e-30)]


def test_probabilities_keep_their_relative_accuracy():
    p = Network(np.zeros((2, 1, 1)), np.zeros((2, 1)), np.zeros((2, 1)), [-100.0, 100.0], activation="tanh")
    a = predict(p, np.zeros((1, 1)))
    assert a[0, 0] == pytest.approx(math.exp(-100), rel=1e-12)
    assert a[1, 0] == 1


def test_sums_of_huge_weights_keep_their_sign():
    """1.7e308 + 1.7e308 - 1.7e308 - 1.6e308 is positive, though its first step overflows; others are as before."""
    big = 1.7e308
    W1 = [[[big, big, -big]], [[1.0, 2.0, 3.0]]]
    p = Network(W1, [[-1.6e308], [0.5]], np.ones((2, 1)), np.zeros(2), activation="tanh")
    A1, _ = forward(p, np.ones((3, 1)))
    assert A1[0, 0, 0] == 1
    assert A1[1, 0, 0] == np.tanh(6.5)
    assert forward(p.select([1]), np.ones((3, 1)))[0][0, 0, 0] == A1[1, 0, 0]
    g = loss_and_gradients(p, np.ones((3, 1)), np.ones(1))[1]
    assert np.isfinite(flat(g)).all()


def test_float32_stays_float32():
    p, X, Y = problem(0, 2, 3, 2, 4)
    q = p.astype(np.float32)
    cost, g = loss_and_gradients(q, X, Y)
    assert {cost.dtype, g.W1.dtype, g.b1.dtype, g.W2.dtype, g.b2.dtype, predict(q, X).dtype} == {np.dtype("float32")}


def test_encodings_of_xnor():
    X, Y = encode(tasks.get("xnor"), "binary")
    assert X.tolist() == [[0, 0, 1, 1], [0, 1, 0, 1]]
    assert Y.tolist() == [1, 0, 0, 1]
    X, Y = encode(tasks.get("xnor"), "bipolar")
    assert X.tolist() == [[-1, -1, 1, 1], [-1, 1, -1, 1]]
    assert Y.tolist() == [1, 0, 0, 1]


GOOD = problem(0, 2, 3, 2, 4)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"X": np.zeros((3, 4))}, r"X: shape \(3, 4\), expected \(2, M\)"),
        ({"X": np.zeros(4)}, "X: shape"),
        ({"X": np.zeros((2, 0)), "Y": np.zeros(0)}, "X: shape"),
        ({"X": np.full((2, 4), np.nan)}, "X: holds nan"),
        ({"Y": np.zeros(3)}, r"Y: shape \(3,\), expected \(4,\)"),
        ({"Y": np.full(4, 0.5)}, "Y: expected targets of 0 and 1"),
        ({"loss": "hinge"}, "loss = 'hinge'"),
    ],
)
def test_wrong_arguments_are_named(change, words):
    p, X, Y = GOOD
    with pytest.raises(UsageError, match=words):
        loss_and_gradients(p, **{"X": X, "Y": Y, **change})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"activation": "relu"}, "activation = 'relu': expected one of tanh, sigmoid"),
        ({"activation": "sigmiod"}, "did you mean 'sigmoid'"),
        ({"encoding": "ternary"}, "encoding = 'ternary': expected one of binary, bipolar"),
        ({"W1": np.zeros((2, 3))}, r"network\.W1: shape \(2, 3\), expected \(R, H, N\)"),
        ({"b1": np.zeros((2, 2))}, r"network\.b1: shape \(2, 2\), expected \(2, 3\)"),
        ({"b2": np.zeros((2, 1))}, r"network\.b2"),
        ({"W2": np.zeros((2, 3), dtype=complex)}, r"network\.W2: found complex128"),
    ],
)
def test_a_network_is_checked_when_it_is_made(change, words):
    with pytest.raises(UsageError, match=words):
        replace(GOOD[0], **change)


def test_a_network_needs_its_activation():
    with pytest.raises(TypeError, match="activation"):
        Network(*GOOD[0].weights)


def test_a_network_can_be_made_from_lists_and_keeps_its_form():
    p = Network([[[20, 20], [-20, -20]]], [[-30, 10]], [[20, 20]], [-10], activation="sigmoid", encoding="bipolar")
    assert (len(p), p.hidden_size, p.n_inputs, p.dtype) == (1, 2, 2, np.float64)
    for same in (p.select([0]), p.astype(np.float32), p.copy(), p.with_weights(*p.weights)):
        assert (same.activation, same.encoding) == ("sigmoid", "bipolar")


def test_a_notebook_shows_a_network_as_a_table():
    """The first network's weights, and the form to which they belong; no network at all is shown too."""
    p = Network([[[20, 20], [-20, -20]]], [[-30, 10]], [[20, 20]], [-10], activation="sigmoid")
    assert repr(p) == "<Network: R = 1, 2 binary inputs, 2 sigmoid hidden units, float64>"
    table = p._repr_html_()
    assert "<tr><td>a1</td><td>20</td><td>20</td><td>-30</td><td>20</td></tr>" in table
    assert "<tr><td>output</td><td></td><td></td><td>-10</td><td></td></tr>" in table
    assert "a1" not in p.select([])._repr_html_()


def test_an_unknown_encoding_is_named():
    with pytest.raises(UsageError, match="encoding = 'ternary'"):
        encode(tasks.get("xnor"), "ternary")
