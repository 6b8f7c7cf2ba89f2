"""The hand-designed networks, their equivalents and their mirrors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nnexp
from nnexp.errors import UsageError
from nnexp.network import tasks
from nnexp.network.model import Network, encode, forward, hidden, loss_and_gradients, losses, predict
from nnexp.network.reference import has_reference, mirrors, reference, to_encoding, to_tanh
from tests.helpers.symmetries import random_networks, to_sigmoid

FORMS = [(a, e) for a in ("sigmoid", "tanh") for e in ("binary", "bipolar")]
XNOR_TABLE = {"inputs": [[0, 0], [0, 1], [1, 0], [1, 1]], "targets": [1, 0, 0, 1]}
DESIGN = {"W1": [[20, 20], [-20, -20]], "b1": [-30, 10], "W2": [20, 20], "b2": -10}


def test_the_xnor_reference_has_the_sources_weights_and_costs_4_546e_5():
    p = nnexp.reference("xnor")
    assert p.W1.tolist() == [[[20, 20], [-20, -20]]]
    assert (p.b1.tolist(), p.W2.tolist(), p.b2.tolist()) == ([[-30, 10]], [[20, 20]], [-10])
    X, Y = encode(tasks.get("xnor"), "binary")
    cost, _ = loss_and_gradients(p, X, Y)
    assert cost[0] == pytest.approx(4.546e-5, abs=5e-9)
    assert ((predict(p, X)[0] > 0.5) == Y).all()


def test_a_reference_is_never_computed_with_another_activation():
    """Its cost needs no argument: with tanh in place of its sigmoid units it would be 5.0."""
    X, Y = encode(tasks.get("xnor"), "binary")
    for activation in ("sigmoid", "tanh"):
        cost, gradients = nnexp.loss_and_gradients(nnexp.reference("xnor", activation), X, Y)
        assert cost[0] == pytest.approx(4.546e-5, abs=5e-9)
        assert gradients.activation == activation


def test_its_tanh_equivalent_is_the_one_of_the_design():
    p = reference("xnor", "tanh")
    assert p.W1.tolist() == [[[10, 10], [-10, -10]]]
    assert (p.b1.tolist(), p.W2.tolist(), p.b2.tolist()) == ([[-15, 5]], [[10, 10]], [10])


@pytest.mark.parametrize("task", ["xnor", "xor", "parity:3"])
def test_the_tanh_equivalent_agrees_to_1e_12_at_10_000_random_inputs(task):
    N = tasks.get(task).n_inputs
    X = np.random.default_rng(0).uniform(-3, 3, (N, 10_000))
    ours, theirs = (predict(reference(task, form), X) for form in ("sigmoid", "tanh"))
    assert np.abs(ours - theirs).max() <= 1e-12


@pytest.mark.parametrize("task", ["xnor", "xor", "parity:3"])
@pytest.mark.parametrize(("activation", "encoding"), FORMS)
def test_every_form_solves_its_task_at_the_same_cost(task, activation, encoding):
    X, Y = encode(tasks.get(task), encoding)
    cost, _ = loss_and_gradients(reference(task, activation, encoding), X, Y)
    assert cost[0] == pytest.approx(4.547e-5, abs=2e-8)


@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(1, 4))
def test_conversions_do_not_change_the_function(seed, H, N):
    rng = np.random.default_rng(seed)
    p, X = random_networks(rng, 3, H, N, activation="sigmoid"), rng.normal(size=(N, 20))
    expected = predict(p, X)
    np.testing.assert_allclose(predict(to_tanh(p), X), expected, atol=1e-13)
    bipolar = to_encoding(p, "bipolar")
    np.testing.assert_allclose(predict(bipolar, 2 * X - 1), expected, atol=1e-13)
    np.testing.assert_allclose(predict(to_encoding(bipolar, "binary"), X), expected, atol=1e-13)
    back = to_sigmoid(to_tanh(p))
    np.testing.assert_allclose(back.b2, p.b2, atol=1e-14)


def test_xor_is_xnor_with_its_output_negated():
    xnor, xor = reference("xnor"), reference("xor")
    assert (xor.W1 == xnor.W1).all()
    assert (xor.W2 == -xnor.W2).all()
    assert (xor.b2 == -xnor.b2).all()


@pytest.mark.parametrize(
    ("task", "count"),
    [
        ("xnor", 1),
        ("xor", 1),
        ("parity:3", 3),
        ("parity:5", 15),
        ("parity:8", 127),
        ("symmetry:4", 3),
        ("symmetry:5", 3),
    ],
)
@pytest.mark.parametrize("encoding", ["binary", "bipolar"])
def test_every_mirror_solves_the_same_task_by_another_logic(task, count, encoding):
    X, Y = encode(tasks.get(task), encoding)
    others = mirrors(task, encoding)
    assert len(others) == count
    assert ((predict(others, X) > 0.5) == Y).all()
    patterns = hidden(with_reference(others, task, encoding), X) > 0
    logics = {frozenset(min(tuple(unit), tuple(~unit)) for unit in units) for units in patterns}
    assert len(logics) == count + 1


def with_reference(others: Network, task: str, encoding: str) -> Network:
    """The mirrors and the reference, in tanh form."""
    own = reference(task, "tanh", encoding)
    return own.with_weights(*map(np.concatenate, zip(own.weights, others.weights, strict=True)))


@pytest.mark.parametrize("task", ["parity:2", "parity:7", "symmetry:2", "symmetry:6", "symmetry:7", "symmetry:10"])
def test_the_designs_of_1986_solve_their_tasks(task):
    X, Y = encode(tasks.get(task), "binary")
    assert losses(forward(reference(task), X)[1], Y, "cross_entropy")[0] < 1e-4
    assert reference(task).hidden_size == (2 if task.startswith("symmetry") else X.shape[0])


def test_the_mirror_of_xnor_is_x1_and_not_x2_with_its_converse():
    p = mirrors("xnor")
    X, _ = encode(tasks.get("xnor"), "binary")
    on = np.einsum("hn,nm->hm", p.W1[0], X) + p.b1[0][:, None] > 0
    assert on.astype(int).tolist() == [[0, 1, 0, 0], [0, 0, 1, 0]]


def test_a_task_whose_mirror_is_another_task_has_none():
    table = {"inputs": XNOR_TABLE["inputs"], "targets": [0, 0, 0, 1]}
    design = {"W1": [[20, 20]], "b1": [-30], "W2": [20], "b2": -10}
    assert has_reference(tasks.from_table({**table, "reference": design}))
    assert mirrors(tasks.from_table({**table, "reference": design})) is None


@pytest.mark.parametrize("task", ["and", "or", "nand", "nor", "majority:3"])
def test_the_error_names_a_task_without_a_reference(task):
    assert not has_reference(task)
    assert mirrors(task) is None
    with pytest.raises(UsageError, match=f"task = '{task}': no hand-designed network"):
        reference(task)


def test_a_table_may_have_its_own_reference():
    task = tasks.from_table({**XNOR_TABLE, "reference": DESIGN})
    assert (reference(task).W1 == reference("xnor").W1).all()
    assert has_reference(task.spec)
    assert not has_reference(tasks.from_table(XNOR_TABLE))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"b2": 10}, r"task.reference: answers 2 of 4 rows right, first wrong at inputs\[1\] = \[0, 1\]"),
        ({"W2": [2, 2], "b2": -1}, "task.reference: mean cross-entropy"),
        ({"b1": [-20, 10]}, r"task.reference: hidden unit 1 is undecided .* at inputs\[1\]"),
    ],
)
def test_a_reference_that_does_not_solve_its_own_task_is_refused(change, words):
    task = tasks.from_table({**XNOR_TABLE, "reference": {**DESIGN, **change}})
    for ask in (reference, has_reference, mirrors):
        with pytest.raises(UsageError, match=words):
            ask(task)


def test_a_reference_is_the_callers_own():
    reference("xnor").W1[:] = 0
    assert reference("xnor").W1.any()


def test_unknown_forms_are_named():
    with pytest.raises(UsageError, match="activation = 'relu'"):
        reference("xnor", "relu")
    with pytest.raises(UsageError, match="encoding = 'gray'"):
        reference("xnor", encoding="gray")
