"""A network laid beside the hand-designed one, and its picture."""

from __future__ import annotations

import io

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from nnexp.analysis.figures import network
from nnexp.network import reference as references
from nnexp.network import tasks
from nnexp.network.model import Parameters, encode, predict
from nnexp.network.settings import Settings
from nnexp.recovery import networks_table
from nnexp.recovery.alignment import Portrait, align, best_portrait, best_position, portrait
from nnexp.recovery.grades import assess, columns
from nnexp.training.trainer import train

XNOR = tasks.get("xnor")


@given(
    activation=st.sampled_from(["tanh", "sigmoid"]),
    encoding=st.sampled_from(["binary", "bipolar"]),
    spec=st.sampled_from(["xnor", "xor", "parity:3"]),
    seed=st.integers(0, 10_000),
    spare=st.integers(0, 3),
)
@settings(max_examples=60, deadline=None)
def test_align_undoes_any_symmetry(activation: str, encoding: str, spec: str, seed: int, spare: int) -> None:
    """A reference with permuted and flipped units and idle spare ones comes back in its own order and signs."""
    task = tasks.get(spec)
    reference = references.reference(task, activation, encoding)
    X = encode(task, encoding)[0]
    rng = np.random.default_rng(seed)
    hidden = reference.hidden_size + spare
    W1 = np.concatenate([reference.W1, rng.normal(size=(1, spare, task.n_inputs))], axis=1)
    b1 = np.concatenate([reference.b1, rng.normal(size=(1, spare))], axis=1)
    W2 = np.concatenate([reference.W2, np.zeros((1, spare))], axis=1)
    order, flips = rng.permutation(hidden), rng.choice([-1.0, 1.0], size=hidden)
    b2 = reference.b2 + ((W2 * (flips < 0)).sum(axis=1) if activation == "sigmoid" else 0.0)
    scrambled = Parameters((W1 * flips[:, None])[:, order], (b1 * flips)[:, order], (W2 * flips)[:, order], b2)
    np.testing.assert_allclose(
        predict(scrambled, X, activation=activation), predict(reference, X, activation=activation), rtol=1e-9
    )
    aligned = align(scrambled, reference, X, activation)
    k = reference.hidden_size
    np.testing.assert_allclose(aligned.W1[:, :k], reference.W1)
    np.testing.assert_allclose(aligned.b1[:, :k], reference.b1)
    np.testing.assert_allclose(aligned.W2[:, :k], reference.W2)
    np.testing.assert_allclose(
        predict(aligned, X, activation=activation), predict(reference, X, activation=activation), rtol=1e-9
    )


@given(activation=st.sampled_from(["tanh", "sigmoid"]), hidden=st.integers(1, 6), seed=st.integers(0, 10_000))
@settings(max_examples=60, deadline=None)
def test_align_never_changes_the_function(activation: str, hidden: int, seed: int) -> None:
    """Whatever the network, narrower than the reference included, the aligned one computes the same."""
    rng = np.random.default_rng(seed)
    p = Parameters(
        rng.normal(size=(1, hidden, 2)), rng.normal(size=(1, hidden)), rng.normal(size=(1, hidden)), rng.normal(size=1)
    )
    X = rng.normal(size=(2, 7))
    reference = references.reference("xnor", activation)
    aligned = align(p, reference, encode(XNOR, "binary")[0], activation)
    np.testing.assert_allclose(
        predict(aligned, X, activation=activation), predict(p, X, activation=activation), rtol=1e-9, atol=1e-12
    )


def table_of(**changes: object) -> tuple[pa.Table, Settings]:
    """A trained setting's networks' table."""
    given_settings = Settings(**{"hidden_size": 3, "seeds": 24, "epochs": 1500, "learning_rate": 2.0} | changes)
    result = train(given_settings)
    task = given_settings.truth_table
    grades = assess(result.parameters, task, given_settings.activation, given_settings.encoding, given_settings.loss)
    return networks_table.networks_table(result, columns(grades)), given_settings


def test_the_best_network_is_a_recovered_one_of_lowest_loss() -> None:
    """A recovered network is drawn even where one that is not recovered has a lower loss."""
    table, _ = table_of()
    recovered = np.array(table.column("recovered").to_pylist())
    assert recovered.any()
    loss = table.column("loss").to_numpy()
    position = best_position(table)
    assert position is not None
    assert recovered[position]
    assert loss[position] == loss[recovered].min()


def test_a_run_of_diverged_networks_has_no_portrait() -> None:
    """Where no network has finite weights there is nothing to draw."""
    table = pa.table({"index": [0, 1], "loss": pa.array([None, None], pa.float64()), "solved": [False, False]})
    assert best_position(table) is None
    assert best_portrait(table, Settings()) is None


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
    """Any task, shape, activation and encoding gives a picture of a sensible size."""
    table, given_settings = table_of(**{"seeds": 4, "epochs": 200} | changes)
    drawn = best_portrait(table, given_settings, trial=7)
    assert isinstance(drawn, Portrait)
    assert "of trial 7" in drawn.title
    picture = Image.open(io.BytesIO(network.best_network_png(drawn, dpi=60)))
    assert picture.width == pytest.approx(11.6 * 60, abs=2)
    assert 100 < picture.height < 800


def test_the_references_portrait_shows_its_gates() -> None:
    """The hand-designed network beside itself: AND, NOR, then OR."""
    drawn = portrait(references.reference("xnor", "tanh"), XNOR, activation="tanh", title="itself")
    assert [drawn.unit(k) for k in range(drawn.matched)] == ["a1: AND", "a2: NOR"]
    assert drawn.explained["output"]["gate"] == "OR"
