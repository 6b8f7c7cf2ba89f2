"""A study survives processes that are killed between any two writes, killed at random, or suspended."""

from __future__ import annotations

import contextlib
import functools
import os
import queue
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
from tests.helpers.sampling import generator, sample
from tests.helpers.small_study import FINAL_METRICS, in_child, make, work

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

#: The embedded store always; the others in slow tests.
URLS = (
    "journal",
    pytest.param("sqlite", marks=pytest.mark.slow),
    pytest.param("postgresql", marks=[pytest.mark.slow, pytest.mark.postgresql]),
)


def run_worker(url: str, name: str, sampler: str, last: int) -> int:
    """Run a worker that makes every kind of write; the process ends just before write number ``last`` (0: never).

    Returns:
        The number of writes.
    """
    with open_storage(url) as store:
        writes = exit_before(store, last)
        study = SweepStudy.create(store, make(name=name, sampler=sampler, trials=4))
        study.max_deaths = 9
        worker = Worker.join(study)
        worker.hand_back(worker.claim(2)[1:])
        worker.count_pool_death(worker.held)
        worker.reclaim_dead()
        for claim in worker.claim(3):
            worker.set_intermediate_value(claim, 1, 0.5)
            worker.finish(claim, "COMPLETE", [0.5], FINAL_METRICS)
        study.set("parent", "run")
        worker.leave()
        return len(writes)


def exit_before(store: Store, last: int) -> list[str]:
    """List the store's writes from now on, and end the process before write number ``last``."""
    writes: list[str] = []

    def counted(method: Callable[..., Any], name: str) -> Callable[..., Any]:
        def write(*args: Any, **more: Any) -> Any:
            writes.append(name)
            if len(writes) == last:
                os._exit(KILLED)
            return method(*args, **more)

        return write

    for name in WRITES:
        setattr(store.storage, name, counted(getattr(store.storage, name), name))
    return writes


@pytest.mark.parametrize("sampler", ["random", "tpe"])
@pytest.mark.parametrize("url", URLS, indirect=True)
def test_killed_between_any_two_writes(
    url: str, another: Callable[[], Store], sampler: str, request: pytest.FixtureRequest
) -> None:
    """Another process finishes the sweep, with each trial once and its parameters, whichever write came last.

    The gate takes a sample of the writes.
    """
    undisturbed = work(Worker.join(SweepStudy.create(another(), make(name="undisturbed", sampler=sampler, trials=4))))
    writes = run_worker(url, "counted", sampler, 0)
    assert writes > 20, "the writes of a worker were not all reached"
    for last in sample(range(1, writes + 1), 4, request.node.name):
        name = f"killed{last}"
        assert in_child(functools.partial(run_worker, url, name, sampler, last)) == KILLED
        worker = Worker.join(SweepStudy.create(another(), make(name=name, sampler=sampler, trials=4)))
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


WORKER = """
import os, signal, sys, time
from nnexp.study import SweepStudy, Worker, open_storage
with open_storage(sys.argv[1]) as store:
    worker = Worker.join(SweepStudy.open(store, "s"))
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
    """A function that starts a worker process."""
    with contextlib.ExitStack() as stack:

        def start(*arguments: str) -> subprocess.Popen[str]:
            command = [sys.executable, "-c", WORKER, url, *arguments]
            process = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
            stack.callback(process.kill)
            return process

        yield start


@pytest.mark.slow
def test_four_workers_one_killed_one_suspended(
    url: str, store: Store, start: Callable[..., subprocess.Popen[str]]
) -> None:
    """Four processes share a sweep; one is killed, one suspended beyond the lease: no trial is lost or doubled."""
    study = SweepStudy.create(store, make(trials=120, lease=4.0))
    killed, suspended, *others = start(), start("stop"), start(), start()
    while study.counts().finished < 20 or len(study.workers()) < 4:
        time.sleep(0.05)
    killed.kill()
    printed = [line for process in others for line in process.communicate(timeout=300)[0].split()]
    assert suspended.poll() is None
    suspended.send_signal(signal.SIGCONT)
    printed += suspended.communicate(timeout=60)[0].split()
    printed += killed.communicate()[0].split()
    assert [process.returncode for process in (*others, suspended)] == [0, 0, 0]
    trials = study.trials()
    assert [t.state for t in trials] == ["COMPLETE"] * 120
    assert len({tuple(t.params.values()) for t in trials}) == 120
    # The killed worker may have finished a trial before it could print the number.
    assert len(printed) == len(set(printed)) >= 118


@pytest.mark.slow
@pytest.mark.parametrize("url", [pytest.param("postgresql", marks=pytest.mark.postgresql)], indirect=True)
def test_suspended_while_others_wait(url: str, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process suspended while it holds the server's lock loses the lock; it notices that and continues."""
    monkeypatch.setattr("nnexp.study.storage.IDLE_IN_TRANSACTION", 4.0)  # a busy machine is idle for a second
    study = SweepStudy.create(store, make(trials=6))
    ours, theirs = os.pipe()

    def suspend_while_claiming() -> None:
        suspended = Worker.join(SweepStudy.open(open_storage(url), "s"))
        claim_new = suspended._claim_new

        def suspend(number: int) -> Any:
            os.write(theirs, b"x")
            suspended._claim_new = claim_new  # type: ignore[method-assign]
            os.kill(os.getpid(), signal.SIGSTOP)
            return claim_new(number)

        suspended._claim_new = suspend  # type: ignore[method-assign]
        for claim in suspended.claim(2):
            suspended.finish(claim, "COMPLETE", [2.0])

    with background(suspend_while_claiming) as pid:
        os.close(theirs)  # so that the reading ends if the process does
        assert os.read(ours, 1) == b"x"
        running_worker = Worker.join(study)
        first = work(running_worker, limit=2)
        os.kill(pid, signal.SIGCONT)
    assert sorted(first) == [0, 1]
    running_worker.reclaim_dead()
    work(running_worker)
    assert study.counts() == (6, 0, 0, 0, 0, 6)
    undisturbed = work(Worker.join(SweepStudy.create(store, make(name="undisturbed", trials=6))))
    assert {t.number: t.params for t in study.trials()} == undisturbed


@contextlib.contextmanager
def background(task: Callable[[], None]) -> Iterator[int]:
    """Run ``task`` in a forked process beside the block; the process must end with exit status 0."""
    results: list[int] = []
    pids: queue.Queue[int] = queue.Queue()
    thread = threading.Thread(target=lambda: results.append(in_child(task, pids.put)))
    thread.start()
    yield pids.get()
    thread.join(60)
    assert results == [0]


@pytest.mark.slow
def test_killed_at_random_again_and_again(url: str, store: Store) -> None:
    """A sweep whose worker is killed at random twelve times has the same trials as one without kills."""
    chance = generator("killed at random again and again")
    SweepStudy.create(store, make(trials=60))

    def join(store: Store) -> Worker:
        worker = Worker.join(SweepStudy.open(store, "s"))
        worker.study.max_deaths = 100  # the test kills the workers, not a trial
        worker.reclaim_dead()
        return worker

    def run_until_killed(seconds: float) -> None:
        with open_storage(url) as mine:
            worker = join(mine)
            signal.setitimer(signal.ITIMER_REAL, seconds)
            signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
            work(worker)

    for _ in range(12):
        assert in_child(functools.partial(run_until_killed, chance.uniform(0.001, 0.15))) in (-signal.SIGKILL, 0)
    last = join(store)
    work(last)
    study = SweepStudy.create(store, make(name="undisturbed", trials=60))
    assert {t.number: t.params for t in last.study.trials()} == work(Worker.join(study))
    assert last.study.counts() == (60, 0, 0, 0, 0, 60)


@pytest.mark.slow
@pytest.mark.postgresql
def test_database_server_restarted() -> None:
    """A PostgreSQL server that crashes and restarts during a sweep delays it, without other effects."""
    with running() as server, open_storage(server.database()) as store:
        worker = Worker.join(SweepStudy.create(store, make(trials=12)))
        with worker.keep_beating():
            done = work(worker, limit=4)
            restart(server)
            claims = worker.claim(2)
            restart(server)
            for claim in claims:
                assert worker.finish(claim, "COMPLETE", [1.0], FINAL_METRICS)
                done[claim.number] = dict(claim.params)
            worker.reclaim_dead()
            done |= work(worker)
        assert sorted(done) == list(range(12))
        assert worker.study.counts() == (12, 0, 0, 0, 0, 12)


def restart(server: Server) -> None:
    """Crash the server and start it again a second later, while the test continues."""
    server.stop("immediate")
    threading.Timer(1, server.start).start()


def test_claims_whose_answer_was_lost(joined: Callable[[], Worker], store: Store) -> None:
    """Trials whose claim was stored, but not answered, are claimed again without counting a death."""
    SweepStudy.create(store, make(trials=3))
    worker = joined()
    lost = worker._claim(2)  # as if the connection had failed after the last write
    assert worker.reclaim_dead() == ([0, 1], [])
    again = worker.claim(3)
    assert [(c.number, c.params) for c in again[:2]] == [(c.number, c.params) for c in lost]
    assert [t.deaths for t in worker.study.trials()] == [0, 0, 0]
