"""Finished trials with plausible values, made without training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from nnexp.tracking.schema import TrialRun
from nnexp.tracking.spool import Entry, Spool
from nnexp.tracking.store import Tracking

CURVES = ("loss", "loss_median", "loss_p10", "loss_p90", "xnor_accuracy", "solved_rate")


def trial_run(
    trial: int, sweep: str = "xnor", state: str = "COMPLETE", points: int = 5, started: int = 10**12
) -> TrialRun:
    """The run of one finished trial, which lasted 5 s."""
    steps = range(points)
    return TrialRun(
        sweep=sweep,
        trial=trial,
        state=state,  # type: ignore[arg-type]
        params={"trial": str(trial), "hidden_size": "4", "learning_rate": "0.5", "init": "glorot_uniform"},
        tags={"nnexp.version": "0.1.0"},
        name=f"#{trial} h=4 lr=0.5 glorot_uniform×1",
        note="31% recovered",
        started_ms=started + trial,
        ended_ms=started + 5000 + trial,
        metrics=(*((key, step, 0.7 / (step + 1)) for key in CURVES for step in steps), ("recovery_rate", points, 0.31)),
    )


FILES: Mapping[str, Callable[[Path], None]] = {
    "best_network.json": lambda path: path.write_text('{"index": 3}\n') and None,
}


def write_entry(spool: Spool, trial: int, **more: object) -> Entry:
    """Write a trial with one small artifact to the spool."""
    return spool.write(trial_run(trial, **more), FILES)  # type: ignore[arg-type]


def runs_by_trial(tracking: Tracking, name: str) -> dict[int, list[tuple[str, str]]]:
    """For each trial of a sweep the ids and statuses of its runs, the run that counts first."""
    trials: dict[int, list[tuple[str, str]]] = {}
    for run in tracking.trial_runs(tracking.sweep(name)):
        trials.setdefault(run.trial, []).append((run.run_id, run.status))
    return trials
