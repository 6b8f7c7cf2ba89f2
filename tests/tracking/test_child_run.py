"""The child run of a trial: created in full and exactly once, by the contract of every tracking store."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from nnexp.errors import StoreError
from nnexp.tracking.child_run import deliver
from nnexp.tracking.spool import Spool
from nnexp.tracking.store import Tracking
from tests.helpers.finished_trials import FILES, runs_by_trial, trial_run, write_entry


def test_delivered_run_is_complete(tracking: Tracking, name: str, spool: Spool) -> None:
    """A run has its name, times, status, params, curves, last values, tags, parent and artifacts."""
    sweep = tracking.ensure_sweep(name, text="", note="")
    run_id = deliver(tracking, sweep, write_entry(spool, 7, sweep=name), fresh=True)
    (run,) = tracking.runs(name)
    written = trial_run(7, name)
    assert (run.trial, run.run_id, run.status, run.name) == (7, run_id, "FINISHED", written.name)
    assert (run.started_ms, run.ended_ms) == (written.started_ms, written.ended_ms)
    assert run.params == written.params
    assert run.metrics["recovery_rate"] == 0.31
    assert run.metrics["loss"] == pytest.approx(0.7 / 5)
    assert tracking.curve(run_id, "loss") == [(step, 0.7 / (step + 1)) for step in range(5)]
    assert run.tags["mlflow.parentRunId"] == sweep.run_id
    assert run.tags["nnexp.sweep"] == name
    link = f"[The sweep's report](#/experiments/{sweep.experiment_id}/runs/{sweep.run_id}/artifacts/report.html). "
    assert run.tags["mlflow.note.content"] == link + written.note
    assert tracking.text(run_id, "best_network.json") == '{"index": 3}\n'
    assert tracking.run(run_id) == tracking.run(f"{name}#7") == run


def test_points_are_spread_over_the_run_by_epoch(tracking: Tracking, name: str, spool: Spool) -> None:
    """The point of epoch e of E has the time at which e/E of the run was over: charts show relative time first."""
    sweep = tracking.ensure_sweep(name, text="", note="")
    run_id = deliver(tracking, sweep, write_entry(spool, 0, sweep=name), fresh=True)
    written = trial_run(0, name)
    assert written.ended_ms - written.started_ms == 5000
    curve = tracking.client.get_metric_history(run_id, "loss")
    assert sorted((point.step, point.timestamp - written.started_ms) for point in curve) == [
        (step, 1000 * step) for step in range(5)
    ]
    (final,) = tracking.client.get_metric_history(run_id, "recovery_rate")
    assert final.timestamp == written.ended_ms


@pytest.mark.parametrize("metrics", [(), (("loss", 0, 0.7),)])
def test_run_without_epochs_is_logged(
    tracking: Tracking, name: str, spool: Spool, metrics: tuple[tuple[str, int, float], ...]
) -> None:
    """A trial that was set aside has no points; the only points of a trial of no epochs are at the run's end."""
    sweep = tracking.ensure_sweep(name, text="", note="")
    written = replace(trial_run(0, name), metrics=metrics)
    run_id = deliver(tracking, sweep, spool.write(written, FILES), fresh=True)
    points = tracking.client.get_metric_history(run_id, "loss")
    assert [point.timestamp for point in points] == [written.ended_ms] * len(metrics)


def test_delivering_again_changes_nothing(tracking: Tracking, name: str, spool: Spool) -> None:
    """A second delivery finds the run by its tags; no metric gets a second point."""
    sweep = tracking.ensure_sweep(name, text="", note="")
    entry = write_entry(spool, 0, sweep=name)
    first = deliver(tracking, sweep, entry, fresh=True)
    before = tracking.runs(name)
    assert deliver(tracking, sweep, entry) == first
    assert tracking.runs(name) == before
    assert len(tracking.curve(first, "loss")) == 5


@pytest.mark.parametrize("call", ["log_batch", "log_artifacts", "set_terminated"])
def test_interrupted_delivery_is_completed(
    tracking: Tracking, name: str, spool: Spool, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """A delivery that ended before one of its calls is continued in the same run, without second points."""
    sweep = tracking.ensure_sweep(name, text="", note="")
    entry = write_entry(spool, 3, sweep=name)
    begun = []

    def cut(run_id: str, *_: Any, **__: Any) -> None:
        begun.append(run_id)
        raise OSError("cut")

    monkeypatch.setattr(tracking.client, call, cut)
    with pytest.raises(StoreError, match="cut"):
        deliver(tracking, sweep, entry, fresh=True)
    monkeypatch.undo()
    assert tracking.runs(name) == []
    assert [deliver(tracking, sweep, entry)] == begun
    (run,) = tracking.runs(name)
    assert run.status == "FINISHED"
    assert len(tracking.curve(run.run_id, "loss")) == 5


def test_incomplete_delivery_of_another_training_is_replaced(tracking: Tracking, name: str, spool: Spool) -> None:
    """A trial that was trained again elsewhere has one run, with the metrics of one training alone."""
    sweep = tracking.ensure_sweep(name, text="", note="")
    tags = {"nnexp.sweep": name, "nnexp.trial": "3"}
    tracking.client.create_run(sweep.experiment_id, start_time=10**12 + 3, tags=tags)
    run_id = deliver(tracking, sweep, write_entry(spool, 3, sweep=name, started=2 * 10**12))
    (run,) = tracking.runs(name)
    assert (run.run_id, run.started_ms) == (run_id, 2 * 10**12 + 3)
    assert len(runs_by_trial(tracking, name)[3]) == 1


@pytest.mark.parametrize(("state", "status"), [("COMPLETE", "FINISHED"), ("PRUNED", "KILLED"), ("FAIL", "FAILED")])
def test_states_become_statuses(tracking: Tracking, name: str, spool: Spool, state: str, status: str) -> None:
    """Each of Optuna's states has its status of MLflow."""
    sweep = tracking.ensure_sweep(name, text="", note="")
    deliver(tracking, sweep, write_entry(spool, 0, sweep=name, state=state), fresh=True)
    assert [run.status for run in tracking.runs(name)] == [status]


def test_many_metrics_and_long_values_fit(tracking: Tracking, name: str, spool: Spool) -> None:
    """More points than one request takes, and a description longer than a tag, do not fail."""
    sweep = tracking.ensure_sweep(name, text="", note="n" * 9000)
    entry = spool.write(trial_run(0, name, points=400), FILES)
    run_id = deliver(tracking, sweep, entry, fresh=True)
    assert len(tracking.curve(run_id, "solved_rate")) == 400


def test_environment_of_mlflow_does_not_redirect_runs(
    tracking: Tracking, name: str, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A MLFLOW_RUN_ID or MLFLOW_EXPERIMENT_NAME in the environment has no effect."""
    monkeypatch.setenv("MLFLOW_RUN_ID", "0" * 32)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "elsewhere")
    sweep = tracking.ensure_sweep(name, text="", note="")
    deliver(tracking, sweep, write_entry(spool, 0, sweep=name), fresh=True)
    assert len(tracking.client.search_runs([sweep.experiment_id])) == 2
