"""The writer: order, back-pressure, and a store that goes away and comes back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from nnexp.errors import StoreError, UnreachableError
from nnexp.tracking import delivery as writing
from nnexp.tracking.delivery import Writer
from nnexp.tracking.outbox import Entry, Spool
from tests.helpers.finished_trials import spooled


class Store:
    """Takes entries, or not."""

    def __init__(self) -> None:
        self.got: list[tuple[int, bool]] = []
        self.failure: Exception | None = None
        self.open = threading.Event()
        self.open.set()

    def deliver(self, entry: Entry, fresh: bool) -> None:
        """Take it, or fail as told."""
        self.open.wait(10)
        if self.failure is not None:
            raise self.failure
        self.got.append((entry.trial, fresh))


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(writing, "LONGEST_PAUSE", 0.02)


@pytest.fixture
def store() -> Store:
    """One that takes all."""
    return Store()


@pytest.fixture
def notices() -> list[str]:
    """What the user was told."""
    return []


@pytest.fixture
def writer(store: Store, notices: list[str]) -> Iterator[Writer]:
    """A writer of two entries' room."""
    made = Writer(store.deliver, notices.append, capacity=2)
    yield made
    store.open.set()
    made.close(5)


def until(condition: Callable[[], bool]) -> None:
    """Wait for something that soon holds."""
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_entries_are_sent_in_order_and_removed(writer: Writer, store: Store, spool: Spool, notices: list[str]) -> None:
    """Sent ones leave the spool."""
    for trial in range(10):
        writer.put(spooled(spool, trial))
    assert writer.close(5) == 0
    assert store.got == [(trial, True) for trial in range(10)]
    assert (writer.delivered, writer.refused, notices) == (10, 0, [])
    assert spool.entries() == []


def test_full_queue_holds_the_producer_back(writer: Writer, store: Store, spool: Spool) -> None:
    """A slow store makes `put` wait, and the waiting is counted."""
    store.open.clear()
    for trial in range(2):
        writer.put(spooled(spool, trial))
    threading.Timer(0.2, store.open.set).start()
    writer.put(spooled(spool, 2))
    assert 0.1 < writer.waited < 1
    assert writer.close(5) == 0


def test_absent_store_holds_nobody_back(writer: Writer, store: Store, spool: Spool, notices: list[str]) -> None:
    """Entries wait in the spool, one notice is given, and all are sent when the store is back."""
    store.failure = UnreachableError("http://x: connection refused")
    for trial in range(8):
        writer.put(spooled(spool, trial))
    until(lambda: writer.away)
    assert writer.waited < 1
    assert len(spool.entries()) == 8
    assert store.got == []
    time.sleep(0.1)
    assert len(notices) == 1
    assert "connection refused. Training goes on; finished trials wait in the spool" in notices[0]
    store.failure = None
    assert writer.close(5) == 0
    assert store.got == [(0, False), *((trial, True) for trial in range(1, 8))]
    assert len(notices) == 2
    assert "answers again" in notices[1]
    assert spool.entries() == []


def test_close_gives_up_in_time_and_leaves_the_rest(writer: Writer, store: Store, spool: Spool) -> None:
    """What is not sent within the timeout is still in the spool."""
    store.failure = UnreachableError("away")
    for trial in range(3):
        writer.put(spooled(spool, trial))
    before = time.monotonic()
    assert writer.close(0.2) == 3
    assert time.monotonic() - before < 1
    assert [entry.trial for entry in spool.entries()] == [0, 1, 2]


@pytest.mark.parametrize("failure", [StoreError("may not write"), ZeroDivisionError("a slip")])
def test_refused_entry_stays_and_others_pass(
    writer: Writer, store: Store, spool: Spool, notices: list[str], failure: Exception
) -> None:
    """An entry that the store will not take is told of, kept, and does not stop the next."""
    entries = [spooled(spool, trial) for trial in range(2)]
    store.failure = failure
    writer.put(entries[0])
    until(lambda: writer.refused == 1)
    store.failure = None
    writer.put(entries[1])
    writer.close(5)
    assert store.got == [(1, True)]
    assert [entry.trial for entry in spool.entries()] == [0]
    assert "trial 0 of xnor stays in the spool" in notices[0]
    assert str(failure) in notices[0]


def test_entry_held_by_another_is_left_to_it(writer: Writer, store: Store, spool: Spool) -> None:
    """One entry is never sent by two at once."""
    entry = spooled(spool, 0)
    with entry.locked():
        writer.put(entry)
        assert writer.close(5) == 0
    assert store.got == []
    assert spool.entries() == [entry]


def test_offline_sends_nothing(spool: Spool, notices: list[str]) -> None:
    """On purpose: everything waits in the spool."""
    writer = Writer(None, notices.append)
    for trial in range(50):
        writer.put(spooled(spool, trial))
    assert writer.close(1) == 0
    assert len(spool.entries()) == 50
    assert notices == []


def test_progress_is_the_latest_and_its_failure_harmless(store: Store, notices: list[str], spool: Spool) -> None:
    """Progress goes between the entries; a failing one is told once and stops nothing."""
    seen: list[int] = []

    def log(step: int, metrics: object) -> None:
        seen.append(step)
        if step == 2:
            raise StoreError("no")

    writer = Writer(store.deliver, notices.append, log)
    for step in range(4):
        writer.progress(step, {"trials_done": step})
        until(lambda step=step: seen[-1:] == [step])  # type: ignore[misc]
        writer.put(spooled(spool, step))
    assert writer.close(5) == 0
    assert seen == [0, 1, 2, 3]
    assert len(store.got) == 4
    assert notices == ["progress not logged: no"]
