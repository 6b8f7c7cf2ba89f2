"""The bits of a network depend on its settings and its own number alone, regardless of the networks beside it."""

from __future__ import annotations

import functools
import json

import pytest
import threadpoolctl
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nnexp.network import tasks
from nnexp.network.settings import Settings
from nnexp.training import tile, trainer
from nnexp.training.result import TrainingResult

EPOCHS, POOL = 110, 200
ANOTHER_ORDER = '{"inputs": [[1, 1], [0, 1], [1, 0], [0, 0]], "targets": [1, 0, 0, 1]}'


@functools.cache
def kinds(dtype: str) -> tuple[Settings, ...]:
    """Settings that share tiles: several rates and momenta, early stops, divergence, weights beyond powers of two.

    There are two hidden sizes, sigmoid units, the loss mse, and a table whose rows are not in counting order, which is
    multiplied by BLAS.
    """
    base = Settings(epochs=EPOCHS, dtype=dtype, seeds=POOL, stop="confident", hidden_size=5)
    return (
        base.replace(learning_rate=2.0),
        base.replace(learning_rate=0.3, init="normal", init_scale=2.0),
        base.replace(learning_rate=9.0, init="orthogonal"),
        base.replace(learning_rate=1e6 if dtype == "float32" else 1e200, init="he_normal"),
        base.replace(learning_rate=0.7, momentum=0.9),
        base.replace(learning_rate=0.4, momentum=0.5),
        base.replace(hidden_size=2, learning_rate=3.0, activation="sigmoid", stop="solved"),
        base.replace(hidden_size=2, learning_rate=5.0, loss="mse", encoding="bipolar", stop="none"),
        base.replace(learning_rate=5.0, init="normal", init_scale=60.0),
        base.replace(task=ANOTHER_ORDER, learning_rate=2.0),
        base.replace(task=ANOTHER_ORDER, learning_rate=0.5, init="normal", momentum=0.5),
    )


def fields(result: TrainingResult, at: int) -> tuple[bytes, ...]:
    """All results of one network, as bytes."""
    p = result.network
    r = result
    arrays = (p.W1, p.b1, p.W2, p.b2, r.loss, r.accuracy, r.epochs_to_correct, r.epochs_to_solve, r.epochs_trained)
    return (*(x[at].tobytes() for x in (*arrays, r.diverged)), r.history.loss[:, at].tobytes())


@functools.cache
def alone(s: Settings, i: int) -> tuple[bytes, ...]:
    """Network i trained alone and without an interruption."""
    return fields(trainer.train(s, index=[i]), 0)


@st.composite
def groups(draw: st.DrawFn, n_kinds: int, pool: int) -> list[tuple[int, list[int]]]:
    """Some kinds of settings in any order, each with some of its networks in any order."""
    chosen = draw(st.lists(st.integers(0, n_kinds - 1), min_size=1, max_size=4, unique=True))
    random = draw(st.randoms(use_true_random=False))
    sizes = draw(st.lists(st.sampled_from([1, 2, 3, 63, 65, 130]), min_size=len(chosen), max_size=len(chosen)))
    return [(kind, random.sample(range(pool), min(size, pool))) for kind, size in zip(chosen, sizes, strict=True)]


def assert_same_bits(
    kinds: tuple[Settings, ...], group: list[tuple[int, list[int]]], cuts: list[int], epochs: int, checked: int = 3
) -> None:
    """Train a group with interruptions at ``cuts``; some of its networks must have the bits they have alone."""
    results = [trainer.start(kinds[kind], index) for kind, index in group]
    for until in [*sorted(cuts), epochs]:
        results = trainer.advance(results, until)
    for (kind, index), result in zip(group, results, strict=True):
        for at in {0, len(index) // 2, len(index) - 1} if checked == 3 else {len(index) - 1}:
            assert fields(result, at) == alone(kinds[kind], index[at]), (kind, index[at])


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_group_any_interruption_and_any_tile_width_give_the_same_bits(
    dtype: str, data: st.DataObject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other lanes, the lane itself, tile width, refilling, narrowing and interruptions do not change a network."""
    group = data.draw(groups(11, POOL))
    cuts = data.draw(st.lists(st.integers(0, EPOCHS), max_size=2))
    lanes = data.draw(st.sampled_from([64, 128, 192, 2048]))
    monkeypatch.setitem(tile._CACHE, dtype, lanes * 4 * 5)
    assert_same_bits(kinds(dtype), group, cuts, EPOCHS)


@functools.cache
def wide(dtype: str) -> tuple[Settings, ...]:
    """1,024 samples of 10 inputs, a whole truth table; and all but one of them, multiplied by BLAS."""
    base = Settings(task="parity:10", epochs=12, dtype=dtype, hidden_size=3, stop="confident")
    parity = tasks.get("parity:10")
    incomplete = json.dumps({"inputs": parity.inputs[1:], "targets": parity.targets[1:]})
    momentum = base.replace(learning_rate=0.1, init="normal", momentum=0.9)
    return base.replace(learning_rate=1.0), momentum, momentum.replace(task=incomplete)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@given(data=st.data())
def test_a_thousand_samples_give_the_same_bits_in_any_group(dtype: str, data: st.DataObject) -> None:
    """In long sums over samples BLAS and NumPy choose their order by the size."""
    chosen = data.draw(st.integers(0, 2))
    index = data.draw(st.lists(st.integers(0, 30), min_size=1, max_size=31, unique=True))
    assert_same_bits(wide(dtype), [(chosen, index)], data.draw(st.lists(st.integers(0, 12), max_size=1)), 12, checked=1)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("size", [2, 64, 65, 1000, 2500])
def test_one_alone_equals_one_among_many(dtype: str, size: int) -> None:
    """R = 1 is not a special case, nor are networks of several tiles."""
    s = Settings(epochs=40, dtype=dtype, learning_rate=3.0)
    many = trainer.train(s, index=range(size))
    for at in (0, size // 2, size - 1):
        assert fields(many, at) == alone(s, at)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_large_networks_one_by_one_give_the_same_bits(dtype: str) -> None:
    """Where a network fills the cache, tiles have one lane."""
    s = Settings(task="parity:10", hidden_size=16, epochs=5, dtype=dtype, learning_rate=1.0, momentum=0.5)
    many = trainer.train(s, index=range(4))
    for at in (0, 3):
        assert fields(many, at) == alone(s, at)


def test_the_threads_of_blas_change_nothing() -> None:
    """Products that are large enough for BLAS to use several threads are computed by one."""
    s = Settings(task="parity:10", hidden_size=16, epochs=3, seeds=3, learning_rate=1.0)
    results = []
    for threads in (1, 2):
        with threadpoolctl.threadpool_limits(threads):
            results.append(fields(trainer.train(s), 2))
    assert results[0] == results[1]
