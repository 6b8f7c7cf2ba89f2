"""SIGINT and SIGTERM as a request to end in good order, within seconds whatever is going on (floor 1)."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator

from nnexp.errors import Interrupted

#: Tells the number of a signal that asked for the end, or None.
Look = Callable[[], int | None]
#: Seconds after which whatever does not look for signals is interrupted, and after which the process ends as it is.
PATIENCE, LIMIT = 1.5, 4.75


@contextlib.contextmanager
def taken() -> Iterator[Look]:
    """Takes SIGINT and SIGTERM for the body: yields what tells the first one's number, or None.

    Whoever asks in time ends the body in good order. Else the body is interrupted wherever it is; and if its clean-up
    hangs too (a store that does not answer), the process ends as if killed, which the next start mends. So it does at
    once on a second SIGINT. Outside the main thread, where Python delivers no signals, nothing is taken.

    Raises:
        Interrupted: the body was interrupted.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    request = _Request()
    before = {number: signal.signal(number, request.take) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request.look
    except KeyboardInterrupt:
        raise Interrupted(request.number or signal.SIGINT) from None
    except Exception as error:
        # A compiled library may make an error of its own of the interrupt: Matplotlib says that a matrix is invalid.
        if request.number is None or not request.raised:
            raise
        raise Interrupted(request.number) from error
    finally:
        request.over.set()
        for number, handler in before.items():
            signal.signal(number, handler)


class _Request:
    """What the handler and those that look for signals share."""

    def __init__(self) -> None:
        self.number: int | None = None
        self.seen = False
        self.pressing = False
        self.raised = False
        self.over = threading.Event()

    def look(self) -> int | None:
        """The first signal's number; who asks is expected to act on it."""
        self.seen = self.number is not None
        return self.number

    def take(self, number: int, _frame: object) -> None:
        """The handler of both signals; runs in the main thread."""
        if self.number is None:
            self.number = number
            threading.Thread(target=self._press, name="nnexp-signal", daemon=True).start()
        elif self.pressing:
            self.pressing = False
            if not self.seen:
                self.seen = self.raised = True
                raise KeyboardInterrupt  # few libraries take it for an error of their own
        elif number == signal.SIGINT:
            os._exit(128 + number)

    def _press(self) -> None:
        """Interrupts what does not look, then ends the process."""
        assert self.number is not None  # noqa: S101  the handler set it
        if not self.over.wait(PATIENCE) and not self.seen:
            self.pressing = True
            signal.pthread_kill(threading.main_thread().ident or 0, self.number)  # wakes it out of a system call too
        if not self.over.wait(LIMIT - PATIENCE):
            with contextlib.suppress(OSError):
                sys.stderr.write("nnexp: ended without handing back; the next start takes back what was in flight\n")
                sys.stderr.flush()
            os._exit(128 + self.number)
