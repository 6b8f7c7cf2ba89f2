"""Repeating calls to a tracking store that does not answer, for a limited time; a signal ends the wait."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_before_delay, wait_exponential

from nnexp.errors import UnreachableError
from nnexp.runner import signals
from nnexp.runner.signals import SignalCheck

T = TypeVar("T")

#: Seconds for which a call is repeated: a tracking server takes half a minute to start on a busy machine.
LIMIT = 120.0


@dataclass(frozen=True)
class Retry:
    """How calls to the tracking store are repeated.

    Attributes:
        interrupted: returns the number of a signal that asked for the end, or None.
        notify: receives a line when the store does not answer, and when it answers again.
        seconds: the time for which a call is repeated.
    """

    interrupted: SignalCheck
    notify: Callable[[str], None]
    seconds: float = LIMIT

    def call(self, work: Callable[[], T]) -> T:
        """The result of ``work``, which must be safe to repeat even after a part of it was done.

        Raises:
            UnreachableError: the store did not answer within ``seconds``.
            Interrupted: a signal.
        """
        calls = Retrying(
            retry=retry_if_exception_type(UnreachableError),
            wait=wait_exponential(multiplier=0.5, max=8.0),
            stop=stop_before_delay(self.seconds),
            sleep=lambda pause: signals.sleep(pause, self.interrupted),
            before_sleep=self._notify_first,
            reraise=True,
        )
        result = calls(work)
        if calls.statistics["attempt_number"] > 1:
            self.notify("the tracking store answers again")
        return result

    def _notify_first(self, state: RetryCallState) -> None:
        if state.attempt_number == 1 and state.outcome is not None:
            self.notify(f"{state.outcome.exception()}. Trying again for {self.seconds:.0f} s")
