"""The best network of a sweep as an MLflow model, and the alias of the best model of all sweeps.

The registered model of a task has a version for each sweep's best network. The alias ``champion`` is at the version
whose setting was best in its re-test on fresh networks.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.entities import LoggedModel, LoggedModelOutput, LoggedModelStatus, Metric
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, Schema

from nnexp.network import tasks
from nnexp.recovery.intervals import wilson
from nnexp.tracking.failures import translated
from nnexp.tracking.load_model import NETWORK_FILE
from nnexp.tracking.runs import pages
from nnexp.tracking.schema import SWEEP, TRIAL, SweepRun
from nnexp.tracking.store import Tracking

ALIAS = "champion"
#: Tags of a version: the run and the index of its network, and the lower end of its re-test's interval.
RUN, INDEX, LOW = "nnexp.run_id", "nnexp.network", "nnexp.retest_low"

_CODE = Path(__file__).with_name("pyfunc_model.py")


@dataclass(frozen=True)
class Candidate:
    """A sweep's best network, and the result of its setting on fresh networks (the re-test).

    Attributes:
        task: the task's spec.
        trial: the number of the trial with the best setting.
        run_id: its run.
        network: the content of its ``best_network.json``.
        successes: how many fresh networks recovered the reference (or solved the task, if it has no reference).
        networks: how many fresh networks were trained.
    """

    task: str
    trial: int
    run_id: str
    network: Mapping[str, Any]
    successes: int
    networks: int

    @property
    def metrics(self) -> dict[str, float]:
        """The re-test's rate with its Wilson interval, by metric name."""
        low, high = wilson(self.successes, self.networks)
        rate = self.successes / self.networks
        return {"retest_rate": rate, "retest_low": float(low), "retest_high": float(high)}


@dataclass(frozen=True)
class Registration:
    """The result of registering a candidate.

    Attributes:
        model: the registered model's name.
        version: the candidate's version.
        champion: the version that has the alias now.
        moved: whether the alias was moved to the candidate.
    """

    model: str
    version: str
    champion: str
    moved: bool

    @property
    def line(self) -> str:
        """The result in words."""
        if self.moved:
            return f"models:/{self.model}@{ALIAS} is version {self.version}, this sweep's best network"
        if self.version == self.champion:
            return f"models:/{self.model}@{ALIAS} is still version {self.version}, this sweep's best network"
        return (
            f"registered as {self.model} version {self.version}; {ALIAS} stays at version {self.champion}, "
            "whose re-test interval has a lower end that is at least as high"
        )


def register(tracking: Tracking, sweep: SweepRun, candidate: Candidate) -> Registration:
    """Log the network as the sweep's model, register it, and move the alias if its interval's lower end is higher.

    Calling it again with the same candidate creates nothing, and completes what an interrupted call left.

    Raises:
        StoreError: the store cannot be written.
    """
    name = model_name(candidate.task)
    with translated(tracking.uri):
        version = _find(tracking, name, candidate)
        model = _only_model(tracking, sweep, candidate, None if version is None else version.source)
        if version is None:
            model = model or _log_model(tracking, sweep, name, candidate)
            version = _create_version(tracking, sweep, name, candidate, model)
        if model is not None:
            _link(tracking, sweep, candidate, model)
        present = champion(tracking, name)
        held = float(present.tags.get(LOW, -1)) if present is not None else -1.0
        moved = candidate.metrics["retest_low"] > held
        if moved:
            tracking.client.set_registered_model_alias(name, ALIAS, version.version)
    best = version if moved or present is None else present
    return Registration(name, str(version.version), str(best.version), moved)


def model_name(task: str) -> str:
    """The registered model's name: the task's, without characters that the registry refuses."""
    if tasks.get(task).is_custom:
        return f"task-{hashlib.sha256(task.encode()).hexdigest()[:8]}"
    return task.replace(":", "-")


def champion(tracking: Tracking, name: str) -> ModelVersion | None:
    """The version that has the alias, or None."""
    try:
        found: ModelVersion = tracking.client.get_model_version_by_alias(name, ALIAS)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise
    return found


def _find(tracking: Tracking, name: str, candidate: Candidate) -> ModelVersion | None:
    """The candidate's version, if it is registered already."""
    version: ModelVersion
    for version in pages(tracking.client.search_model_versions, f"name = '{name}'"):
        same = version.tags.get(RUN) == candidate.run_id
        if same and version.tags.get(INDEX) == str(candidate.network["index"]):
            return version
    return None


def _only_model(
    tracking: Tracking, sweep: SweepRun, candidate: Candidate, registered: str | None
) -> LoggedModel | None:
    """The candidate's logged model, if it has one whose files are complete; its others are deleted.

    Interrupted calls leave models that are PENDING, and a request that was repeated after its answer was lost leaves a
    second one.

    Args:
        tracking: the store.
        sweep: whose parent run is the model's source.
        candidate: the network.
        registered: the location of the model whose files the version refers to; this one is kept.
    """
    found = pages(
        tracking.client.search_logged_models,
        [sweep.experiment_id],
        filter_string=f"source_run_id = '{sweep.run_id}' AND tags.`{TRIAL}` = '{candidate.trial}'",
    )
    own = {RUN: candidate.run_id, INDEX: str(candidate.network["index"])}
    # Models of 0.1.0 lack the tags of `own`: their trial identifies them.
    models = [model for model in found if all(model.tags.get(key, value) == value for key, value in own.items())]
    ready = [model for model in models if model.status == LoggedModelStatus.READY]
    kept = next((model for model in ready if model.artifact_location == registered), ready[0] if ready else None)
    for model in models:
        if model is not kept and model.artifact_location != registered:
            tracking.client.delete_logged_model(model.model_id)
    return kept


def _create_version(
    tracking: Tracking, sweep: SweepRun, name: str, candidate: Candidate, model: LoggedModel
) -> ModelVersion:
    try:
        tracking.client.create_registered_model(
            name,
            description=f"A network that solves {name}, from the setting with the best re-test of all sweeps.",
        )
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    tags = {
        SWEEP: sweep.name,
        TRIAL: str(candidate.trial),
        RUN: candidate.run_id,
        INDEX: str(candidate.network["index"]),
        **{f"nnexp.{key}": repr(value) for key, value in candidate.metrics.items()},
        "nnexp.retest_networks": str(candidate.networks),
    }
    return tracking.client.create_model_version(
        name,
        source=model.artifact_location,  # MLflow would look up "models:/ID" in its global store, which may be another
        run_id=sweep.run_id,
        model_id=model.model_id,
        tags=tags,
        description=_description(sweep, candidate),
    )


def _description(sweep: SweepRun, candidate: Candidate) -> str:
    metrics = candidate.metrics
    return (
        f"Network {candidate.network['index']} of trial {candidate.trial} of sweep {sweep.name}. "
        f"On {candidate.networks:,} fresh networks its setting reached {metrics['retest_rate']:.1%} "
        f"(95% interval {metrics['retest_low']:.1%} to {metrics['retest_high']:.1%})."
    )


def _log_model(tracking: Tracking, sweep: SweepRun, name: str, candidate: Candidate) -> LoggedModel:
    """Log the model with its files; it is READY when they are complete."""
    settings = {key: str(value)[:500] for key, value in candidate.network["settings"].items()}
    model = tracking.client.create_logged_model(
        sweep.experiment_id,
        name=name,
        source_run_id=sweep.run_id,
        tags={
            SWEEP: sweep.name,
            TRIAL: str(candidate.trial),
            RUN: candidate.run_id,
            INDEX: str(candidate.network["index"]),
        },
        params=settings,
        model_type="two-layer network",
    )
    with tempfile.TemporaryDirectory(prefix="nnexp-") as directory:
        save_model(Path(directory) / "model", candidate.network, candidate.task)
        tracking.client.log_model_artifacts(model.model_id, str(Path(directory) / "model"))
    return tracking.client.finalize_logged_model(model.model_id, "READY")


def _link(tracking: Tracking, sweep: SweepRun, candidate: Candidate, model: LoggedModel) -> None:
    """Make the model an output of the parent run, with the metrics of its re-test, unless it is one already."""
    outputs = tracking.client.get_run(sweep.run_id).outputs
    if outputs is None or model.model_id not in {output.model_id for output in outputs.model_outputs}:
        tracking.client.log_outputs(sweep.run_id, [LoggedModelOutput(model.model_id, 0)])
    logged = {metric.key for metric in tracking.client.get_logged_model(model.model_id).metrics or ()}
    now = int(time.time() * 1000)
    metrics = [
        Metric(key, value, now, 0, model_id=model.model_id, run_id=sweep.run_id)
        for key, value in candidate.metrics.items()
        if key not in logged
    ]
    if metrics:
        tracking.client.log_batch(sweep.run_id, metrics=metrics)


def save_model(path: Path, network: Mapping[str, Any], task: str) -> None:
    """Save a network as an MLflow model of code and JSON, without a pickle, with signature and input example.

    Args:
        path: a directory that does not exist.
        network: the content of a ``best_network.json``.
        task: its task's spec.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the import warns about type hints of MLflow's own
        import mlflow.pyfunc

    settings = network["settings"]
    content = {key: settings[key] for key in ("activation", "encoding")} | {"task": task, "weights": network["weights"]}
    rows = tasks.get(task).inputs
    example = pd.DataFrame(rows[:8], columns=[f"x{i + 1}" for i in range(len(rows[0]))], dtype="float64")
    # Without names of columns it accepts rows, arrays, tables and CSV, by position.
    signature = ModelSignature(
        inputs=Schema([ColSpec("double") for _ in rows[0]]), outputs=Schema([ColSpec("double", "probability")])
    )
    with tempfile.TemporaryDirectory(prefix="nnexp-") as directory:
        file = Path(directory) / NETWORK_FILE
        file.write_text(json.dumps(content, indent=2), encoding="utf-8")
        mlflow.pyfunc.save_model(
            path,
            python_model=str(_CODE),
            artifacts={"network": str(file)},
            signature=signature,
            input_example=example,
            pip_requirements=[f"{name}=={installed(name)}" for name in ("mlflow", "numpy", "pandas")],
        )
