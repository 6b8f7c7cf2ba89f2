"""Logging a finished trial to MLflow: its child run is created completely and exactly once."""

from __future__ import annotations

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunInfo

from nnexp.tracking import artifacts, saved_view
from nnexp.tracking.failures import translated
from nnexp.tracking.runs import runs_of_trial
from nnexp.tracking.schema import (
    ENDED,
    NOTE,
    PARAM_LIMIT,
    PARENT,
    REPORT,
    ROLE,
    STATUS,
    SWEEP,
    TAG_LIMIT,
    TRIAL,
    SweepRun,
    TrialRun,
    source_tags,
)
from nnexp.tracking.spool import Entry
from nnexp.tracking.store import Tracking


def deliver(tracking: Tracking, sweep: SweepRun, entry: Entry, fresh: bool = False) -> str:
    """Create the run of one finished trial. The entry stays in the spool.

    Args:
        tracking: the store.
        sweep: the parent.
        entry: the finished trial.
        fresh: whether this trial was certainly never sent before. If False, an existing run is found and completed.

    Returns:
        The run's id.

    Raises:
        UnreachableError: call again later, with ``fresh=False``.
        StoreError: the store refuses the run.
    """
    trial_run, client = entry.read(), tracking.client
    with translated(tracking.uri):
        info = None if fresh else _adopted(client, sweep, trial_run)
        if info is None:
            info = _created(client, sweep, trial_run)
        elif info.status in ENDED:
            return str(info.run_id)
        run_id = str(info.run_id)
        params = [Param(key, str(value)[:PARAM_LIMIT]) for key, value in trial_run.params.items()]
        client.log_batch(run_id, metrics=_timed_metrics(trial_run), params=params)
        if any(entry.files.iterdir()):
            artifacts.send(client, tracking.uri, run_id, info.artifact_uri, entry.files)
        client.set_terminated(run_id, STATUS[trial_run.state], end_time=trial_run.ended_ms)
        return run_id if fresh else _only_run(client, sweep, trial_run.trial)


def _created(client: MlflowClient, sweep: SweepRun, run: TrialRun) -> RunInfo:
    note = f"[The sweep's report]({saved_view.run_page(sweep, REPORT)}). {run.note}"
    own = {SWEEP: sweep.name, TRIAL: str(run.trial), ROLE: "trial", PARENT: sweep.run_id, NOTE: note[:TAG_LIMIT]}
    tags = source_tags() | dict(run.tags) | own
    return client.create_run(sweep.experiment_id, start_time=run.started_ms, run_name=run.name, tags=tags).info


def _adopted(client: MlflowClient, sweep: SweepRun, trial_run: TrialRun) -> RunInfo | None:
    """The trial's run if it is complete or an unfinished delivery of the same training; other runs are deleted."""
    for run in runs_of_trial(client, sweep, trial_run.trial):
        if run.info.status in ENDED or run.info.start_time == trial_run.started_ms:
            return run.info
        client.delete_run(run.info.run_id)
    return None


def _only_run(client: MlflowClient, sweep: SweepRun, trial: int) -> str:
    """Delete all but one of the trial's runs: an earlier request may have been carried out after it timed out here."""
    first, *others = runs_of_trial(client, sweep, trial)
    for run in others:
        client.delete_run(run.info.run_id)
    return str(first.info.run_id)


def _timed_metrics(run: TrialRun) -> list[Metric]:
    """The run's metrics, each with the time at which its epoch was reached if all epochs take equally long.

    The UI's charts show relative time by default. The times depend only on the run, not on the clock, so that logging
    the same metrics again adds no rows.
    """
    last = max((step for _, step, _ in run.metrics), default=0)
    duration = run.ended_ms - run.started_ms
    return [
        Metric(key, value, run.started_ms + duration * step // last if last else run.ended_ms, step)
        for key, step, value in run.metrics
    ]
