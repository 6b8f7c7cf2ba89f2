"""Trials by the tracking store's contract: delivered in full and exactly once, and read back."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nnexp.tracking.outbox import Spool
from nnexp.tracking.store import Tracking
from tests.helpers.finished_trials import FILES, evidence, spooled


def test_delivered_run_is_complete(tracking: Tracking, name: str, spool: Spool) -> None:
    """A run has its name, times, status, params, curves, last values, tags, parent and artifacts."""
    sweep = tracking.ensure_sweep(name, text="", note="")
    run_id = tracking.deliver(spooled(spool, 7, sweep=name), sweep, fresh=True)
    (run,) = tracking.runs(name)
    told = evidence(7, name)
    assert (run.trial, run.run_id, run.status, run.name) == (7, run_id, "FINISHED", told.name)
    assert (run.started_ms, run.ended_ms) == (told.started_ms, told.ended_ms)
    assert run.params == told.params
    assert run.metrics["recovery_rate"] == 0.31
    assert run.metrics["loss"] == pytest.approx(0.7 / 5)
    assert tracking.curve(run_id, "loss") == [(step, 0.7 / (step + 1)) for step in range(5)]
    assert run.tags["mlflow.parentRunId"] == sweep.run_id
    assert run.tags["nnexp.sweep"] == name
    assert run.tags["mlflow.note.content"] == told.note
    assert tracking.text(run_id, "best_network.json") == '{"index": 3}\n'
    assert tracking.run(run_id) == tracking.run(f"{name}#7") == run


def test_points_are_spread_over_the_run_by_epoch(tracking: Tracking, name: str, spool: Spool) -> None:
    """Epoch e of the last E has the time at which e/E of the run was over, since charts open on relative time."""
    sweep = tracking.ensure_sweep(name, text="", note="")
    run_id = tracking.deliver(spooled(spool, 0, sweep=name), sweep, fresh=True)
    told = evidence(0, name)
    assert told.ended_ms - told.started_ms == 5000
    curve = tracking.client.get_metric_history(run_id, "loss")
    assert sorted((point.step, point.timestamp - told.started_ms) for point in curve) == [
        (step, 1000 * step) for step in range(5)
    ]
    (final,) = tracking.client.get_metric_history(run_id, "recovery_rate")
    assert final.timestamp == told.ended_ms


@pytest.mark.parametrize("metrics", [(), (("loss", 0, 0.7),)])
def test_run_without_epochs_is_logged(
    tracking: Tracking, name: str, spool: Spool, metrics: tuple[tuple[str, int, float], ...]
) -> None:
    """A trial set aside has no points; one of no epochs has its only points at the run's end."""
    sweep = tracking.ensure_sweep(name, text="", note="")
    told = replace(evidence(0, name), metrics=metrics)
    run_id = tracking.deliver(spool.write(told, FILES), sweep, fresh=True)
    assert [point.timestamp for point in tracking.client.get_metric_history(run_id, "loss")] == [told.ended_ms] * len(
        metrics
    )


def test_delivering_again_changes_nothing(tracking: Tracking, name: str, spool: Spool) -> None:
    """A second delivery finds the run by its tags; no row is doubled."""
    sweep = tracking.ensure_sweep(name, text="", note="")
    entry = spooled(spool, 0, sweep=name)
    first = tracking.deliver(entry, sweep, fresh=True)
    before = tracking.runs(name)
    assert tracking.deliver(entry, sweep) == first
    assert tracking.runs(name) == before
    assert len(tracking.curve(first, "loss")) == 5


@pytest.mark.parametrize("calls", [1, 2])
def test_interrupted_delivery_is_completed(tracking: Tracking, name: str, spool: Spool, calls: int) -> None:
    """A delivery cut after its first or second call is adopted and completed, its rows not doubled."""
    sweep = tracking.ensure_sweep(name, text="", note="")
    entry = spooled(spool, 3, sweep=name)
    run_id = tracking._create_run(entry.evidence(), sweep)
    if calls == 2:
        tracking._fill(run_id, entry.evidence(), entry.files)
        tracking.client.update_run(run_id, status="RUNNING")
    else:
        assert tracking.runs(name) == []
    assert tracking.deliver(entry, sweep) == run_id
    (run,) = tracking.runs(name)
    assert run.status == "FINISHED"
    assert len(tracking.curve(run_id, "loss")) == 5


def test_half_delivery_of_other_evidence_is_replaced(tracking: Tracking, name: str, spool: Spool) -> None:
    """A trial that was trained again elsewhere gets one run whose rows are all of one training."""
    sweep = tracking.ensure_sweep(name, text="", note="")
    lost = spooled(spool, 3, sweep=name).evidence()
    tracking._create_run(lost, sweep)
    again = spooled(spool, 3, sweep=name, started=2 * 10**12)
    run_id = tracking.deliver(again, sweep)
    (run,) = tracking.runs(name)
    assert (run.run_id, run.started_ms) == (run_id, 2 * 10**12 + 3)
    assert len(tracking.delivered_trials(name)[3]) == 1


def test_duplicates_are_seen_and_read_once(tracking: Tracking, name: str, spool: Spool) -> None:
    """Two runs of one trial count once for every reader, and all readers take the same one."""
    sweep = tracking.ensure_sweep(name, text="", note="")
    entry = spooled(spool, 1, sweep=name)
    ids = {tracking.deliver(entry, sweep, fresh=True), tracking.deliver(entry, sweep, fresh=True)}
    assert len(ids) == 2
    (run,) = tracking.runs(name)
    listed = tracking.delivered_trials(name)[1]
    assert {run_id for run_id, _ in listed} == ids
    assert listed[0] == (run.run_id, "FINISHED")


@pytest.mark.parametrize(("state", "status"), [("COMPLETE", "FINISHED"), ("PRUNED", "KILLED"), ("FAIL", "FAILED")])
def test_states_become_statuses(tracking: Tracking, name: str, spool: Spool, state: str, status: str) -> None:
    """Optuna's states map to MLflow's statuses."""
    sweep = tracking.ensure_sweep(name, text="", note="")
    tracking.deliver(spooled(spool, 0, sweep=name, state=state), sweep, fresh=True)
    assert [run.status for run in tracking.runs(name)] == [status]


def test_many_metrics_and_long_values_fit(tracking: Tracking, name: str, spool: Spool) -> None:
    """More rows than one request takes, and a note longer than a tag, do not fail."""
    sweep = tracking.ensure_sweep(name, text="", note="n" * 9000)
    entry = spool.write(evidence(0, name, points=400), FILES)
    run_id = tracking.deliver(entry, sweep, fresh=True)
    assert len(tracking.curve(run_id, "solved_rate")) == 400


def test_runs_are_read_beyond_a_page(
    tracking: Tracking, name: str, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading follows the pages to the end."""
    monkeypatch.setattr("nnexp.tracking.trials.PAGE", 3)
    sweep = tracking.ensure_sweep(name, text="", note="")
    for trial in reversed(range(7)):
        tracking.deliver(spooled(spool, trial, sweep=name, points=1), sweep, fresh=True)
    assert [run.trial for run in tracking.runs(name)] == list(range(7))
