"""Signals as a request to end: code that does not check for them is interrupted."""

from __future__ import annotations

import os
import signal
import time

import pytest

from nnexp.errors import Interrupted
from nnexp.runner import signals


class Matrix:
    """An object that compiled code converts to an array, as Matplotlib converts its transforms."""

    def __array__(self, *_: object, **__: object) -> object:
        time.sleep(5)  # the interrupt comes here
        raise AssertionError("nothing interrupted this")


def draw() -> None:
    """Send a signal, then run code that does not check for it."""
    from matplotlib import _path

    with signals.handled():
        os.kill(os.getpid(), signal.SIGTERM)
        _path.affine_transform([[0.0, 0.0]], Matrix())


def fail() -> None:
    """Send a signal, check for it, and fail for another reason."""
    with signals.handled() as look:
        os.kill(os.getpid(), signal.SIGTERM)
        assert look() == signal.SIGTERM
        raise ValueError("its own")


def test_an_interrupt_that_a_library_turns_into_an_error_is_still_an_interrupt() -> None:
    """SIGTERM while Matplotlib draws: its compiled code reports an invalid matrix, and the result is `Interrupted`."""
    with pytest.raises(Interrupted) as caught:
        draw()
    assert caught.value.exit_code == 143
    assert "Invalid affine" in str(caught.value.__cause__)


def test_an_error_before_the_interrupt_is_raised() -> None:
    """The body was not interrupted yet, so its error is its own, although a signal has come."""
    with pytest.raises(ValueError, match="own"):
        fail()
