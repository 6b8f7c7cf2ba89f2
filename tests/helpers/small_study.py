"""A small sweep to test studies with, and workers for it."""

from __future__ import annotations

import os
import signal
import traceback
import warnings
from collections.abc import Callable
from typing import Any

from nnexp.search import sweep_file
from nnexp.study import SweepStudy, Worker, open_storage

SPACE: dict[str, Any] = {
    "hidden_size": {"low": 2, "high": 8},
    "learning_rate": {"low": 1e-3, "high": 10.0, "log": True},
    "init": ["glorot_uniform", "he_normal", "uniform"],
}
FINAL_METRICS = {"solved_rate": 0.5, "recovery_rate": 0.25}


def make(**changes: Any) -> sweep_file.Sweep:
    """The sweep, with some keys replaced."""
    values: dict[str, Any] = {"name": "s", "trials": 12, "sampler": "random", "space": SPACE, "lease": 60.0}
    return sweep_file.Sweep(**{**values, **changes})


def work(worker: Worker, batch: int = 4, limit: int = 10_000) -> dict[int, dict[str, Any]]:
    """Claim and finish up to ``limit`` trials; returns their parameters by number."""
    done: dict[int, dict[str, Any]] = {}
    while len(done) < limit and (claims := worker.claim(min(batch, limit - len(done)))):
        for claim in claims:
            done[claim.number] = dict(claim.params)
            assert worker.finish(claim, "COMPLETE", [claim.params["learning_rate"]], FINAL_METRICS)
    return done


def in_child(work: Callable[[], None], tell_pid: Callable[[int], None] = lambda _: None) -> int:
    """Do ``work`` in a forked process; returns its exit status, negative for a signal."""
    with warnings.catch_warnings():
        # Python 3.12 warns about a fork beside threads; the child uses no lock that they may hold.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        try:
            work()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    tell_pid(pid)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def kill_a_worker(url: str, n: int) -> None:
    """A process that takes back the trials of dead workers, claims ``n`` trials and is killed."""

    def work() -> None:
        worker = Worker.join(SweepStudy.open(open_storage(url), "s"))
        worker.reclaim_dead()
        assert len(worker.claim(n)) == n
        os.kill(os.getpid(), signal.SIGKILL)

    assert in_child(work) == -signal.SIGKILL
