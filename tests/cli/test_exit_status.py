"""Errors: one line on stderr, the exit status, and the traceback with `--debug`."""

from __future__ import annotations

import os
from pathlib import Path

import click
import pytest

from nnexp.cli.exit_status import Flags, handle_error, one_line
from nnexp.errors import Interrupted, NotFoundError, StoreError, UsageError
from tests.helpers.command_line import called, program


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (UsageError("trials = 0: expected more"), 2, "nnexp: error: trials = 0: expected more\n"),
        (NotFoundError("no sweep 'x'"), 1, "nnexp: error: no sweep 'x'\n"),
        (StoreError("cannot open\n  postgresql://me:secret@db/x"), 1, "cannot open postgresql://me:***@db/x\n"),
        (Interrupted(15), 143, "stopped by signal 15"),
        (Interrupted(2), 130, "stopped by signal 2"),
        (KeyboardInterrupt(), 130, "nnexp: interrupted\n"),
        (click.Abort(), 130, "nnexp: interrupted\n"),
        (
            ValueError("odd\nthing"),
            1,
            "unexpected ValueError: odd thing; run it again with --debug for the traceback\n",
        ),
        (OSError(28, "No space left on device"), 1, "No space left on device\n"),
        (MemoryError(), 1, "out of memory"),
        (BrokenPipeError(32, "Broken pipe"), 1, ""),
    ],
)
def test_an_error_becomes_one_line_and_an_exit_status(
    error: BaseException, status: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """No traceback, no line break, no password."""
    assert handle_error(error, Flags()) == status
    stderr = capsys.readouterr().err
    assert line in stderr
    assert stderr.count("\n") == bool(line)
    assert "Traceback" not in stderr


def test_a_value_of_a_megabyte_does_not_hide_the_key() -> None:
    """Control characters are escaped, and the line is truncated."""
    line = one_line("key = '\x1b[2J" + "x" * 10**6)
    assert line.startswith("key = '\\x1b[2Jxxx")
    assert len(line) <= 700


def test_debug_shows_the_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    """As an option before or after the command, or from the environment; not otherwise."""
    broken = ["reference", "--task", "and"]
    for args in (["--debug", *broken], [*broken, "--debug"]):
        status, _, err = called(*args)
        assert status == 2
        assert "Traceback" in err
    assert "Traceback" not in called(*broken)[2]
    monkeypatch.setenv("NNEXP_DEBUG", "1")
    assert "Traceback" in called(*broken)[2]


def test_a_closed_pipe_is_not_an_error() -> None:
    """`nnexp reference | head` prints nothing on stderr."""
    reading, writing = os.pipe()
    os.close(reading)
    done = program("reference", stdout=writing)
    os.close(writing)
    assert done.stderr == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_under_stdout_is_an_error() -> None:
    """One line, exit status 1."""
    with Path("/dev/full").open("w") as full:
        done = program("reference", stdout=full)
    assert done.returncode == 1
    assert done.stderr.startswith("nnexp: error: ")
    assert done.stderr.count("\n") == 1
