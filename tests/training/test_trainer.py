"""Training is plain gradient descent; first epochs, stops, divergence and history are as promised."""

from __future__ import annotations

import itertools
import math
import pickle
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnexp.errors import UsageError
from nnexp.network import initializers, model
from nnexp.network.model import Network
from nnexp.network.reference import reference
from nnexp.network.settings import Settings
from nnexp.training import trainer
from nnexp.training.lanes import CHECK_INTERVAL
from nnexp.training.result import concatenate


def textbook(s: Settings, index: int = 0) -> tuple[Network, list[float], list[np.ndarray]]:
    """One network by the textbook's formulas, in float64: its weights, and the loss and p of each epoch."""
    drawn = initializers.draw(s, [index])
    w = [np.array(part, np.float64) for part in (drawn.W1, drawn.b1, drawn.W2, drawn.b2)]
    X, Y = model.encode(s.truth_table, s.encoding)
    velocity: list[Any] = [0.0] * 4
    losses, right = [], []
    for epoch in range(s.epochs + 1):
        p = Network(*w, activation=s.activation)
        loss, gradient = model.loss_and_gradients(p, X, Y, s.loss)
        output = model.predict(p, X)[0]
        losses.append(float(loss[0]))
        right.append(np.where(Y > 0.5, output, 1 - output))
        if epoch < s.epochs:
            g = (gradient.W1, gradient.b1, gradient.W2, gradient.b2)
            velocity = [s.momentum * v - s.learning_rate * d for v, d in zip(velocity, g, strict=True)]
            w = [a + v for a, v in zip(w, velocity, strict=True)]
    return Network(*w, activation=s.activation), losses, right


@pytest.mark.parametrize(
    ("activation", "loss", "momentum", "encoding", "task"),
    list(
        itertools.product(
            ["tanh", "sigmoid"], ["cross_entropy", "mse"], [0.0, 0.8], ["binary", "bipolar"], ["xnor", "parity:3"]
        )
    ),
)
def test_weights_are_those_of_plain_gradient_descent(
    activation: Any, loss: Any, momentum: float, encoding: Any, task: str
) -> None:
    """Every activation, loss, momentum and encoding is compared, update by update, with `loss_and_gradients`."""
    s = Settings(
        task=task, activation=activation, loss=loss, momentum=momentum, encoding=encoding, epochs=70, learning_rate=0.8
    )
    expected, losses, _ = textbook(s, 3)
    r = trainer.train(s, index=[2, 3])
    for name in ("W1", "b1", "W2", "b2"):
        np.testing.assert_allclose(getattr(r.network, name)[1], getattr(expected, name)[0], rtol=1e-10, atol=1e-11)
    np.testing.assert_allclose(r.loss[1], losses[-1], rtol=1e-10)
    np.testing.assert_allclose(r.history.loss[:, 1], [losses[e] for e in r.history.epochs], rtol=1e-9)


@pytest.mark.parametrize("activation", ["tanh", "sigmoid"])
@pytest.mark.parametrize("hidden", [3, 16, 40])
def test_many_samples_and_wide_layers_train_the_same_way(activation: Any, hidden: int) -> None:
    """1,024 samples of 10 inputs, with several networks per tile and with one."""
    s = Settings(task="parity:10", activation=activation, hidden_size=hidden, epochs=8, learning_rate=1.0)
    expected, losses, _ = textbook(s, 1)
    r = trainer.train(s, index=[0, 1])
    np.testing.assert_allclose(r.network.W1[1], expected.W1[0], rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(r.loss[1], losses[-1], rtol=1e-12)


def test_float32_stays_close_to_float64() -> None:
    """The same networks in single precision, after some epochs."""
    a = trainer.train(Settings(epochs=100, seeds=50))
    b = trainer.train(Settings(epochs=100, seeds=50, dtype="float32"))
    assert b.network.W1.dtype == b.network.b2.dtype == np.float32
    np.testing.assert_allclose(a.network.W1, b.network.W1, atol=1e-4)


@given(index=st.integers(0, 5000), rate=st.floats(0.5, 5), hidden=st.integers(2, 5))
def test_first_epochs_are_exact_numbers_of_updates(index: int, rate: float, hidden: int) -> None:
    """`epochs_to_correct` and `epochs_to_solve` count the updates after which each first holds."""
    s = Settings(epochs=120, learning_rate=rate, hidden_size=hidden)
    _, _, right = textbook(s, index)
    r = trainer.train(s, index=[index])
    correct = [bool((p > 0.5).all()) for p in right]
    solved = [c and -np.log(p).mean() < 1.2 / len(p) for c, p in zip(correct, right, strict=True)]
    for found, held in ((r.epochs_to_correct[0], correct), (r.epochs_to_solve[0], solved)):
        if any(held):
            assert found == held.index(True)
        else:
            assert math.isnan(found)
    assert r.accuracy[0] == (right[-1] > 0.5).mean()
    assert r.epochs_trained[0] == 120


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("stop", ["correct", "solved", "confident"])
def test_a_stopped_network_has_the_weights_of_the_epoch_at_which_it_met_its_stop(stop: Any, dtype: Any) -> None:
    """Trained for exactly that number of epochs without a stop, it has the same weights, bit for bit."""
    s = Settings(stop=stop, epochs=300, learning_rate=3.0, seeds=60, dtype=dtype)
    r = trainer.train(s)
    stopped = np.flatnonzero(r.epochs_trained < 300)
    assert len(stopped) > 20
    for i in stopped[:8]:
        alone = trainer.train(s.replace(stop="none", epochs=max(int(r.epochs_trained[i]), 1)), index=[i])
        for name in ("W1", "b1", "W2", "b2"):
            np.testing.assert_array_equal(getattr(alone.network, name)[0], getattr(r.network, name)[i])
        assert alone.loss[0] == r.loss[i]
    if stop == "correct":
        np.testing.assert_array_equal(r.epochs_trained[stopped], r.epochs_to_correct[stopped])
    if stop == "solved":
        np.testing.assert_array_equal(r.epochs_trained[stopped], r.epochs_to_solve[stopped])
    if stop == "confident":
        X, Y = model.encode(s.truth_table, s.encoding)
        assert np.abs(model.predict(r.network, X) - Y)[stopped].max() < 0.1 + 1e-6


def test_a_solution_given_at_the_start_is_solved_after_no_update() -> None:
    """0 is a possible number of epochs; such a network is not trained."""
    solution = reference("xnor", "tanh")
    s = Settings(hidden_size=2, stop="confident", epochs=50)
    r = trainer.train(s, initial=solution)
    assert (r.epochs_to_correct[0], r.epochs_to_solve[0], r.epochs_trained[0]) == (0, 0, 0)
    np.testing.assert_array_equal(r.network.W1, solution.W1)
    np.testing.assert_array_equal(r.history.loss[:, 0], r.loss[0])
    assert r.loss[0] < 1e-4


def test_history_is_log_spaced_from_the_start_to_the_last_epoch() -> None:
    """At most 64 points, the first at 0, the last with the final values; stopped networks keep their last values."""
    for epochs in (1, 2, 7, 100, 5000, 10_000_000):
        recorded = trainer.recorded_epochs(epochs)
        assert recorded[0] == 0
        assert recorded[-1] == epochs
        assert len(recorded) <= 64
        assert (np.diff(recorded) > 0).all()
    r = trainer.train(Settings(stop="confident", epochs=500, learning_rate=3.0, seeds=100))
    np.testing.assert_array_equal(r.history.loss[-1], r.loss)
    np.testing.assert_array_equal(r.history.accuracy[-1], r.accuracy)
    assert np.isfinite(r.history.loss).all()
    early = int(r.epochs_trained.argmin())
    after = r.history.epochs >= r.epochs_trained[early]
    assert (r.history.loss[after, early] == r.loss[early]).all()


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(
    "changes",
    [
        {"learning_rate": 1e6, "init": "normal"},
        {"learning_rate": 1e300},
        {"init": "normal", "init_scale": 1e300},
        {"init": "uniform", "init_scale": 1e-300},
        {"init": "normal", "init_scale": 5e-324},
        {"learning_rate": 1e6, "momentum": 0.99, "activation": "sigmoid", "loss": "mse", "stop": "solved"},
    ],
)
def test_extremes_cause_no_warning_and_no_wrong_loss(changes: dict[str, Any], dtype: Any) -> None:
    """A network with a weight or logit that is not finite has diverged, and its loss is nan."""
    s = Settings(epochs=100, seeds=70, dtype=dtype, **changes)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        r = trainer.train(s)
        state = np.geterr()
    assert state == np.geterr()
    p = r.network
    bad = ~np.isfinite(np.concatenate([p.W1.reshape(70, -1), p.b1, p.W2, p.b2[:, None]], axis=1)).all(axis=1)
    assert (r.diverged | ~bad).all()
    assert np.isnan(r.loss[r.diverged]).all()
    assert np.isfinite(r.loss[~r.diverged]).all()
    if changes.get("init_scale") == 1e300 and dtype == "float32":
        assert r.diverged.all()
        assert (r.epochs_trained <= CHECK_INTERVAL).all()


def test_diverged_networks_do_not_change_the_others() -> None:
    """A good setting beside one that diverges has the same bits as alone."""
    good = Settings(epochs=64, seeds=20, dtype="float32")
    hopeless = good.replace(learning_rate=1e300)
    results = trainer.advance([trainer.start(s) for s in (hopeless, good)], 64)
    assert results[0].diverged.any()
    np.testing.assert_array_equal(results[1].network.W1, trainer.train(good).network.W1)


def test_xor_mirrors_xnor_to_the_bit() -> None:
    """With the output's sign changed at the start, XOR trains as XNOR does: the residual is exactly odd."""
    s = Settings(epochs=200, seeds=30)
    p = initializers.draw(s, range(30))
    mirrored = p.with_weights(p.W1, p.b1, -p.W2, -p.b2)
    a = trainer.train(s)
    b = trainer.train(s.replace(task="xor"), initial=mirrored)
    np.testing.assert_array_equal(a.network.W1, b.network.W1)
    np.testing.assert_array_equal(a.network.W2, -b.network.W2)
    np.testing.assert_array_equal(a.loss, b.loss)


def test_results_can_be_pickled_and_advancing_does_not_change_them() -> None:
    """A pickled result continues at its epoch, and the result that is continued keeps its arrays."""
    s = Settings(epochs=90, seeds=10, momentum=0.5)
    untrained = trainer.start(s)
    (half,) = trainer.advance([untrained], 37)
    assert (untrained.epoch, half.epoch) == (0, 37)
    before = half.network.W1.copy()
    (end,) = trainer.advance([pickle.loads(pickle.dumps(half))], 90)  # noqa: S301  our own
    np.testing.assert_array_equal(half.network.W1, before)
    np.testing.assert_array_equal(end.network.W1, trainer.train(s).network.W1)
    assert trainer.advance([end], 90)[0] is end
    assert (half.is_complete, end.is_complete) == (False, True)


def test_an_unfinished_training_has_a_result_at_its_epoch() -> None:
    """A pruner sees loss, accuracy and first epochs up to then; later epochs of the history are nan."""
    s = Settings(epochs=1000, seeds=8)
    (r,) = trainer.advance([trainer.start(s)], 100)
    short = trainer.train(s.replace(epochs=100))
    np.testing.assert_array_equal(r.loss, short.loss)
    np.testing.assert_array_equal(r.epochs_to_solve, short.epochs_to_solve)
    assert np.isnan(r.history.loss[r.history.epochs > 100]).all()
    assert np.isfinite(r.history.loss[r.history.epochs <= 100]).all()


def test_a_notebook_shows_the_counts_of_a_result() -> None:
    """Counts and the median loss, before training as well."""
    s = Settings(epochs=200, learning_rate=3.0, seeds=20)
    r = trainer.train(s)
    solved = np.isfinite(r.epochs_to_solve).sum()
    assert f"epoch 200 of 200, correct once {np.isfinite(r.epochs_to_correct).sum()}, solved once {solved}" in repr(r)
    assert f"<td>median loss</td><td>{np.median(r.loss):.4g}</td>" in r._repr_html_()
    assert "epoch 0 of 200" in repr(trainer.start(s))


def test_parts_that_are_joined_equal_the_whole() -> None:
    """`concatenate` of networks 0 to 4 and 5 to 9 is networks 0 to 9."""
    s = Settings(epochs=20, seeds=10)
    whole, parts = trainer.train(s), [trainer.train(s, index=range(5)), trainer.train(s, index=range(5, 10))]
    joined = concatenate(parts)
    np.testing.assert_array_equal(joined.network.W1, whole.network.W1)
    np.testing.assert_array_equal(joined.history.loss, whole.history.loss)
    np.testing.assert_array_equal(joined.index, np.arange(10))


def test_wrong_initial_weights_are_named() -> None:
    """The message names the array, its shape and the expected shape."""
    p = initializers.draw(Settings(hidden_size=3), range(2))
    with pytest.raises(UsageError, match=r"initial\.W1: shape \(2, 3, 2\), expected \(2, 4, 2\)"):
        trainer.train(Settings(hidden_size=4), initial=p)
    with pytest.raises(UsageError, match="2 networks, expected 3"):
        trainer.train(Settings(hidden_size=3), initial=p, index=[1, 2, 3])


def test_initial_weights_of_another_form_are_refused() -> None:
    """Weights are never trained with an activation or an encoding that they were not made for."""
    p = reference("xnor")
    with pytest.raises(UsageError, match=r"initial\.activation = 'sigmoid': expected 'tanh', as the settings have it"):
        trainer.train(Settings(hidden_size=2), initial=p)
    with pytest.raises(UsageError, match=r"initial\.encoding = 'binary': expected 'bipolar'"):
        trainer.train(Settings(hidden_size=2, activation="sigmoid", encoding="bipolar"), initial=p)


def test_the_settings_of_given_weights_count_them() -> None:
    """Settings ask for 1,000 networks by default; three given ones are three seeds."""
    s = Settings(epochs=2)
    r = trainer.train(s, initial=initializers.draw(s, range(3)))
    assert r.settings.seeds == len(r) == 3
    assert r.settings.replace(seeds=s.seeds) == s


@pytest.mark.slow
def test_glorot_uniform_with_two_units_solves_xnor_half_the_time() -> None:
    """2 hidden units, learning rate 0.5, 5,000 epochs, 1,000 seeds: solved 52% ± 6."""
    r = trainer.train(Settings(hidden_size=2, learning_rate=0.5, epochs=5000, seeds=1000))
    assert 0.46 < np.isfinite(r.epochs_to_solve).mean() < 0.58
