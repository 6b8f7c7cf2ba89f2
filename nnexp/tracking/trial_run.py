"""The run of one trial: its params, tags, metrics and artifacts, written to the spool."""

from __future__ import annotations

import time
from functools import partial

from nnexp.network.settings import Settings
from nnexp.recovery import networks_table, trial_metrics
from nnexp.recovery.grades import GradedNetworks
from nnexp.recovery.shortfall import shortfall
from nnexp.search.sweep_file import Sweep
from nnexp.tracking import provenance
from nnexp.tracking.schema import DROPPED, EPOCHS, OUTCOME, RACE, State, TrialRun
from nnexp.tracking.spool import Entry, Spool


def write_trained(
    spool: Spool,
    sweep: Sweep,
    trial: int,
    settings: Settings,
    trained: GradedNetworks,
    state: State,
    *,
    epochs: int,
    began: float,
    dropped: bool = False,
) -> tuple[Entry, dict[str, float]]:
    """Write a trained trial: params, curves, final metrics, ``networks.parquet`` and ``best_network.json``.

    Args:
        spool: the spool.
        sweep: the sweep.
        trial: the trial's number.
        settings: its settings; ``seeds`` is the number of networks after all rounds of adaptive seeds or of a race.
        trained: its networks.
        state: COMPLETE or PRUNED.
        epochs: the epoch to which it was trained: fewer than the sweep's if it was pruned.
        began: when its training began, in seconds since 1970.
        dropped: whether the race dropped it.

    Returns:
        The entry, and the run's metrics: the last value of each curve, and the final ones.

    Raises:
        StoreError: the spool cannot be written.
    """
    result, grades, seconds = trained
    finals = trial_metrics.final_metrics(result, grades, seconds)
    curves = trial_metrics.curves(result, grades)
    metrics = {**{key: value for key, _, value in curves}, **finals}
    run = TrialRun(
        sweep=sweep.name,
        trial=trial,
        state=state,
        params=_params(trial, settings),
        tags={
            **provenance.tags(),
            "nnexp.objective": ", ".join(sweep.objective),
            **_objective(sweep, metrics),
            EPOCHS: str(epochs),
            **({RACE: DROPPED} if dropped else {}),
            OUTCOME: "pruned" if state == "PRUNED" else trial_metrics.outcome(result, grades),
        },
        name=run_name(trial, settings),
        note=_note(settings, metrics, len(result.index), epochs, shortfall(result, grades, epochs)),
        started_ms=int(began * 1000),
        ended_ms=_ended_ms(began),
        metrics=(*curves, *((key, epochs, value) for key, value in finals.items())),
    )
    files = {
        networks_table.NETWORKS: partial(networks_table.write_networks, result=result, grades=grades),
        networks_table.BEST_NETWORK: partial(networks_table.write_best_network, result=result, grades=grades),
    }
    return spool.write(run, files), metrics


def write_failed(spool: Spool, sweep: Sweep, trial: int, settings: Settings, reason: str, began: float) -> Entry:
    """Write a trial that was set aside: its params and the reason, without networks."""
    run = TrialRun(
        sweep=sweep.name,
        trial=trial,
        state="FAIL",
        params=_params(trial, settings),
        tags={**provenance.tags(), "nnexp.failure": reason, OUTCOME: "failed"},
        name=run_name(trial, settings),
        note=f"Set aside: {reason}",
        started_ms=int(began * 1000),
        ended_ms=_ended_ms(began),
        metrics=(),
    )
    return spool.write(run, {})


def _params(trial: int, settings: Settings) -> dict[str, str]:
    return {"trial": str(trial), **{key: str(value) for key, value in settings.model_dump().items()}}


def _ended_ms(began: float) -> int:
    """The present time; a run does not end before it began, even if the clock was set back meanwhile."""
    return int(max(time.time(), began) * 1000)


def _objective(sweep: Sweep, metrics: dict[str, float]) -> dict[str, str]:
    """The tag with the values of the objectives, as the sampler received them: ``recovery_rate = 0.31``."""
    values = [f"{name} = {metrics[name]:.4g}" for name in sweep.objective if name in metrics]
    return {"objective": ", ".join(values)} if values else {}


def run_name(trial: int, settings: Settings) -> str:
    """A run's name: ``#12 h=4 lr=0.5 glorot_uniform×1``."""
    s = settings
    return f"#{trial} h={s.hidden_size} lr={s.learning_rate:.3g} {s.init}×{s.init_scale:.3g}"


def _note(settings: Settings, metrics: dict[str, float], networks: int, epochs: int, reason: str) -> str:
    """A run's description: its rates in words, then the most frequent reason why networks do not recover.

    Args:
        settings: the settings of the trial.
        metrics: the metrics of the run.
        networks: the number of networks.
        epochs: the epoch to which they were trained; fewer than the setting's if the trial was pruned.
        reason: the reason from `shortfall`; empty if there is none.
    """
    pruned = epochs < settings.epochs
    when = "by then" if pruned else f"within {epochs:,} epochs"
    solved = metrics["solved_rate"]
    rates = [f"**{solved:.1%}** of {networks:,} networks solve {settings.task[:40]} {when}"]
    if "recovery_rate" in metrics:
        low, high = metrics["recovery_rate_low"], metrics["recovery_rate_high"]
        rates.append(
            f"**{metrics['recovery_rate']:.1%}** recover the hand-designed logic (95% interval {low:.1%} to {high:.1%})"
        )
        rates.append(f"{metrics['contains_rate']:.1%} contain it, {metrics.get('mirror_rate', 0.0):.1%} its mirror")
    if metrics.get("diverged_rate", 0.0) > 0:
        rates.append(f"{metrics['diverged_rate']:.1%} diverged")
    parts = [f"Pruned after {epochs:,} of {settings.epochs:,} epochs."] if pruned else []
    parts.append("; ".join(rates) + ".")
    if reason:
        parts.append(f"{reason}.")
    return " ".join(parts)
