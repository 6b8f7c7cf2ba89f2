"""Locks that the kernel frees when their holder dies, however it dies."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nnexp.errors import StoreError

#: Seconds that a process waits for a lock before it gives up: a holder works for milliseconds, unless it was stopped.
PATIENCE = 60.0

_held: set[int] = set()


def _close_inherited() -> None:
    """A forked child drops its copies: else a lock would outlive its owner for as long as the child lives."""
    for fd in _held:
        os.close(fd)
    _held.clear()


os.register_at_fork(after_in_child=_close_inherited)


def acquire(path: Path, flags: int, patience: float = PATIENCE) -> int:
    """Open ``path`` and lock it for this open file alone; returns the descriptor.

    Raises:
        OSError: the file cannot be opened.
        StoreError: another process held the lock for all of ``patience`` seconds.
    """
    fd = os.open(path, flags | os.O_CLOEXEC, 0o666)
    _held.add(fd)
    deadline = time.monotonic() + patience
    pause = 0.0005
    try:
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return fd
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise StoreError(
                        f"{path}: locked by another process for {patience:.0f} s; is one of its workers stopped?"
                    ) from None
            time.sleep(pause)
            pause = min(2 * pause, 0.02)
    except BaseException:
        release(fd)
        raise


def release(fd: int) -> None:
    """Unlock and close what `acquire` gave."""
    _held.discard(fd)
    try:
        fcntl.flock(fd, fcntl.LOCK_UN)  # a child forked meanwhile may share the open file: closing alone would not do
    finally:
        os.close(fd)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file at ``path``, made if missing, for the time of the block."""
    fd = acquire(path, os.O_RDWR | os.O_CREAT)
    try:
        yield
    finally:
        release(fd)
