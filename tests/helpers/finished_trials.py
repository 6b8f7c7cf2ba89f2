"""Plausible finished trials, without training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from nnexp.tracking.outbox import Entry, Evidence, Spool

CURVES = ("loss", "loss_median", "loss_p10", "loss_p90", "xnor_accuracy", "solved_rate")


def evidence(
    trial: int, sweep: str = "xnor", state: str = "COMPLETE", points: int = 5, started: int = 10**12
) -> Evidence:
    """One trial's."""
    steps = range(points)
    return Evidence(
        sweep=sweep,
        trial=trial,
        state=state,  # type: ignore[arg-type]
        params={"trial": str(trial), "hidden_size": "4", "learning_rate": "0.5", "init": "glorot_uniform"},
        tags={"nnexp.version": "0.1.0"},
        name=f"h=4 lr=0.5 glorot_uniform×1 · #{trial}",
        note="31% recovered",
        started_ms=started + trial,
        ended_ms=started + 5000 + trial,
        metrics=(*((key, step, 0.7 / (step + 1)) for key in CURVES for step in steps), ("recovery_rate", points, 0.31)),
    )


FILES: Mapping[str, Callable[[Path], None]] = {
    "best_network.json": lambda path: path.write_text('{"index": 3}\n') and None,
}


def spooled(spool: Spool, trial: int, **more: object) -> Entry:
    """An entry with one small artifact."""
    return spool.write(evidence(trial, **more), FILES)  # type: ignore[arg-type]
