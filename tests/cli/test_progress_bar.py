"""Progress on stderr: plain lines, or a bar on a terminal."""

from __future__ import annotations

import io

import pytest

from nnexp.cli.progress_bar import Display, format_duration
from nnexp.runner.progress import Progress


class Terminal(io.StringIO):
    """A stream in memory that claims to be a terminal."""

    def isatty(self) -> bool:
        """Always true."""
        return True


def test_progress_is_plain_lines_at_intervals_without_a_terminal() -> None:
    """The first state, at most one line per five seconds, and always the last state."""
    now, stream = [0.0], io.StringIO()
    with Display(stream, lambda: now[0]) as display:
        for done in range(11):
            now[0] = done * 2.0
            display(Progress(done, 10, 1234.5, best=0.25, failed=done // 9))
    lines = stream.getvalue().splitlines()
    assert [line.split(",")[0] for line in lines] == [f"nnexp: {n}/10 trials" for n in (0, 3, 6, 9, 10)]
    assert lines[1] == "nnexp: 3/10 trials, about 14 s left, 1,234 networks/s, best recovery_rate 0.25"
    assert lines[-1].endswith("1 failed")


def test_the_time_left_does_not_count_trials_of_an_earlier_start() -> None:
    """A sweep that continues at 90 of 100 trials is measured from there."""
    now = [0.0]
    display = Display(io.StringIO(), lambda: now[0])
    display(Progress(90, 100))
    assert display.seconds_left(Progress(90, 100)) is None
    now[0] = 10.0
    assert display.seconds_left(Progress(95, 100)) == pytest.approx(10.0)


def test_progress_on_a_terminal_is_a_bar_with_the_state_of_the_sweep() -> None:
    """The percentage, the trials, the rate, the best value, and why the sweep waits."""
    stream = Terminal()
    with Display(stream) as display:
        display(Progress(1, 4, 100.0, best=0.5, waiting_for_tracking=True, spool=3))
    shown = " ".join(stream.getvalue().split())  # regardless of where the line is wrapped
    for words in (
        "25%",
        "1/4 trials",
        "100 networks/s",
        "0.5",
        "3 waiting in the spool",
        "training waits for tracking",
    ):
        assert words in shown


def test_durations_have_at_most_two_units() -> None:
    """Seconds, minutes and seconds, or hours and minutes."""
    assert [format_duration(s) for s in (0.4, 59.6, 90, 3600 * 25 + 60)] == [
        "0 s",
        "1 min 0 s",
        "1 min 30 s",
        "25 h 1 min",
    ]
