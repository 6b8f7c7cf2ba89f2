"""Delivery of finished trials while training continues: a bounded queue, and a thread that sends its entries."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping

from tenacity import RetryCallState, Retrying, retry_if_exception_type, sleep_using_event, wait_exponential

from nnexp.errors import NnexpError, UnreachableError
from nnexp.tracking.spool import Entry

#: Seconds before the first retry, and the most seconds between two, while the store does not answer.
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0


class Delivery:
    """Sends finished trials to the tracking store, in the order of `put`, from its own thread.

    Every entry is on the disk, so nothing is lost if this thread ends: entries that were not sent stay in the spool.
    While the store answers, at most ``capacity`` entries wait; then `put` blocks, so that training waits as well. While
    the store does not answer, `put` never blocks, and the first entry is retried with exponential backoff.

    Args:
        send: creates an entry's run; its second argument is whether the entry was certainly never sent before. None
            sends nothing (offline).
        notify: receives one line each time the store stops answering, answers again, or refuses an entry.
        log_progress: logs the sweep's progress, given a step and metrics.
        capacity: how many entries may wait.
        fresh_for: seconds after `put` in which no other worker can have taken over this worker's trials and sent them.
    """

    def __init__(
        self,
        send: Callable[[Entry, bool], object] | None,
        notify: Callable[[str], None],
        log_progress: Callable[[int, Mapping[str, float]], None] | None = None,
        capacity: int = 32,
        fresh_for: float = math.inf,
    ) -> None:
        self._notify, self._log_progress, self._capacity, self._fresh_for = notify, log_progress, capacity, fresh_for
        self._change = threading.Condition()
        self._queue: deque[tuple[Entry, float]] = deque()  # entries, each with the time until which it is fresh
        self._progress: tuple[int, Mapping[str, float]] | None = None
        self._closing = False
        self._stopped = threading.Event()
        self._notified: set[str] = set()
        self._retrying = Retrying(
            retry=retry_if_exception_type(UnreachableError),
            wait=wait_exponential(multiplier=FIRST_PAUSE, max=LONGEST_PAUSE),
            before_sleep=self._note_unreachable,
            sleep=sleep_using_event(self._stopped),
        )
        self.unreachable = False  #: whether the store did not answer last time
        self.waited = 0.0  #: seconds for which `put` blocked, in total
        self.delivered = 0  #: entries sent
        self.refused = 0  #: entries that the store refused; they are still in the spool
        self._thread: threading.Thread | None = None
        if send is not None:
            self._thread = threading.Thread(target=self._run, args=(send,), name="nnexp-delivery", daemon=True)
            self._thread.start()

    @property
    def waiting(self) -> int:
        """How many entries wait to be sent."""
        return len(self._queue)

    def put(self, entry: Entry, *, fresh: bool = True) -> None:
        """Hand over an entry; waits while the queue is full and the store answers.

        Args:
            entry: a finished trial in the spool.
            fresh: whether this trial was certainly never sent before, by any process.
        """
        if self._thread is None:
            return
        with self._change:
            before = time.perf_counter()
            self._change.wait_for(
                lambda: len(self._queue) < self._capacity or self.unreachable or self._stopped.is_set()
            )
            self.waited += time.perf_counter() - before
            self._queue.append((entry, time.monotonic() + self._fresh_for if fresh else -math.inf))
            self._change.notify_all()

    def progress(self, step: int, metrics: Mapping[str, float]) -> None:
        """Log the sweep's progress when the thread has time for it; only the latest is kept."""
        with self._change:
            self._progress = (step, dict(metrics))
            self._change.notify_all()

    def close(self, timeout: float) -> int:
        """Send the waiting entries, and end the thread; returns how many entries are left.

        Args:
            timeout: seconds for the waiting entries. The entry that is then being sent has the same time again, so that
                its run is completed.
        """
        with self._change:
            self._closing = True
            self._change.notify_all()
        if self._thread is not None:
            self._thread.join(timeout)
        with self._change:
            self._stopped.set()
            self._change.notify_all()
        if self._thread is not None and not self.unreachable:
            self._thread.join(timeout)
        return len(self._queue)

    def _run(self, send: Callable[[Entry, bool], object]) -> None:
        while True:
            with self._change:
                self._change.wait_for(lambda: self._queue or self._progress or self._closing)
                if self._stopped.is_set() or not (self._queue or self._progress):
                    return
                progress, self._progress = self._progress, None
            if self._queue:
                self._send_first(send)
            if progress is not None and not self._stopped.is_set():
                self._send_progress(*progress)

    def _send_first(self, send: Callable[[Entry, bool], object]) -> None:
        """Send the first entry, and take it off the queue unless `close` stops the retries."""
        entry, fresh_until = self._queue[0]
        try:
            for attempt in self._retrying:
                if self._stopped.is_set():
                    return
                with attempt, entry.locked() as held:
                    if held:  # otherwise another process sends the entry, or has sent it
                        # An attempt that failed, or whose process was killed, may have reached the store.
                        untried = entry.first_try()
                        send(entry, untried and time.monotonic() < fresh_until)
                        entry.remove()
                        self.delivered += 1
        except Exception as error:  # the thread must continue with other entries; this one stays in the spool
            text = str(error) if isinstance(error, NnexpError) else f"{type(error).__name__}: {error}"
            self._notify_once(f"trial {entry.trial} of {entry.sweep} stays in the spool: {text}")
            self.refused += 1
        with self._change:
            self._queue.popleft()
            answers_again, self.unreachable = self.unreachable, False
            self._change.notify_all()
        if answers_again:
            self._notified.clear()
            self._notify(f"the tracking store answers again; {len(self._queue)} more finished trials to send")

    def _note_unreachable(self, attempt: RetryCallState) -> None:
        with self._change:
            self.unreachable = True
            self._change.notify_all()  # `put` need not wait any longer
        error = attempt.outcome.exception() if attempt.outcome is not None else None
        self._notify_once(
            f"{error}. Training continues; finished trials wait in the spool and are sent when it answers"
        )

    def _send_progress(self, step: int, metrics: Mapping[str, float]) -> None:
        if self._log_progress is None:
            return
        try:
            self._log_progress(step, metrics)
        except Exception as error:  # the thread must continue
            self._notify_once(f"progress not logged: {error}")

    def _notify_once(self, line: str) -> None:
        """Notify once of each problem until the store answers again."""
        if line not in self._notified:
            self._notified.add(line)
            self._notify(line)
