"""Searching for runs: all pages are read, and every reader uses the same one of several runs of a trial."""

from __future__ import annotations

import pytest

from nnexp.tracking.child_run import deliver
from nnexp.tracking.spool import Spool
from nnexp.tracking.store import Tracking
from tests.helpers.finished_trials import runs_by_trial, write_entry


def test_duplicates_are_seen_and_read_once(tracking: Tracking, name: str, spool: Spool) -> None:
    """Two runs of one trial count once for every reader, and all readers use the same one."""
    sweep = tracking.ensure_sweep(name, text="", note="")
    entry = write_entry(spool, 1, sweep=name)
    ids = {deliver(tracking, sweep, entry, fresh=True) for _ in range(2)}
    assert len(ids) == 2
    (run,) = tracking.runs(name)
    listed = runs_by_trial(tracking, name)
    assert {run_id for run_id, _ in listed[1]} == ids
    assert listed[1][0] == (run.run_id, "FINISHED")
    assert [each.run_id for each in tracking.trial_runs(sweep)] == [run_id for run_id, _ in listed[1]]


def test_runs_are_read_beyond_a_page(
    tracking: Tracking, name: str, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading follows the pages to the end."""
    monkeypatch.setattr("nnexp.tracking.runs.PAGE", 3)
    sweep = tracking.ensure_sweep(name, text="", note="")
    for trial in reversed(range(7)):
        deliver(tracking, sweep, write_entry(spool, trial, sweep=name, points=1), fresh=True)
    assert [run.trial for run in tracking.runs(name)] == list(range(7))
