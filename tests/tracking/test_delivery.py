"""Delivery: order, back-pressure, and a store that stops answering and answers again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from nnexp.errors import StoreError, UnreachableError
from nnexp.tracking.delivery import Delivery
from nnexp.tracking.spool import Entry, Spool
from tests.helpers.finished_trials import write_entry


class Store:
    """Accepts entries, waits, or fails."""

    def __init__(self) -> None:
        self.got: list[tuple[int, bool]] = []
        self.failure: Exception | None = None
        self.open = threading.Event()
        self.open.set()

    def send(self, entry: Entry, fresh: bool) -> None:
        """Accept the entry, or raise `failure`."""
        self.open.wait(10)
        if self.failure is not None:
            raise self.failure
        self.got.append((entry.trial, fresh))


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nnexp.tracking.delivery.FIRST_PAUSE", 0.01)
    monkeypatch.setattr("nnexp.tracking.delivery.LONGEST_PAUSE", 0.02)


@pytest.fixture
def store() -> Store:
    """A store that accepts everything."""
    return Store()


@pytest.fixture
def notices() -> list[str]:
    """The lines that the user was shown."""
    return []


@pytest.fixture
def delivery(store: Store, notices: list[str]) -> Iterator[Delivery]:
    """A delivery in which two entries may wait."""
    made = Delivery(store.send, notices.append, capacity=2)
    yield made
    store.open.set()
    made.close(5)


def until(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds, for at most 5 s."""
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_entries_are_sent_in_order_and_removed(
    delivery: Delivery, store: Store, spool: Spool, notices: list[str]
) -> None:
    """Entries that were sent are no longer in the spool."""
    for trial in range(10):
        delivery.put(write_entry(spool, trial))
    assert delivery.close(5) == 0
    assert store.got == [(trial, True) for trial in range(10)]
    assert (delivery.delivered, delivery.refused, notices) == (10, 0, [])
    assert spool.entries() == []


def test_full_queue_blocks_put(delivery: Delivery, store: Store, spool: Spool) -> None:
    """A slow store makes `put` wait, and the seconds are counted."""
    store.open.clear()
    for trial in range(2):
        delivery.put(write_entry(spool, trial))
    threading.Timer(0.2, store.open.set).start()
    delivery.put(write_entry(spool, 2))
    assert 0.1 < delivery.waited < 1
    assert delivery.close(5) == 0


def test_absent_store_does_not_block_put(delivery: Delivery, store: Store, spool: Spool, notices: list[str]) -> None:
    """Entries wait in the spool, the user is told once, and all are sent when the store answers again."""
    store.failure = UnreachableError("http://x: connection refused")
    for trial in range(8):
        delivery.put(write_entry(spool, trial))
    until(lambda: delivery.unreachable)
    assert delivery.waited < 1
    assert len(spool.entries()) == 8
    assert store.got == []
    time.sleep(0.1)
    assert len(notices) == 1
    assert "connection refused. Training continues; finished trials wait in the spool" in notices[0]
    store.failure = None
    assert delivery.close(5) == 0
    assert store.got == [(0, False), *((trial, True) for trial in range(1, 8))]
    assert len(notices) == 2
    assert "answers again" in notices[1]
    assert spool.entries() == []


def test_close_ends_in_time_and_leaves_the_rest(delivery: Delivery, store: Store, spool: Spool) -> None:
    """What is not sent within the timeout is still in the spool."""
    store.failure = UnreachableError("away")
    for trial in range(3):
        delivery.put(write_entry(spool, trial))
    before = time.monotonic()
    assert delivery.close(0.2) == 3
    assert time.monotonic() - before < 1
    assert [entry.trial for entry in spool.entries()] == [0, 1, 2]


@pytest.mark.parametrize("failure", [StoreError("may not write"), ZeroDivisionError("a mistake")])
def test_refused_entry_stays_and_others_pass(
    delivery: Delivery, store: Store, spool: Spool, notices: list[str], failure: Exception
) -> None:
    """An entry that the store refuses is reported and kept, and does not stop the next."""
    entries = [write_entry(spool, trial) for trial in range(2)]
    store.failure = failure
    delivery.put(entries[0])
    until(lambda: delivery.refused == 1)
    store.failure = None
    delivery.put(entries[1])
    delivery.close(5)
    assert store.got == [(1, True)]
    assert [entry.trial for entry in spool.entries()] == [0]
    assert "trial 0 of xnor stays in the spool" in notices[0]
    assert str(failure) in notices[0]


def test_entry_locked_by_another_process_is_left_to_it(delivery: Delivery, store: Store, spool: Spool) -> None:
    """Two processes never send one entry at the same time."""
    entry = write_entry(spool, 0)
    with entry.locked():
        delivery.put(entry)
        assert delivery.close(5) == 0
    assert store.got == []
    assert spool.entries() == [entry]


def test_offline_sends_nothing(spool: Spool, notices: list[str]) -> None:
    """Everything waits in the spool, as the user asked."""
    delivery = Delivery(None, notices.append)
    for trial in range(50):
        delivery.put(write_entry(spool, trial))
    assert delivery.close(1) == 0
    assert len(spool.entries()) == 50
    assert notices == []


def test_progress_is_the_latest_and_its_failure_is_harmless(store: Store, notices: list[str], spool: Spool) -> None:
    """Progress is logged between the entries; a failure is reported once and stops nothing."""
    seen: list[int] = []

    def log(step: int, metrics: object) -> None:
        seen.append(step)
        if step == 2:
            raise StoreError("no")

    delivery = Delivery(store.send, notices.append, log)
    for step in range(4):
        delivery.progress(step, {"trials_done": step})
        until(lambda step=step: seen[-1:] == [step])  # type: ignore[misc]
        delivery.put(write_entry(spool, step))
    assert delivery.close(5) == 0
    assert seen == [0, 1, 2, 3]
    assert len(store.got) == 4
    assert notices == ["progress not logged: no"]
