"""Sweeps by the tracking store's contract: created once, kept, concluded, deleted."""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest

from nnexp.errors import StoreError
from nnexp.tracking.outbox import Spool
from nnexp.tracking.schema import SWEEP
from nnexp.tracking.store import Tracking
from tests.helpers.finished_trials import spooled


def test_sweep_is_created_once(tracking: Tracking, name: str) -> None:
    """Ensuring a sweep again finds the same experiment and parent run."""
    assert tracking.find_sweep(name) is None
    first = tracking.ensure_sweep(name, text="trials = 1\n", note="what was swept", tags={"nnexp.task": "xnor"})
    assert tracking.ensure_sweep(name, text="trials = 1\n", note="other words") == first
    assert tracking.find_sweep(name) == first == tracking.sweep(name)
    assert name in tracking.sweeps()
    run = tracking.client.get_run(first.run_id)
    assert run.info.run_name == name
    assert run.data.tags["mlflow.note.content"] == "what was swept"
    assert run.data.tags["nnexp.task"] == "xnor"


def test_sweep_file_is_kept_and_follows_changes(tracking: Tracking, name: str) -> None:
    """The parent's sweep.toml is the text given last, so that a grown budget shows."""
    tracking.ensure_sweep(name, text='name = "é"\ntrials = 1\n', note="")
    assert tracking.sweep_text(name) == 'name = "é"\ntrials = 1\n'
    tracking.ensure_sweep(name, text="trials = 2\n", note="")
    assert tracking.sweep_text(name) == "trials = 2\n"


@pytest.mark.parametrize("torn", [b"", b"trials", b'trials = 1\nname = "\xc3'], ids=["empty", "cut", "letter"])
def test_torn_sweep_file_is_written_again(tracking: Tracking, name: str, tmp_path: Path, torn: bytes) -> None:
    """A kill while it was written leaves a part of it, which the next start notices, be it cut within a letter."""
    text = 'trials = 1\nname = "é"\n'
    run = tracking.ensure_sweep(name, text=text, note="")
    (tmp_path / "sweep.toml").write_bytes(torn)
    tracking.log_files(run.run_id, tmp_path)
    tracking.ensure_sweep(name, text=text, note="")
    assert tracking.sweep_text(name) == text


def test_parent_is_not_awaited_for_ever_by_a_clock_that_jumped_back(
    tracking: Tracking, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever created the experiment died before its parent run; the wall clock says that this is yet to come."""
    tracking.client.create_experiment(name, tags={SWEEP: name})
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        assert sum(slept) < 16

    clock = SimpleNamespace(time=lambda: 0.0, monotonic=lambda: 1000.0 + sum(slept), sleep=sleep)
    monkeypatch.setattr("nnexp.tracking.experiment.time", clock)
    run = tracking.ensure_sweep(name, text="trials = 1\n", note="")
    assert sum(slept) >= 15
    monkeypatch.undo()
    assert tracking.find_sweep(name) == run


def test_workers_that_start_together_share_one_parent(tracking: Tracking, tracking_store: str, name: str) -> None:
    """Four at once end with one experiment and one parent run."""
    clients = [Tracking(tracking_store) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        found = set(pool.map(lambda one: one.ensure_sweep(name, text="a = 1", note=""), clients))
    assert len(found) == 1
    assert len(tracking.client.search_runs([found.pop().experiment_id])) == 1


def test_parent_shows_progress_and_results(tracking: Tracking, name: str, tmp_path: Path) -> None:
    """Progress by step, then status, files, note and tags at the end."""
    sweep = tracking.ensure_sweep(name, text="", note="")
    tracking.log_progress(sweep.run_id, 8, {"trials_done": 8, "best_recovery_rate": 0.25})
    tracking.log_progress(sweep.run_id, 16, {"trials_done": 16, "best_recovery_rate": 0.5})
    assert tracking.curve(sweep.run_id, "trials_done") == [(8, 8), (16, 16)]
    (tmp_path / "files" / "tables").mkdir(parents=True)
    (tmp_path / "files" / "report.html").write_text("<h1>answer</h1>")
    (tmp_path / "files" / "tables" / "settings.csv").write_text("a,b\n")
    tracking.finish_sweep(sweep.run_id, tmp_path / "files", "the answer")
    run = tracking.client.get_run(sweep.run_id)
    assert run.data.metrics == {"trials_done": 16, "best_recovery_rate": 0.5}
    assert (run.info.status, run.data.tags["mlflow.note.content"]) == ("FINISHED", "the answer")
    assert tracking.text(sweep.run_id, "tables/settings.csv") == "a,b\n"
    tracking.set_sweep_status(sweep.run_id, "RUNNING")
    assert tracking.client.get_run(sweep.run_id).info.status == "RUNNING"


def test_deleted_sweep_frees_its_name(tracking: Tracking, name: str, spool: Spool) -> None:
    """Deleting counts the runs, and a new sweep of that name starts empty."""
    sweep = tracking.ensure_sweep(name, text="", note="")
    tracking.deliver(spooled(spool, 0, sweep=name), sweep, fresh=True)
    assert tracking.delete_sweep(name) == 2
    assert tracking.find_sweep(name) is None
    assert tracking.ensure_sweep(name, text="", note="") != sweep
    assert tracking.runs(name) == []


def test_users_own_runs_stay_when_a_sweep_in_their_experiment_is_deleted(
    tracking: Tracking, name: str, spool: Spool
) -> None:
    """A sweep may have the name of an experiment that is already there; deleting the sweep leaves that as it was."""
    theirs = tracking.client.create_run(tracking.client.create_experiment(name)).info
    sweep = tracking.ensure_sweep(name, text="", note="")
    assert sweep.experiment_id == theirs.experiment_id
    tracking.deliver(spooled(spool, 0, sweep=name), sweep, fresh=True)
    assert tracking.delete_sweep(name) == 2
    assert tracking.find_sweep(name) is None
    assert name not in tracking.sweeps()
    (left,) = tracking.client.search_runs([theirs.experiment_id])
    assert left.info.run_id == theirs.run_id


def test_users_own_experiment_is_taken_in_at_once(
    tracking: Tracking, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one created this moment: no other worker is about to give it a parent run."""
    tracking.client.create_experiment(name)
    clock = SimpleNamespace(time=time.time, monotonic=time.monotonic, sleep=lambda _: pytest.fail("waits for a run"))
    monkeypatch.setattr("nnexp.tracking.experiment.time", clock)
    run = tracking.ensure_sweep(name, text="trials = 1\n", note="")
    monkeypatch.undo()
    assert tracking.find_sweep(name) == run


def test_runs_of_another_study_are_left_alone(tracking: Tracking, name: str) -> None:
    """A lost study store, or two that share a tracking store: the second does not write into the first one's runs."""
    first = tracking.ensure_sweep(name, text="trials = 1\n", note="", study="a")
    assert tracking.ensure_sweep(name, text="trials = 1\n", note="", study="a") == first
    with pytest.raises(StoreError, match=f"are of another study store.*--storage.*nnexp delete {re.escape(name)}"):
        tracking.ensure_sweep(name, text="trials = 2\n", note="", study="b")
    assert tracking.sweep_text(name) == "trials = 1\n"
    assert tracking.study_of(first) == "a"


def test_runs_from_before_studies_were_named_are_taken_on(tracking: Tracking, name: str) -> None:
    """They get the name of the first study that asks."""
    older = tracking.ensure_sweep(name, text="", note="")
    assert tracking.study_of(older) is None
    assert tracking.ensure_sweep(name, text="", note="", study="a") == older
    assert tracking.study_of(older) == "a"


def test_experiment_deleted_by_hand_is_explained(tracking: Tracking, name: str) -> None:
    """The error names the experiment and how to restore it."""
    sweep = tracking.ensure_sweep(name, text="", note="")
    tracking.client.delete_experiment(sweep.experiment_id)
    with pytest.raises(StoreError, match=rf"is deleted in MLflow.*--experiment-id {sweep.experiment_id}"):
        tracking.ensure_sweep(name, text="", note="")
