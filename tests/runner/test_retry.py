"""A store that does not answer is waited for: for a bounded time, with one notice, and until a signal."""

from __future__ import annotations

import signal

import pytest

from nnexp.errors import Interrupted, StoreError, UnreachableError
from nnexp.runner.retry import Retry


class Store:
    """A store that does not answer the first calls."""

    def __init__(self, away: int) -> None:
        self.away, self.calls = away, 0

    def read(self) -> str:
        """Its answer."""
        self.calls += 1
        if self.calls <= self.away:
            raise UnreachableError("http://host: the connection was cut")
        return "answer"


def test_a_store_that_answers_again_is_waited_for_with_one_notice() -> None:
    """Two failures: one notice that it does not answer, one that it answers again."""
    told: list[str] = []
    store = Store(2)
    assert Retry(lambda: None, told.append).call(store.read) == "answer"
    assert store.calls == 3
    assert [line.partition(".")[0] for line in told] == [
        "http://host: the connection was cut",
        "the tracking store answers again",
    ]


def test_waiting_is_bounded() -> None:
    """After the given time the store's own error is raised."""
    store = Store(100)
    with pytest.raises(UnreachableError, match="cut"):
        Retry(lambda: None, lambda _: None, seconds=1.0).call(store.read)
    assert store.calls == 2


def test_a_refusal_is_not_waited_for() -> None:
    """An error that another call would meet too is raised at once."""

    def refuse() -> None:
        raise StoreError("denied")

    with pytest.raises(StoreError, match="denied"):
        Retry(lambda: None, lambda _: pytest.fail("told"), seconds=60).call(refuse)


def test_a_signal_ends_the_waiting() -> None:
    """The error is the signal's, not the store's."""
    with pytest.raises(Interrupted):
        Retry(lambda: signal.SIGTERM, lambda _: None).call(Store(1).read)
