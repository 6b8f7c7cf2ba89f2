"""The processes that work on a sweep, and how it is detected that one has died.

Each worker has an entry in the study: where it runs, and a counter that every heartbeat increments. Times of different
machines are never compared: an observer measures how long a counter has not changed by its own monotonic clock.
"""

from __future__ import annotations

import functools
import os
import socket
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

PREFIX = "nnexp:worker:"


@dataclass(frozen=True)
class WorkerProcess:
    """A worker's entry in the study.

    Attributes:
        id: the worker's name, never used twice.
        host: the machine, its boot and its process namespace, within which ``pid`` identifies a process.
        pid: the process id.
        started: the start time of the process, in clock ticks since boot; differs when a process id is used again.
        beats: the number of heartbeats so far.
        left: whether the worker has left the sweep, or was declared dead.
    """

    id: str
    host: str
    pid: int
    started: str
    beats: int = 0
    left: bool = False

    def to_json(self) -> dict[str, Any]:
        """The entry as stored."""
        return {"host": self.host, "pid": self.pid, "started": self.started, "beats": self.beats, "left": self.left}


def this_process(worker_id: str | None = None) -> WorkerProcess:
    """A new entry for this process."""
    name = worker_id or f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    return WorkerProcess(name, _host(), os.getpid(), _start_time(os.getpid()) or "")


def stored_in(attrs: Mapping[str, Any]) -> dict[str, WorkerProcess]:
    """The workers' entries in a study's attributes, by worker id."""
    return {
        key.removeprefix(PREFIX): WorkerProcess(id=key.removeprefix(PREFIX), **value)
        for key, value in attrs.items()
        if key.startswith(PREFIX)
    }


class FailureDetector:
    """Decides which workers are dead, from their entries observed repeatedly.

    A process of this machine that no longer exists is dead at once. Any worker whose counter has not changed for
    ``lease`` seconds is dead. Of the time between two observations at most half a lease counts, because the observer
    itself may have been suspended.
    """

    def __init__(self, lease: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.lease = lease
        self._clock = clock
        self._observed_at: dict[str, float] = {}
        self._silence: dict[str, tuple[int, float]] = {}  # the last counter, and the seconds without a change

    def is_dead(self, worker: WorkerProcess) -> bool:
        """Whether ``worker`` is dead, or has left."""
        if worker.left or is_running(worker) is False:
            return True
        now = self._clock()
        beats, silent = self._silence.get(worker.id, (-1, 0.0))
        if beats != worker.beats:
            silent = 0.0
        else:
            silent += min(now - self._observed_at[worker.id], self.lease / 2)
        self._observed_at[worker.id] = now
        self._silence[worker.id] = (worker.beats, silent)
        return silent >= self.lease


def is_running(worker: WorkerProcess) -> bool | None:
    """Whether the worker's process exists; None if it belongs to another machine or process namespace."""
    if worker.host != _host() or not worker.started:
        return None
    return _start_time(worker.pid) == worker.started


@functools.cache
def _host() -> str:
    parts = [socket.gethostname()]
    for path in ("/proc/sys/kernel/random/boot_id", "/proc/self/ns/pid"):
        try:
            # Containers of one machine share its boot, but not its process ids.
            parts.append(os.readlink(path) if path.endswith("/pid") else Path(path).read_text().strip())
        except OSError:
            parts.append("")
    return "/".join(parts)


def _start_time(pid: int) -> str | None:
    """When the process started, in clock ticks since boot; None if it does not exist (or is a zombie).

    psutil adds the boot time, which changes when the system clock is set; subtracted again, the result does not change.
    """
    try:
        process = psutil.Process(pid)
        if process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD):
            return None
        seconds = process.create_time() - psutil.boot_time()
    except psutil.Error:
        return None
    return str(round(seconds * os.sysconf("SC_CLK_TCK")))
