"""Exceptions as one line on stderr and an exit status."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from dataclasses import dataclass

import click

from nnexp.errors import Interrupted, NnexpError

_MAX_CHARACTERS = 700  # of an error: a value of a megabyte must not hide the key


@dataclass
class Flags:
    """Options of the whole command line."""

    debug: bool = False


def one_line(text: str) -> str:
    """``text`` without line breaks, control characters and passwords in URLs, truncated to a readable length."""
    from nnexp._redact import redact

    text = redact(" ".join(text.split()))
    text = "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
    return text if len(text) <= _MAX_CHARACTERS else text[: _MAX_CHARACTERS - 2] + " …"


def handle_error(error: BaseException, flags: Flags) -> int:
    """Print ``error`` on stderr in words for the user, and return the exit status."""
    if isinstance(error, click.exceptions.Exit):
        return error.exit_code
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    if isinstance(error, OSError) and error.errno == errno.EPIPE:  # stdout was closed by its reader: nothing to print
        _discard_stdout()
        return 1
    if flags.debug and not isinstance(error, click.ClickException):
        _print_traceback(error)
    if isinstance(error, KeyboardInterrupt | click.Abort):
        _print("nnexp: interrupted")
        return 130
    if isinstance(error, click.UsageError):
        place = f" (see `{error.ctx.command_path} --help`)" if error.ctx else ""
        return _fail(error.format_message() + place, 2)
    if isinstance(error, click.ClickException):
        return _fail(error.format_message(), error.exit_code)
    if isinstance(error, Interrupted):
        _print(f"nnexp: {one_line(str(error))}")
        return error.exit_code
    if isinstance(error, NnexpError):
        return _fail(str(error), error.exit_code)
    if isinstance(error, OSError):
        return _fail(str(error), 1)
    if isinstance(error, MemoryError):
        return _fail("out of memory; try fewer seeds, hidden units or jobs", 1)
    hint = "" if flags.debug else "; run it again with --debug for the traceback"
    return _fail(f"unexpected {type(error).__name__}: {error}{hint}", 1)


def _print_traceback(error: BaseException) -> None:
    import traceback

    from nnexp._redact import redact

    _print(redact("".join(traceback.format_exception(error))).rstrip("\n"))


def _fail(message: str, status: int) -> int:
    _print(f"nnexp: error: {one_line(message)}")
    return status


def _print(text: str) -> None:
    with contextlib.suppress(OSError):  # stderr may be closed; the exit status still shows the failure
        click.echo(text, err=True)


def _discard_stdout() -> None:
    """Redirect stdout to the null device, so that the interpreter's flush at exit does not fail at the broken pipe."""
    with contextlib.suppress(OSError, ValueError):  # in a test stdout is not a real file
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
