"""The sweeps of a study store, how far they are, and who works on them (floor 4)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nnexp.study import SweepStudy, open_storage

if TYPE_CHECKING:
    from nnexp.stores import Stores


@dataclass(frozen=True)
class SweepState:
    """One sweep.

    Attributes:
        state: "done", "stopped", "working" (somebody is on it) or "open".
        finished, failed, running: trials. budget: trials wanted. best: of the first objective, None before the first.
        workers: those alive, each with the number of trials it finished and how many that is a minute.
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


@dataclass(frozen=True)
class Status:
    """All sweeps, or the one asked for."""

    sweeps: list[SweepState]

    def plain(self) -> list[dict[str, Any]]:
        """As JSON."""
        return [vars(sweep) for sweep in self.sweeps]

    def tables(self) -> list[tuple[str, list[dict[str, Any]]]]:
        """Titles and tables, one dictionary per row."""
        rows = [
            {
                "sweep": s.name,
                "state": s.state,
                "trials": f"{s.finished}/{s.budget}",
                "failed": s.failed,
                "running": s.running,
                "workers": len(s.workers),
                "best": "–" if s.best is None else f"{s.objective} {s.best:.4g}",
            }
            for s in self.sweeps
        ]
        found = [("Sweeps" if rows else "No sweeps in this store", rows)]
        workers = [{"sweep": s.name, **worker} for s in self.sweeps for worker in s.workers]
        return [*found, ("Workers", workers)] if workers else found


def status(stores: Stores, name: str | None = None) -> Status:
    """The state of every sweep, or of one.

    Raises:
        NotFoundError: no such sweep. StoreError: the study store cannot be opened.
    """
    with open_storage(stores.storage, create=False) as storage:
        names = [name] if name is not None else [stored.name for stored in SweepStudy.list_all(storage)]
        return Status([_state(SweepStudy.open(storage, each)) for each in names])


def _state(study: SweepStudy) -> SweepState:
    counts, best, alive = study.counts(), study.best(), study.current_workers()
    state = "done" if counts.left <= 0 else "stopped" if study.stop_requested() else "working" if alive else "open"
    values = None if best is None else best.values
    workers = []
    for worker in alive:
        own = [trial for trial in study.trials() if trial.owner == worker.id and trial.is_finished]
        times = sorted(trial.finished.timestamp() for trial in own if trial.finished)
        minutes = (times[-1] - times[0]) / 60 if len(times) > 1 else 0.0
        rate = round((len(times) - 1) / minutes, 1) if minutes > 0 else None
        workers.append({"worker": worker.id, "finished": len(own), "trials_per_minute": rate})
    return SweepState(
        name=study.name,
        state=state,
        finished=counts.finished,
        failed=counts.failed,
        running=counts.running,
        budget=counts.budget,
        objective=study.sweep.objective[0],
        best=None if values is None or not math.isfinite(values[0]) else values[0],
        workers=workers,
    )
