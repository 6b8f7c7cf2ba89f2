"""Runs as the tracking store returns them, made up from a rule for the rates of each setting."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from nnexp.analysis.significance import Outcomes
from nnexp.network.settings import Settings
from nnexp.tracking.schema import RunRecord


def record(trial: int, params: Mapping[str, str], metrics: Mapping[str, float], status: str = "FINISHED") -> RunRecord:
    """One run as the tracking store returns it."""
    return RunRecord(trial, f"run{trial}", f"#{trial}", status, params, metrics, tags={}, started_ms=0, ended_ms=1)


def run(trial: int, *, networks: int = 256, status: str = "FINISHED", **given: object) -> RunRecord:
    """One run; names that are settings become params, the others metrics."""
    params = {"seeds": str(networks), "trial": str(trial)}
    params |= {name: str(value) for name, value in given.items() if name in Settings.model_fields and name != "loss"}
    metrics = {name: float(value) for name, value in given.items() if name not in params}  # type: ignore[arg-type]
    return record(trial, params, metrics, status)


def sweep(
    settings: int, recovery: Callable[[dict[str, object]], float], *, networks: int = 256, seed: int = 0
) -> tuple[list[RunRecord], dict[int, Outcomes]]:
    """A random sweep whose settings recover at the rate that ``recovery`` returns for each."""
    rng = np.random.default_rng(seed)
    runs, outcomes = [], {}
    for trial in range(settings):
        setting = {
            "hidden_size": int(rng.integers(2, 9)),
            "learning_rate": float(10 ** rng.uniform(-3, 1)),
            "init": str(rng.choice(["glorot_uniform", "he_normal", "orthogonal"])),
            "init_scale": float(10 ** rng.uniform(-2, 0.7)),
        }
        recovered = rng.random(networks) < recovery(setting)
        outcomes[trial] = Outcomes(np.arange(networks), recovered)
        rate = float(recovered.mean())
        metrics = {
            "recovery_rate": rate,
            "contains_rate": rate,
            "solved_rate": min(1.0, 2 * rate),
            "mirror_rate": rate / 2,
        }
        runs.append(run(trial, networks=networks, **setting, **metrics, diverged_rate=0.0))
    return runs, outcomes
