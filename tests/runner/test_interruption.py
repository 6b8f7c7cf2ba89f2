"""SIGINT and SIGTERM end a sweep in good order within seconds, a second SIGINT ends it at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from nnexp.runner import doctor
from nnexp.stores import Stores
from nnexp.study import SweepStudy, open_storage
from nnexp.tracking.store import Tracking
from tests.helpers import small_sweeps
from tests.helpers.command_line import environment
from tests.helpers.finished_trials import runs_by_trial
from tests.helpers.sampling import LONG, generator

CHANCE = generator("Ctrl-C")
PAUSES = [round(CHANCE.uniform(0, 1.5), 2) for _ in range(20 if LONG else 2)]
PLAN = small_sweeps.plan(trials=60, seeds=64, epochs=2000, batch=2)


def wait_for(condition: Callable[[], bool], seconds: float = 240) -> None:
    """Wait until the condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def counts(where: Stores) -> tuple[int, int]:
    """The numbers of finished trials and of trials in training."""
    if not Path(where.storage).exists():
        return 0, 0
    with open_storage(where.storage) as storage:
        if PLAN.name not in [each.name for each in SweepStudy.list_all(storage)]:
            return 0, 0
        told = SweepStudy.open(storage, PLAN.name).counts()
    return told.finished, told.running


def assert_handed_back(where: Stores) -> None:
    """No trial is in training in either store, and each finished trial has one run."""
    finished, running = counts(where)
    assert running == 0
    assert [finding.line for finding in doctor.examine(where) if finding.kind != "undelivered"] == []
    tracking = Tracking(where.tracking_uri)
    runs = runs_by_trial(tracking, PLAN.name)
    assert {status for of_trial in runs.values() for _, status in of_trial} <= {"FINISHED"}
    assert tracking.status(tracking.sweep(PLAN.name).run_id) != "RUNNING"
    assert finished < PLAN.trials


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_hands_back_within_five_seconds(tmp_path: Path, number: signal.Signals, status: int) -> None:
    """During training; the exit status names the signal."""
    where = small_sweeps.stores(tmp_path)
    (tmp_path / "s.toml").write_text(PLAN.text)
    args = ("sweep", "s.toml", "--jobs", "1", *small_sweeps.options(where))
    process = small_sweeps.process(small_sweeps.command, args, tmp_path / "log")
    wait_for(lambda: counts(where)[0] >= 2)
    began = time.monotonic()
    small_sweeps.kill(process, number)  # a terminal's Ctrl-C reaches the pool's processes too
    process.join(10)
    assert time.monotonic() - began < 5
    told = (tmp_path / "log").read_text()
    assert process.exitcode == status, told
    assert "Traceback" not in told
    assert told.splitlines()[-1].startswith(f"nnexp: stopped by signal {int(number)}")
    assert_handed_back(where)


@pytest.mark.slow
def test_a_second_interrupt_ends_at_once(tmp_path: Path) -> None:
    """The next start takes back the trials that were in training."""
    where = small_sweeps.stores(tmp_path)
    (tmp_path / "s.toml").write_text(PLAN.text)
    args = ("sweep", "s.toml", "--jobs", "1", *small_sweeps.options(where))
    process = small_sweeps.process(small_sweeps.command, args, tmp_path / "log")
    wait_for(lambda: counts(where)[0] >= 2)
    assert process.pid is not None
    small_sweeps.kill(process, signal.SIGINT)
    time.sleep(0.05)  # two signals at the same time would arrive as one
    began = time.monotonic()
    small_sweeps.kill(process, signal.SIGINT)
    process.join(10)
    assert time.monotonic() - began < 1
    assert process.exitcode == 130
    assert "Traceback" not in (tmp_path / "log").read_text()
    again = small_sweeps.process(small_sweeps.command, args, tmp_path / "log")
    wait_for(lambda: counts(where)[0] >= 6)
    small_sweeps.kill(again, signal.SIGTERM)
    again.join(10)
    assert again.exitcode == 143, (tmp_path / "log").read_text()
    assert_handed_back(where)


@pytest.mark.slow
@pytest.mark.parametrize("pause", PAUSES)
def test_an_interrupt_while_the_pool_starts_prints_one_line_and_leaves_no_file(
    tmp_path: Path, short_directory: Path, pause: float
) -> None:
    """Ctrl-C reaches the fork server and the pool's processes wherever they are: no traceback, no leaked semaphores."""
    small_sweeps.stores(tmp_path)
    (tmp_path / "s.toml").write_text(PLAN.text)
    with subprocess.Popen(
        [sys.executable, "-m", "nnexp", "sweep", "s.toml"],
        cwd=tmp_path,
        env={**environment(), "TMPDIR": str(short_directory)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        wait_for(lambda: any(short_directory.glob("pymp-*")) or process.poll() is not None)
        time.sleep(pause)
        os.killpg(process.pid, signal.SIGINT)
        _, told = process.communicate(timeout=30)
    assert process.returncode == 130, told
    assert [line for line in told.splitlines() if line and "trials" not in line] == [
        "nnexp: stopped by signal 2; the same command continues from here"
    ]
    wait_for(lambda: not any(short_directory.iterdir()), 5)
