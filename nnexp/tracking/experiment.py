"""Creating a sweep's experiment and parent run: of several workers that start together, only one creates each."""

from __future__ import annotations

import time
from collections.abc import Mapping

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from tenacity import Retrying, retry_if_result, stop_after_delay, wait_fixed

from nnexp.tracking.address import artifact_root
from nnexp.tracking.runs import parent_runs
from nnexp.tracking.schema import NOTE, ROLE, SWEEP, TAG_LIMIT, SweepRun, source_tags

#: Seconds within which the worker that created an experiment also creates its parent run, unless it was killed.
PARENT_WAIT = 15.0


def create_sweep(client: MlflowClient, uri: str, name: str, note: str, tags: Mapping[str, str]) -> SweepRun:
    """Create the sweep's experiment and parent run, or find those that another worker creates at this moment.

    Args:
        client: MLflow's client.
        uri: the store's address, which decides where artifacts are stored.
        name: the name of the sweep and of the experiment.
        note: the description of both, Markdown.
        tags: the parent's further tags.
    """
    experiment_id, created = _ensure_experiment(client, uri, name, note)
    found = None if created else _awaited_parent(client, name, experiment_id)
    return found or _create_parent(client, name, experiment_id, note, tags)


def _ensure_experiment(client: MlflowClient, uri: str, name: str, note: str) -> tuple[str, bool]:
    """The experiment's id, and whether this call made it the sweep's; then no other worker creates the parent run."""
    # The kind makes the UI show the table of runs at once; without it, the UI asks every user for the kind.
    tags = {SWEEP: name, NOTE: note[:TAG_LIMIT], "mlflow.experimentKind": "custom_model_development"}
    existing = client.get_experiment_by_name(name)
    if existing is None:
        try:
            return client.create_experiment(name, artifact_location=artifact_root(uri), tags=tags), True
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            existing = client.get_experiment_by_name(name)
            if existing is None:
                raise
    adopted = SWEEP not in existing.tags  # a user's own experiment of that name becomes the sweep's
    if adopted:
        client.set_experiment_tag(existing.experiment_id, SWEEP, name)
    return existing.experiment_id, adopted


def _awaited_parent(client: MlflowClient, name: str, experiment_id: str) -> SweepRun | None:
    """The parent run that the creator of the experiment is about to create; None if that was too long ago."""
    age = time.time() - (client.get_experiment(experiment_id).creation_time or 0) / 1000
    left = min(PARENT_WAIT - age, PARENT_WAIT)  # the age is negative after a clock was set back
    retrying = Retrying(
        retry=retry_if_result(lambda parents: not parents),
        stop=stop_after_delay(left),
        wait=wait_fixed(0.2),
        retry_error_callback=lambda _: [],
    )
    parents = retrying(parent_runs, client, experiment_id, name)
    return SweepRun(name, experiment_id, parents[0].info.run_id) if parents else None


def _create_parent(client: MlflowClient, name: str, experiment_id: str, note: str, tags: Mapping[str, str]) -> SweepRun:
    run = client.create_run(
        experiment_id,
        run_name=name,
        tags=source_tags() | {SWEEP: name, ROLE: "sweep", NOTE: note[:TAG_LIMIT], **tags},
    )
    parents = parent_runs(client, experiment_id, name)
    if len(parents) > 1 and parents[0].info.run_id != run.info.run_id:
        client.delete_run(run.info.run_id)
    return SweepRun(name, experiment_id, parents[0].info.run_id if parents else run.info.run_id)
