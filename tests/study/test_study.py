"""The contract of a sweep's study, the same over a journal file, SQLite and PostgreSQL."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from typing import Any
from unittest.mock import ANY

import pytest
from optuna.study import StudyDirection

from nnexp.errors import NotFoundError, StoreError, UsageError
from nnexp.study import Store, SweepStudy, Worker, open_storage
from tests.helpers.small_study import FINE, SPACE, kill_a_worker, make, work

pytest_plugins = ["tests.helpers.study_stores"]


def test_budget(store: Store) -> None:
    """A sweep ends with exactly its budget, and each trial as it was finished."""
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


def test_read_back(url: str, store: Store) -> None:
    """What was stored is read back to the bit by another process."""
    done = work(SweepStudy.create(store, make()).join())
    with open_storage(url) as other:
        assert {trial.number: trial.params for trial in SweepStudy.open(other, "s").trials()} == done


def test_extended(store: Store, another: Callable[[], Store]) -> None:
    """A larger budget extends a finished sweep, and changes none of its trials."""
    first = work(SweepStudy.create(store, make()).join())
    study = SweepStudy.create(another(), make(trials=20))
    assert not study.is_done()
    assert sorted(work(study.join())) == list(range(12, 20))
    assert {t.number: t.params for t in study.trials() if t.number < 12} == first


def test_extension_seen(store: Store, another: Callable[[], Store]) -> None:
    """A worker sees that another process extended the sweep."""
    worker = SweepStudy.create(store, make()).join()
    SweepStudy.create(another(), make(trials=14))
    worker.reclaim_dead()
    assert len(work(worker)) == 14


def test_changed_file(store: Store) -> None:
    """A changed file is refused with the keys that differ, and so is a smaller budget."""
    SweepStudy.create(store, make())
    changed = make(epochs=7, space={**SPACE, "init": ["uniform"]})
    with pytest.raises(UsageError, match=r"these keys differ: epochs, space\.init"):
        SweepStudy.create(store, changed)
    with pytest.raises(UsageError, match="can only become more"):
        SweepStudy.create(store, make(trials=3))


def test_unknown_sweep(store: Store) -> None:
    """The error about an unknown sweep names the nearest that is there."""
    with pytest.raises(NotFoundError, match="holds none"):
        SweepStudy.open(store, "s")
    SweepStudy.create(store, make(name="first"))
    with pytest.raises(NotFoundError, match="did you mean 'first'"):
        SweepStudy.open(store, "frist")
    assert [summary.name for summary in SweepStudy.names(store)] == ["first"]


def test_half_made(store: Store) -> None:
    """A study whose maker died is made again; another program's is refused."""
    store.storage.create_new_study([StudyDirection.MINIMIZE], "s")
    foreign = store.storage.create_new_study([StudyDirection.MINIMIZE], "foreign")
    store.storage.create_new_trial(foreign)
    assert len(work(SweepStudy.create(store, make()).join())) == 12
    with pytest.raises(StoreError, match="another program"):
        SweepStudy.create(store, make(name="foreign"))


def test_deleted(store: Store, another: Callable[[], Store]) -> None:
    """A deleted sweep is gone, and its workers are told."""
    worker = SweepStudy.create(store, make()).join()
    (claim,) = worker.claim(1)
    SweepStudy.open(another(), "s").delete()
    with pytest.raises(NotFoundError, match="was deleted"):
        worker.finish(claim, "COMPLETE", [0.0])
    with pytest.raises(NotFoundError, match="was deleted"):
        worker.claim(1)
    assert SweepStudy.names(store) == []


def test_two_workers(store: Store, joined: Callable[[], Worker]) -> None:
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


def test_hand_back(store: Store, joined: Callable[[], Worker]) -> None:
    """Trials handed back keep number and parameters, and count no attempt."""
    worker = SweepStudy.create(store, make()).join()
    claims = worker.claim(3)
    worker.leave()
    again = joined().claim(3)
    assert [(c.number, c.params, c.attempt) for c in again] == [(c.number, c.params, 1) for c in claims]


def test_first_finisher(store: Store, joined: Callable[[], Worker]) -> None:
    """Of two that finish a trial the first wins, and the other is told."""
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


def test_undefined_objective(store: Store, another: Callable[[], Store]) -> None:
    """An undefined objective is the worst there is, and reads back as such."""
    worker = SweepStudy.create(store, make(objective=["solved_rate", "epochs_to_solve_median"])).join()
    for claim, values in zip(worker.claim(3), ([0.5, math.nan], [0.25, 100.0], [math.nan, None]), strict=True):
        assert worker.finish(claim, "COMPLETE", values, {"a": math.nan, "b": math.inf, "c": 1.5})
    trials = SweepStudy.open(another(), "s").trials()
    assert [t.values for t in trials] == [(0.5, math.inf), (0.25, 100.0), (-math.inf, math.inf)]
    assert trials[0].attrs == {"c": 1.5}


def test_ties(store: Store) -> None:
    """Ties go to the higher solved_rate, then to the lower number."""
    worker = SweepStudy.create(store, make()).join()
    rates = [(0.2, 0.9), (0.5, 0.6), (0.5, 0.7), (0.5, 0.7)]
    for claim, (value, solved) in zip(worker.claim(4), rates, strict=True):
        worker.finish(claim, "COMPLETE", [value], {"solved_rate": solved})
    best = worker.study.best()
    assert best is not None
    assert best.number == 2


def test_stop(store: Store, another: Callable[[], Store]) -> None:
    """A stop is seen by all workers, and can be taken back."""
    study = SweepStudy.create(store, make())
    other = SweepStudy.open(another(), "s")
    assert not other.stop_requested()
    study.request_stop()
    assert other.stop_requested()
    assert SweepStudy.names(store)[0].stopped
    study.clear_stop()
    assert not other.stop_requested()


def test_set_once(store: Store, another: Callable[[], Store]) -> None:
    """The first value that is set once is everybody's."""
    study = SweepStudy.create(store, make())
    assert study.get("parent") is None
    assert study.set_once("parent", "a") == "a"
    assert SweepStudy.open(another(), "s").set_once("parent", "b") == "a"
    study.set("parent", {"id": "c"})
    assert study.get("parent") == {"id": "c"}


def test_failed_and_pruned(store: Store) -> None:
    """Failed and pruned trials count in the budget."""
    worker = SweepStudy.create(store, make(trials=3)).join()
    for claim, state in zip(worker.claim(3), ("FAIL", "PRUNED", "COMPLETE"), strict=True):
        assert worker.finish(claim, state, [1.0] if state == "COMPLETE" else None, {"error": state})  # type: ignore[arg-type]
    assert worker.study.counts() == (1, 1, 1, 0, 0, 3)
    assert worker.study.is_done()
    assert worker.claim(1) == []


# The dead


def test_killed_worker(url: str, store: Store) -> None:
    """A killed worker's trials are taken back at once on its own machine, with number and parameters."""
    worker = SweepStudy.create(store, make()).join()
    kill_a_worker(url, 3)
    assert [t.state for t in worker.study.trials()] == ["RUNNING"] * 3
    params = [t.params for t in worker.study.trials()]
    assert worker.reclaim_dead() == ([0, 1, 2], [])
    assert worker.reclaim_dead() == ([], [])
    again = worker.claim(4)
    assert [(c.number, c.attempt) for c in again] == [(0, 2), (1, 2), (2, 2), (3, 1)]
    assert [c.params for c in again[:3]] == params


def test_deadly_setting(url: str, store: Store) -> None:
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


def test_deadly_to_its_pool(store: Store) -> None:
    """The worker lives on, so that it is known what was in training."""
    worker = SweepStudy.create(store, make(trials=4)).join()
    assert worker.mourn(worker.claim(2)) == ([0, 1], [])
    first, second = worker.claim(2)
    worker.finish(second, "COMPLETE", [1.0])
    assert worker.mourn([first]) == ([], [0])
    assert "killed 2 times" in worker.study.trials()[0].attrs["error"]


def test_died_in_company(url: str, store: Store) -> None:
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


def test_silent_worker(store: Store, joined: Callable[[], Worker]) -> None:
    """A silent worker is given up after the lease, and does no harm when it wakes."""
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


def test_beating_worker(store: Store, joined: Callable[[], Worker]) -> None:
    """A worker that beats is never given up."""
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
def test_pure_samplers(store: Store, sampler: str) -> None:
    """Trial k of random, qmc and grid depends on the file and k alone, not on how many are asked at once."""
    space = SPACE if sampler != "grid" else {"hidden_size": [2, 3, 4, 5], "init": ["uniform", "normal", "orthogonal"]}
    sweeps = [make(name=name, sampler=sampler, space=space) for name in ("one", "other")]
    one, other = (SweepStudy.create(store, sweep).join() for sweep in sweeps)
    together = [c.params for c in one.claim(12)]
    apart = [c.params for _ in range(6) for c in other.claim(2)]
    assert together == apart
    assert len({tuple(p.values()) for p in together}) == 12


@pytest.mark.parametrize("sampler", ["tpe", "nsga2"])
def test_learning_samplers(store: Store, sampler: str) -> None:
    """Samplers that learn draw the same again for one worker, and no setting twice."""
    runs = [work(SweepStudy.create(store, make(name=n, sampler=sampler, trials=24)).join(), 4) for n in ("a", "b")]
    assert runs[0] == runs[1]
    assert len({tuple(p.values()) for p in runs[0].values()}) == 24


def test_silence(url: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Nothing is printed, and the loggers' levels stay as the user set them."""
    before = logging.getLogger("optuna").level, logging.getLogger("optuna.storages").level
    with open_storage(url) as store:
        work(SweepStudy.create(store, make(sampler="tpe")).join())
    assert (logging.getLogger("optuna").level, logging.getLogger("optuna.storages").level) == before
    assert capfd.readouterr() == ("", "")


def test_pruned(store: Store) -> None:
    """Each pruner stops a trial that is worse than all before."""
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
