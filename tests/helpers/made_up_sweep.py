"""Runs as a tracking store would give them back, made up from a rule for each setting's rates."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from nnexp.analysis.significance import Outcomes


@dataclass(frozen=True)
class Run:
    """What `trials_frame` needs of a run."""

    trial: int
    run_id: str
    status: str = "FINISHED"
    params: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)


def run(trial: int, *, networks: int = 256, status: str = "FINISHED", **given: object) -> Run:
    """One run; names that are settings become params, the others metrics."""
    from nnexp.network.settings import Settings

    params = {"seeds": str(networks), "trial": str(trial)}
    params |= {name: str(value) for name, value in given.items() if name in Settings.model_fields and name != "loss"}
    metrics = {name: float(value) for name, value in given.items() if name not in params}  # type: ignore[arg-type]
    return Run(trial, f"run{trial}", status, params, metrics)


def sweep(
    settings: int, recovery: Callable[[dict[str, object]], float], *, networks: int = 256, seed: int = 0
) -> tuple[list[Run], dict[int, Outcomes]]:
    """A random sweep whose settings recover at the rate that ``recovery`` gives for each."""
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
