"""A sweep's study survives processes that are killed: between any two writes, at random, or only stopped."""

from __future__ import annotations

import contextlib
import functools
import os
import queue
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from nnexp.study import Store, SweepStudy, Worker, open_storage
from tests.helpers.postgresql import Server, running
from tests.helpers.small_study import FINE, in_child, make, work

pytest_plugins = ["tests.helpers.study_stores"]

WRITES = (
    "create_new_study",
    "set_study_user_attr",
    "create_new_trial",
    "set_trial_param",
    "set_trial_user_attr",
    "set_trial_system_attr",
    "set_trial_intermediate_value",
    "set_trial_state_values",
)
KILLED = 77

#: The embedded store always; the others where there is time.
FEW = (
    "journal",
    pytest.param("sqlite", marks=pytest.mark.slow),
    pytest.param("postgresql", marks=[pytest.mark.slow, pytest.mark.postgresql]),
)


def life(url: str, name: str, sampler: str, fatal: int) -> None:
    """A worker's whole life with every kind of write in it; the process ends just before write number ``fatal``."""
    store = open_storage(url)
    end_before(store, fatal)
    study = SweepStudy.create(store, make(name=name, sampler=sampler, trials=4))
    study.max_deaths = 9
    worker = study.join()
    worker.hand_back(worker.claim(2)[1:])
    worker.mourn(worker.held)
    worker.reclaim_dead()
    for claim in worker.claim(3):
        worker.report(claim, 1, 0.5)
        worker.finish(claim, "COMPLETE", [0.5], FINE)
    study.set("parent", "run")
    worker.leave()


def end_before(store: Store, fatal: int) -> None:
    """Count the store's writes, and end the process before one of them."""
    writes = iter(range(1, 1_000_000))

    def counted(method: Callable[..., Any]) -> Callable[..., Any]:
        def write(*args: Any, **more: Any) -> Any:
            if next(writes) == fatal:
                os._exit(KILLED)
            return method(*args, **more)

        return write

    for name in WRITES:
        setattr(store.storage, name, counted(getattr(store.storage, name)))


@pytest.mark.parametrize("sampler", ["random", "tpe"])
@pytest.mark.parametrize("url", FEW, indirect=True)
def test_killed_between_any_two_writes(url: str, another: Callable[[], Store], sampler: str) -> None:
    """Whichever write a process dies before, the next one finishes the sweep: each trial once, with its parameters."""
    undisturbed = work(SweepStudy.create(another(), make(name="undisturbed", sampler=sampler, trials=4)).join())
    points = 0
    while True:
        name = f"killed{points}"
        status = in_child(functools.partial(life, url, name, sampler, points + 1))
        worker = SweepStudy.create(another(), make(name=name, sampler=sampler, trials=4)).join()
        worker.study.max_deaths = 9
        assert worker.reclaim_dead().set_aside == []
        done = work(worker)
        study = worker.study
        assert study.counts() == (4, 0, 0, 0, 0, 4)
        assert [t.number for t in study.trials()] == [0, 1, 2, 3]
        assert all(t.params.keys() == study.sweep.searched.keys() for t in study.trials())
        assert all(done[t.number] == t.params for t in study.trials() if t.number in done)
        if sampler == "random":
            assert {t.number: t.params for t in study.trials()} == undisturbed
        if status == 0:
            break
        assert status == KILLED
        points += 1
    assert points > 20, "the enumeration should have met every write"


WORKER = """
import os, signal, sys, time
from nnexp.study import SweepStudy, open_storage
with open_storage(sys.argv[1]) as store:
    worker = SweepStudy.open(store, "s").join()
    with worker.keep_beating():
        while not worker.study.is_done():
            worker.reclaim_dead()
            claims = worker.claim(2)
            if claims and claims[0].number > 20 and sys.argv[2:] == ["stop"]:
                os.kill(os.getpid(), signal.SIGSTOP)
                sys.argv.pop()
            for claim in claims:
                time.sleep(0.02)
                if worker.finish(claim, "COMPLETE", [claim.params["learning_rate"]], {"solved_rate": 0.5}):
                    print(claim.number, flush=True)
            time.sleep(0.02)
    worker.leave()
"""


@pytest.fixture
def start(url: str) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts real worker processes."""
    with contextlib.ExitStack() as stack:

        def start(*arguments: str) -> subprocess.Popen[str]:
            command = [sys.executable, "-c", WORKER, url, *arguments]
            process = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
            stack.callback(process.kill)
            return process

        yield start


@pytest.mark.slow
def test_four_workers_one_killed_one_stopped(
    url: str, store: Store, start: Callable[..., subprocess.Popen[str]]
) -> None:
    """Four processes share a sweep, one killed and one stopped for longer than the lease: no trial lost or doubled."""
    study = SweepStudy.create(store, make(trials=120, lease=4.0))
    killed, stopped, *others = start(), start("stop"), start(), start()
    while study.counts().finished < 20 or len(study.workers()) < 4:
        time.sleep(0.05)
    killed.kill()
    told = [line for process in others for line in process.communicate(timeout=300)[0].split()]
    assert stopped.poll() is None
    stopped.send_signal(signal.SIGCONT)
    told += stopped.communicate(timeout=60)[0].split()
    told += killed.communicate()[0].split()
    assert [process.returncode for process in (*others, stopped)] == [0, 0, 0]
    trials = study.trials()
    assert [t.state for t in trials] == ["COMPLETE"] * 120
    assert len({tuple(t.params.values()) for t in trials}) == 120
    # The killed one may have finished a trial that it had no time to tell of.
    assert len(told) == len(set(told)) >= 118


@pytest.mark.slow
@pytest.mark.parametrize("url", [pytest.param("postgresql", marks=pytest.mark.postgresql)], indirect=True)
def test_stopped_while_others_wait(url: str, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process stopped while it holds the server's lock loses it; awake again, it finds that and goes on."""
    monkeypatch.setattr("nnexp.study.storage.SILENCE", 1.0)
    study = SweepStudy.create(store, make(trials=6))
    ours, theirs = os.pipe()

    def stop_while_claiming() -> None:
        sleeper = SweepStudy.open(open_storage(url), "s").join()
        plain = sleeper._new

        def stop(number: int) -> Any:
            os.write(theirs, b"x")
            sleeper._new = plain  # type: ignore[method-assign]
            os.kill(os.getpid(), signal.SIGSTOP)
            return plain(number)

        sleeper._new = stop  # type: ignore[method-assign]
        for claim in sleeper.claim(2):
            sleeper.finish(claim, "COMPLETE", [2.0])

    with background(stop_while_claiming) as pid:
        os.read(ours, 1)
        awake = study.join()
        first = work(awake, limit=2)
        os.kill(pid, signal.SIGCONT)
    assert sorted(first) == [0, 1]
    awake.reclaim_dead()
    work(awake)
    assert study.counts() == (6, 0, 0, 0, 0, 6)
    pure = work(SweepStudy.create(store, make(name="undisturbed", trials=6)).join())
    assert {t.number: t.params for t in study.trials()} == pure


@contextlib.contextmanager
def background(task: Callable[[], None]) -> Iterator[int]:
    """A forked process that does ``task`` beside the block, and is well at its end."""
    results: list[int] = []
    pids: queue.Queue[int] = queue.Queue()
    thread = threading.Thread(target=lambda: results.append(in_child(task, pids.put)))
    thread.start()
    yield pids.get()
    thread.join(60)
    assert results == [0]


@pytest.mark.slow
def test_killed_at_random_again_and_again(url: str, store: Store) -> None:
    """A sweep whose worker is killed at random a dozen times ends as if it never was."""
    random.seed(url)
    sweep = make(trials=60)
    SweepStudy.create(store, sweep)

    def live() -> None:
        with open_storage(url) as mine:
            worker = SweepStudy.open(mine, "s").join()
            worker.study.max_deaths = 100  # it is the test that kills
            worker.reclaim_dead()
            signal.setitimer(signal.ITIMER_REAL, random.uniform(0.001, 0.15))  # noqa: S311
            signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
            work(worker)

    for _ in range(12):
        assert in_child(live) in (-signal.SIGKILL, 0)
    last = SweepStudy.open(store, "s").join()
    last.reclaim_dead()
    work(last)
    study = SweepStudy.create(store, make(name="undisturbed", trials=60))
    assert {t.number: t.params for t in last.study.trials()} == work(study.join())
    assert last.study.counts() == (60, 0, 0, 0, 0, 60)


@pytest.mark.slow
@pytest.mark.postgresql
def test_database_server_restarted() -> None:
    """A PostgreSQL server that crashes and comes back in mid-sweep delays the sweep, and nothing else."""
    with running() as server, open_storage(server.database()) as store:
        worker = SweepStudy.create(store, make(trials=12)).join()
        with worker.keep_beating():
            done = work(worker, limit=4)
            restart(server)
            claims = worker.claim(2)
            restart(server)
            for claim in claims:
                assert worker.finish(claim, "COMPLETE", [1.0], FINE)
                done[claim.number] = dict(claim.params)
            worker.reclaim_dead()
            done |= work(worker)
        assert sorted(done) == list(range(12))
        assert worker.study.counts() == (12, 0, 0, 0, 0, 12)


def restart(server: Server) -> None:
    """Crash the server; a second later it is started again, while the test goes on."""
    server.stop("immediate")
    threading.Timer(1, server.start).start()


def test_claims_whose_answer_was_lost(joined: Callable[[], Worker], store: Store) -> None:
    """Trials that were claimed, though the claim failed for the claimer, are claimed again and no death is counted."""
    SweepStudy.create(store, make(trials=3))
    worker = joined()
    lost = worker._claim(2)  # as when the connection breaks between the last write and the answer
    assert worker.reclaim_dead() == ([0, 1], [])
    again = worker.claim(3)
    assert [(c.number, c.params) for c in again[:2]] == [(c.number, c.params) for c in lost]
    assert [t.deaths for t in worker.study.trials()] == [0, 0, 0]
