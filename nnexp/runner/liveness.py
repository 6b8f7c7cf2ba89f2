"""A worker's sign of life: a file that it touches, and that a container's probe looks at (floor 1).

Light on purpose: a probe starts a process every half minute, beside a worker that wants the core.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

from nnexp.errors import NnexpError

#: Seconds after which a silent worker counts as unhealthy.
SILENCE = 120.0


def beat() -> None:
    """Shows that this user's worker on this machine (or in this container) is alive."""
    _heart().touch()


def stop() -> None:
    """Takes the sign away: the worker ends."""
    _heart().unlink(missing_ok=True)


def check() -> str:
    """Tells that a worker of this user on this machine is alive.

    Raises:
        NnexpError: there is none, or it has been silent for too long.
    """
    try:
        silent = time.time() - _heart().stat().st_mtime
    except FileNotFoundError:
        raise NnexpError("no worker runs here; start one: nnexp worker") from None
    if silent > SILENCE:
        raise NnexpError(f"the worker here has been silent for {silent:.0f} s; restart it")
    return "healthy"


def _heart() -> Path:
    """The file; its name holds the user, its directory is the system's for temporary files."""
    return Path(tempfile.gettempdir()) / f"nnexp-worker-{os.getuid()}"
