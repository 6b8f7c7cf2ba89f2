"""The journal file: readable after a kill at any byte, its lock freed by any death, never two at once."""

from __future__ import annotations

import errno
import json
import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnexp.errors import StoreError
from nnexp.study import SweepStudy, file_lock, open_storage
from nnexp.study.journal import JournalFile
from tests.helpers.small_study import in_child, make, work


def operations(path: Path) -> list[dict[str, Any]]:
    """What a process that opens the file now reads."""
    return list(JournalFile(path).read_logs(0))


def written(path: Path, count: int) -> JournalFile:
    """A journal of ``count`` operations."""
    journal = JournalFile(path)
    for i in range(count):
        journal.append_logs([{"op_code": i, "text": "x" * (i % 7)}])
    return journal


def test_torn_at_any_byte(tmp_path: Path) -> None:
    """Cut at any byte, the file gives all whole lines, and takes new ones in place of the torn one."""
    whole = tmp_path / "whole"
    written(whole, 3)
    data = whole.read_bytes()
    for cut in range(len(data)):
        torn = tmp_path / "torn"
        torn.write_bytes(data[:cut])
        lines = data[:cut].count(b"\n")
        assert [op["op_code"] for op in operations(torn)] == list(range(lines))
        JournalFile(torn).append_logs([{"op_code": 99}])
        assert [op["op_code"] for op in operations(torn)] == [*range(lines), 99]


@settings(max_examples=50, deadline=None)
@given(garbage=st.binary(max_size=300))
def test_garbage_after_a_power_cut(tmp_path_factory: pytest.TempPathFactory, garbage: bytes) -> None:
    """Whatever follows the last sound line is cut off by the next append."""
    path = tmp_path_factory.mktemp("journal") / "j"
    written(path, 2)
    with path.open("ab") as file:
        file.write(garbage.replace(b"\n", b"") + b"\0" * 5000 + b"\n")
    JournalFile(path).append_logs([{"op_code": 99}])
    assert [op["op_code"] for op in operations(path)] == [0, 1, 99]


def test_damage_in_the_middle(tmp_path: Path) -> None:
    """A damaged line before sound ones is an error that names it: nothing is skipped in silence."""
    path = tmp_path / "j"
    written(path, 3)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + b"{broken\n" + lines[2])
    with pytest.raises(StoreError, match="line 2 is damaged"):
        operations(path)


def test_a_reader_beside_a_writer(tmp_path: Path) -> None:
    """A reader that meets a line half written gets it when it is whole."""
    path = tmp_path / "j"
    journal = written(path, 1)
    reader = JournalFile(path)
    assert len(list(reader.read_logs(0))) == 1
    line = json.dumps({"op_code": 1}).encode() + b"\n"
    with path.open("ab", buffering=0) as file:
        file.write(line[:5])
        assert list(reader.read_logs(1)) == []
        file.write(line[5:])
    assert [op["op_code"] for op in reader.read_logs(1)] == [1]
    journal.append_logs([{"op_code": 2}])
    assert [op["op_code"] for op in reader.read_logs(2)] == [2]
    assert [op["op_code"] for op in reader.read_logs(1)] == [1, 2]


def test_killed_in_mid_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process killed with half a line written, and the lock held, hinders nobody."""
    path = tmp_path / "j"
    journal = written(path, 2)
    plain = os.write

    def half(fd: int, data: bytes) -> int:
        plain(fd, bytes(data)[: len(data) // 2])
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError

    def die() -> None:
        monkeypatch.setattr(os, "write", half)
        journal.append_logs([{"op_code": 98}])

    assert in_child(die) == -signal.SIGKILL
    assert len(operations(path)) == 2
    journal.append_logs([{"op_code": 99}])
    assert [op["op_code"] for op in operations(path)] == [0, 1, 99]


def test_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is full in mid-line gives an error, and leaves the file as it was."""
    store = open_storage(tmp_path / "j")
    worker = SweepStudy.create(store, make()).join()
    before = (tmp_path / "j").read_bytes()
    plain = os.write

    def full(fd: int, data: bytes) -> int:
        if len(data) < 5:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return plain(fd, bytes(data)[: len(data) - 3])

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(StoreError, match="No space left"):
            worker.claim(2)
    assert (tmp_path / "j").read_bytes() == before
    assert len(work(worker)) == 12


def test_threads_append_during_a_group(tmp_path: Path) -> None:
    """Another thread's append goes through during a group; another process waits for its end."""
    path = tmp_path / "j"
    journal = written(path, 1)
    with journal.group():
        thread = threading.Thread(target=lambda: journal.append_logs([{"op_code": 1}]))
        thread.start()
        thread.join(10)
        assert not thread.is_alive()
        with pytest.raises(StoreError, match="locked by another process"):
            file_lock.acquire(path, os.O_RDWR, patience=0.05)
    file_lock.release(file_lock.acquire(path, os.O_RDWR, patience=0.05))
    assert len(operations(path)) == 2


def test_a_child_does_not_inherit_the_lock(tmp_path: Path) -> None:
    """A child forked while the lock is held does not keep it when its parent lets go, or dies."""
    path = tmp_path / "j"
    path.touch()

    wait, end = os.pipe()

    def fork_and_die() -> None:
        file_lock.acquire(path, os.O_RDWR)
        if os.fork() == 0:
            os.close(end)
            os.read(wait, 1)  # until the test closes the other end
            os._exit(0)
        os.kill(os.getpid(), signal.SIGKILL)

    assert in_child(fork_and_die) == -signal.SIGKILL
    file_lock.release(file_lock.acquire(path, os.O_RDWR, patience=5))
    os.close(end)
    os.close(wait)


def test_removed_or_replaced_while_in_use(tmp_path: Path) -> None:
    """A journal that vanishes or shrinks under a worker is an error, not a new empty study."""
    path = tmp_path / "j"
    study = SweepStudy.create(open_storage(path), make())
    worker = study.join()
    path.rename(tmp_path / "moved")
    with pytest.raises(StoreError, match="No such file"):
        worker.claim(1)
    assert not path.exists()
    path.write_bytes(b"")
    with pytest.raises(StoreError, match="cut short or replaced"):
        study.counts()
