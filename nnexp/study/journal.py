"""The embedded store: Optuna's journal in one file, readable after a kill at any instant.

Optuna's own file backend never opens a journal again after a process was killed while it wrote a line, and its locks
outlive a killed holder by 30 s. Here the kernel releases the lock, and the next holder removes an incomplete last line.
"""

from __future__ import annotations

import functools
import json
import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from optuna.storages.journal import BaseJournalBackend

from nnexp.errors import StoreError
from nnexp.study import file_lock

_CHUNK = 1 << 16


class JournalFile(BaseJournalBackend):
    """A file with one JSON operation per line, appended under a lock and flushed to the disk.

    `group` holds the lock for several operations and flushes once. Meanwhile other threads of this process may append;
    other processes wait.

    Args:
        path: the file.
        create: whether to create a missing file.

    Raises:
        StoreError: the file is not a journal.
        OSError: it cannot be opened.
    """

    def __init__(self, path: Path, *, create: bool = True) -> None:
        self.path = path
        self._position = (0, 0)  # the number and the offset of the next line to read
        self._group = threading.Lock()
        self._append = threading.Lock()  # guards the three attributes below
        self._fd: int | None = None
        self._dirty = False
        self._end = 0  # all lines before this offset were complete when this process last wrote
        if create:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666))
        self._check_kind()

    def __reduce__(self) -> tuple[functools.partial[JournalFile], tuple[Path]]:
        """Pickle the path alone: the copy opens the file again, and holds no lock."""
        return functools.partial(JournalFile, create=False), (self.path,)

    def _check_kind(self) -> None:
        with self.path.open("rb") as file:
            head = file.read(_CHUNK)
        if head.startswith(b"SQLite format 3"):
            raise StoreError(f"{self.path}: an SQLite database, not a journal; write sqlite:///{self.path}")
        first, newline, _ = head.partition(b"\n")
        if newline and not _is_operation(first):
            raise StoreError(f"{self.path}: not a study journal; name another file")

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        """The operations from number ``log_number_from`` on, without an incomplete last line.

        Raises:
            StoreError: a line before the last one is damaged, or the file has become shorter.
        """
        number, offset = self._position if self._position[0] == log_number_from else (0, 0)
        with self.path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size == offset:
                return
            if size < offset:
                raise StoreError(f"{self.path}: was truncated or replaced while in use")
            file.seek(offset)
            data = file.read()
        lines = data[: data.rfind(b"\n") + 1].splitlines(keepends=True)
        known = min(log_number_from - number, len(lines))
        operations = [None] * known + _parse_all(lines[known:])
        for i, (line, operation) in enumerate(zip(lines, operations, strict=True)):
            if i >= known and operation is None:
                if i == len(lines) - 1:
                    return  # damaged by a power failure; the next append removes it
                raise StoreError(f"{self.path}: line {number + 1} is damaged; restore the file from a backup")
            number, offset = number + 1, offset + len(line)
            if number > self._position[0] or log_number_from == 0:
                self._position = (number, offset)
            if operation is not None:
                yield operation

    def append_logs(self, logs: Iterable[dict[str, Any]]) -> None:
        """Append operations. If the process is killed meanwhile, only the first of them may be stored."""
        data = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs).encode()
        with self._append:
            if self._fd is not None:
                self._write(self._fd, data)
                return
            self._lock()
            try:
                self._write(self._fd, data)  # type: ignore[arg-type]
            finally:
                self._unlock()

    @contextmanager
    def group(self) -> Iterator[None]:
        """Hold the lock for the duration of the block; what it appends is flushed to the disk at its end."""
        with self._group:
            with self._append:
                self._lock()
            try:
                yield
            finally:
                with self._append:
                    self._unlock()

    def _lock(self) -> None:
        self._fd = file_lock.acquire(self.path, os.O_RDWR | os.O_APPEND)
        try:
            self._remove_damaged_tail(self._fd)
        except BaseException:
            self._unlock()
            raise

    def _unlock(self) -> None:
        fd, self._fd = self._fd, None
        if fd is None:
            return
        try:
            if self._dirty:
                os.fsync(fd)
        finally:
            self._dirty = False
            file_lock.release(fd)

    def _write(self, fd: int, data: bytes) -> None:
        start = self._end
        self._dirty = True
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(fd, view) :]
        except OSError:
            os.ftruncate(fd, start)  # the disk is full: remove the incomplete line
            raise
        self._end = start + len(data)

    def _remove_damaged_tail(self, fd: int) -> None:
        """Truncate the file after its last complete, valid line."""
        size = end = os.fstat(fd).st_size
        while end and end != self._end:
            start = _line_start(fd, end)
            line = os.pread(fd, end - start, start)
            if line.endswith(b"\n") and _parse(line) is not None:
                break
            end = start
        if end != size:
            os.ftruncate(fd, end)
        self._end = end


def _parse_all(lines: list[bytes]) -> list[dict[str, Any] | None]:
    """`_parse` of each line. Valid lines are parsed as one array, which takes half the time."""
    try:
        found = json.loads(b"[" + b",".join(lines) + b"]")
    except ValueError:
        found = []
    if len(found) == len(lines) and all(map(_is_valid, found)):
        return list(found)
    return [_parse(line) for line in lines]


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        operation = json.loads(line)
    except ValueError:
        return None
    return operation if _is_valid(operation) else None


def _is_valid(operation: Any) -> bool:
    return isinstance(operation, dict) and "op_code" in operation


def _is_operation(line: bytes) -> bool:
    # A first line of NUL bytes comes from a power failure; the next append removes it.
    return _parse(line) is not None or not line.strip(b"\0")


def _line_start(fd: int, end: int) -> int:
    """The offset of the first byte of the line that ends at ``end``."""
    size = _CHUNK
    while True:
        start = max(0, end - size)
        chunk = os.pread(fd, end - start, start)
        newline = chunk.rfind(b"\n", 0, len(chunk) - 1)
        if newline >= 0:
            return start + newline + 1
        if start == 0:
            return 0
        size *= 4
