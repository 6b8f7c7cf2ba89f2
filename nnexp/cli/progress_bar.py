"""A sweep's progress on stderr: a bar on a terminal, else a plain line every few seconds (floor 5)."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, TextIO

from nnexp.runner.progress import Progress

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live
    from rich.progress import Progress as Bar

_PLAIN_EVERY = 5.0  # seconds between two plain lines


def duration(seconds: float) -> str:
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
    """Shows `Progress` events: call it with each. Used as a context manager, since a bar must be closed.

    What was done before the first event (by an earlier start, say) does not count for the time left.
    """

    def __init__(self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream or sys.stderr
        self._clock = clock
        self._live: Live | None = None
        self._first: tuple[float, int] | None = None
        self._last_line = -_PLAIN_EVERY
        self._last: Progress | None = None

    def __enter__(self) -> Display:
        if self._stream.isatty():
            from rich.console import Console
            from rich.live import Live

            self._live = Live(console=Console(file=self._stream), refresh_per_second=4)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()
        elif self._last:
            self._line(self._last)  # the state in which it ended, whenever the line before was

    def __call__(self, event: Progress) -> None:
        """Show ``event`` in place of the one before."""
        now = self._clock()
        if self._first is None:
            self._first = (now, event.done)
        if self._live:
            self._live.update(self._drawn(event))
        elif now - self._last_line >= _PLAIN_EVERY:
            self._last_line, self._last = now, None
            self._line(event)
        else:
            self._last = event

    def left(self, event: Progress) -> float | None:
        """Seconds until the end at the pace since the first event; None while there is no pace."""
        if self._first is None or event.done <= self._first[1]:
            return None
        pace = (self._clock() - self._first[0]) / (event.done - self._first[1])
        return pace * (event.total - event.done)

    def _count(self, event: Progress) -> str:
        left = self.left(event)
        time_left = "" if left is None or event.done >= event.total else f", about {duration(left)} left"
        return f"{event.done:,}/{event.total:,} trials{time_left}"

    def _line(self, event: Progress) -> None:
        self._stream.write(f"nnexp: {', '.join(filter(None, (self._count(event), event.details)))}\n")
        self._stream.flush()

    def _drawn(self, event: Progress) -> RenderableType:
        """A bar with the count and the time left, and the rest in a line below."""
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        bar = Table.grid(padding=(0, 1))
        share = f"{event.done / max(event.total, 1):.0%}"
        bar.add_row(ProgressBar(event.total, event.done, width=24), Text(share), Text(self._count(event)))
        return Group(bar, Text(event.details))


def _bar(stream: TextIO) -> Bar:
    from rich.console import Console
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn
    from rich.progress import Progress as RichProgress

    return RichProgress(
        BarColumn(bar_width=24),
        TaskProgressColumn(),
        TextColumn("{task.description}", markup=False),
        console=Console(file=stream),
    )


@contextlib.contextmanager
def percent(what: str, total: int, stream: TextIO | None = None) -> Iterator[Callable[[int], None]]:
    """A bar for one known amount of work on a terminal, nothing elsewhere; the value yielded takes what is done."""
    stream = stream or sys.stderr
    if not stream.isatty():
        yield lambda _done: None
        return
    with _bar(stream) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.update(task, completed=done)
