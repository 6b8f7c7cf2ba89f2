"""Progress on stderr: a bar on a terminal, elsewhere a plain line every few seconds."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, TextIO

from nnexp.runner.progress import Progress

if TYPE_CHECKING:
    import rich.progress

_SECONDS_BETWEEN_LINES = 5.0


def format_duration(seconds: float) -> str:
    """``90`` as ``1 min 30 s``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"


class Display:
    """A context manager that shows the progress of a sweep; call it with each `Progress`.

    The time left is estimated from the trials finished since the first call, without those of an earlier start.

    Args:
        stream: where to write; stderr by default. The bar is shown if it is a terminal.
        clock: returns seconds.
    """

    def __init__(self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream or sys.stderr
        self._clock = clock
        self._bar: rich.progress.Progress | None = None
        self._first: tuple[float, int] | None = None  # time and finished trials at the first call
        self._last_line = -_SECONDS_BETWEEN_LINES
        self._unwritten: Progress | None = None

    def __enter__(self) -> Display:
        if self._stream.isatty():
            self._bar = _bar(self._stream)
            self._bar.add_task("opening the stores", total=None)
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.stop()
        elif self._unwritten:
            self._write(self._unwritten)  # the last state is always written

    def __call__(self, progress: Progress) -> None:
        """Show ``progress`` instead of the previous state."""
        now = self._clock()
        if self._first is None:
            self._first = (now, progress.done)
        if self._bar:
            (task,) = self._bar.task_ids
            text = self._describe(progress)
            self._bar.update(task, total=progress.total, completed=progress.done, description=text)
        elif now - self._last_line >= _SECONDS_BETWEEN_LINES:
            self._last_line, self._unwritten = now, None
            self._write(progress)
        else:
            self._unwritten = progress

    def seconds_left(self, progress: Progress) -> float | None:
        """Seconds until all trials are finished, at the rate since the first call; None while no trial has finished."""
        if self._first is None or progress.done <= self._first[1]:
            return None
        seconds_per_trial = (self._clock() - self._first[0]) / (progress.done - self._first[1])
        return seconds_per_trial * (progress.total - progress.done)

    def _describe(self, progress: Progress) -> str:
        parts = [f"{progress.done:,}/{progress.total:,} trials"]
        if seconds := self.seconds_left(progress):
            parts.append(f"about {format_duration(seconds)} left")
        return ", ".join([*parts, progress.details]) if progress.details else ", ".join(parts)

    def _write(self, progress: Progress) -> None:
        self._stream.write(f"nnexp: {self._describe(progress)}\n")
        self._stream.flush()


def _bar(stream: TextIO) -> rich.progress.Progress:
    """A bar, the percentage, and the description, which is wrapped on a narrow terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
    from rich.table import Column

    text = TextColumn("{task.description}", markup=False, table_column=Column())
    return Progress(BarColumn(bar_width=24), TaskProgressColumn(), text, console=Console(file=stream))


@contextlib.contextmanager
def percentage(text: str, total: int, stream: TextIO | None = None) -> Iterator[Callable[[int], None]]:
    """A bar from 0 to ``total`` on a terminal, nothing elsewhere; yields a function that sets its position."""
    stream = stream or sys.stderr
    if not stream.isatty():
        yield lambda _done: None
        return
    with _bar(stream) as bar:
        task = bar.add_task(text, total=total)
        yield lambda done: bar.update(task, completed=done)
