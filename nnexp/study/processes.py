"""Who works on a sweep, and who is dead.

A worker's record lives in the study: where it runs, and a counter that it moves from time to time. No wall clocks are
compared: an observer measures silence by its own monotonic clock, so a clock that jumps does no harm.
"""

from __future__ import annotations

import functools
import os
import socket
import subprocess  # `ps`, on systems without /proc
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PREFIX = "nnexp:worker:"


@dataclass(frozen=True)
class WorkerRecord:
    """What a study holds of a worker.

    Attributes:
        id: its name, never given twice.
        host: its machine, boot and process namespace: where ``pid`` means something.
        pid: its process.
        started: when that process started, as its system counts; tells it from a later one with the same number.
        beats: how often it said that it lives.
        left: whether it has left in good order.
    """

    id: str
    host: str
    pid: int
    started: str
    beats: int = 0
    left: bool = False

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        return {"host": self.host, "pid": self.pid, "started": self.started, "beats": self.beats, "left": self.left}


def here(worker_id: str | None = None) -> WorkerRecord:
    """A new record for this process."""
    name = worker_id or f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    return WorkerRecord(name, _host(), os.getpid(), _started(os.getpid()) or "")


def records(attrs: Mapping[str, Any]) -> dict[str, WorkerRecord]:
    """The workers in a study's attributes."""
    return {
        key.removeprefix(PREFIX): WorkerRecord(id=key.removeprefix(PREFIX), **value)
        for key, value in attrs.items()
        if key.startswith(PREFIX)
    }


class Observer:
    """Tells which workers are dead, from records looked at again and again.

    On this machine a process that is gone is dead at once. Anywhere, a counter that has not moved for ``lease`` seconds
    means dead; of the time between two looks at most half a lease counts, since the observer itself may have slept.
    """

    def __init__(self, lease: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.lease = lease
        self._clock = clock
        self._looked: dict[str, float] = {}
        self._seen: dict[str, tuple[int, float]] = {}  # a worker's counter, and for how long it has not moved

    def dead(self, worker: WorkerRecord) -> bool:
        """Whether ``worker`` is dead, or has left."""
        if worker.left or is_running(worker) is False:
            return True
        now = self._clock()
        beats, silent = self._seen.get(worker.id, (-1, 0.0))
        if beats != worker.beats:
            silent = 0.0
        else:
            silent += min(now - self._looked[worker.id], self.lease / 2)
        self._looked[worker.id] = now
        self._seen[worker.id] = (worker.beats, silent)
        return silent >= self.lease


def is_running(worker: WorkerRecord) -> bool | None:
    """Whether the worker's process exists; None where that cannot be seen from here."""
    if worker.host != _host() or not worker.started:
        return None
    return _started(worker.pid) == worker.started


@functools.cache
def _host() -> str:
    parts = [socket.gethostname()]
    for path in ("/proc/sys/kernel/random/boot_id", "/proc/self/ns/pid"):
        try:
            # Containers of one machine share its boot but not its process numbers.
            parts.append(os.readlink(path) if path.endswith("/pid") else Path(path).read_text().strip())
        except OSError:
            parts.append("")
    return "/".join(parts)


def _started(pid: int) -> str | None:
    """When the process started, in its system's words; None when there is none (a zombie counts as none)."""
    if Path("/proc/self/stat").exists():
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            return None
        state, *fields = stat.rpartition(")")[2].split()
        return None if state in "ZX" else fields[18]
    listed = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)  # noqa: S603, S607
    return listed.stdout.strip() or None
