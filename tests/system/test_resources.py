"""What a machine can refuse a sweep: one clear line, exit status 1, sound stores; the same command ends it later."""

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
from tests.system.test_faults import PLAN, assert_mended, start_again, without_answer

pytestmark = pytest.mark.slow


def nothing() -> None:
    """Refuse nothing."""


def sweep(where: Stores, refuse: Callable[[], None] = nothing) -> tuple[int, str]:
    """`nnexp sweep` in a process of its own, and what it told."""
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
        # A store that is away is waited for; here it will not come back.
        session.Retry = functools.partial(Retry, seconds=2.0)  # type: ignore[misc, assignment]
        session.DRAIN_LIMIT = 2.0
        refuse()
        try:
            cli.main()
        except SystemExit as done:
            os._exit(int(done.code or 0))

    return in_child(command), log.read_text()


def assert_refused(outcome: tuple[int, str], *reasons: str) -> None:
    """Exit status 1 and one line that gives the reason."""
    status, told = outcome
    assert status == 1, told
    assert "Traceback" not in told
    errors = [line for line in told.splitlines() if line.startswith("nnexp: error: ")]
    assert len(errors) == 1, told
    # What was finished before waits in the spool; why is told above.
    cause = told if "wait in the spool" in errors[0] else errors[0]
    assert any(reason in cause for reason in reasons), told
    assert "unexpected" not in errors[0]


def assert_ends(where: Stores) -> None:
    """The same command goes on where it ended, and leaves both stores whole."""

    def again() -> None:
        without_answer()
        start_again(where, "sweep")
        assert_mended(where, {})

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
    """So many KiB are left: for nothing, for the start, for some of the trials' evidence."""
    where = small_sweeps.stores(disk)
    free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_bsize
    (disk / "filler").write_bytes(bytes(free - left * 1024))
    assert_refused(sweep(where), "No space left", "the disk is full")
    (disk / "filler").unlink()
    assert_ends(where)


def test_read_only_directory(tmp_path: Path, disk: Path) -> None:
    """Nothing can be written, root or not."""
    where = small_sweeps.stores(disk)
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    assert_refused(sweep(where), "Read-only file system", "read-only")
    subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
    assert_ends(where)


def test_locked_tracking_database(where: Stores) -> None:
    """Another program holds MLflow's database."""
    path = where.tracking_uri.removeprefix("sqlite:///")
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("BEGIN EXCLUSIVE")
        assert_refused(sweep(where), "the database is locked")
        database.execute("ROLLBACK")
    assert_ends(where)


@pytest.mark.parametrize("more", sample([1, 4], 1, "open files"))
def test_no_more_open_files(where: Stores, more: int) -> None:
    """A limit that leaves the process next to none."""

    def refuse() -> None:
        last = max(int(name) for name in os.listdir("/proc/self/fd"))
        while os.open(os.devnull, os.O_RDONLY) < last:
            pass  # the numbers in between
        resource.setrlimit(resource.RLIMIT_NOFILE, (last + 1 + more, last + 1 + more))

    assert_refused(sweep(where, refuse), "Too many open files", "unable to open database file", "cannot be opened")
    assert_ends(where)


def test_no_more_memory(where: Stores) -> None:
    """A limit that the first trial's training would exceed."""
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
    """By an hour, when the first trial is claimed, and again by a year at each later look: nothing comes of it."""

    def clocked() -> None:
        without_answer()
        claim = Worker.claim

        def claim_late(worker: Worker, n: int) -> object:
            claims = claim(worker, n)
            now = time.time()
            time.time = lambda: now - 3600.0 - time.monotonic() * 1000
            return claims

        Worker.claim = claim_late  # type: ignore[method-assign, assignment]
        start_again(where, "sweep")

    assert in_child(clocked) == 0
    assert in_child(lambda: assert_mended(where, {})) == 0
