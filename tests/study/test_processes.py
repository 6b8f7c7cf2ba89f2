"""Who works on a sweep: heartbeats, leases, and processes that have ended."""

from __future__ import annotations

import dataclasses
import os

from nnexp.study import processes
from nnexp.study.processes import FailureDetector, WorkerProcess

REMOTE = WorkerProcess("w", "another machine", 1, "5")


class Clock:
    """A clock that a test sets."""

    now = 0.0

    def __call__(self) -> float:
        """The time in seconds."""
        return self.now


def test_silence_longer_than_the_lease() -> None:
    """A worker whose counter has not changed for the lease is dead, and is alive again once it changes."""
    clock = Clock()
    detector = FailureDetector(60, clock)
    for clock.now in range(0, 60, 10):
        assert not detector.is_dead(REMOTE)
    clock.now = 60
    assert detector.is_dead(REMOTE)
    assert not detector.is_dead(dataclasses.replace(REMOTE, beats=1))


def test_a_suspended_observer_waits_again() -> None:
    """An observer that was suspended itself does not declare a worker dead at its first observation afterwards."""
    clock = Clock()
    detector = FailureDetector(60, clock)
    detector.is_dead(REMOTE)
    clock.now = 100_000
    assert not detector.is_dead(REMOTE)
    clock.now += 29
    assert not detector.is_dead(REMOTE)
    clock.now += 1
    assert detector.is_dead(REMOTE)


def test_a_reused_process_id() -> None:
    """A worker is dead when another process has its process id, and when it has left."""
    entry = processes.this_process()
    detector = FailureDetector(60)
    assert not detector.is_dead(entry)
    assert detector.is_dead(dataclasses.replace(entry, started="1"))
    assert detector.is_dead(dataclasses.replace(entry, left=True))


def test_a_zombie_is_dead() -> None:
    """A process that has ended but was not waited for counts as ended."""
    entry, end = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.read(entry, 1)
        os._exit(0)
    worker = dataclasses.replace(processes.this_process(), pid=pid, started=processes._start_time(pid) or "")
    assert processes.is_running(worker)
    os.write(end, b"x")
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert processes.is_running(worker) is False
    os.waitpid(pid, 0)
    assert processes.is_running(worker) is False
    os.close(entry)
    os.close(end)


def test_the_start_time_is_that_of_the_kernel() -> None:
    """The stored start time is field 22 of /proc/PID/stat, as version 0.1.0 stored it, and no wall-clock time."""
    with open(f"/proc/{os.getpid()}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    assert processes.this_process().started == fields[19]


def test_worker_ids_are_unique() -> None:
    """Every worker has an id of its own, also several in one process."""
    assert len({processes.this_process().id for _ in range(100)}) == 100
