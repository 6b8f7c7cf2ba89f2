"""Workers claim and finish trials, the same over a journal file, SQLite and PostgreSQL."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from unittest.mock import ANY

import pytest

from nnexp.study import Store, SweepStudy, Worker, transitions
from nnexp.study.race import Race, bounds
from tests.helpers.small_study import FINAL_METRICS, SPACE, kill_a_worker, make, work


def test_the_budget_is_exact(store: Store) -> None:
    """A sweep ends with exactly its budget, and stores each trial as it was finished."""
    study = SweepStudy.create(store, make())
    done = work(Worker.join(study))
    assert sorted(done) == list(range(12))
    assert study.is_done()
    assert study.counts() == (12, 0, 0, 0, 0, 12)
    for trial in study.trials():
        assert trial.params == done[trial.number]
        assert trial.values == (done[trial.number]["learning_rate"],)
        assert trial.attrs == FINAL_METRICS
        assert trial.attempt == 1
        assert trial.started is not None
        assert trial.finished is not None
        assert trial.started <= trial.finished


def test_two_workers_share_the_budget(store: Store, joined: Callable[[], Worker]) -> None:
    """Two workers share the budget and draw different suggestions."""
    SweepStudy.create(store, make(trials=20))
    a, b = joined(), joined()
    done: dict[int, Any] = {}
    while True:
        claims = [(worker, claim) for worker in (a, b) for claim in worker.claim(3)]
        if not claims:
            break
        for worker, claim in claims:
            assert claim.number not in done
            done[claim.number] = tuple(claim.params.values())
            assert worker.finish(claim, "COMPLETE", [1.0])
    assert sorted(done) == list(range(20))
    assert len(set(done.values())) == 20


def test_the_best_lower_bound_of_a_race_is_known_to_all_workers(store: Store, joined: Callable[[], Worker]) -> None:
    """From the rates of all trials, in training or finished; a value at a number that is no rung does not count."""
    sweep = make(trials=4, pruner="race", race={"start": 8}, seeds=32, objective="solved_rate")
    race = Race.of(sweep)
    assert race is not None
    a, b = Worker.join(SweepStudy.create(store, sweep)), joined()
    (first,), (second,) = a.claim(1), b.claim(1)
    assert (a.best_lower_bound(race), b.best_lower_bound(race)) == (0, 0)
    assert a.set_intermediate_value(first, 8, 0.5)
    at_8 = float(bounds(4, 8, race)[0])
    assert b.best_lower_bound(race) == at_8 > 0
    assert b.set_intermediate_value(second, 8, 0.25)
    assert b.set_intermediate_value(second, 9, 1.0)
    assert b.set_intermediate_value(second, 16, math.nan)
    assert (a.best_lower_bound(race), b.best_lower_bound(race)) == (at_8, at_8)
    assert a.set_intermediate_value(first, 16, 0.75)
    assert a.finish(first, "COMPLETE", [0.75], {"networks": 16})
    assert b.best_lower_bound(race) == float(bounds(12, 16, race)[0]) > at_8
    assert joined().best_lower_bound(race) == b.best_lower_bound(race)


def test_trials_handed_back(store: Store, joined: Callable[[], Worker]) -> None:
    """Trials that are handed back keep number and parameters, and count no attempt."""
    worker = Worker.join(SweepStudy.create(store, make()))
    claims = worker.claim(3)
    worker.leave()
    again = joined().claim(3)
    assert [(c.number, c.params, c.attempt) for c in again] == [(c.number, c.params, 1) for c in claims]


def test_the_first_to_finish_wins(store: Store, joined: Callable[[], Worker]) -> None:
    """When two workers finish the same trial, the first one wins and the second one is told."""
    slow = Worker.join(SweepStudy.create(store, make()))
    (claim,) = slow.claim(1)
    trial = replace(slow.study.trials()[0], deaths=1)
    slow.study.exclusively(lambda: transitions.release(store.storage, trial, attempt=1))
    fast = joined()
    (again,) = fast.claim(1)
    assert (again.number, again.attempt) == (claim.number, 2)
    assert fast.finish(again, "COMPLETE", [2.0], {"by": "fast"})
    assert not slow.finish(claim, "COMPLETE", [1.0], {"by": "slow"})
    assert not slow.set_intermediate_value(claim, 1, 0.0)
    (trial,) = fast.study.trials()
    assert (trial.values, trial.attrs, trial.owner) == ((2.0,), {"by": "fast"}, fast.id)
    assert fast.finish(again, "COMPLETE", [2.0]), "the same call again, after a lost answer, has still won"


def test_an_undefined_objective(store: Store, another: Callable[[], Store]) -> None:
    """An undefined objective is stored as the worst possible value."""
    worker = Worker.join(SweepStudy.create(store, make(objective=["solved_rate", "epochs_to_solve_median"])))
    for claim, values in zip(worker.claim(3), ([0.5, math.nan], [0.25, 100.0], [math.nan, None]), strict=True):
        assert worker.finish(claim, "COMPLETE", values, {"a": math.nan, "b": math.inf, "c": 1.5})
    trials = SweepStudy.open(another(), "s").trials()
    assert [t.values for t in trials] == [(0.5, math.inf), (0.25, 100.0), (-math.inf, math.inf)]
    assert trials[0].attrs == {"c": 1.5}


def test_failed_and_pruned_trials_count(store: Store) -> None:
    """Failed and pruned trials count in the budget."""
    worker = Worker.join(SweepStudy.create(store, make(trials=3)))
    for claim, state in zip(worker.claim(3), ("FAIL", "PRUNED", "COMPLETE"), strict=True):
        assert worker.finish(claim, state, [1.0] if state == "COMPLETE" else None, {"error": state})  # type: ignore[arg-type]
    assert worker.study.counts() == (1, 1, 1, 0, 0, 3)
    assert worker.study.is_done()
    assert worker.claim(1) == []


@pytest.mark.parametrize("sampler", ["random", "qmc", "grid"])
def test_pure_samplers(store: Store, sampler: str) -> None:
    """Trial k of random, qmc and grid depends on the file and k alone, not on how many are claimed at once."""
    space = SPACE if sampler != "grid" else {"hidden_size": [2, 3, 4, 5], "init": ["uniform", "normal", "orthogonal"]}
    sweeps = [make(name=name, sampler=sampler, space=space) for name in ("one", "other")]
    one, other = (Worker.join(SweepStudy.create(store, sweep)) for sweep in sweeps)
    together = [c.params for c in one.claim(12)]
    apart = [c.params for _ in range(6) for c in other.claim(2)]
    assert together == apart
    assert len({tuple(p.values()) for p in together}) == 12


@pytest.mark.parametrize("sampler", ["tpe", "nsga2"])
def test_adaptive_samplers(store: Store, sampler: str) -> None:
    """The samplers tpe and nsga2 draw the same trials in each run of one worker, and no setting twice."""
    studies = [SweepStudy.create(store, make(name=name, sampler=sampler, trials=24)) for name in ("a", "b")]
    runs = [work(Worker.join(study), 4) for study in studies]
    assert runs[0] == runs[1]
    assert len({tuple(p.values()) for p in runs[0].values()}) == 24


def test_a_killed_worker(url: str, store: Store) -> None:
    """The trials of a killed worker of this machine are taken back at once, with number and parameters."""
    worker = Worker.join(SweepStudy.create(store, make()))
    kill_a_worker(url, 3)
    assert [t.state for t in worker.study.trials()] == ["RUNNING"] * 3
    params = [t.params for t in worker.study.trials()]
    assert worker.reclaim_dead() == ([0, 1, 2], [])
    assert worker.reclaim_dead() == ([], [])
    again = worker.claim(4)
    assert [(c.number, c.attempt) for c in again] == [(0, 2), (1, 2), (2, 2), (3, 1)]
    assert [c.params for c in again[:3]] == params


def test_a_trial_that_kills_its_workers(url: str, store: Store) -> None:
    """Whole workers are killed for other reasons too, so a trial is set aside after three of their deaths."""
    worker = Worker.join(SweepStudy.create(store, make(trials=1)))
    for _ in range(2):
        kill_a_worker(url, 1)
        assert worker.reclaim_dead() == ([0], [])
    kill_a_worker(url, 1)
    assert worker.reclaim_dead() == ([], [0])
    (trial,) = worker.study.trials()
    assert (trial.state, trial.deaths, trial.attrs) == ("FAIL", 3, ANY)
    assert "killed 3 times" in trial.attrs["error"]
    assert worker.claim(4) == []
    assert worker.study.counts() == (0, 0, 1, 0, 0, 1)


def test_a_trial_that_kills_its_pool(store: Store) -> None:
    """The worker survives and knows which trials were in training, so two deaths suffice."""
    worker = Worker.join(SweepStudy.create(store, make(trials=4)))
    assert worker.count_pool_death(worker.claim(2)) == ([0, 1], [])
    first, second = worker.claim(2)
    worker.finish(second, "COMPLETE", [1.0])
    assert worker.count_pool_death([first]) == ([], [0])
    assert "killed 2 times" in worker.study.trials()[0].attrs["error"]


def test_two_trials_of_killed_workers(url: str, store: Store) -> None:
    """It is unknown which of two trials killed their worker, so each is then trained alone."""
    worker = Worker.join(SweepStudy.create(store, make(trials=4)))
    kill_a_worker(url, 2)
    kill_a_worker(url, 2)
    assert worker.reclaim_dead() == ([0, 1], [])
    first = worker.claim(4)
    assert [c.number for c in first] == [2, 3]
    assert worker.claim(4) == []
    for claim in first:
        worker.finish(claim, "COMPLETE", [1.0])
    (alone,) = worker.claim(4)
    assert (alone.number, alone.attempt) == (0, 3)
    assert worker.claim(4) == []
    worker.finish(alone, "COMPLETE", [1.0])
    assert [c.number for c in worker.claim(4)] == [1]


def test_a_suspended_worker(store: Store, joined: Callable[[], Worker]) -> None:
    """A worker without heartbeats is declared dead after the lease, and does no harm when it continues."""
    study = SweepStudy.create(store, make(trials=2, lease=0.6))
    sleeper = joined()
    (claim,) = sleeper.claim(1)
    awake = Worker.join(study)
    start = time.monotonic()
    while awake.reclaim_dead() == ([], []):
        assert time.monotonic() - start < 10
        time.sleep(0.1)
    assert time.monotonic() - start > 0.55
    (again,) = awake.claim(1)
    assert (again.number, again.params, again.attempt) == (0, claim.params, 2)
    assert awake.finish(again, "COMPLETE", [1.0])
    assert not sleeper.finish(claim, "COMPLETE", [1.0])
    assert study.counts().complete == 1


def test_a_worker_with_heartbeats(store: Store, joined: Callable[[], Worker]) -> None:
    """A worker that sends heartbeats is never declared dead."""
    study = SweepStudy.create(store, make(lease=0.6))
    busy = joined()
    busy.claim(1)
    watch = Worker.join(study)
    with busy.keep_beating():
        end = time.monotonic() + 1.5
        while time.monotonic() < end:
            assert watch.reclaim_dead() == ([], [])
            time.sleep(0.1)


@pytest.mark.parametrize(("trials", "expected", "total"), [(10, [3], 4), (3, [], 4)])
def test_a_claim_ends_at_the_first_number_that_another_worker_took(
    store: Store,
    joined: Callable[[], Worker],
    monkeypatch: pytest.MonkeyPatch,
    trials: int,
    expected: list[int],
    total: int,
) -> None:
    """A worker that was suspended within a claim has lost its lock: it creates at most one trial beyond the budget."""
    SweepStudy.create(store, make(trials=trials))
    suspended, other = joined(), joined()
    suspended.claim(1)
    other.claim(2)
    monkeypatch.setattr(suspended.study.cache, "refresh", lambda: None)  # it has read the study before the suspension
    assert [claim.number for claim in suspended._claim(5)] == expected
    assert len(other.study.trials()) == total
