"""SIGINT and SIGTERM as a request for an orderly end, within seconds whatever the program is doing."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator

from nnexp.errors import Interrupted
from nnexp.runner import pool

#: Returns the number of the signal that asked for the end, or None.
SignalCheck = Callable[[], int | None]
#: Seconds until code that does not check for signals is interrupted, and until the process is ended by force.
INTERRUPT_AFTER, EXIT_AFTER = 1.5, 4.75
#: Seconds between two checks while a process sleeps.
_TICK = 0.1


@contextlib.contextmanager
def handled() -> Iterator[SignalCheck]:
    """Handle SIGINT and SIGTERM in the body; yields a function that returns the first signal's number, or None.

    A body that calls it in time ends orderly. Otherwise it is interrupted wherever it is. If its clean-up hangs as well
    (a store that does not answer), the process exits as if it were killed, and the next start recovers. A second SIGINT
    has the same effect at once. Outside the main thread, where Python delivers no signals, nothing is handled.

    Raises:
        Interrupted: the body was interrupted.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    handler = _Handler()
    previous = {number: signal.signal(number, handler.receive) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield handler.check
    except KeyboardInterrupt:
        raise Interrupted(handler.number or signal.SIGINT) from None
    except Exception as error:
        # A compiled library may turn the interrupt into an error of its own: Matplotlib reports an invalid matrix.
        if handler.number is None or not handler.raised:
            raise
        raise Interrupted(handler.number) from error
    finally:
        handler.finished.set()
        for number, before in previous.items():
            signal.signal(number, before)


def check(interrupted: SignalCheck) -> None:
    """Do nothing unless a signal has come.

    Raises:
        Interrupted: it has.
    """
    if (number := interrupted()) is not None:
        raise Interrupted(number)


def sleep(seconds: float, interrupted: SignalCheck) -> None:
    """Sleep unless a signal comes; with 0 seconds, `check`.

    Raises:
        Interrupted: it came.
    """
    end = time.monotonic() + seconds
    while True:
        check(interrupted)
        if (left := end - time.monotonic()) <= 0:
            return
        time.sleep(min(left, _TICK))


class _Handler:
    """The state that the signal handler shares with the code that checks for signals."""

    def __init__(self) -> None:
        self.number: int | None = None
        self.seen = False
        self.interrupting = False
        self.raised = False
        self.finished = threading.Event()

    def check(self) -> int | None:
        """The first signal's number; the caller is expected to act on it."""
        self.seen = self.number is not None
        return self.number

    def receive(self, number: int, _frame: object) -> None:
        """The handler of both signals; runs in the main thread."""
        if self.number is None:
            self.number = number
            threading.Thread(target=self._enforce, name="nnexp-signal", daemon=True).start()
        elif self.interrupting:
            self.interrupting = False
            if not self.seen:
                self.seen = self.raised = True
                raise KeyboardInterrupt  # few libraries catch it
        elif number == signal.SIGINT:
            pool.exit_at_once(128 + number)

    def _enforce(self) -> None:
        """Interrupt a body that does not check, then end the process."""
        assert self.number is not None  # noqa: S101  `receive` has set it
        if not self.finished.wait(INTERRUPT_AFTER) and not self.seen:
            self.interrupting = True
            signal.pthread_kill(threading.main_thread().ident or 0, self.number)  # ends a system call too
        if not self.finished.wait(EXIT_AFTER - INTERRUPT_AFTER):
            with contextlib.suppress(OSError):
                sys.stderr.write("nnexp: ended at once; the next start takes back the trials that were in training\n")
                sys.stderr.flush()
            pool.exit_at_once(128 + self.number)
