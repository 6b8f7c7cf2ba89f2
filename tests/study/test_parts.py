"""The parts of a study: samplers, liveness, ranking, importance."""

from __future__ import annotations

import dataclasses
import math
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnexp.search.space import Choice, FloatRange, IntRange
from nnexp.study import SweepStudy, TrialRecord, open_storage, processes, samplers
from nnexp.study.processes import Observer, WorkerRecord
from nnexp.study.trials import best
from tests.helpers.small_study import SPACE, in_child, make

FINITE = st.floats(-1e300, 1e300)
UNIT = st.floats(0, 1, exclude_max=True)


@given(st.tuples(FINITE, FINITE).map(sorted), UNIT)
def test_float_range(ends: list[float], u: float) -> None:
    """A point of the unit interval is mapped into any range, its ends included."""
    dim = FloatRange(*ends)
    assert dim.low <= samplers._at(dim, u) <= dim.high
    assert samplers._at(dim, 0.0) == dim.low


@given(st.tuples(st.floats(1e-300, 1e300), st.floats(1e-300, 1e300)).map(sorted), UNIT)
def test_log_range(ends: list[float], u: float) -> None:
    """A logarithmic range likewise, and half of the points lie below the geometric mean."""
    dim = FloatRange(*ends, log=True)
    value = samplers._at(dim, u)
    assert dim.low <= value <= dim.high
    middle = math.exp((math.log(dim.low) + math.log(dim.high)) / 2)
    assert (value <= middle * (1 + 1e-9)) if u < 0.5 else (value >= middle * (1 - 1e-9))


@settings(deadline=None)
@given(st.integers(1, 50), st.integers(0, 6), st.booleans())
def test_int_range(low: int, more: int, log: bool) -> None:
    """Every whole number of a range is drawn; without a logarithm equally often."""
    dim = IntRange(low, low + more, log)
    drawn = Counter(samplers._at(dim, (i + 0.5) / 700) for i in range(700))
    assert sorted(drawn) == list(range(low, low + more + 1))
    if not log:
        assert max(drawn.values()) - min(drawn.values()) <= 2


def test_choice() -> None:
    """Every value of a list is drawn equally often."""
    drawn = Counter(samplers._at(Choice(("a", "b", "c")), (i + 0.5) / 300) for i in range(300))
    assert drawn == {"a": 100, "b": 100, "c": 100}


def test_qmc_is_even_in_every_dimension() -> None:
    """Of 64 points of the Sobol sequence each half of each dimension holds 32, lists included; unlike Optuna's."""
    space = {**SPACE, "hidden_size": {"low": 1, "high": 8}, "init": ["uniform", "normal"], "momentum": [0.0, 0.9]}
    points = [sampled(make(sampler="qmc", space=space), k) for k in range(64)]
    assert Counter(p["init"] for p in points) == {"uniform": 32, "normal": 32}
    assert Counter((p["init"], p["momentum"]) for p in points) == dict.fromkeys(
        [(i, m) for i in ("uniform", "normal") for m in (0.0, 0.9)], 16
    )
    assert Counter(p["hidden_size"] for p in points) == dict.fromkeys(range(1, 9), 8)


def test_grid_is_every_combination_once() -> None:
    """A grid is the product of its lists, shuffled by the seed."""
    space: dict[str, Any] = {"hidden_size": [2, 3, 4], "init": ["uniform", "normal"], "momentum": [0.0, 0.5]}
    orders = []
    for seed in (0, 1):
        sweep = make(sampler="grid", trials=12, space=space, seed=seed)
        points = [tuple(sampled(sweep, k).values()) for k in range(12)]
        assert len(set(points)) == 12
        orders.append(points)
    assert sorted(orders[0]) == sorted(orders[1])
    assert orders[0] != orders[1]


@pytest.mark.parametrize("sampler", ["random", "qmc"])
def test_order_of_asking_does_not_matter(sampler: str) -> None:
    """Trial k is the same whether asked first, last or twice, and another with another seed."""
    sweep = make(sampler=sampler)
    pure = samplers.pure(sweep)
    assert pure is not None
    forward = [pure.params(k) for k in range(40)]
    assert [pure.params(k) for k in reversed(range(40))] == forward[::-1]
    assert sampled(sweep, 17) == forward[17]
    assert sampled(make(sampler=sampler, seed=1), 17) != forward[17]


def sampled(sweep: Any, number: int) -> dict[str, Any]:
    """Trial ``number`` by a sampler of its own."""
    pure = samplers.pure(sweep)
    assert pure is not None
    return pure.params(number)


AWAY = WorkerRecord("w", "another machine", 1, "5")


class Clock:
    """A clock that a test moves."""

    now = 0.0

    def __call__(self) -> float:
        """The time."""
        return self.now


def test_silence_longer_than_the_lease() -> None:
    """A counter that has not moved for the lease means dead, and alive again once it moves."""
    clock = Clock()
    observer = Observer(60, clock)
    for clock.now in range(0, 60, 10):
        assert not observer.dead(AWAY)
    clock.now = 60
    assert observer.dead(AWAY)
    assert not observer.dead(dataclasses.replace(AWAY, beats=1))


def test_an_observer_that_slept_waits_again() -> None:
    """After a long sleep of the observer's own, a single look does not condemn a worker that slept as well."""
    clock = Clock()
    observer = Observer(60, clock)
    observer.dead(AWAY)
    clock.now = 100_000
    assert not observer.dead(AWAY)
    clock.now += 29
    assert not observer.dead(AWAY)
    clock.now += 1
    assert observer.dead(AWAY)


def test_a_process_number_given_again() -> None:
    """A dead worker whose process number another process has now is dead; so is a zombie; one that left has left."""
    mine = processes.here()
    observer = Observer(60)
    assert not observer.dead(mine)
    assert observer.dead(dataclasses.replace(mine, started="1"))
    assert observer.dead(dataclasses.replace(mine, left=True))
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert processes._started(pid) is None
    os.waitpid(pid, 0)
    assert in_child(lambda: None) == 0


def test_names_are_never_given_twice() -> None:
    """Every worker has a name of its own, in one process too."""
    assert len({processes.here().id for _ in range(100)}) == 100


VALUES = st.sampled_from([-math.inf, 0.0, 0.25, 0.5, 1.0, math.inf])
TRIALS = st.lists(st.tuples(VALUES, VALUES, st.sampled_from([0.0, 0.5])), max_size=12).map(
    lambda rows: [TrialRecord(i, i, "COMPLETE", {}, (a, b), {"solved_rate": c}) for i, (a, b, c) in enumerate(rows)]
)


@given(TRIALS, st.sampled_from(["minimize", "maximize"]))
def test_best_is_first(trials: list[TrialRecord], direction: str) -> None:
    """No other complete trial beats it, has its value and solves more, or has both and an earlier number."""
    sign = 1 if direction == "maximize" else -1
    found = best([*trials, TrialRecord(99, 99, "PRUNED", {}, (9.0,))], direction)
    keys = {t.number: (sign * t.values[0], t.attrs["solved_rate"], -t.number) for t in trials if t.values}
    assert (None if found is None else found.number) == max(keys, key=lambda number: keys[number], default=None)


def test_importances(tmp_path: Path) -> None:
    """The setting that alone decides an outcome has nearly all of the importance; a constant outcome has none."""
    with open_storage(tmp_path / "j") as store:
        worker = SweepStudy.create(store, make(trials=60)).join()
        for claim in worker.claim(60):
            rate = 1.0 - abs(math.log10(claim.params["learning_rate"])) / 3
            worker.finish(claim, "COMPLETE", [rate], {"recovery_rate": rate, "solved_rate": 1.0})
        found = worker.study.importances()
    assert list(found) == ["recovery_rate"]
    assert max(found["recovery_rate"], key=found["recovery_rate"].__getitem__) == "learning_rate"
    assert found["recovery_rate"]["learning_rate"] > 0.6
    assert sum(found["recovery_rate"].values()) == pytest.approx(1)
