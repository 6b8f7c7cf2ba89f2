"""The pool: one seam, in this process or in others, that gives the same results everywhere."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Executor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import threadpoolctl

from nnexp.errors import UsageError
from nnexp.network.settings import Settings
from nnexp.runner import pool as execution
from nnexp.training import trainer

ROOT = Path(__file__).parents[2]


def identity() -> tuple[int, bool]:
    """Which process this is, and whether it minds an interrupt."""
    return os.getpid(), signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def fail() -> None:
    """A fault in the work."""
    raise ValueError("the message")


def blas_threads() -> int:
    """Threads that BLAS would use here."""
    np.ones((2, 2)) @ np.ones((2, 2))
    return max(pool["num_threads"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas")


def end_the_process() -> None:
    """What the kernel does to a process that takes too much memory."""
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture(scope="module", params=["inline", "processes:2"])
def pool(request: pytest.FixtureRequest) -> Any:
    """Both kinds of executor that need no server."""
    with execution.open_pool(request.param) as executor:
        yield executor


def test_training_gives_the_same_bits_in_every_pool(pool: Executor) -> None:
    """Cut into parts for two workers, or here in one go."""
    s = Settings(epochs=60, seeds=40, stop="confident", learning_rate=3.0)
    parts = list(pool.map(train_part, [s, s], [range(20), range(20, 40)]))
    joined, whole = trainer.concatenate(parts), trainer.train(s)
    for name in ("W1", "b1", "W2", "b2"):
        assert getattr(joined.network, name).tobytes() == getattr(whole.network, name).tobytes()
    assert joined.loss.tobytes() == whole.loss.tobytes()


def train_part(s: Settings, index: range) -> trainer.TrainingResult:
    """Some networks of a setting."""
    return trainer.train(s, index=index)


def test_a_fault_in_the_work_comes_back_to_who_asked(pool: Executor) -> None:
    """The exception is raised by `result`, not by `submit`; the pool goes on."""
    future = pool.submit(fail)
    with pytest.raises(ValueError, match="the message"):
        future.result()
    assert pool.submit(os.getpid).result() > 0


def test_workers_are_other_processes_that_leave_interrupts_to_their_parent() -> None:
    """Ctrl-C reaches the whole process group; the parent alone decides what it means."""
    with execution.open_pool("processes", 1) as executor:
        pid, ignores = executor.submit(identity).result()
        assert pid != os.getpid()
        assert ignores
        assert executor.submit(blas_threads).result() == 1


def test_the_inline_executor_runs_at_submit_and_ends_with_shutdown() -> None:
    """It is a standard executor: done futures, and no more work after the end."""
    executor = execution.InlineExecutor()
    assert executor.submit(identity).done()
    assert executor.submit(identity).result()[0] == os.getpid()
    executor.shutdown()
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit(identity)


def test_an_interrupt_inside_inline_work_is_the_callers() -> None:
    """KeyboardInterrupt is not put into a future that nobody may look at."""
    with execution.open_pool("inline") as executor, pytest.raises(KeyboardInterrupt):
        executor.submit(interrupt)


def interrupt() -> None:
    """What a signal handler does."""
    raise KeyboardInterrupt


@pytest.mark.parametrize("spec", ["", "threads", "processes:0", "processes:x", "processes:-1", "dask:x", "inline:2"])
def test_a_wrong_spec_is_named_with_what_was_expected(spec: str) -> None:
    """Nothing is started for it."""
    with pytest.raises(UsageError, match=r"pool = .*expected"):
        execution.open_pool(spec)


def test_a_killed_worker_breaks_the_pool_and_does_not_hang_it() -> None:
    """The parent learns of it, and can open another."""
    with execution.open_pool("processes:1") as executor, pytest.raises(BrokenProcessPool):
        executor.submit(end_the_process).result(timeout=60)


def test_an_abandoned_pool_ends_at_once() -> None:
    """Whatever it was doing."""
    executor = execution.open_pool("processes:1")
    worker = executor.submit(os.getpid).result()
    executor.submit(time.sleep, 600)
    execution.abandon(executor)
    assert ends(worker)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX processes")
def test_workers_die_with_a_parent_that_was_killed() -> None:
    """SIGKILL on the parent leaves no worker behind, not even a busy one."""
    script = (
        "import time; from nnexp.runner import pool as execution; import os\n"
        "if __name__ == '__main__':\n"
        "    pool = execution.open_pool('processes:1'); print(pool.submit(os.getpid).result(), flush=True)\n"
        "    pool.submit(time.sleep, 600).result()\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env=environment)
    assert parent.stdout is not None
    worker = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert ends(worker)


def runs(pid: int) -> bool:
    """Whether a process is there, zombies left out."""
    try:
        os.kill(pid, 0)
        status = Path(f"/proc/{pid}/stat")
        return not status.exists() or status.read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def ends(pid: int) -> bool:
    """Whether a process is gone within 30 seconds."""
    deadline = time.monotonic() + 30
    while runs(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not runs(pid)


def test_a_pool_opens_beside_running_threads() -> None:
    """Progress bars and store clients hold threads; workers come from a clean process, so that no lock is forked."""
    lock, done = threading.Lock(), threading.Event()
    holder = threading.Thread(target=lambda: (lock.acquire(), done.wait()), daemon=True)
    holder.start()
    try:
        with execution.open_pool("processes:1") as executor:
            assert executor.submit(identity).result(timeout=60)
    finally:
        done.set()
        holder.join()
