"""The sweeps of a study store, their progress and their workers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from nnexp.stores import Stores
from nnexp.study import SweepStudy, WorkerProcess, open_storage


@dataclass(frozen=True)
class SweepState:
    """One sweep.

    Attributes:
        state: "done", "stopped", "working" (it has a worker) or "open".
        finished, failed, running: numbers of trials. budget: the sweep's number of trials.
        best: the best value of the first objective; None before the first trial is finished.
        workers: of each current worker its name, the trials that it finished, and trials per minute (None for fewer
            than 2).
    """

    name: str
    state: str
    finished: int
    failed: int
    running: int
    budget: int
    objective: str
    best: float | None
    workers: list[dict[str, Any]]


def status(stores: Stores, name: str | None = None) -> list[SweepState]:
    """The state of every sweep, or of one.

    Raises:
        NotFoundError: no such sweep. StoreError: the study store cannot be opened.
    """
    with open_storage(stores.storage, create=False) as storage:
        names = [name] if name is not None else [stored.name for stored in SweepStudy.list_all(storage)]
        return [_sweep(SweepStudy.open(storage, each)) for each in names]


def _sweep(study: SweepStudy) -> SweepState:
    counts, best, workers = study.counts(), study.best(), study.current_workers()
    state = "done" if counts.left <= 0 else "stopped" if study.stop_requested() else "working" if workers else "open"
    value = best.values[0] if best is not None and best.values else None
    return SweepState(
        name=study.name,
        state=state,
        finished=counts.finished,
        failed=counts.failed,
        running=counts.running,
        budget=counts.budget,
        objective=study.sweep.objective[0],
        best=value if value is not None and math.isfinite(value) else None,
        workers=[_worker(study, each) for each in workers],
    )


def _worker(study: SweepStudy, worker: WorkerProcess) -> dict[str, Any]:
    own = [trial for trial in study.trials() if trial.owner == worker.id and trial.is_finished]
    times = sorted(trial.finished.timestamp() for trial in own if trial.finished)
    minutes = (times[-1] - times[0]) / 60 if len(times) > 1 else 0.0
    rate = round((len(times) - 1) / minutes, 1) if minutes > 0 else None
    return {"worker": worker.id, "finished": len(own), "trials_per_minute": rate}
