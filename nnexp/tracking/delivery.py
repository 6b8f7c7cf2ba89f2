"""Delivery off the training path: a bounded queue, and one thread that sends the spool's entries (floor 3)."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping

from nnexp.errors import NnexpError, UnreachableError
from nnexp.tracking.outbox import Entry

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0


class Writer:
    """Sends finished trials to the tracking store, in the order given, from a thread of its own.

    Every entry is on the disk already, so nothing depends on this thread: what it could not send stays in the spool.
    While the store answers, at most ``capacity`` entries wait, and `put` blocks: training then waits instead of running
    ahead. While it does not answer, `put` never blocks, and the first entry is tried again after growing pauses.

    Args:
        deliver: makes an entry's run, given whether it was surely never sent before; None sends nothing (offline).
        notify: is told, in one line each, when the store goes away, when it is back, and what it refuses.
        log_progress: logs the sweep's progress, given a step and metrics.
        capacity: how many entries may wait.
        fresh_for: seconds for which nobody else takes a worker for dead that said it lives, and sends its entries too.
    """

    def __init__(
        self,
        deliver: Callable[[Entry, bool], object] | None,
        notify: Callable[[str], None],
        log_progress: Callable[[int, Mapping[str, float]], None] | None = None,
        capacity: int = 32,
        fresh_for: float = math.inf,
    ) -> None:
        self._deliver, self._notify, self._log_progress, self._capacity = deliver, notify, log_progress, capacity
        self._fresh_for = fresh_for
        self._change = threading.Condition()
        self._queue: deque[tuple[Entry, float]] = deque()  # with the time until which it is surely nobody else's
        self._progress: tuple[int, Mapping[str, float]] | None = None
        self._closing = self._stopped = False
        self._pause = 0.0
        self._told: set[str] = set()
        self.waited = 0.0  #: seconds that `put` blocked, in all
        self.delivered = 0  #: entries sent
        self.refused = 0  #: entries that the store would not take; they are still in the spool
        self._thread = threading.Thread(target=self._run, name="nnexp-writer", daemon=True)
        if deliver is not None:
            self._thread.start()

    @property
    def away(self) -> bool:
        """Whether the store did not answer last time."""
        return self._pause > 0

    @property
    def waiting(self) -> int:
        """How many entries wait to be sent."""
        return len(self._queue)

    def put(self, entry: Entry, *, fresh: bool = True) -> None:
        """Hand over an entry; waits while the queue is full and the store answers.

        Args:
            entry: a finished trial in the spool.
            fresh: whether this trial was surely never sent before, by any process.
        """
        if self._deliver is None:
            return
        with self._change:
            before = time.perf_counter()
            self._change.wait_for(lambda: len(self._queue) < self._capacity or self.away or self._stopped)
            self.waited += time.perf_counter() - before
            self._queue.append((entry, time.monotonic() + self._fresh_for if fresh else -math.inf))
            self._change.notify_all()

    def progress(self, step: int, metrics: Mapping[str, float]) -> None:
        """Log the sweep's progress when there is time for it; only the latest is kept."""
        with self._change:
            self._progress = (step, dict(metrics))
            self._change.notify_all()

    def close(self, timeout: float) -> int:
        """Send what waits, and end the thread; returns how many entries are left.

        Args:
            timeout: seconds for what waits; the one then being sent is given as long again, to leave no half run.
        """
        with self._change:
            self._closing = True
            self._change.notify_all()
        if self._deliver is not None:
            self._thread.join(timeout)
        with self._change:
            self._stopped = True
            self._change.notify_all()
        if self._deliver is not None and not self.away:
            self._thread.join(timeout)
        return len(self._queue)

    def _run(self) -> None:
        while True:
            with self._change:
                self._change.wait_for(lambda: self._queue or self._progress or self._closing)
                if self._stopped or not (self._queue or self._progress):
                    return
                progress, self._progress = self._progress, None
            if self._queue and not self._send():
                continue
            if progress is not None:
                self._send_progress(*progress)

    def _send(self) -> bool:
        """Try the first entry; False after a pause when the store does not answer."""
        entry, fresh_until = self._queue[0]
        try:
            sent = self._send_one(entry, fresh_until)
        except UnreachableError as error:
            self._wait(error)
            return False
        except Exception as error:  # the thread must live on: other entries may pass, and this one stays in the spool
            text = str(error) if isinstance(error, NnexpError) else f"{type(error).__name__}: {error}"
            self._tell(f"trial {entry.trial} of {entry.sweep} stays in the spool: {text}")
            self.refused += 1
        else:
            self.delivered += sent
        with self._change:
            self._queue.popleft()
            was_away, self._pause = self.away, 0.0
            self._change.notify_all()
        if was_away:
            self._told.clear()
            self._notify(f"the tracking store answers again; {len(self._queue)} more finished trials to send")
        return True

    def _send_one(self, entry: Entry, fresh_until: float) -> bool:
        assert self._deliver is not None  # noqa: S101  the thread only runs with it
        with entry.locked() as mine:
            if not mine:  # another process sends it, or has
                return False
            # A try that failed, or whose process died, may have come through.
            untried = entry.first_try()
            self._deliver(entry, untried and time.monotonic() < fresh_until)
            entry.remove()
        return True

    def _wait(self, error: UnreachableError) -> None:
        with self._change:
            self._pause = min(self._pause * 2, LONGEST_PAUSE) or FIRST_PAUSE
            self._change.notify_all()  # `put` need not wait any longer
        self._tell(f"{error}. Training goes on; finished trials wait in the spool and are sent when it answers")
        with self._change:
            self._change.wait_for(lambda: self._stopped, self._pause)

    def _send_progress(self, step: int, metrics: Mapping[str, float]) -> None:
        if self._log_progress is None:
            return
        try:
            self._log_progress(step, metrics)
        except Exception as error:  # the thread must live on
            self._tell(f"progress not logged: {error}")

    def _tell(self, line: str) -> None:
        """Notify once of each thing until the store is back."""
        if line not in self._told:
            self._told.add(line)
            self._notify(line)
