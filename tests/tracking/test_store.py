"""The contract of a tracking store, held by an embedded database, by `mlflow server`, and by one on PostgreSQL."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from nnexp.errors import NotFoundError, StoreError
from nnexp.tracking.child_run import deliver
from nnexp.tracking.spool import Spool
from nnexp.tracking.store import Tracking
from tests.helpers.finished_trials import write_entry


def test_sweep_file_is_kept_and_follows_changes(tracking: Tracking, name: str) -> None:
    """The parent's sweep.toml is the latest text, so that it shows a budget that was raised."""
    run_id = tracking.ensure_sweep(name, text='name = "é"\ntrials = 1\n', note="").run_id
    assert tracking.text(run_id, "sweep.toml") == 'name = "é"\ntrials = 1\n'
    tracking.ensure_sweep(name, text="trials = 2\n", note="")
    assert tracking.text(run_id, "sweep.toml") == "trials = 2\n"


@pytest.mark.parametrize("part", [b"", b"trials", b'trials = 1\nname = "\xc3'], ids=["empty", "cut", "letter"])
def test_truncated_sweep_file_is_written_again(tracking: Tracking, name: str, tmp_path: Path, part: bytes) -> None:
    """A kill during the write leaves a part of the file, which may end within a letter; the next start repairs it."""
    text = 'trials = 1\nname = "é"\n'
    run = tracking.ensure_sweep(name, text=text, note="")
    (tmp_path / "sweep.toml").write_bytes(part)
    tracking.log_files(run.run_id, tmp_path)
    tracking.ensure_sweep(name, text=text, note="")
    assert tracking.text(run.run_id, "sweep.toml") == text


def test_parent_shows_progress_and_results(tracking: Tracking, name: str, tmp_path: Path) -> None:
    """Progress by step, then status, files, description and tags at the end."""
    sweep = tracking.ensure_sweep(name, text="", note="")
    tracking.log_progress(sweep.run_id, 8, {"trials_done": 8, "best_recovery_rate": 0.25})
    tracking.log_progress(sweep.run_id, 16, {"trials_done": 16, "best_recovery_rate": 0.5})
    assert tracking.curve(sweep.run_id, "trials_done") == [(8, 8), (16, 16)]
    (tmp_path / "files" / "tables").mkdir(parents=True)
    (tmp_path / "files" / "report.html").write_text("<h1>answer</h1>")
    (tmp_path / "files" / "tables" / "settings.csv").write_text("a,b\n")
    tracking.finish_sweep(sweep, tmp_path / "files", "the answer")
    run = tracking.client.get_run(sweep.run_id)
    assert run.data.metrics == {"trials_done": 16, "best_recovery_rate": 0.5}
    assert (run.info.status, run.data.tags["mlflow.note.content"]) == ("FINISHED", "the answer")
    assert tracking.client.get_experiment(sweep.experiment_id).tags["mlflow.note.content"] == "the answer"
    assert tracking.text(sweep.run_id, "tables/settings.csv") == "a,b\n"
    tracking.set_sweep_status(sweep.run_id, "RUNNING")
    assert tracking.client.get_run(sweep.run_id).info.status == "RUNNING"


def test_deleted_sweep_frees_its_name(tracking: Tracking, name: str, spool: Spool) -> None:
    """Deleting counts the runs, and a new sweep of that name starts empty."""
    sweep = tracking.ensure_sweep(name, text="", note="")
    deliver(tracking, sweep, write_entry(spool, 0, sweep=name), fresh=True)
    assert tracking.delete_sweep(name) == 2
    assert tracking.find_sweep(name) is None
    assert tracking.ensure_sweep(name, text="", note="") != sweep
    assert tracking.runs(name) == []


def test_users_own_runs_stay_when_a_sweep_in_their_experiment_is_deleted(
    tracking: Tracking, name: str, spool: Spool
) -> None:
    """A sweep may have the name of an existing experiment; deleting the sweep leaves that as it was."""
    theirs = tracking.client.create_run(tracking.client.create_experiment(name)).info
    sweep = tracking.ensure_sweep(name, text="", note="")
    assert sweep.experiment_id == theirs.experiment_id
    deliver(tracking, sweep, write_entry(spool, 0, sweep=name), fresh=True)
    assert tracking.delete_sweep(name) == 2
    assert tracking.find_sweep(name) is None
    assert name not in tracking.sweeps()
    (left,) = tracking.client.search_runs([theirs.experiment_id])
    assert left.info.run_id == theirs.run_id


def test_runs_of_another_study_are_left_alone(tracking: Tracking, name: str) -> None:
    """Two study stores with one tracking store: the second does not write into the runs of the first."""
    first = tracking.ensure_sweep(name, text="trials = 1\n", note="", study="a")
    assert tracking.ensure_sweep(name, text="trials = 1\n", note="", study="a") == first
    with pytest.raises(StoreError, match=f"are of another study store.*--storage.*nnexp delete {re.escape(name)}"):
        tracking.ensure_sweep(name, text="trials = 2\n", note="", study="b")
    assert tracking.text(first.run_id, "sweep.toml") == "trials = 1\n"
    assert tracking.study_of(first) == "a"


def test_runs_from_before_studies_were_named_are_adopted(tracking: Tracking, name: str) -> None:
    """They get the name of the first study that uses them."""
    older = tracking.ensure_sweep(name, text="", note="")
    assert tracking.study_of(older) is None
    assert tracking.ensure_sweep(name, text="", note="", study="a") == older
    assert tracking.study_of(older) == "a"


def test_deleted_experiment_is_explained(tracking: Tracking, name: str) -> None:
    """The error names the experiment and how to restore it."""
    sweep = tracking.ensure_sweep(name, text="", note="")
    tracking.client.delete_experiment(sweep.experiment_id)
    with pytest.raises(StoreError, match=rf"is deleted in MLflow.*--experiment-id {sweep.experiment_id}"):
        tracking.ensure_sweep(name, text="", note="")


def test_truth_table_is_a_dataset(tracking: Tracking, name: str) -> None:
    """The parent's dataset has a digest that depends on the targets."""
    sweep = tracking.ensure_sweep(name, text="", note="")
    rows = [[0, 0], [0, 1], [1, 0], [1, 1]]
    tracking.log_dataset(sweep.run_id, "xnor", rows, [1, 0, 0, 1])
    tracking.log_dataset(sweep.run_id, "xnor", rows, [1, 0, 0, 1])
    (logged,) = tracking.client.get_run(sweep.run_id).inputs.dataset_inputs
    assert logged.dataset.name == "xnor truth table"
    tracking.log_dataset(sweep.run_id, "xnor", rows, [0, 1, 1, 0])
    digests = {one.dataset.digest for one in tracking.client.get_run(sweep.run_id).inputs.dataset_inputs}
    assert len(digests) == 2


def test_what_is_missing_is_named(tracking: Tracking, name: str) -> None:
    """Sweeps, runs, trials and artifacts that do not exist."""
    sweep = tracking.ensure_sweep(name, text="", note="")
    with pytest.raises(NotFoundError, match="did you mean"):
        tracking.sweep(name + "x")
    with pytest.raises(NotFoundError, match="no trial 9"):
        tracking.run(f"{name}#9")
    with pytest.raises(NotFoundError):
        tracking.run("0" * 32)
    with pytest.raises(NotFoundError, match="not a trial's run"):
        tracking.run(sweep.run_id)
    with pytest.raises(NotFoundError, match=r"no artifact 'networks\.parquet'"):
        tracking.networks(sweep.run_id)


def test_tags_are_set_on_a_run_that_has_ended(tracking: Tracking, name: str, spool: Spool) -> None:
    """Several in one call; the run's status stays."""
    sweep = tracking.ensure_sweep(name, text="", note="")
    run_id = deliver(tracking, sweep, write_entry(spool, 0, sweep=name), fresh=True)
    tracking.set_tags(run_id, {"best": "1", "objective": "0.31"})
    assert tracking.run(run_id).tags["objective"] == "0.31"
    assert tracking.run(run_id).status == "FINISHED"
    tracking.delete_tag(run_id, "best")
    assert "best" not in tracking.run(run_id).tags


def test_artifacts_are_beside_a_database_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is written to the working directory when the database is in another."""
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    tracking = Tracking(f"sqlite:///{tmp_path}/there/mlflow.db")
    sweep = tracking.ensure_sweep("xnor", text="a = 1", note="")
    deliver(tracking, sweep, write_entry(Spool(tmp_path / "spool"), 0), fresh=True)
    assert list((tmp_path / "here").iterdir()) == []
    assert list((tmp_path / "there" / "mlruns").rglob("sweep.toml"))
