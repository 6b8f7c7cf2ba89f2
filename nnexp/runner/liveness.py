"""The health check of a worker: it touches a file while it works, and a container's probe checks the file's age.

This module imports no library, since a probe starts a process every half minute on the cores that the worker uses.
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from nnexp.errors import NnexpError

#: Seconds after which a worker whose file is not touched counts as unhealthy.
SILENCE = 120.0
#: Seconds for which a worker may be busy with one step: a batch trained in its own process, a re-test, a report.
LONGEST_STEP = 3600.0


@contextmanager
def keep_touching() -> Iterator[Callable[[], None]]:
    """Touch the file from a thread for the time of the block; yields a function to call between the block's steps.

    A block that does not call it for `LONGEST_STEP` seconds hangs, and its file is not touched any more.
    """
    ended, file = threading.Event(), _file()
    last = time.monotonic()

    def step() -> None:
        nonlocal last
        last = time.monotonic()

    def touch() -> None:
        while not ended.is_set():
            if time.monotonic() - last < LONGEST_STEP:
                file.touch()
            ended.wait(SILENCE / 8)

    thread = threading.Thread(target=touch, name="nnexp-liveness", daemon=True)
    thread.start()
    try:
        yield step
    finally:
        ended.set()
        thread.join()
        file.unlink(missing_ok=True)


def check() -> str:
    """Check that a worker of this user on this machine is alive; returns ``healthy``.

    Raises:
        NnexpError: there is none, or its file was not touched for too long.
    """
    try:
        silent = time.time() - _file().stat().st_mtime
    except FileNotFoundError:
        raise NnexpError("no worker runs here; start one: nnexp worker") from None
    if silent > SILENCE:
        raise NnexpError(f"the worker here has been silent for {silent:.0f} s; restart it")
    return "healthy"


def _file() -> Path:
    """The file: its name contains the user id, its directory is that of temporary files."""
    return Path(tempfile.gettempdir()) / f"nnexp-worker-{os.getuid()}"
