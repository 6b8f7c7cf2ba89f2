"""What MLflow is to hold of a trained trial, written to the spool (floor 3)."""

from __future__ import annotations

import time
from functools import partial

from nnexp.network.settings import Settings
from nnexp.recovery import networks_table, trial_metrics
from nnexp.recovery.grades import GradedNetworks
from nnexp.search.sweep_file import Sweep
from nnexp.tracking import provenance
from nnexp.tracking.outbox import Entry, Evidence, Spool, State

#: The tag that says to which epoch the networks were trained: fewer than ``epochs`` where the trial was pruned.
EPOCHS = "nnexp.epochs_trained"


def spool_evidence(
    spool: Spool,
    sweep: Sweep,
    trial: int,
    settings: Settings,
    trained: GradedNetworks,
    state: State,
    *,
    epochs: int,
    began: float,
) -> tuple[Entry, dict[str, float]]:
    """Writes a trial's evidence: params, curves, final metrics, ``networks.parquet`` and ``best_network.json``.

    Args:
        spool: where to.
        sweep: the sweep.
        trial: its number.
        settings: as trained; adaptive rounds have raised ``seeds``.
        trained: its networks.
        state: COMPLETE or PRUNED.
        epochs: to which it was trained: fewer than the sweep's where it was pruned.
        began: when its training began, in seconds since 1970.

    Returns:
        The entry, and its metrics: the last of each curve and the final ones.

    Raises:
        StoreError: the spool cannot be written.
    """
    result, grades, seconds = trained
    finals = trial_metrics.final_metrics(result, grades, seconds)
    curves = trial_metrics.curves(result, grades)
    last = {**{key: value for key, _, value in curves}, **finals}
    ended = max(time.time(), began)  # a clock that jumped back must not end a run before it began
    evidence = Evidence(
        sweep=sweep.name,
        trial=trial,
        state=state,
        params={"trial": str(trial), **{key: str(value) for key, value in settings.model_dump().items()}},
        tags={
            **provenance.tags(),
            "nnexp.objective": ", ".join(sweep.objective),
            **objective(sweep, last),
            EPOCHS: str(epochs),
        },
        name=run_name(trial, settings),
        note=note(settings, last, len(result.index)),
        started_ms=int(began * 1000),
        ended_ms=int(ended * 1000),
        metrics=(*curves, *((key, epochs, value) for key, value in finals.items())),
    )
    files = {
        networks_table.NETWORKS: partial(networks_table.write_networks, result=result, grades=grades),
        networks_table.BEST_NETWORK: partial(networks_table.write_best_network, result=result, grades=grades),
    }
    return spool.write(evidence, files), last


def failure_evidence(spool: Spool, sweep: Sweep, trial: int, settings: Settings, reason: str, began: float) -> Entry:
    """Writes the evidence of a trial that was set aside: its params and why, without networks."""
    ended = max(time.time(), began)
    evidence = Evidence(
        sweep=sweep.name,
        trial=trial,
        state="FAIL",
        params={"trial": str(trial), **{key: str(value) for key, value in settings.model_dump().items()}},
        tags={**provenance.tags(), "nnexp.failure": reason},
        name=run_name(trial, settings),
        note=f"Set aside: {reason}",
        started_ms=int(began * 1000),
        ended_ms=int(ended * 1000),
        metrics=(),
    )
    return spool.write(evidence, {})


def objective(sweep: Sweep, last: dict[str, float]) -> dict[str, str]:
    """The tag that says what the sampler was told: ``recovery_rate = 0.31``."""
    values = [f"{name} = {last[name]:.4g}" for name in sweep.objective if name in last]
    return {"objective": ", ".join(values)} if values else {}


def run_name(trial: int, settings: Settings) -> str:
    """A run's name, which sorts and reads: ``h=4 lr=0.5 glorot_uniform×1 · #12``."""
    s = settings
    return f"h={s.hidden_size} lr={s.learning_rate:.3g} {s.init}×{s.init_scale:.3g} · #{trial}"


def note(settings: Settings, finals: dict[str, float], networks: int) -> str:
    """A run's description: its grades in words, from its last metrics."""
    solved = finals["solved_rate"]
    lines = [f"**{solved:.1%}** of {networks:,} networks solve {settings.task[:40]} within {settings.epochs:,} epochs"]
    if "recovery_rate" in finals:
        low, high = finals["recovery_rate_low"], finals["recovery_rate_high"]
        lines.append(
            f"**{finals['recovery_rate']:.1%}** recover the hand-designed logic (95% interval {low:.1%} to {high:.1%})"
        )
        lines.append(f"{finals['contains_rate']:.1%} contain it, {finals.get('mirror_rate', 0.0):.1%} its mirror")
    if finals.get("diverged_rate", 0.0) > 0:
        lines.append(f"{finals['diverged_rate']:.1%} diverged")
    return "; ".join(lines) + "."
