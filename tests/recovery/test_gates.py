"""The logic of networks in words."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest

from nnexp.errors import UsageError
from nnexp.network import tasks
from nnexp.network.model import Network
from nnexp.network.reference import mirrors, reference
from nnexp.recovery.gates import explain_network, explain_reference, name_gate
from tests.helpers.symmetries import flip, random_networks, with_units

TWO = list(itertools.product((0, 1), repeat=2))
THREE = list(itertools.product((0, 1), repeat=3))
SIXTEEN = {
    (0, 0, 0, 0): "constant 0",
    (0, 0, 0, 1): "AND",
    (0, 0, 1, 0): "x1 and not x2",
    (0, 0, 1, 1): "x1",
    (0, 1, 0, 0): "not x1 and x2",
    (0, 1, 0, 1): "x2",
    (0, 1, 1, 0): "XOR",
    (0, 1, 1, 1): "OR",
    (1, 0, 0, 0): "NOR",
    (1, 0, 0, 1): "XNOR",
    (1, 0, 1, 0): "not x2",
    (1, 0, 1, 1): "x1 or not x2",
    (1, 1, 0, 0): "not x1",
    (1, 1, 0, 1): "not x1 or x2",
    (1, 1, 1, 0): "NAND",
    (1, 1, 1, 1): "constant 1",
}


@pytest.mark.parametrize(("bits", "name"), SIXTEEN.items())
def test_all_functions_of_two_inputs_have_a_name(bits, name):
    assert name_gate(bits, TWO, ["x1", "x2"]).name == name


@pytest.mark.parametrize("points", [TWO, THREE])
def test_formulas_equal_their_functions(points):
    """Where a formula is written in and, or, not, Python computes the same function from it."""
    names = ["x1", "x2", "x3"][: len(points[0])]
    for bits in itertools.product((0, 1), repeat=len(points)):
        formula = name_gate(bits, points, names).formula
        if set(formula.split()) <= {"and", "or", "not", *names}:
            values = [eval(formula, dict(zip(names, point, strict=True))) for point in points]  # noqa: S307
            assert [int(value) for value in values] == list(bits)


@pytest.mark.parametrize(
    ("rule", "name"),
    [
        (lambda a, b, c: a and b and c, "AND"),
        (lambda a, b, c: not (a or b or c), "NOR"),
        (lambda a, b, c: a + b + c >= 2, "at least 2 of 3"),
        (lambda a, b, c: a + b + c <= 1, "at most 1 of 3"),
        (lambda a, b, c: (a + b + c) % 2, "an odd number of 3"),
        (lambda a, _, c: a and not c, "x1 and not x3"),
        (lambda a, b, c: a and (b or c), "threshold"),
    ],
)
def test_functions_of_three_inputs(rule, name):
    assert name_gate([bool(rule(*point)) for point in THREE], THREE, ["x1", "x2", "x3"]).name == name


def test_the_reference_is_shown_as_the_sources_logic_table():
    explained = explain_reference("xnor")
    table = [tuple(row[key] for key in ("x1", "x2", "a1", "a2", "output")) for row in explained["rows"]]
    assert table == [(0, 0, 0, 1, 1), (0, 1, 0, 0, 0), (1, 0, 0, 0, 0), (1, 1, 1, 0, 1)]
    assert [unit["formula"] for unit in explained["hidden"]] == ["x1 and x2", "not x1 and not x2"]
    assert explained["output"]["formula"] == "a1 or a2"
    assert explained["output"]["explains"]


def test_both_forms_cost_the_same_and_the_literal_tanh_reading_gives_2_of_4():
    explained = explain_reference("xnor")
    for form in ("sigmoid", "tanh"):
        assert explained[form]["loss"] == pytest.approx(4.546e-5, abs=5e-9)
        assert explained[form]["rows_right"] == 4
    literal = explained["literal_tanh"]
    assert literal["logits"] == pytest.approx([-10, -50, -50, -10], abs=1e-6)
    assert literal["rows_right"] == 2
    assert literal["outputs"] == pytest.approx([-1] * 4, abs=1e-8)
    assert "the answer is 0 for every row" in literal["why"]


def test_the_units_of_the_parity_reference_count():
    explained = explain_reference("parity:3")
    assert [unit["gate"] for unit in explained["hidden"]] == ["OR", "at least 2 of 3", "AND"]
    assert explained["sigmoid"]["rows_right"] == 8


@pytest.mark.parametrize("task", ["xnor", "xor", "parity:3"])
def test_explanations_are_plain_json(task):
    assert json.loads(json.dumps(explain_reference(task), allow_nan=False))["task"] == task
    p = random_networks(np.random.default_rng(0), 1, 5, tasks.get(task).n_inputs)
    broken = p.with_weights(p.W1, p.b1, p.W2, np.array([np.nan]))
    for network in (p, broken):
        json.dumps(explain_network(network, task), allow_nan=False)


@pytest.mark.parametrize("encoding", ["binary", "bipolar"])
@pytest.mark.parametrize("activation", ["tanh", "sigmoid"])
def test_a_reference_is_recognised_in_every_form(activation, encoding):
    p = flip(reference("xnor", activation, encoding), np.array([-1.0, 1.0]))
    explained = explain_network(p, "xnor")
    assert [unit["gate"] for unit in explained["hidden"]] == ["NAND", "NOR"]
    assert explained["hidden"][0]["matches"] == {"design": "reference", "unit": 1, "gate": "AND", "flipped": True}
    assert explained["output"]["formula"] == "not a1 or a2"
    assert explained["grades"]["family"] == "hand-designed"
    assert explained["rows_right"] == 4


def test_the_mirrors_logic_is_named():
    explained = explain_network(mirrors("xnor"), "xnor")
    assert [unit["gate"] for unit in explained["hidden"]] == ["not x1 and x2", "x1 and not x2"]
    assert {unit["matches"]["design"] for unit in explained["hidden"]} == {"mirror"}
    assert explained["output"]["gate"] == "NOR"


def test_constant_units_are_held_in_the_output_gate():
    constant = Network(np.zeros((1, 1, 2)), [[9.0]], [[2.0]], [0.0], activation="tanh")
    p = with_units(reference("xnor", "tanh"), constant)
    explained = explain_network(p, "xnor")
    assert explained["hidden"][2]["gate"] == "constant 1"
    assert explained["output"]["of"] == ["a1", "a2"]
    assert explained["output"]["gate"] == "OR"


def test_an_unsaturated_network_is_not_explained_by_its_gates():
    """Its answers come from how much its units are on, which the gates do not see."""
    p = Network([[[0.1, 0.1], [0.1, 0.1]]], [[-0.15, -0.05]], [[1.0, -2.0]], [0.0], activation="tanh")
    explained = explain_network(p, "xnor")
    assert not any(unit["saturated"] for unit in explained["hidden"])
    assert all(unit["matches"] is None for unit in explained["hidden"])
    assert explained["output"]["explains"] is False


def test_many_hidden_units_are_explained_by_the_patterns_that_occur():
    p = random_networks(np.random.default_rng(1), 1, 40, 2, 5)
    explained = explain_network(p, "xnor")
    assert len(explained["hidden"]) == 40
    assert explained["output"]["gate"]


def test_only_one_network_is_explained_at_a_time():
    with pytest.raises(UsageError, match="2 networks, expected 1"):
        explain_network(random_networks(np.random.default_rng(0), 2, 2, 2), "xnor")
    with pytest.raises(UsageError, match="no hand-designed network"):
        explain_reference("and")
