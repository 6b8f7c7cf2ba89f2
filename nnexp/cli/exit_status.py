"""What becomes of an exception: one line on stderr and an exit status (floor 5)."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from dataclasses import dataclass

import click

from nnexp.errors import Interrupted, NnexpError

_LONGEST = 700  # characters of an error's line: a value of a megabyte must not hide the key


@dataclass
class Flags:
    """What holds for a whole command line."""

    debug: bool = False


def one_line(text: str) -> str:
    """``text`` without line breaks, control characters and passwords in URLs, cut to a readable length."""
    from nnexp._redact import redact

    text = redact(" ".join(text.split()))
    text = "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 2] + " …"


def report(error: BaseException, flags: Flags) -> int:
    """Say on stderr what ``error`` means, where it means anything to a user, and give the exit status."""
    if isinstance(error, click.exceptions.Exit):
        return error.exit_code
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    if _is_broken_pipe(error):
        _drop_stdout()
        return 1
    if flags.debug and not isinstance(error, click.ClickException):
        _say_traceback(error)
    if isinstance(error, KeyboardInterrupt | click.Abort):
        _say("nnexp: interrupted")
        return 130
    if isinstance(error, click.UsageError):
        place = f" (see `{error.ctx.command_path} --help`)" if error.ctx else ""
        return _fail(error.format_message() + place, 2)
    if isinstance(error, click.ClickException):
        return _fail(error.format_message(), error.exit_code)
    if isinstance(error, Interrupted):
        _say(f"nnexp: {one_line(str(error))}")
        return error.exit_code
    if isinstance(error, NnexpError):
        return _fail(str(error), error.exit_code)
    if isinstance(error, OSError):
        return _fail(str(error), 1)
    if isinstance(error, MemoryError):
        return _fail("out of memory; try fewer seeds, hidden units or jobs", 1)
    hint = "" if flags.debug else "; run it again with --debug for the traceback"
    return _fail(f"unexpected {type(error).__name__}: {error}{hint}", 1)


def _say_traceback(error: BaseException) -> None:
    import traceback

    from nnexp._redact import redact

    _say(redact("".join(traceback.format_exception(error))).rstrip("\n"))


def _fail(message: str, status: int) -> int:
    _say(f"nnexp: error: {one_line(message)}")
    return status


def _say(text: str) -> None:
    with contextlib.suppress(OSError):  # nobody listens on stderr: the exit status still tells
        click.echo(text, err=True)


def _is_broken_pipe(error: BaseException) -> bool:
    return isinstance(error, OSError) and error.errno == errno.EPIPE


def _drop_stdout() -> None:
    """Point stdout at nothing, so that the interpreter's own flush at exit finds no broken pipe either."""
    with contextlib.suppress(OSError, ValueError):  # stdout is no real file, as under a test
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
