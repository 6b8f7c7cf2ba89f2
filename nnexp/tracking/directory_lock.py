"""Locks on directories, which the kernel releases when the process that holds them ends or is killed.

The library `filelock` creates a file to lock. A lock on the directory itself needs no file: it works in a read-only
directory, and it disappears together with an spool entry.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from nnexp.errors import StoreError

#: Seconds for which a process waits for a lock: a holder needs it for seconds at most, unless it is suspended.
LIMIT = 60.0
_PAUSE = 0.02


@contextlib.contextmanager
def locked(directory: Path, *, wait: bool = False) -> Iterator[bool]:
    """Lock a directory for the time of the block.

    Args:
        directory: what to lock.
        wait: whether to wait while another process holds the lock, for `LIMIT` seconds at most.

    Yields:
        Whether this process holds the lock. False if another process does, or if the directory was removed or replaced.

    Raises:
        StoreError: another process held it all the time.
    """
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        yield False
        return
    try:
        if wait:
            _wait(descriptor, directory)
        yield (wait or _acquired(descriptor)) and _is_at(descriptor, directory)
    finally:
        os.close(descriptor)  # which releases the lock


def _wait(descriptor: int, directory: Path) -> None:
    deadline = time.monotonic() + LIMIT
    while not _acquired(descriptor):
        if time.monotonic() > deadline:
            raise StoreError(held_too_long(directory, LIMIT))
        time.sleep(_PAUSE)


def _acquired(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def held_too_long(directory: Path, seconds: float) -> str:
    """The message that says who has held the lock on a directory for so many seconds, and what to do."""
    pid = _holder(directory)
    who = "another process" if pid is None else f"process {pid}"
    return (
        f"{directory}: locked by {who} for {seconds:.0f} s; continue or end that process, then run this command again"
    )


def _holder(directory: Path) -> int | None:
    """The id of the process that holds the lock on a directory; None where the system does not say."""
    try:
        inode = directory.stat().st_ino
        table = Path("/proc/locks").read_text(encoding="ascii")
    except OSError:
        return None
    # A line is such as "1: FLOCK  ADVISORY  WRITE 4711 08:01:131 0 EOF"; those that wait have "->" after the number.
    for fields in map(str.split, table.splitlines()):
        if fields[1] == "FLOCK" and fields[5].rpartition(":")[2] == str(inode) and int(fields[4]) > 0:
            return int(fields[4])
    return None


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether the open directory is still the one at ``path``: it may have been removed before it was locked."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False
