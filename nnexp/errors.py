"""The errors that a user can meet, each with its exit status. Imports nothing of the package."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class NnexpError(Exception):
    """Something failed; the message is one line that names it and what to do. Exit status 1."""

    exit_code = 1


class UsageError(NnexpError):
    """A wrong setting, file or option; the message names the key, its value and what was expected. Exit status 2."""

    exit_code = 2


class StoreError(NnexpError):
    """A study or tracking store that cannot be opened, read or written. Exit status 1."""


class UnreachableError(StoreError):
    """A store that does not respond now; the same call may succeed later. Exit status 1."""


class NotFoundError(NnexpError):
    """A sweep, run or network that is not in the stores. Exit status 1."""


class Interrupted(NnexpError):  # noqa: N818  it is a request, not an error
    """A signal ended the program; the trials in training were handed back. Exit status 128 + the signal's number."""

    def __init__(self, signal_number: int, message: str = "") -> None:
        super().__init__(message or f"stopped by signal {signal_number}; the same command continues from here")
        self.exit_code = 128 + signal_number


def nearest(word: str, known: Iterable[str]) -> str:
    """`` (did you mean 'x'?)`` with the known name closest to ``word``, or all known names if none is close."""
    names = [str(name) for name in known]
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    return f" (did you mean {close[0]!r}?)" if close else f" (known: {', '.join(names)})"
