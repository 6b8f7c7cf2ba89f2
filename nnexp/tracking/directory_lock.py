"""Locks on directories, which the kernel releases when the process that holds them ends or is killed.

The library `filelock` creates a file to lock. A lock on the directory itself needs no file: it works in a read-only
directory, and it disappears together with an spool entry.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def locked(directory: Path, *, wait: bool = False) -> Iterator[bool]:
    """Lock a directory for the time of the block.

    Args:
        directory: what to lock.
        wait: whether to wait while another process holds the lock.

    Yields:
        Whether this process holds the lock. False if another process does, or if the directory was removed or replaced.
    """
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        yield False
        return
    try:
        yield _acquired(descriptor, wait) and _is_at(descriptor, directory)
    finally:
        os.close(descriptor)  # which releases the lock


def _acquired(descriptor: int, wait: bool) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether the open directory is still the one at ``path``: it may have been removed before it was locked."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False
