"""The form of a sweep in MLflow: the names of its tags, and its runs as plain values."""

from __future__ import annotations

import getpass
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from nnexp.errors import UsageError
from nnexp.network.settings import Settings

State = Literal["COMPLETE", "PRUNED", "FAIL"]

SWEEP, TRIAL, ROLE = "nnexp.sweep", "nnexp.trial", "nnexp.role"
#: The parent's tag with the identity of the study, so that another study of the same name does not write to its runs.
STUDY = "nnexp.study"
#: The tag with the epoch to which the networks were trained: fewer than ``epochs`` if the trial was pruned.
EPOCHS = "nnexp.epochs_trained"
#: The tag with the most frequent outcome of the networks (`trial_metrics.outcome`), or ``pruned``, ``failed``.
OUTCOME = "outcome"
#: The tag of a trial that the race dropped, and its value.
RACE, DROPPED = "nnexp.race", "dropped"
PARENT = "mlflow.parentRunId"
NOTE = "mlflow.note.content"
#: Artifacts of the parent run.
SWEEP_FILE = "sweep.toml"
REPORT = "report.html"
#: Optuna's state of a finished trial -> MLflow's status of its run.
STATUS = {"COMPLETE": "FINISHED", "PRUNED": "KILLED", "FAIL": "FAILED"}
ENDED = frozenset(STATUS.values())

#: The most characters of the value of a tag and of a param.
TAG_LIMIT = 8000
PARAM_LIMIT = 6000


@dataclass(frozen=True)
class TrialRun:
    """The run of a finished trial, as it will be logged to MLflow.

    Attributes:
        metrics: (key, step, value).
        note: the run's description, Markdown.
    """

    sweep: str
    trial: int
    state: State
    params: Mapping[str, str]
    tags: Mapping[str, str]
    name: str
    note: str
    started_ms: int
    ended_ms: int
    metrics: tuple[tuple[str, int, float], ...]


@dataclass(frozen=True)
class SweepRun:
    """A sweep in MLflow: its experiment and its parent run."""

    name: str
    experiment_id: str
    run_id: str


@dataclass(frozen=True)
class RunRecord:
    """A trial's run as stored in MLflow; ``metrics`` are the last values, times are in milliseconds since 1970."""

    trial: int
    run_id: str
    name: str
    status: str
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    started_ms: int
    ended_ms: int | None

    @property
    def settings(self) -> Settings:
        """The settings that were trained; a field that an older version did not have has its default.

        Raises:
            UsageError: the params are not those of `Settings`.
        """
        fields = Settings.model_fields
        try:
            return Settings(
                **{key: type(fields[key].default)(value) for key, value in self.params.items() if key in fields}
            )
        except ValueError as error:  # text where a number is expected
            raise UsageError(f"run {self.run_id}: its params are not a setting ({error})") from None


def source_tags() -> dict[str, str]:
    """The tags that MLflow's UI shows in the columns Source and User."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # in a container the user id may have no name
        user = "unknown"
    return {"mlflow.user": user, "mlflow.source.name": "nnexp", "mlflow.source.type": "LOCAL"}
