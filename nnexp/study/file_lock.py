"""Locks on files that the kernel releases when the process that holds them ends or is killed.

The library filelock cannot replace this module, because the journal itself is the locked file. filelock creates a
missing file, so that a deleted journal would come back empty, and its version 3 truncates the file that it locks.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tenacity import RetryError, Retrying, retry_if_exception_type, stop_after_delay, wait_exponential

from nnexp.errors import StoreError

#: Seconds that a process waits for a lock: a holder needs it for milliseconds, unless it was suspended.
TIMEOUT = 60.0

_open_descriptors: set[int] = set()


def _close_inherited() -> None:
    """Close the copies in a forked child: otherwise a lock would remain until the child ends."""
    for fd in _open_descriptors:
        os.close(fd)
    _open_descriptors.clear()


os.register_at_fork(after_in_child=_close_inherited)


def acquire(path: Path, flags: int, timeout: float = TIMEOUT) -> int:
    """Open ``path`` and lock it exclusively; returns the file descriptor, which `release` closes.

    Raises:
        OSError: the file cannot be opened.
        StoreError: another process held the lock for all of ``timeout`` seconds.
    """
    fd = os.open(path, flags | os.O_CLOEXEC, 0o666)
    _open_descriptors.add(fd)
    retrying = Retrying(
        retry=retry_if_exception_type(BlockingIOError),
        wait=wait_exponential(0.0005, max=0.02),
        stop=stop_after_delay(timeout),
    )
    try:
        retrying(fcntl.flock, fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException as error:
        release(fd)
        if isinstance(error, RetryError):
            raise StoreError(
                f"{path}: locked by another process for {timeout:.0f} s; is one of the sweep's workers suspended?"
            ) from None
        raise
    return fd


def release(fd: int) -> None:
    """Unlock and close the descriptor that `acquire` returned."""
    _open_descriptors.discard(fd)
    try:
        fcntl.flock(fd, fcntl.LOCK_UN)  # closing is not enough: a child forked meanwhile may share the open file
    finally:
        os.close(fd)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock on the file at ``path``, created if missing, for the duration of the block."""
    fd = acquire(path, os.O_RDWR | os.O_CREAT)
    try:
        yield
    finally:
        release(fd)
