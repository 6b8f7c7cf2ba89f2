"""A sweep's experiment and parent run: workers that start together create one of each (floor 3; imports MLflow)."""

from __future__ import annotations

import time
from collections.abc import Mapping

from nnexp.tracking.client import artifact_root  # first: it settles MLflow's environment

# isort: split
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from nnexp.tracking.schema import NOTE, ROLE, SWEEP, TAG_LIMIT, SweepRun, pages, quoted, source_tags


def parent_runs(client: MlflowClient, experiment_id: str, name: str) -> list[Run]:
    """The sweep's parent runs, the one that counts first."""
    filter_string = f"tags.`{ROLE}` = 'sweep' and tags.`{SWEEP}` = '{quoted(name)}'"
    runs: list[Run] = list(pages(client.search_runs, [experiment_id], filter_string=filter_string))
    return sorted(runs, key=lambda run: (run.info.start_time, run.info.run_id))


def create_sweep(client: MlflowClient, uri: str, name: str, note: str, tags: Mapping[str, str]) -> SweepRun:
    """Create the sweep's experiment and parent run, or find those that another worker creates at this moment.

    Args:
        client: MLflow's.
        uri: the store's address, which says where artifacts go.
        name: the sweep's name, which is the experiment's.
        note: the description of both, Markdown.
        tags: the parent's further tags.
    """
    experiment_id, mine = _ensure_experiment(client, uri, name, note)
    found = None if mine else _await_parent(client, name, experiment_id)
    return found or _create_parent(client, name, experiment_id, note, tags)


def _ensure_experiment(client: MlflowClient, uri: str, name: str, note: str) -> tuple[str, bool]:
    """The experiment's id, and whether this call made it the sweep's, so that nobody else creates the parent."""
    # The kind makes the UI open on the table of runs; it asks each visitor for it otherwise.
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
    mine = SWEEP not in existing.tags  # a user's own experiment of that name is taken in
    if mine:
        client.set_experiment_tag(existing.experiment_id, SWEEP, name)
    return existing.experiment_id, mine


def _await_parent(client: MlflowClient, name: str, experiment_id: str) -> SweepRun | None:
    """The parent run that whoever created the experiment is about to create; None when that was long ago."""
    created = client.get_experiment(experiment_id).creation_time or 0
    patience = time.monotonic() + 15  # whatever the wall clock does meanwhile
    while True:
        if parents := parent_runs(client, experiment_id, name):
            return SweepRun(name, experiment_id, parents[0].info.run_id)
        if time.time() * 1000 - created > 15_000 or time.monotonic() > patience:
            return None
        time.sleep(0.2)


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
