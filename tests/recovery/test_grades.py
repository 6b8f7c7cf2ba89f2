"""The grades: against their definitions written again, under the network's symmetries, and at their edges."""

from __future__ import annotations

import itertools
import math
import os
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnexp.errors import UsageError
from nnexp.network import initializers, tasks
from nnexp.network.model import Network, encode, hidden, losses, predict
from nnexp.network.reference import mirrors, reference, to_encoding
from nnexp.network.settings import Settings
from nnexp.recovery.grades import PLATEAUS, Grades, assess, columns, concatenate, solved
from nnexp.training import trainer
from tests.helpers import brute_force_grades
from tests.helpers.symmetries import flip, permute, random_networks, silent, to_sigmoid, with_silent_units, with_units

XNOR = tasks.get("xnor")
SEEDS = st.integers(0, 2**32 - 1)
FORMS = st.tuples(st.sampled_from(["tanh", "sigmoid"]), st.sampled_from(["binary", "bipolar"]))
TASKS = st.sampled_from(["xnor", "xor", "parity:3"])


def in_form(p: Network, form: tuple[str, str]) -> Network:
    """Networks in tanh form on 0/1 inputs, in another form."""
    activation, encoding = form
    return to_encoding(to_sigmoid(p) if activation == "sigmoid" else p, encoding)


def shuffled(p: Network, rng: np.random.Generator) -> Network:
    """A copy by one of the 2^H H! symmetries."""
    H = p.hidden_size
    return permute(flip(p, rng.choice([-1.0, 1.0], H)), rng.permutation(H))


def both(task: str) -> Network:
    """The reference's and the mirror's logic side by side, in tanh form; each alone is enough."""
    ours, other = reference(task, "tanh"), mirrors(task).select([0])
    joined = with_units(ours, other)
    return replace(joined, b2=ours.b2 + other.b2)


@given(SEEDS, TASKS, FORMS, st.integers(0, 4))
def test_a_symmetric_copy_of_the_reference_is_recovered_at_distance_0(seed, task, form, spare):
    rng = np.random.default_rng(seed)
    table = tasks.get(task)
    p = with_silent_units(reference(task, "tanh"), rng, spare, 5)
    grades = assess(shuffled(in_form(p, form), rng), table)
    assert grades.recovered.all()
    assert grades.family.tolist() == ["hand-designed"]
    assert grades.reference_distance[0] == pytest.approx(0, abs=1e-12)
    assert grades.reference_cosine[0] == pytest.approx(1)
    np.testing.assert_allclose(grades.cosine, 1)
    np.testing.assert_allclose(grades.offset, grades.reference_offset)


@given(SEEDS, st.sampled_from(["xnor", "xor"]), FORMS, st.integers(0, 4), st.floats(0, 0.5))
def test_a_noisy_copy_of_the_reference_is_still_recovered(seed, task, form, spare, noise):
    rng = np.random.default_rng(seed)
    p = reference(task, "tanh")
    noisy = p.with_weights(*(a + rng.uniform(-noise, noise, a.shape) for a in p.weights))
    full = with_silent_units(noisy, rng, spare, 5)
    grades = assess(shuffled(in_form(full, form), rng), tasks.get(task))
    assert grades.recovered.all()
    assert grades.family.tolist() == ["hand-designed"]
    # Nine weights, each off by noise at most. That is widest for -1/+1 inputs, where W1 is halved and b1 takes in half
    # of W1's rows: the reference's squared norm is then 450, and the squared noise at most (4/4 + 2*4 + 3) noise².
    assert 0 <= grades.reference_distance[0] <= noise * math.sqrt(12 / 450)


@given(SEEDS, st.sampled_from(["xnor", "xor"]), FORMS, st.integers(0, 4), st.booleans())
def test_the_mirror_is_never_recovered_with_any_silent_units(seed, task, form, spare, reference_units):
    """Not even when the silent units are the reference's own."""
    rng = np.random.default_rng(seed)
    p = with_silent_units(mirrors(task).select([0]), rng, spare, 5)
    if reference_units:
        p = with_units(p, silent(reference(task, "tanh")))
    grades = assess(shuffled(in_form(p, form), rng), tasks.get(task))
    assert grades.solved.all()
    assert not grades.contains.any()
    assert not grades.recovered.any()
    assert grades.family.tolist() == ["mirror"]
    assert np.isnan(grades.cosine).all()


@given(SEEDS, st.sampled_from(["xnor", "xor"]), FORMS, st.integers(0, 3))
def test_a_network_with_both_logics_contains_but_does_not_need_the_reference(seed, task, form, spare):
    """Each carries half; here the mirror a little more, so that the reference is not recovered."""
    rng = np.random.default_rng(seed)
    p = both(task)
    p = with_silent_units(p.with_weights(p.W1, p.b1, p.W2 * [1, 1, 1.01, 1.01], p.b2), rng, spare, 5)
    grades = assess(shuffled(in_form(p, form), rng), tasks.get(task))
    assert grades.family.tolist() == ["both"]
    assert grades.contains.all()
    assert grades.design_share[0] == pytest.approx(0.5, abs=0.01)
    assert not grades.recovered.any()
    assert not grades.needed.any()


def stacked(networks: list[Network]) -> Network:
    """All networks of several."""
    return networks[0].with_weights(*map(np.concatenate, zip(*(p.weights for p in networks), strict=True)))


def assorted(rng: np.random.Generator, task: str) -> Network:
    """Networks of all grades: noisy references, mirrors and both, some with live spare units, and random ones."""
    N = tasks.get(task).n_inputs
    found = []
    for base in (reference(task, "tanh"), mirrors(task).select([0]), both(task)):
        missing = 2 * reference(task, "tanh").hidden_size - base.hidden_size
        for spread in (0.3, 1.0, 3.0):
            p = with_units(base, random_networks(rng, 1, missing, N, spread)) if missing else base
            noisy = (a * rng.choice([0.15, 0.3, 1.0]) + rng.normal(size=a.shape) * spread * 0.3 for a in p.weights)
            found.append(base.with_weights(*noisy))
    found.append(random_networks(rng, 3, found[0].hidden_size, N, 4))
    return stacked(found)


def assert_grades(grades: Grades, r: int, expected: dict[str, Any]) -> None:
    """Network r has the expected grades, its numbers to nine digits."""
    found = {name: getattr(grades, name)[r].item() for name in expected}
    for name in ("design_share", "saturation"):
        assert found.pop(name) == pytest.approx(expected[name], rel=1e-8, abs=1e-8, nan_ok=True)
    assert found == {name: expected[name] for name in found}


@given(SEEDS, TASKS, FORMS)
def test_grades_agree_with_their_definitions(seed, task, form):
    table = tasks.get(task)
    p = in_form(assorted(np.random.default_rng(seed), task), form)
    grades = assess(p, table)
    for r in range(len(p)):
        weights = (p.W1[r], p.b1[r], p.W2[r], p.b2[r])
        expected = brute_force_grades.grade(*weights, table.inputs, table.targets, task, *form)
        assert_grades(grades, r, expected)


@pytest.mark.parametrize("task", ["xnor", "xor", "parity:3"])
@pytest.mark.parametrize("activation", ["tanh", "sigmoid"])
@pytest.mark.parametrize("encoding", ["binary", "bipolar"])
def test_trained_networks_have_the_grades_of_their_definitions(task, activation, encoding):
    """After 0, 300 and 3,000 epochs of training, with 2 to 6 hidden units; the long mode takes ten times as many."""
    count = 28 if os.environ.get("NNEXP_LONG") == "1" else 3
    table = tasks.get(task)
    form = {"activation": activation, "encoding": encoding}
    setting = Settings(task=task, learning_rate=2.0, init="normal", seeds=count, **form)
    for hidden_size in range(2, 7):
        for epochs in (0, 300, 3000):
            s = setting.replace(hidden_size=hidden_size, epochs=max(epochs, 1))
            p = trainer.train(s).network if epochs else initializers.draw(s, np.arange(count))
            grades = assess(p, table)
            for r in range(count):
                weights = (p.W1[r], p.b1[r], p.W2[r], p.b2[r])
                expected = brute_force_grades.grade(*weights, table.inputs, table.targets, task, activation, encoding)
                assert_grades(grades, r, expected)


@given(SEEDS, FORMS, st.integers(2, 6))
def test_the_shares_of_all_hidden_units_add_up_to_1(seed, form, hidden_size):
    """Units of a reference are matched one by one: what is left of the share of all is that of the others."""
    rng = np.random.default_rng(seed)
    p = in_form(random_networks(rng, 5, hidden_size, 2, 3), form)
    A = hidden(p, encode(XNOR, form[1])[0])
    parts = p.W2[:, :, None] * (A - A.mean(axis=2, keepdims=True))
    z = parts.sum(axis=1)
    shares = (parts * z[:, None]).sum(axis=2) / (z**2).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    h = A if form[0] == "tanh" else 2 * A - 1
    patterns = hidden(reference("xnor", "tanh"), encode(XNOR, "binary")[0])[0] > 0
    computes = [(((h > 0) == one).all(axis=2) | ((h > 0) != one).all(axis=2)) for one in patterns]
    matched = (computes[0] | computes[1]) & (np.abs(h) >= 0.5).all(axis=2)
    np.testing.assert_allclose(assess(p, XNOR).design_share, (shares * matched).sum(axis=1), atol=1e-12)


def test_a_design_with_a_small_share_is_not_recovered():
    """Earlier versions accepted design weights of 0.002 beside a remainder that got one sign wrong by as little."""
    p = reference("xnor", "tanh")
    weak = with_units(p.with_weights(p.W1, p.b1, p.W2 * 2e-4, p.b2), mirrors("xnor"))
    grades = assess(weak.with_weights(weak.W1, weak.b1, weak.W2, mirrors("xnor").b2 + 1e-3), XNOR)
    assert grades.solved[0]
    assert grades.design_share[0] < 1e-3
    assert not grades.recovered[0]


def test_a_remainder_that_is_barely_correct_does_not_prevent_recovery():
    """The remainder has logits of at most 0.7, the design of 11; earlier versions called the design not needed."""
    p, other = reference("xnor", "tanh"), mirrors("xnor")
    grades = assess(with_units(p, other.with_weights(other.W1, other.b1, other.W2 * 0.035, other.b2)), XNOR)
    assert grades.contains[0]
    assert grades.design_share[0] > 0.9
    assert [grades.recovered[0], grades.needed[0]] == [True, True]


def test_each_input_of_parity_may_be_complemented_in_a_mirror():
    """All three mirrors are told from the design alike, not only the one that complements x1."""
    others = mirrors("parity:3")
    assert len(others) == 3
    assert assess(others, tasks.get("parity:3")).family.tolist() == ["mirror"] * 3
    assert assess(reference("parity:3", "tanh"), tasks.get("parity:3")).family.tolist() == ["hand-designed"]


@given(SEEDS, TASKS, FORMS)
def test_a_networks_grades_do_not_depend_on_the_others(seed, task, form):
    """To the bit, alone and in any order."""
    table = tasks.get(task)
    p = in_form(assorted(np.random.default_rng(seed), task), form)
    order = np.random.default_rng(seed).permutation(len(p))
    together = columns(assess(p, table))
    alone = columns(concatenate([assess(p.select([r]), table) for r in range(len(p))]))
    mixed = columns(assess(p.select(order), table))
    for name, values in together.items():
        np.testing.assert_array_equal(values, alone[name])
        np.testing.assert_array_equal(values[order], mixed[name])


@given(SEEDS, FORMS)
def test_grades_do_not_change_under_the_networks_symmetries(seed, form):
    rng = np.random.default_rng(seed)
    p = in_form(assorted(rng, "xnor"), form)
    before, after = (columns(assess(q, XNOR)) for q in (p, shuffled(p, rng)))
    for name, values in before.items():
        if values.dtype.kind == "f":
            np.testing.assert_allclose(after[name], values, rtol=1e-9, atol=1e-9)
        else:
            assert after[name].tolist() == values.tolist()


def test_xor_networks_are_xnor_networks_with_negated_outputs():
    p = assorted(np.random.default_rng(5), "xnor")
    negated = p.with_weights(p.W1, p.b1, -p.W2, -p.b2)
    ours, theirs = columns(assess(p, XNOR)), columns(assess(negated, tasks.get("xor")))
    for name, values in ours.items():
        np.testing.assert_array_equal(values, theirs[name])


def test_just_8_of_105_pairs_of_threshold_functions_make_xnor_separable_and_they_are_two_families():
    """Of the 14 threshold functions of two inputs: {AND, NOR}, {x1 and not x2, not x1 and x2} and their negations."""
    grid = list(itertools.product(range(-2, 3), repeat=3))
    X = np.array(XNOR.inputs)

    def separable(points: np.ndarray, targets: np.ndarray) -> bool:
        sides = np.array([points @ (v, w) + c - 0.5 for v, w, c in grid])
        return bool(((sides > 0) == targets).all(axis=1).any())

    functions = [bits for bits in itertools.product((0, 1), repeat=4) if separable(X, np.array(bits, dtype=bool))]
    assert len(functions) == 14
    pairs = list(itertools.combinations_with_replacement(functions, 2))
    assert len(pairs) == 105
    solving = [pair for pair in pairs if separable(np.array(pair).T, np.array(XNOR.targets, dtype=bool))]
    assert len(solving) == 8
    up_to_flips = {frozenset(min(f, tuple(1 - bit for bit in f)) for f in pair) for pair in solving}
    assert up_to_flips == {frozenset({(0, 0, 0, 1), (0, 1, 1, 1)}), frozenset({(0, 0, 1, 0), (0, 1, 0, 0)})}


def network(W1, b1, W2, b2) -> Network:
    return Network([W1], [b1], [W2], [b2], activation="tanh")


def test_a_logit_of_0_is_wrong_on_either_side():
    grades = assess(network([[0, 0]], [0], [0], 0), XNOR)
    assert not grades.correct[0]
    assert grades.family[0] == "none"
    assert grades.plateau[0] == "constant"


def test_correct_answers_of_too_high_a_cost_are_not_solved():
    p = reference("xnor", "tanh")
    weak = replace(p, W2=p.W2 * 0.02, b2=p.b2 * 0.02)
    X, Y = encode(XNOR, "binary")
    assert losses(np.log(predict(weak, X)), Y, "cross_entropy")[0] > 0.3
    grades = assess(weak, XNOR)
    assert grades.correct[0]
    assert [grades.solved[0], grades.contains[0], grades.recovered[0]] == [False] * 3


def test_a_unit_must_be_saturated_to_count():
    """At 0.49 on tanh's scale at one sample the same logic does not count, at 0.51 it does."""
    for level, counts in ((0.49, False), (0.51, True)):
        z = np.arctanh(level)
        p = network([[10, 10], [-10, -10]], [-20 + z, z], [40, 40], 40 * (1 - 0.5 + level * 0.5))
        grades = assess(p, XNOR)
        assert grades.solved[0]
        assert grades.contains[0] == counts


def test_every_reference_unit_needs_a_unit_of_its_own():
    """Three times AND is not AND and NOR."""
    p = network([[10, 10]] * 3, [-15] * 3, [10, 10, 10], 10)
    assert not assess(p, XNOR).contains[0]


def test_units_that_are_needed_but_not_enough_are_not_recovery():
    """Here 1 - x1 - x2 + 2 (x1 and x2) > ½, with a silent NOR: AND and NOR do not do, nor do the rest."""
    p = network([[20, 20], [-20, -20], [20, 0], [0, 20]], [-30, 10, -10, -10], [10, 0, -5, -5], 5)
    grades = assess(p, XNOR)
    assert grades.solved[0]
    assert [grades.contains[0], grades.recovered[0]] == [False, False]
    assert grades.family[0] == "other"


def test_a_reference_with_two_units_of_one_pattern_needs_two():
    design = {
        "W1": [[20, 20], [20, 20], [-20, -20]],
        "b1": [-30, -30, 10],
        "W2": [10, 10, 20],
        "b2": -10,
    }
    table = tasks.from_table({"inputs": XNOR.inputs, "targets": XNOR.targets, "reference": design})
    own = reference(table)
    assert assess(own, table).recovered[0]
    two = reference("xnor", "tanh")
    assert not assess(two, table).contains[0]
    assert np.isnan(assess(two, table).reference_distance[0])
    assert assess(own, XNOR).recovered[0]


def test_networks_that_are_not_finite_fail_every_grade():
    p = with_silent_units(reference("xnor", "tanh"), np.random.default_rng(0), 1)
    broken = [p]
    for name in ("W1", "b1", "W2", "b2"):
        for value in (np.nan, np.inf, -np.inf):
            changed = p.copy()
            getattr(changed, name).flat[-1] = value
            broken.append(changed)
    grades = assess(stacked(broken), XNOR)
    for name in ("correct", "solved", "confident", "contains", "recovered"):
        assert getattr(grades, name).tolist() == [True] + [False] * 12
    assert grades.family.tolist() == ["hand-designed"] + ["none"] * 12
    assert set(grades.plateau[1:].tolist()) == {"not converged"}
    assert np.isnan(grades.reference_distance[1:]).all()


@pytest.mark.parametrize("activation", ["tanh", "sigmoid"])
@pytest.mark.parametrize("scale", [1e30, 1e150, 1e290, 4e306])
def test_huge_weights_are_graded_right_and_without_a_warning(activation, scale):
    """The reference times anything finite is sure of the same answers by the same logic."""
    p = reference("xnor", activation)
    huge = p.with_weights(*(array * scale for array in p.weights))
    grades = assess(huge, XNOR)
    assert grades.recovered[0]
    assert grades.confident[0]
    assert grades.family[0] == "hand-designed"
    np.testing.assert_allclose(grades.cosine, 1)
    np.testing.assert_allclose(grades.offset, grades.reference_offset)
    assert grades.reference_distance[0] == pytest.approx(scale, rel=1e-9)
    assert grades.reference_cosine[0] == pytest.approx(1)


def test_float32_networks_are_graded_in_float64():
    p = assorted(np.random.default_rng(2), "xnor").astype(np.float32)
    ours, theirs = columns(assess(p, XNOR)), columns(assess(p.astype(np.float64), XNOR))
    for name, values in ours.items():
        np.testing.assert_array_equal(values, theirs[name])


def at_cost(levels: list[float]) -> Network:
    """Networks with the given logits at XNOR's samples: one sharp unit a sample."""
    X = np.array(XNOR.inputs)
    W1 = 400.0 * (2 * X - 1)
    b1 = 200.0 - 400.0 * X.sum(axis=1)
    return network(W1, b1, np.array(levels) / 2, sum(levels) / 2)


@pytest.mark.parametrize(
    ("logits", "name"),
    [
        ([0, 0, 0, 0], "constant"),
        ([0.1, -0.1, 0.1, -0.1], "constant"),
        ([50, 0, -50, 0], "one half"),
        ([50, -math.log(0.5), -math.log(2), math.log(0.5)], "not converged"),
        ([50, math.log(0.5), math.log(0.5), math.log(0.5)], "two thirds"),
        ([-9, 9, 9, -9], "not converged"),
        ([9, -9, -9, 9], ""),
    ],
)
def test_plateaus_are_named_by_their_cost(logits, name):
    p = at_cost(logits)
    assert assess(p, XNOR).plateau.tolist() == [name]
    assert assess(p, XNOR, loss="mse").plateau is None


def test_plateau_costs_are_those_of_the_design():
    assert PLATEAUS["constant"] == pytest.approx(0.693147, abs=1e-6)
    assert PLATEAUS["one half"] == pytest.approx(0.34657, abs=1e-5)
    assert PLATEAUS["two thirds"] == pytest.approx(0.47739, abs=1e-5)


def test_columns_are_in_the_documented_order():
    assert list(columns(assess(reference("xnor"), XNOR))) == [
        *("correct", "solved", "confident", "contains", "design_share", "recovered", "needed", "saturation", "family"),
        *("cosine_1", "cosine_2", "offset_1", "offset_2", "reference_offset_1", "reference_offset_2"),
        *("reference_distance", "reference_cosine", "plateau"),
    ]


def test_a_task_without_a_reference_has_three_grades():
    p = random_networks(np.random.default_rng(0), 5, 3, 2)
    assert list(columns(assess(p, tasks.get("and")))) == ["correct", "solved", "confident"]


def test_a_task_without_a_mirror_has_no_family():
    design = {"W1": [[20, 20]], "b1": [-30], "W2": [20], "b2": -10}
    table = tasks.from_table({"inputs": XNOR.inputs, "targets": [0, 0, 0, 1], "reference": design})
    grades = assess(reference(table), table)
    assert grades.recovered[0]
    assert grades.family is None
    assert columns(grades)["family"].tolist() == [None]


def test_the_unit_with_the_largest_output_weight_is_matched():
    """Of two units that compute AND, geometry describes the one with the larger output weight."""
    p = network([[5, 9], [10, 10], [-10, -10]], [-11, -15, 5], [2, 8, 10], 10)
    grades = assess(p, XNOR)
    assert grades.recovered[0]
    assert grades.cosine[0].tolist() == pytest.approx([1, 1])
    quieter = network([[5, 9], [10, 10], [-10, -10]], [-11, -15, 5], [8, 2, 10], 10)
    assert assess(quieter, XNOR).cosine[0, 0] == pytest.approx(14 / math.sqrt(2 * 106))


def test_many_networks_are_graded_in_chunks(monkeypatch):
    p = assorted(np.random.default_rng(4), "xnor")
    whole = columns(assess(p, XNOR))
    monkeypatch.setattr("nnexp.recovery.grades._CHUNK", 40)
    for name, values in columns(assess(p, XNOR)).items():
        np.testing.assert_array_equal(values, whole[name])


def test_no_networks_have_no_grades():
    assert len(assess(random_networks(np.random.default_rng(0), 0, 3, 2), XNOR)) == 0


def test_solved_alone_is_the_same_grade():
    p = assorted(np.random.default_rng(6), "xnor")
    assert solved(p, XNOR).tolist() == assess(p, XNOR).solved.tolist()


def test_an_unknown_loss_is_refused():
    with pytest.raises(UsageError, match="loss = 'hinge'"):
        assess(reference("xnor"), XNOR, "hinge")


def test_networks_of_another_task_are_refused():
    with pytest.raises(UsageError, match="takes 3 inputs"):
        assess(reference("parity:3"), XNOR)
