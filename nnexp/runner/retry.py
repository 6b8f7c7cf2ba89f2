"""Waiting for a store that is away: a call done again until it is answered, for a bounded time (floor 1)."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from nnexp.errors import Interrupted, UnreachableError

T = TypeVar("T")

#: Seconds for which a store may be away: a tracking server takes half a minute to start on a busy machine.
PATIENCE = 120.0
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 8.0


@dataclass(frozen=True)
class Patience:
    """How long a store is waited for, and who hears of it.

    Attributes:
        interrupted: gives the number of a signal that asked for the end, or None.
        notify: is told, in one line each, that the store is away and that it is back.
        seconds: for which the same call is done again.
    """

    interrupted: Callable[[], int | None]
    notify: Callable[[str], None]
    seconds: float = PATIENCE

    def call(self, work: Callable[[], T]) -> T:
        """The result of ``work``, which has to bear being done again after any part of it.

        Raises:
            UnreachableError: the store was away for all that time.
            Interrupted: a signal.
        """
        deadline, pause, told = time.monotonic() + self.seconds, FIRST_PAUSE, False
        while True:
            try:
                result = work()
            except UnreachableError as error:
                if time.monotonic() + pause > deadline:
                    raise
                if not told:
                    self.notify(f"{error}. Tried again for {self.seconds:.0f} s")
                    told = True
            else:
                if told:
                    self.notify("the tracking store answers again")
                return result
            self.wait(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def wait(self, seconds: float) -> None:
        """Let time pass, unless a signal comes.

        Raises:
            Interrupted: it came.
        """
        end = time.monotonic() + seconds
        while True:
            if (number := self.interrupted()) is not None:
                raise Interrupted(number)
            if (left := end - time.monotonic()) <= 0:
                return
            time.sleep(min(left, 0.1))
