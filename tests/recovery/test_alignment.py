"""A network laid beside the hand-designed one, and its figure."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from nnexp.analysis.figures import network
from nnexp.network import reference as references
from nnexp.network import tasks
from nnexp.network.model import encode, predict
from nnexp.network.settings import Settings
from nnexp.recovery import networks_table
from nnexp.recovery.alignment import AlignedNetwork, align, align_best, align_with_reference
from nnexp.recovery.grades import assess, columns
from nnexp.training.trainer import train
from tests.helpers.symmetries import flip, permute, random_networks, with_silent_units

XNOR = tasks.get("xnor")


@given(
    activation=st.sampled_from(["tanh", "sigmoid"]),
    encoding=st.sampled_from(["binary", "bipolar"]),
    spec=st.sampled_from(["xnor", "xor", "parity:3"]),
    seed=st.integers(0, 10_000),
    spare=st.integers(0, 3),
)
def test_align_undoes_any_symmetry(activation: str, encoding: str, spec: str, seed: int, spare: int) -> None:
    """A reference with permuted and flipped units and idle spare ones comes back in its own order and signs."""
    task = tasks.get(spec)
    reference = references.reference(task, activation, encoding)
    X = encode(task, encoding)[0]
    rng = np.random.default_rng(seed)
    whole = with_silent_units(reference, rng, spare)
    flips = rng.choice([-1.0, 1.0], size=whole.hidden_size)
    scrambled = permute(flip(whole, flips), rng.permutation(whole.hidden_size))
    np.testing.assert_allclose(predict(scrambled, X), predict(reference, X), rtol=1e-9)
    aligned = align(scrambled, reference, X)
    k = reference.hidden_size
    np.testing.assert_allclose(aligned.W1[:, :k], reference.W1)
    np.testing.assert_allclose(aligned.b1[:, :k], reference.b1)
    np.testing.assert_allclose(aligned.W2[:, :k], reference.W2)
    np.testing.assert_allclose(predict(aligned, X), predict(reference, X), rtol=1e-9)


@given(activation=st.sampled_from(["tanh", "sigmoid"]), hidden=st.integers(1, 6), seed=st.integers(0, 10_000))
def test_align_never_changes_the_function(activation: str, hidden: int, seed: int) -> None:
    """Whatever the network, narrower than the reference included, the aligned one computes the same."""
    rng = np.random.default_rng(seed)
    p = random_networks(rng, 1, hidden, 2, activation=activation)
    X = rng.normal(size=(2, 7))
    reference = references.reference("xnor", activation)
    aligned = align(p, reference, encode(XNOR, "binary")[0])
    np.testing.assert_allclose(predict(aligned, X), predict(p, X), rtol=1e-9, atol=1e-12)


def best_network_of(**changes: object) -> dict[str, Any]:
    """The content of a trained setting's best_network.json."""
    given_settings = Settings(**{"hidden_size": 3, "seeds": 24, "epochs": 1500, "learning_rate": 2.0} | changes)
    result = train(given_settings)
    grades = assess(result.network, given_settings.truth_table, given_settings.loss)
    return networks_table.best_network(result, columns(grades))


def test_a_run_of_diverged_networks_has_nothing_to_draw() -> None:
    """Where not even the best network has finite weights there is no aligned network."""
    content = best_network_of(seeds=2, epochs=1)
    content["weights"]["W2"][0] = None
    assert align_best(content, "diverged") is None


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"hidden_size": 1},
        {"hidden_size": 20},
        {"activation": "sigmoid", "encoding": "bipolar"},
        {"task": "parity:3", "hidden_size": 4},
        {"task": "majority:3"},
        {"task": "and"},
    ],
    ids=lambda changes: "-".join(map(str, changes.values())) or "plain",
)
def test_every_network_can_be_drawn(changes: dict[str, object]) -> None:
    """A figure of a sensible size is drawn for every task, shape, activation and encoding."""
    drawn = align_best(best_network_of(**{"seeds": 4, "epochs": 200} | changes), "network 2 of trial 7")
    assert isinstance(drawn, AlignedNetwork)
    assert drawn.title == "network 2 of trial 7"
    picture = Image.open(io.BytesIO(network.best_network_png(drawn)))
    assert picture.width == pytest.approx(11.6 * 110, abs=2)
    assert 200 < picture.height < 1500


def test_the_reference_beside_itself_shows_its_gates() -> None:
    """The hand-designed network beside itself: AND, NOR, then OR."""
    drawn = align_with_reference(references.reference("xnor", "tanh"), XNOR, "itself")
    assert [unit["gate"] for unit in drawn.explained["hidden"][: drawn.matched]] == ["AND", "NOR"]
    assert drawn.explained["output"]["gate"] == "OR"
