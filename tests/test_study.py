"""The contract of a sweep's study, the same over a journal file, SQLite and PostgreSQL."""

from __future__ import annotations

import contextlib
import logging
import math
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest

from nnexp import config
from nnexp.errors import NotFoundError, StoreError, UsageError
from nnexp.study import Store, SweepStudy, Worker, open_storage
from tests.postgresql import Server, postgresql  # noqa: F401  (a fixture)

SPACE: dict[str, Any] = {
    "hidden_size": {"low": 2, "high": 8},
    "learning_rate": {"low": 1e-3, "high": 10.0, "log": True},
    "init": ["glorot_uniform", "he_normal", "uniform"],
}
KINDS = ("journal", "sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql))
FINE = {"solved_rate": 0.5, "recovery_rate": 0.25}


def make(**changes: Any) -> config.Sweep:
    values: dict[str, Any] = {"name": "s", "trials": 12, "sampler": "random", "space": SPACE, "lease": 60.0}
    return config.Sweep(**{**values, **changes})


@pytest.fixture(params=KINDS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgresql":
        server: Server = request.getfixturevalue("postgresql")
        return server.database()
    return str(tmp_path / "nnexp.journal") if request.param == "journal" else f"sqlite:///{tmp_path / 'study.db'}"


@pytest.fixture
def another(url: str) -> Iterator[Callable[[], Store]]:
    """Opens the store once more, as another process would."""
    with contextlib.ExitStack() as stack:
        yield lambda: stack.enter_context(open_storage(url))


@pytest.fixture
def store(another: Callable[[], Store]) -> Store:
    return another()


@pytest.fixture
def joined(another: Callable[[], Store]) -> Callable[[], Worker]:
    """A worker with a store of its own, as another process would have."""
    return lambda: SweepStudy.open(another(), "s").join()


def work(worker: Worker, batch: int = 4, limit: int = 10_000) -> dict[int, dict[str, Any]]:
    """Finish up to ``limit`` trials; their parameters by number."""
    done: dict[int, dict[str, Any]] = {}
    while len(done) < limit and (claims := worker.claim(min(batch, limit - len(done)))):
        for claim in claims:
            done[claim.number] = dict(claim.params)
            assert worker.finish(claim, "COMPLETE", [claim.params["learning_rate"]], FINE)
    return done


def test_a_sweep_ends_with_exactly_its_budget(store: Store) -> None:
    study = SweepStudy.create(store, make())
    done = work(study.join())
    assert sorted(done) == list(range(12))
    assert study.is_done()
    assert study.counts() == (12, 0, 0, 0, 0, 12)
    for trial in study.trials():
        assert trial.params == done[trial.number]
        assert trial.values == (done[trial.number]["learning_rate"],)
        assert trial.attrs == FINE
        assert trial.attempt == 1
        assert trial.started is not None
        assert trial.finished is not None
        assert trial.started <= trial.finished


def test_what_was_stored_is_read_back_to_the_bit_by_another_process(url: str, store: Store) -> None:
    done = work(SweepStudy.create(store, make()).join())
    with open_storage(url) as other:
        assert {trial.number: trial.params for trial in SweepStudy.open(other, "s").trials()} == done


def test_more_trials_extend_a_finished_sweep(store: Store, another: Callable[[], Store]) -> None:
    first = work(SweepStudy.create(store, make()).join())
    study = SweepStudy.create(another(), make(trials=20))
    assert not study.is_done()
    assert sorted(work(study.join())) == list(range(12, 20))
    assert {t.number: t.params for t in study.trials() if t.number < 12} == first


def test_a_worker_sees_that_another_extended_the_sweep(store: Store, another: Callable[[], Store]) -> None:
    worker = SweepStudy.create(store, make()).join()
    SweepStudy.create(another(), make(trials=14))
    worker.reclaim_dead()
    assert len(work(worker)) == 14


def test_a_changed_file_is_refused_with_the_keys_that_differ(store: Store) -> None:
    SweepStudy.create(store, make())
    changed = make(epochs=7, space={**SPACE, "init": ["uniform"]})
    with pytest.raises(UsageError, match=r"these keys differ: epochs, space\.init"):
        SweepStudy.create(store, changed)
    with pytest.raises(UsageError, match="can only become more"):
        SweepStudy.create(store, make(trials=3))


def test_an_unknown_sweep_is_named_with_those_that_are_there(store: Store) -> None:
    with pytest.raises(NotFoundError, match="holds none"):
        SweepStudy.open(store, "s")
    SweepStudy.create(store, make(name="first"))
    with pytest.raises(NotFoundError, match="did you mean 'first'"):
        SweepStudy.open(store, "frist")
    assert [summary.name for summary in SweepStudy.names(store)] == ["first"]


def test_a_half_made_study_is_made_again_and_a_foreign_one_refused(store: Store) -> None:
    import optuna

    with quiet_optuna():
        optuna.create_study(study_name="s", storage=store.storage)
        foreign = optuna.create_study(study_name="foreign", storage=store.storage)
    foreign.ask()
    assert len(work(SweepStudy.create(store, make()).join())) == 12
    with pytest.raises(StoreError, match="another program"):
        SweepStudy.create(store, make(name="foreign"))


class quiet_optuna:  # noqa: N801
    """Optuna's log lines are off in its block."""

    def __enter__(self) -> None:
        logging.getLogger("optuna").setLevel(logging.WARNING)

    def __exit__(self, *_: object) -> None:
        logging.getLogger("optuna").setLevel(logging.INFO)


def test_a_deleted_sweep_is_gone_and_its_workers_are_told(store: Store, another: Callable[[], Store]) -> None:
    worker = SweepStudy.create(store, make()).join()
    (claim,) = worker.claim(1)
    SweepStudy.open(another(), "s").delete()
    with pytest.raises(NotFoundError, match="was deleted"):
        worker.finish(claim, "COMPLETE", [0.0])
    with pytest.raises(NotFoundError, match="was deleted"):
        worker.claim(1)
    assert SweepStudy.names(store) == []


def test_two_workers_share_the_budget_and_draw_different_suggestions(
    store: Store, joined: Callable[[], Worker]
) -> None:
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


def test_trials_handed_back_keep_number_and_parameters_and_count_no_attempt(
    store: Store, joined: Callable[[], Worker]
) -> None:
    worker = SweepStudy.create(store, make()).join()
    claims = worker.claim(3)
    worker.leave()
    again = joined().claim(3)
    assert [(c.number, c.params, c.attempt) for c in again] == [(c.number, c.params, 1) for c in claims]


def test_the_first_to_finish_wins_and_the_other_is_told(store: Store, joined: Callable[[], Worker]) -> None:
    slow = SweepStudy.create(store, make()).join()
    (claim,) = slow.claim(1)
    slow.study.exclusively(lambda: slow._return(claim.trial_id, {"worker": None, "attempt": 1, "deaths": 1}))
    quick = joined()
    (again,) = quick.claim(1)
    assert (again.number, again.attempt) == (claim.number, 2)
    assert quick.finish(again, "COMPLETE", [2.0], {"by": "quick"})
    assert not slow.finish(claim, "COMPLETE", [1.0], {"by": "slow"})
    assert not slow.report(claim, 1, 0.0)
    (trial,) = quick.study.trials()
    assert (trial.values, trial.attrs, trial.owner) == ((2.0,), {"by": "quick"}, quick.id)
    assert quick.finish(again, "COMPLETE", [2.0]), "the same call again, after a lost answer, has still won"


def test_an_undefined_objective_is_the_worst_there_is(store: Store, another: Callable[[], Store]) -> None:
    worker = SweepStudy.create(store, make(objective=["solved_rate", "epochs_to_solve_median"])).join()
    for claim, values in zip(worker.claim(3), ([0.5, math.nan], [0.25, 100.0], [math.nan, None]), strict=True):
        assert worker.finish(claim, "COMPLETE", values, {"a": math.nan, "b": math.inf, "c": 1.5})
    trials = SweepStudy.open(another(), "s").trials()
    assert [t.values for t in trials] == [(0.5, math.inf), (0.25, 100.0), (-math.inf, math.inf)]
    assert trials[0].attrs == {"c": 1.5}
    assert [t.number for t in worker.study.front()] == [0, 1]


def test_ties_go_to_the_higher_solved_rate_then_to_the_lower_number(store: Store) -> None:
    worker = SweepStudy.create(store, make()).join()
    rates = [(0.2, 0.9), (0.5, 0.6), (0.5, 0.7), (0.5, 0.7)]
    for claim, (value, solved) in zip(worker.claim(4), rates, strict=True):
        worker.finish(claim, "COMPLETE", [value], {"solved_rate": solved})
    best = worker.study.best()
    assert best is not None
    assert best.number == 2
    assert [t.number for t in worker.study.ranking()] == [2, 3, 1, 0]


def test_stop_is_seen_by_all_workers_and_taken_back(store: Store, another: Callable[[], Store]) -> None:
    study = SweepStudy.create(store, make())
    other = SweepStudy.open(another(), "s")
    assert not other.stop_requested()
    study.request_stop()
    assert other.stop_requested()
    assert SweepStudy.names(store)[0].stopped
    study.clear_stop()
    assert not other.stop_requested()


def test_the_first_value_set_once_is_everybodys(store: Store, another: Callable[[], Store]) -> None:
    study = SweepStudy.create(store, make())
    assert study.get("parent") is None
    assert study.set_once("parent", "a") == "a"
    assert SweepStudy.open(another(), "s").set_once("parent", "b") == "a"
    study.set("parent", {"id": "c"})
    assert study.get("parent") == {"id": "c"}


def test_failed_and_pruned_trials_count_in_the_budget(store: Store) -> None:
    worker = SweepStudy.create(store, make(trials=3)).join()
    for claim, state in zip(worker.claim(3), ("FAIL", "PRUNED", "COMPLETE"), strict=True):
        assert worker.finish(claim, state, [1.0] if state == "COMPLETE" else None, {"error": state})  # type: ignore[arg-type]
    assert worker.study.counts() == (1, 1, 1, 0, 0, 3)
    assert worker.study.is_done()
    assert worker.claim(1) == []


# The dead


def kill_a_worker(url: str, n: int, script: str = "os.kill(os.getpid(), 9)") -> None:
    """A process that claims ``n`` trials and dies."""
    code = f"""
import os, sys
from nnexp.study import SweepStudy, open_storage
worker = SweepStudy.open(open_storage(sys.argv[1]), "s").join()
worker.reclaim_dead()
assert len(worker.claim({n})) == {n}
{script}
"""
    done = subprocess.run([sys.executable, "-c", code, url], check=False, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr


def test_a_killed_workers_trials_are_taken_back_at_once_on_its_own_machine(url: str, store: Store) -> None:
    worker = SweepStudy.create(store, make()).join()
    kill_a_worker(url, 3)
    assert [t.state for t in worker.study.trials()] == ["RUNNING"] * 3
    params = [t.params for t in worker.study.trials()]
    assert worker.reclaim_dead() == ([0, 1, 2], [])
    assert worker.reclaim_dead() == ([], [])
    again = worker.claim(4)
    assert [(c.number, c.attempt) for c in again] == [(0, 2), (1, 2), (2, 2), (3, 1)]
    assert [c.params for c in again[:3]] == params


def test_a_setting_that_kills_its_workers_is_set_aside(url: str, store: Store) -> None:
    """Whole workers are killed for other reasons too, so it takes three of them."""
    worker = SweepStudy.create(store, make(trials=1)).join()
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


def test_a_setting_that_kills_its_pool_twice_is_set_aside(store: Store) -> None:
    """The worker lives on, so that it is known what was in training."""
    worker = SweepStudy.create(store, make(trials=4)).join()
    assert worker.mourn(worker.claim(2)) == ([0, 1], [])
    first, second = worker.claim(2)
    worker.finish(second, "COMPLETE", [1.0])
    assert worker.mourn([first]) == ([], [0])
    assert "killed 2 times" in worker.study.trials()[0].attrs["error"]


def test_settings_that_died_in_company_are_tried_alone_and_last(url: str, store: Store) -> None:
    """Which of two killed their worker is not known; each gets a worker for itself."""
    worker = SweepStudy.create(store, make(trials=4)).join()
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


def test_a_stopped_worker_is_given_up_after_the_lease_and_wakes_harmlessly(
    store: Store, joined: Callable[[], Worker]
) -> None:
    study = SweepStudy.create(store, make(trials=2, lease=0.6))
    sleeper = joined()
    (claim,) = sleeper.claim(1)
    awake = study.join()
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


def test_a_beating_worker_is_never_given_up(store: Store, joined: Callable[[], Worker]) -> None:
    study = SweepStudy.create(store, make(lease=0.6))
    busy = joined()
    busy.claim(1)
    watch = study.join()
    with busy.keep_beating():
        end = time.monotonic() + 1.5
        while time.monotonic() < end:
            assert watch.reclaim_dead() == ([], [])
            time.sleep(0.1)


# Samplers


@pytest.mark.parametrize("sampler", ["random", "qmc", "grid"])
def test_trial_k_depends_on_the_file_and_k_alone(store: Store, sampler: str) -> None:
    space = SPACE if sampler != "grid" else {"hidden_size": [2, 3, 4, 5], "init": ["uniform", "normal", "orthogonal"]}
    sweeps = [make(name=name, sampler=sampler, space=space) for name in ("one", "other")]
    one, other = (SweepStudy.create(store, sweep).join() for sweep in sweeps)
    together = [c.params for c in one.claim(12)]
    apart = [c.params for _ in range(6) for c in other.claim(2)]
    assert together == apart
    assert len({tuple(p.values()) for p in together}) == 12


@pytest.mark.parametrize("sampler", ["tpe", "nsga2"])
def test_samplers_that_learn_repeat_themselves_for_one_worker(store: Store, sampler: str) -> None:
    runs = [work(SweepStudy.create(store, make(name=n, sampler=sampler, trials=24)).join(), 4) for n in ("a", "b")]
    assert runs[0] == runs[1]
    assert len({tuple(p.values()) for p in runs[0].values()}) == 24


def test_optunas_notices_are_silent_and_its_logger_untouched(url: str, capfd: pytest.CaptureFixture[str]) -> None:
    before = logging.getLogger("optuna").level, logging.getLogger("optuna.storages").level
    with open_storage(url) as store:
        work(SweepStudy.create(store, make(sampler="tpe")).join())
    assert (logging.getLogger("optuna").level, logging.getLogger("optuna.storages").level) == before
    assert capfd.readouterr() == ("", "")


def test_a_hopeless_trial_is_pruned(store: Store) -> None:
    for pruner in ("median", "asha"):
        worker = SweepStudy.create(store, make(name=pruner, pruner=pruner, epochs=640, trials=13)).join()
        for claim in worker.claim(12):
            for epoch in (10, 40, 160):
                assert worker.report(claim, epoch, 0.9)
                assert not worker.should_prune(claim)
            assert worker.finish(claim, "COMPLETE", [0.9])
        (hopeless,) = worker.claim(1)
        assert worker.report(hopeless, 160, 0.0)
        assert worker.should_prune(hopeless), pruner
        assert worker.finish(hopeless, "PRUNED")
        assert not worker.should_prune(hopeless)
        assert worker.study.counts().pruned == 1
