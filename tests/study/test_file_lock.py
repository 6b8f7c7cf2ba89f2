"""Locks on files: released by any death of the holder, and waited for up to a limit."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from nnexp.errors import StoreError
from nnexp.study import file_lock
from tests.helpers.small_study import in_child


def test_one_holder_at_a_time(tmp_path: Path) -> None:
    """A second holder waits until the first one releases the lock."""
    path = tmp_path / "lock"
    events = []

    def second() -> None:
        with file_lock.locked(path):
            events.append("second")

    with file_lock.locked(path):
        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(0.1)
        events.append("first")
    thread.join(10)
    assert events == ["first", "second"]


def test_the_wait_is_limited(tmp_path: Path) -> None:
    """After the limit the error names the file, and the next attempt can succeed."""
    path = tmp_path / "lock"
    with file_lock.locked(path), pytest.raises(StoreError, match=r"lock: locked by another process for 0 s"):
        file_lock.acquire(path, os.O_RDWR, timeout=0.05)
    file_lock.release(file_lock.acquire(path, os.O_RDWR, timeout=0.05))


def test_a_child_does_not_inherit_the_lock(tmp_path: Path) -> None:
    """A child forked while the lock is held does not keep it when its parent releases it or dies."""
    path = tmp_path / "j"
    path.touch()

    wait, end = os.pipe()

    def fork_and_die() -> None:
        file_lock.acquire(path, os.O_RDWR)
        if os.fork() == 0:
            os.close(end)
            os.read(wait, 1)  # until the test closes the other end
            os._exit(0)
        os.kill(os.getpid(), signal.SIGKILL)

    assert in_child(fork_and_die) == -signal.SIGKILL
    file_lock.release(file_lock.acquire(path, os.O_RDWR, timeout=5))
    os.close(end)
    os.close(wait)
