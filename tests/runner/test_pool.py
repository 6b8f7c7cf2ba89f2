"""The training pool: one interface, in this process or in others, with the same results everywhere."""

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
from nnexp.runner.pool import InlineExecutor, abandon, open_pool
from nnexp.training import trainer
from nnexp.training.result import TrainingResult, concatenate

ROOT = Path(__file__).parents[2]


def identity() -> tuple[int, bool]:
    """The process, and whether it ignores SIGINT."""
    return os.getpid(), signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def fail() -> None:
    """Raise an error."""
    raise ValueError("the message")


def blas_threads() -> int:
    """The number of threads that BLAS uses in this process."""
    np.ones((2, 2)) @ np.ones((2, 2))
    return max(pool["num_threads"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas")


def end_the_process() -> None:
    """Kill this process, as the kernel kills one that uses too much memory."""
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture(scope="module", params=["inline", "processes:2"])
def pool(request: pytest.FixtureRequest) -> Any:
    """Both executors that need no server."""
    with open_pool(request.param) as executor:
        yield executor


def test_training_has_the_same_bits_in_every_pool(pool: Executor) -> None:
    """Divided for two processes, or trained in one call."""
    s = Settings(epochs=60, seeds=40, stop="confident", learning_rate=3.0)
    parts = list(pool.map(train_part, [s, s], [range(20), range(20, 40)]))
    joined, whole = concatenate(parts), trainer.train(s)
    for name in ("W1", "b1", "W2", "b2"):
        assert getattr(joined.network, name).tobytes() == getattr(whole.network, name).tobytes()
    assert joined.loss.tobytes() == whole.loss.tobytes()


def train_part(s: Settings, index: range) -> TrainingResult:
    """Train some networks of a setting."""
    return trainer.train(s, index=index)


def test_an_error_in_a_task_is_raised_by_its_future(pool: Executor) -> None:
    """It is raised by `result`, not by `submit`, and the pool continues."""
    future = pool.submit(fail)
    with pytest.raises(ValueError, match="the message"):
        future.result()
    assert pool.submit(os.getpid).result() > 0


def test_workers_are_other_processes_that_ignore_interrupts() -> None:
    """Ctrl-C reaches the whole process group; only the parent acts on it."""
    with open_pool("processes", 1) as executor:
        pid, ignores = executor.submit(identity).result()
        assert pid != os.getpid()
        assert ignores
        assert executor.submit(blas_threads).result() == 1


def test_the_inline_executor_runs_at_submit_and_ends_with_shutdown() -> None:
    """It returns done futures, and refuses tasks after shutdown."""
    executor = InlineExecutor()
    assert executor.submit(identity).done()
    assert executor.submit(identity).result()[0] == os.getpid()
    executor.shutdown()
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit(identity)


def test_an_interrupt_in_inline_work_reaches_the_caller() -> None:
    """KeyboardInterrupt is raised by `submit`, not stored in a future."""
    with open_pool("inline") as executor, pytest.raises(KeyboardInterrupt):
        executor.submit(interrupt)


def interrupt() -> None:
    """Raise what a signal handler raises."""
    raise KeyboardInterrupt


@pytest.mark.parametrize("spec", ["", "threads", "processes:0", "processes:x", "processes:-1", "dask:x", "inline:2"])
def test_a_wrong_spec_is_named_with_what_was_expected(spec: str) -> None:
    """The error names the key, the value and what was expected."""
    with pytest.raises(UsageError, match=r"pool = .*expected"):
        open_pool(spec)


def test_a_killed_worker_breaks_the_pool_and_does_not_hang_it() -> None:
    """The parent gets an exception."""
    with open_pool("processes:1") as executor, pytest.raises(BrokenProcessPool):
        executor.submit(end_the_process).result(timeout=60)


def test_an_abandoned_pool_ends_at_once() -> None:
    """Even in the middle of a task."""
    executor = open_pool("processes:1")
    worker = executor.submit(os.getpid).result()
    executor.submit(time.sleep, 600)
    abandon(executor)
    assert ends(worker)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX processes")
def test_workers_die_with_a_parent_that_was_killed() -> None:
    """SIGKILL of the parent also ends a busy worker."""
    script = (
        "import os, time; from nnexp.runner.pool import open_pool\n"
        "if __name__ == '__main__':\n"
        "    pool = open_pool('processes:1'); print(pool.submit(os.getpid).result(), flush=True)\n"
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
    """Whether a process exists and is not a zombie."""
    try:
        os.kill(pid, 0)
        status = Path(f"/proc/{pid}/stat")
        return not status.exists() or status.read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def ends(pid: int) -> bool:
    """Whether a process ends within 30 seconds."""
    deadline = time.monotonic() + 30
    while runs(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not runs(pid)


def test_a_pool_opens_beside_running_threads() -> None:
    """A process with threads is not forked, since a thread's lock would stay locked in the copy."""
    lock, done = threading.Lock(), threading.Event()
    holder = threading.Thread(target=lambda: (lock.acquire(), done.wait()), daemon=True)
    holder.start()
    try:
        with open_pool("processes:1") as executor:
            assert executor.submit(identity).result(timeout=60)
    finally:
        done.set()
        holder.join()


SIGNALLED = """
import os, signal, sys, time
from nnexp.runner.pool import exit_at_once, open_pool
def is_blocked():
    return signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])
if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    pool = open_pool("processes:2")
    os.killpg(0, signal.SIGINT)  # the fork server is importing NumPy
    print(pool.submit(is_blocked).result(), len(os.listdir(os.environ["TMPDIR"])), flush=True)
    if sys.argv[1] == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    exit_at_once(130)
"""


@pytest.mark.parametrize(("end", "status"), [("exit", 130), ("kill", -signal.SIGKILL)])
def test_interrupts_do_not_reach_the_pool_and_no_end_leaves_a_file(
    tmp_path: Path, short_directory: Path, end: str, status: int
) -> None:
    """SIGINT to the group while the pool starts prints nothing; the fork server's directory is removed."""
    (tmp_path / "script.py").write_text(SIGNALLED)
    done = subprocess.run(
        [sys.executable, tmp_path / "script.py", end],
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(short_directory)},
        capture_output=True,
        text=True,
        start_new_session=True,
    )
    assert (done.returncode, done.stdout) == (status, "True 1\n"), done.stderr
    if end == "exit":
        assert done.stderr == ""
    deadline = time.monotonic() + 10
    while os.listdir(short_directory):
        assert time.monotonic() < deadline
        time.sleep(0.05)
