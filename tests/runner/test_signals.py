"""Signals as a request to end: whoever does not look is interrupted, whatever it makes of that."""

from __future__ import annotations

import os
import signal
import time

import pytest

from nnexp.errors import Interrupted
from nnexp.runner import signals


class Matrix:
    """An array to be, that is asked for again and again by compiled code, as Matplotlib asks for its transforms."""

    def __array__(self, *_: object, **__: object) -> object:
        time.sleep(5)  # the interrupt comes here
        raise AssertionError("nothing interrupted this")


def draw() -> None:
    """Ask for the end, then do what does not look for it."""
    from matplotlib import _path

    with signals.handled():
        os.kill(os.getpid(), signal.SIGTERM)
        _path.affine_transform([[0.0, 0.0]], Matrix())


def fail() -> None:
    """Ask for the end, see it, and fail for another reason."""
    with signals.handled() as look:
        os.kill(os.getpid(), signal.SIGTERM)
        assert look() == signal.SIGTERM
        raise ValueError("its own")


def test_an_interrupt_that_a_library_takes_for_an_error_is_still_an_interrupt() -> None:
    """SIGTERM while Matplotlib draws: its compiled part says that a matrix is invalid, and the end is by a signal."""
    with pytest.raises(Interrupted) as caught:
        draw()
    assert caught.value.exit_code == 143
    assert "Invalid affine" in str(caught.value.__cause__)


def test_an_error_before_the_interrupt_stays_what_it_is() -> None:
    """An error of the body's own, signal or not, is no interrupt: nothing was interrupted yet."""
    with pytest.raises(ValueError, match="own"):
        fail()
