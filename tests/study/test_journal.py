"""The journal file: readable after a kill at any byte, and written by one process at a time."""

from __future__ import annotations

import errno
import json
import os
import pickle
import signal
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnexp.errors import StoreError
from nnexp.study import SweepStudy, Worker, file_lock, open_storage
from nnexp.study.journal import JournalFile
from tests.helpers.small_study import in_child, make, work


def operations(path: Path) -> list[dict[str, Any]]:
    """The operations that a process reads when it opens the file now."""
    return list(JournalFile(path).read_logs(0))


def written(path: Path, count: int) -> JournalFile:
    """A journal of ``count`` operations."""
    journal = JournalFile(path)
    for i in range(count):
        journal.append_logs([{"op_code": i, "text": "x" * (i % 7)}])
    return journal


def test_truncated_at_any_byte(tmp_path: Path) -> None:
    """A file truncated at any byte has all its complete lines, and new ones replace the incomplete one."""
    complete = tmp_path / "complete"
    written(complete, 3)
    data = complete.read_bytes()
    for length in range(len(data)):
        truncated = tmp_path / "truncated"
        truncated.write_bytes(data[:length])
        lines = data[:length].count(b"\n")
        assert [op["op_code"] for op in operations(truncated)] == list(range(lines))
        JournalFile(truncated).append_logs([{"op_code": 99}])
        assert [op["op_code"] for op in operations(truncated)] == [*range(lines), 99]


@given(garbage=st.binary(max_size=300))
def test_garbage_after_a_power_failure(tmp_path_factory: pytest.TempPathFactory, garbage: bytes) -> None:
    """The next append removes everything after the last valid line."""
    path = tmp_path_factory.mktemp("journal") / "j"
    written(path, 2)
    with path.open("ab") as file:
        file.write(garbage.replace(b"\n", b"") + b"\0" * 5000 + b"\n")
    JournalFile(path).append_logs([{"op_code": 99}])
    assert [op["op_code"] for op in operations(path)] == [0, 1, 99]


def test_damage_in_the_middle(tmp_path: Path) -> None:
    """A damaged line before valid ones is an error that names it; nothing is skipped silently."""
    path = tmp_path / "j"
    written(path, 3)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + b"{broken\n" + lines[2])
    with pytest.raises(StoreError, match="line 2 is damaged"):
        operations(path)


def test_a_reader_beside_a_writer(tmp_path: Path) -> None:
    """A reader does not return a line that is still being written, and returns it once it is complete."""
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


def test_killed_while_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process killed within a line, while it holds the lock, does not affect the others."""
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
    """A disk that becomes full within a line causes an error, and the file is unchanged."""
    store = open_storage(tmp_path / "j")
    worker = Worker.join(SweepStudy.create(store, make()))
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
    """Another thread may append during a group; another process waits until it ends."""
    path = tmp_path / "j"
    journal = written(path, 1)
    with journal.group():
        thread = threading.Thread(target=lambda: journal.append_logs([{"op_code": 1}]))
        thread.start()
        thread.join(10)
        assert not thread.is_alive()
        with pytest.raises(StoreError, match="locked by another process"):
            file_lock.acquire(path, os.O_RDWR, timeout=0.05)
    file_lock.release(file_lock.acquire(path, os.O_RDWR, timeout=0.05))
    assert len(operations(path)) == 2


def test_removed_or_replaced_while_in_use(tmp_path: Path) -> None:
    """A journal that disappears or shrinks during use is an error, not a new empty study."""
    path = tmp_path / "j"
    study = SweepStudy.create(open_storage(path), make())
    worker = Worker.join(study)
    path.rename(tmp_path / "moved")
    with pytest.raises(StoreError, match="No such file"):
        worker.claim(1)
    assert not path.exists()
    path.write_bytes(b"")
    with pytest.raises(StoreError, match="truncated or replaced"):
        study.counts()


def test_a_pickled_copy(tmp_path: Path) -> None:
    """A pickled journal opens the same file again, without the lock of the original."""
    path = tmp_path / "j"
    journal = written(path, 2)
    with journal.group():
        copy = pickle.loads(pickle.dumps(journal))  # noqa: S301
    assert len(list(copy.read_logs(0))) == 2
    copy.append_logs([{"op_code": 2}])
    assert len(operations(path)) == 3
    data = pickle.dumps(journal)
    path.unlink()
    with pytest.raises(FileNotFoundError):
        pickle.loads(data)  # noqa: S301
