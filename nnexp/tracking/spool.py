"""The spool: finished trials on the local disk until MLflow has them (a transactional outbox).

Each trial has a directory ``<spool>/<sweep>/<trial>`` with ``run.json`` and, in ``files``, the run's artifacts. It is
added and removed by one rename each, so after a kill at any instant the entry is complete or absent.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from nnexp import _atomic
from nnexp.errors import StoreError
from nnexp.tracking.directory_lock import held_too_long, locked
from nnexp.tracking.schema import TrialRun

_RUN = "run.json"
_FILES = "files"
_TRIED = "tried"
#: Names of directories that are being written, and that are being removed.
_NEW, _GONE = ".new-", ".gone-"


@dataclass(frozen=True)
class Entry:
    """One trial in the spool."""

    path: Path

    @property
    def sweep(self) -> str:
        """The sweep's name."""
        return unquote(self.path.parent.name)

    @property
    def trial(self) -> int:
        """The trial's number."""
        return int(self.path.name)

    @property
    def files(self) -> Path:
        """The directory of the run's artifacts."""
        return self.path / _FILES

    def read(self) -> TrialRun:
        """The run that was written.

        Raises:
            StoreError: the entry is damaged; the message names the file and what to do.
        """
        try:
            value: dict[str, Any] = json.loads((self.path / _RUN).read_text(encoding="utf-8"))
            value["metrics"] = tuple((str(key), int(step), float(number)) for key, step, number in value["metrics"])
            return TrialRun(**value)
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise StoreError(
                f"{self.path / _RUN}: damaged ({error}); delete {self.path}: the trial is then trained again"
            ) from None

    def locked(self) -> AbstractContextManager[bool]:
        """Lock the entry for the block; yields False if another process holds the lock or the entry was removed."""
        return locked(self.path)

    def is_locked(self) -> bool:
        """Whether another process has the entry to itself now."""
        with self.locked() as free:
            return not free and self.path.exists()

    def first_try(self) -> bool:
        """Note an attempt to send the entry; returns whether it is the first one."""
        try:
            os.close(os.open(self.path / _TRIED, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except FileExistsError:
            return False
        return True

    def remove(self) -> None:
        """Remove the entry, by one rename; an absent one is no error."""
        gone = self.path.with_name(f"{_GONE}{uuid.uuid4().hex}")
        with contextlib.suppress(FileNotFoundError):
            self.path.rename(gone)
            shutil.rmtree(gone)


class LockWatch:
    """Limits the time for which another process may hold an entry: one that is suspended would hold it for ever.

    Args:
        limit: seconds.
    """

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._since: dict[Path, float] = {}

    def check(self, entries: Iterable[Entry]) -> None:
        """Note which of the entries other processes hold now; call it again and again.

        Raises:
            StoreError: one has been held for longer than the limit; the message names its holder.
        """
        now = time.monotonic()
        held = [entry.path for entry in entries if entry.is_locked()]
        self._since = {path: self._since.get(path, now) for path in held}
        for path, since in self._since.items():
            if now - since > self._limit:
                raise StoreError(held_too_long(path, self._limit))


class Spool:
    """The directory of all sweeps' entries."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()

    def _home(self, sweep: str) -> Path:
        name = quote(sweep, safe="")
        return self.root / (name.replace(".", "%2E") if name.startswith(".") else name)

    def write(self, run: TrialRun, files: Mapping[str, Callable[[Path], None]]) -> Entry:
        """Write one trial; an older entry of the same trial is replaced.

        Args:
            run: the run to create in MLflow.
            files: name of each artifact -> the function that writes it to a given path.

        Raises:
            StoreError: the directory cannot be written; nothing is left behind.
        """
        home = self._home(run.sweep)
        try:
            try:
                return self._write(home, run, files)
            except FileNotFoundError:  # another process's `clean` removed the directory before it was locked
                return self._write(home, run, files)
        except OSError as error:
            raise StoreError(
                f"{home}: cannot write trial {run.trial} ({error.strerror}); free or choose a place with --spool"
            ) from error

    def _write(self, home: Path, run: TrialRun, files: Mapping[str, Callable[[Path], None]]) -> Entry:
        temporary = home / f"{_NEW}{uuid.uuid4().hex}"
        try:
            (temporary / _FILES).mkdir(parents=True)
            with locked(temporary, wait=True):  # `clean` in another process then leaves it alone
                for name, write in files.items():
                    write(temporary / _FILES / name)
                (temporary / _RUN).write_text(json.dumps(asdict(run), allow_nan=False), encoding="utf-8")
                _sync_tree(temporary)
                entry = Entry(home / f"{run.trial:06d}")
                _replace(temporary, entry)
                _atomic.sync(home)
        except OSError:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        return entry

    def entries(self, sweep: str | None = None) -> list[Entry]:
        """The entries of one sweep, or of all, by trial number."""
        homes = sorted(_listed(self.root)) if sweep is None else [self._home(sweep)]
        return [Entry(path) for home in homes for path in sorted(_listed(home)) if path.name.isdecimal()]

    def sweeps(self) -> list[str]:
        """Names of the sweeps that have entries."""
        return sorted({entry.sweep for entry in self.entries()})

    def incomplete(self, sweep: str) -> int:
        """How many entries of a sweep are incomplete, since a process was killed while it wrote or removed them."""
        return sum(1 for _ in _abandoned(self._home(sweep)))

    def clean(self) -> None:
        """Remove incomplete entries that killed processes left, and empty directories."""
        for home in _listed(self.root):
            for path in _abandoned(home):
                shutil.rmtree(path, ignore_errors=True)
            with contextlib.suppress(OSError):
                home.rmdir()
        with contextlib.suppress(OSError):
            self.root.rmdir()


def _replace(temporary: Path, entry: Entry) -> None:
    """Replace an entry by a new one, also while another process does the same."""
    while True:
        entry.remove()
        try:
            temporary.rename(entry.path)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        else:
            return


def _abandoned(home: Path) -> Iterator[Path]:
    """The incomplete entries that no process is writing or removing; each is locked until the next one is requested."""
    for path in _listed(home):
        if path.name.startswith((_NEW, _GONE)):
            with locked(path) as free:
                if free:
                    yield path


def _listed(directory: Path) -> list[Path]:
    try:
        return list(directory.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _sync_tree(directory: Path) -> None:
    for folder, _, names in os.walk(directory):
        for name in names:
            _atomic.sync(Path(folder) / name)
        _atomic.sync(Path(folder))
