"""Finished trials' evidence on the local disk, until MLflow has it (floor 2).

A directory per trial, ``<spool>/<sweep>/<trial>``: ``run.json`` and the run's artifacts in ``files``. It appears by one
rename and disappears by one, so a kill at any instant leaves an entry in full or none. Its lock is the kernel's on the
directory itself and ends with the process that holds it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote, unquote

from nnexp import _atomic
from nnexp.errors import StoreError

State = Literal["COMPLETE", "PRUNED", "FAIL"]

_RUN = "run.json"
_FILES = "files"
_TRIED = "tried"


@dataclass(frozen=True)
class Evidence:
    """What MLflow is to hold of one finished trial.

    Attributes:
        metrics: (key, step, value); a step's time is its share of the run's, the last being ``ended_ms``, so that
            logging them twice changes nothing.
        note: the run's description, Markdown.
    """

    sweep: str
    trial: int
    state: State
    params: Mapping[str, str]
    tags: Mapping[str, str]
    name: str
    note: str
    started_ms: int
    ended_ms: int
    metrics: tuple[tuple[str, int, float], ...]


@dataclass(frozen=True)
class Entry:
    """One trial's evidence in the spool."""

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

    def evidence(self) -> Evidence:
        """What was written.

        Raises:
            StoreError: the entry is damaged; it says which file and what to do.
        """
        try:
            value: dict[str, Any] = json.loads((self.path / _RUN).read_text(encoding="utf-8"))
            value["metrics"] = tuple((str(key), int(step), float(number)) for key, step, number in value["metrics"])
            return Evidence(**value)
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise StoreError(
                f"{self.path / _RUN}: damaged ({error}); delete {self.path}: the trial is then trained again"
            ) from None

    @contextlib.contextmanager
    def locked(self) -> Iterator[bool]:
        """Whether this process has the entry to itself, until the end of the block; False also when it is gone."""
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            yield False
            return
        try:
            yield _lock(descriptor) and _is_at(descriptor, self.path)
        finally:
            os.close(descriptor)  # which ends the lock

    def first_try(self) -> bool:
        """Whether nobody has tried to send the entry before; from now on somebody has."""
        try:
            os.close(os.open(self.path / _TRIED, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except FileExistsError:
            return False
        return True

    def remove(self) -> None:
        """Take the entry out, by one rename."""
        gone = self.path.with_name(f".gone-{uuid.uuid4().hex}")
        with contextlib.suppress(FileNotFoundError):
            self.path.rename(gone)
            shutil.rmtree(gone)


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether the open directory is still the one at ``path``: it may have been removed before the lock came."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


class Spool:
    """The directory of all sweeps' entries."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()

    def _home(self, sweep: str) -> Path:
        name = quote(sweep, safe="")
        return self.root / (name.replace(".", "%2E") if name.startswith(".") else name)

    def write(self, evidence: Evidence, files: Mapping[str, Callable[[Path], None]]) -> Entry:
        """Write one trial's evidence; an older entry of the same trial is replaced.

        Args:
            evidence: what becomes the run.
            files: name of each artifact, and what writes it to a given path.

        Raises:
            StoreError: the directory cannot be written; nothing is left behind.
        """
        home = self._home(evidence.sweep)
        try:
            try:
                return self._write(home, evidence, files)
            except FileNotFoundError:  # another process's `clean` came between the directory's making and its lock
                return self._write(home, evidence, files)
        except OSError as error:
            raise StoreError(
                f"{home}: cannot write the evidence of trial {evidence.trial} ({error.strerror}); "
                "free or choose a place with --spool"
            ) from error

    def _write(self, home: Path, evidence: Evidence, files: Mapping[str, Callable[[Path], None]]) -> Entry:
        temporary = home / f".new-{uuid.uuid4().hex}"
        try:
            (temporary / _FILES).mkdir(parents=True)
            with _held(temporary):
                for name, write in files.items():
                    write(temporary / _FILES / name)
                (temporary / _RUN).write_text(json.dumps(asdict(evidence), allow_nan=False), encoding="utf-8")
                _sync_tree(temporary)
                entry = Entry(home / f"{evidence.trial:06d}")
                _replace(temporary, entry)
                _atomic.sync(home)
        except OSError:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        return entry

    def entries(self, sweep: str | None = None) -> list[Entry]:
        """The entries of one sweep, or of all, by trial number."""
        homes = (
            [self._home(sweep)] if sweep is not None else sorted(path for path in _listed(self.root) if path.is_dir())
        )
        return [Entry(path) for home in homes for path in sorted(_listed(home)) if path.name.isdecimal()]

    def sweeps(self) -> list[str]:
        """Names of the sweeps that have entries."""
        return sorted({entry.sweep for entry in self.entries()})

    def leftovers(self, sweep: str) -> int:
        """How many entries of a sweep killed processes left half written or half removed."""
        return sum(1 for path in _listed(self._home(sweep)) if _is_half(path) and _is_free(path))

    def clean(self) -> None:
        """Remove what killed processes left half written or half removed, and empty directories."""
        for home in _listed(self.root):
            for path in _listed(home):
                if _is_half(path):
                    with Entry(path).locked() as mine:
                        if mine:
                            shutil.rmtree(path, ignore_errors=True)
            with contextlib.suppress(OSError):
                home.rmdir()
        with contextlib.suppress(OSError):
            self.root.rmdir()


def _replace(temporary: Path, entry: Entry) -> None:
    """Put a new entry in the place of an older one, also while another process does the same."""
    while True:
        entry.remove()
        try:
            temporary.rename(entry.path)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        else:
            return


@contextlib.contextmanager
def _held(path: Path) -> Iterator[None]:
    """Hold a new directory's lock, so that `Spool.clean` in another process leaves it alone."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _is_half(path: Path) -> bool:
    return path.name.startswith((".new-", ".gone-"))


def _is_free(path: Path) -> bool:
    with Entry(path).locked() as mine:
        return mine


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
