"""On a terminal no line is wider than it, and no word or digit of what a file would hold is cut."""

from __future__ import annotations

import contextlib
import io
import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from nnexp import cli
from tests.helpers.command_line import called, environment
from tests.helpers.small_sweeps import options, plan, run, stores

WIDTHS = [80, 120, 200]
STORED = [
    ["status"],
    ["summarize", "s"],
    ["compare", "s", "t"],
    ["compare", "s#0", "s#1"],
    ["show", "s#0"],
]
ALONE = [
    ["reference", "--task", "xnor"],
]


class Terminal(io.StringIO):
    """A text stream that is a terminal."""

    def isatty(self) -> bool:
        """Yes."""
        return True


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The options that name stores with two small sweeps."""
    where = stores(tmp_path_factory.mktemp("stores"))
    run(plan(name="s"), where)
    run(plan(name="t", seed=1), where)
    return options(where)


def on_terminal(width: int, args: list[str], monkeypatch: pytest.MonkeyPatch) -> str:
    """What a command prints on a terminal of a width, as text."""
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")
    out = Terminal()
    with contextlib.redirect_stdout(out):
        assert cli.run(args) == 0
    return out.getvalue()


def words(text: str) -> set[str]:
    """The words of a text but for rules."""
    return {word for word in text.split() if word.strip("-─—")}


def assert_fits(width: int, args: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Check the width of every line, and that the words are those that a file would have."""
    shown = on_terminal(width, args, monkeypatch)
    assert max(len(line.rstrip()) for line in shown.splitlines()) <= width, shown
    assert words(called(*args).stdout) == words(shown)


@pytest.mark.parametrize("args", STORED, ids=" ".join)
def test_results_fit(args: list[str], place: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Of every command that prints tables of a sweep or a run."""
    for width in WIDTHS:
        assert_fits(width, [*args, *(place if args[0] != "show" else place[:2])], monkeypatch)


@pytest.mark.parametrize("args", ALONE, ids=" ".join)
def test_tables_without_stores_fit(args: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """As for results."""
    for width in WIDTHS:
        assert_fits(width, args, monkeypatch)


@pytest.mark.parametrize("width", WIDTHS)
def test_training_fits(width: int, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its table and its pairs, of which the time differs from run to run."""
    shown = on_terminal(width, ["train", "--seeds", "8", "--epochs", "20"], monkeypatch)
    assert max(len(line.rstrip()) for line in shown.splitlines()) <= width, shown
    assert "…" not in shown


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
def test_the_width_is_that_of_a_real_terminal(tmp_path: Path) -> None:
    """Of 50 columns here, without the variable COLUMNS."""
    import fcntl
    import pty
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 50, 0, 0))
    variables = {key: value for key, value in environment().items() if key != "COLUMNS"} | {"TERM": "dumb"}
    command = [sys.executable, "-m", "nnexp", "reference", "--task", "xnor"]
    with subprocess.Popen(command, stdout=theirs, stdin=subprocess.DEVNULL, env=variables, cwd=tmp_path) as process:
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # the end of a terminal is an error on Linux
            while part := os.read(ours, 65536):
                shown += part
        assert process.wait(60) == 0
    os.close(ours)
    lines = shown.decode().splitlines()
    assert 30 < max(len(line.rstrip()) for line in lines) <= 50
