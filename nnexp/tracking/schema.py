"""The shape of a sweep in MLflow: its tags, and its runs as plain values (floor 3; imports MLflow's entities)."""

from __future__ import annotations

import getpass
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mlflow.entities import Run

from nnexp.errors import StoreError

SWEEP, TRIAL, ROLE = "nnexp.sweep", "nnexp.trial", "nnexp.role"
#: The parent's tag that names the study, so that another one of the same name does not write into its runs.
STUDY = "nnexp.study"
SWEEP_FILE = "sweep.toml"
NOTE = "mlflow.note.content"
STATUS = {"COMPLETE": "FINISHED", "PRUNED": "KILLED", "FAIL": "FAILED"}
ENDED = frozenset(STATUS.values())

PAGE = 2000
TAG_LIMIT = 8000  # a tag's length
PARAM_LIMIT = 6000


@dataclass(frozen=True)
class SweepRun:
    """Where a sweep is: its experiment and its parent run."""

    name: str
    experiment_id: str
    run_id: str


@dataclass(frozen=True)
class RunRecord:
    """One trial's run as MLflow holds it; ``metrics`` are the last values, times in milliseconds."""

    trial: int
    run_id: str
    name: str
    status: str
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    started_ms: int
    ended_ms: int | None


def pages(search: Any, *args: Any, **kwargs: Any) -> Iterator[Any]:
    """Every result of a paged search."""
    token: str | None = None
    while True:
        page = search(*args, page_token=token, **kwargs)
        yield from page
        token = page.token
        if not token:
            return


def precedence(run: Run) -> tuple[bool, int, str]:
    """Of several runs of one trial the first by this order counts, for every reader alike."""
    return run.info.status not in ENDED, run.info.start_time, run.info.run_id


def record(trial: int, run: Run) -> RunRecord:
    """The run of a trial as a plain value."""
    info, data = run.info, run.data
    times = info.start_time, info.end_time
    return RunRecord(trial, info.run_id, info.run_name, info.status, data.params, data.metrics, data.tags, *times)


def source_tags() -> dict[str, str]:
    """What the UI shows in the columns Source and User."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's uid without a name
        user = "unknown"
    return {"mlflow.user": user, "mlflow.source.name": "nnexp", "mlflow.source.type": "LOCAL"}


def quoted(value: str) -> str:
    """A value as it may stand between quotation marks in a search.

    Raises:
        StoreError: it holds one itself.
    """
    if "'" in value:
        raise StoreError(f"sweep {value!r}: MLflow cannot search for a name with a quotation mark")
    return value
