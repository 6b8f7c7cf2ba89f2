"""A worker's sign of life: a file that it touches while it works, and whose age a container's probe reads.

Light on purpose: a probe starts a process every half minute on the cores that the worker uses.
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
def shown() -> Iterator[Callable[[], None]]:
    """Touch the file from a thread for the time of the block; yields what the block has to call between its steps.

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
    """Check that a worker of this user on this machine is alive; returns a line that says so.

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
    """The file; its name holds the user, its directory is the system's for temporary files."""
    return Path(tempfile.gettempdir()) / f"nnexp-worker-{os.getuid()}"
