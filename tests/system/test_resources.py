"""Resources that a machine lacks: one clear line, exit status 1, undamaged stores; the same command finishes later."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import resource
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nnexp import cli
from nnexp.runner import session
from nnexp.runner.retry import Retry
from nnexp.stores import Stores
from nnexp.study import Worker
from tests.helpers import small_sweeps
from tests.helpers.sampling import sample
from tests.helpers.small_study import in_child
from tests.system.test_faults import PLAN, assert_recovered, start_again, without_publishing

pytestmark = pytest.mark.slow


def nothing() -> None:
    """Take no resource away."""


def sweep(where: Stores, refuse: Callable[[], None] = nothing) -> tuple[int, str]:
    """Run `nnexp sweep` in a process of its own; returns its exit status and what it printed."""
    home = where.spool.parent
    log = home.parent / f"{home.name}.log"
    (home.parent / "sweep.toml").write_text(PLAN.text)

    def command() -> None:
        os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
        os.dup2(2, 1)
        os.chdir(home.parent)
        logging.getLogger().handlers.clear()  # pytest's
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w", buffering=1)
        sys.argv = ["nnexp", "sweep", "sweep.toml", "--pool", "inline", *small_sweeps.options(where)]
        # A store that does not answer is waited for; here it will not come back.
        session.Retry = functools.partial(Retry, seconds=2.0)  # type: ignore[misc, assignment]
        session.DRAIN_LIMIT = 2.0
        refuse()
        try:
            cli.main()
        except SystemExit as done:
            os._exit(int(done.code or 0))

    return in_child(command), log.read_text()


def assert_refused(outcome: tuple[int, str], *reasons: str) -> None:
    """Check for exit status 1 and one line with the reason."""
    status, told = outcome
    assert status == 1, told
    assert "Traceback" not in told
    errors = [line for line in told.splitlines() if line.startswith("nnexp: error: ")]
    assert len(errors) == 1, told
    # Finished trials wait in the spool; the reason was printed before.
    cause = told if "wait in the spool" in errors[0] else errors[0]
    assert any(reason in cause for reason in reasons), told
    assert "unexpected" not in errors[0]


def assert_ends(where: Stores) -> None:
    """Check that the same command continues the sweep, and leaves both stores undamaged."""

    def again() -> None:
        without_publishing()
        start_again(where, "sweep")
        assert_recovered(where, {})

    assert in_child(again) == 0


@pytest.fixture
def where(tmp_path: Path) -> Stores:
    """New stores in a directory."""
    (tmp_path / "stores").mkdir()
    return small_sweeps.stores(tmp_path / "stores")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "none", str(place)], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.parametrize("left", sample([0, 32, 96], 1, "full disk"))
def test_full_disk(tmp_path: Path, disk: Path, left: int) -> None:
    """So many KiB are left: for nothing, for the start, or for some of the trials' files."""
    where = small_sweeps.stores(disk)
    free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_bsize
    (disk / "filler").write_bytes(bytes(free - left * 1024))
    assert_refused(sweep(where), "No space left", "the disk is full")
    (disk / "filler").unlink()
    assert_ends(where)


def test_read_only_directory(tmp_path: Path, disk: Path) -> None:
    """Nothing can be written, not even by root."""
    where = small_sweeps.stores(disk)
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    assert_refused(sweep(where), "Read-only file system", "read-only")
    subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
    assert_ends(where)


def test_locked_tracking_database(where: Stores) -> None:
    """Another program has locked MLflow's database."""
    path = where.tracking_uri.removeprefix("sqlite:///")
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("BEGIN EXCLUSIVE")
        assert_refused(sweep(where), "the database is locked")
        database.execute("ROLLBACK")
    assert_ends(where)


@pytest.mark.parametrize("more", sample([1, 4], 1, "open files"))
def test_no_more_open_files(where: Stores, more: int) -> None:
    """The process may open only one or four more files."""

    def refuse() -> None:
        last = max(int(name) for name in os.listdir("/proc/self/fd"))
        while os.open(os.devnull, os.O_RDONLY) < last:
            pass  # use up the free numbers in between
        resource.setrlimit(resource.RLIMIT_NOFILE, (last + 1 + more, last + 1 + more))

    assert_refused(sweep(where, refuse), "Too many open files", "unable to open database file", "cannot be opened")
    assert_ends(where)


def test_no_more_memory(where: Stores) -> None:
    """The process may use no more memory than it has at its first claim."""
    train = Worker.claim

    def refuse() -> None:
        def claim(worker: Worker, n: int) -> object:
            used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (used, used))
            claims = train(worker, n)
            bytearray(1 << 28)
            return claims

        Worker.claim = claim  # type: ignore[method-assign, assignment]

    assert_refused(sweep(where, refuse), "out of memory")
    assert_ends(where)


def test_clock_that_jumps_back(where: Stores) -> None:
    """An hour at the first claim, and further back at each later reading: the sweep is not affected."""

    def clocked() -> None:
        without_publishing()
        claim = Worker.claim

        def claim_late(worker: Worker, n: int) -> object:
            claims = claim(worker, n)
            now = time.time()
            time.time = lambda: now - 3600.0 - time.monotonic() * 1000
            return claims

        Worker.claim = claim_late  # type: ignore[method-assign, assignment]
        start_again(where, "sweep")

    assert in_child(clocked) == 0
    assert in_child(lambda: assert_recovered(where, {})) == 0
