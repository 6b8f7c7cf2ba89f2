"""The metrics of a trial: its curves, its final metrics and its outcome.

Axes: R networks, T recorded epochs.

Rates are shares of all R networks; a diverged one counts as a failure. Means, medians and quantiles of losses,
accuracies and distances leave out the networks that diverged, at every epoch, so that all points of a curve are of the
same networks. Undefined metrics are left out.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nnexp.network.model import Array, solving_loss
from nnexp.recovery.grades import PLATEAUS, Grades, solved
from nnexp.recovery.intervals import wilson
from nnexp.search.metrics import accuracy_name

if TYPE_CHECKING:
    from nnexp.training.result import TrainingResult

QUANTILES = {"loss_median": 0.5, "loss_p10": 0.1, "loss_p90": 0.9}


def final_metrics(result: TrainingResult, grades: Grades, train_seconds: float) -> dict[str, float]:
    """The metrics that are logged once, at the end of a trial, by the names of `nnexp.search.metrics`.

    ``mirror_rate`` is the share of the family "mirror" (without "both"). For ``epochs_to_solve_median`` unsolved
    networks count as infinite, so it is undefined when half of the networks or more are unsolved.
    """
    alive = ~result.diverged
    R = len(alive)

    def rate(holds: NDArray[np.bool_]) -> float:
        return float(np.count_nonzero(holds & alive)) / R

    metrics = {"correct_rate": rate(grades.correct), "confident_rate": rate(grades.confident)}
    if grades.contains is not None and grades.recovered is not None and grades.needed is not None:
        low, high = wilson(np.count_nonzero(grades.recovered & alive), R)
        metrics |= {
            "recovery_rate": rate(grades.recovered),
            "recovery_rate_low": float(low),
            "recovery_rate_high": float(high),
            "contains_rate": rate(grades.contains),
            "needed_rate": rate(grades.needed),
        }
    if grades.family is not None:
        metrics["mirror_rate"] = rate(grades.family == "mirror")
    if grades.plateau is not None:
        metrics["stuck_rate"] = rate(np.isin(grades.plateau, list(PLATEAUS)))
    metrics["diverged_rate"] = 1 - rate(alive)
    metrics["epochs_to_solve_median"] = _median_epochs(result.epochs_to_solve)
    for name in ("design_share", "reference_distance"):
        values = getattr(grades, name)
        if values is not None:
            metrics[f"{name}_median"] = _median_known(values[alive])
    metrics["train_seconds"] = train_seconds
    return {key: value for key, value in metrics.items() if math.isfinite(value)}


def curves(result: TrainingResult, grades: Grades | None = None) -> list[tuple[str, int, float]]:
    """The curves as (key, epoch, value), in the order of the epochs; the last point is the final value.

    Args:
        result: the training, finished or not; epochs that it has not reached are left out.
        grades: its grades if known; otherwise the last point of ``solved_rate`` is computed here.
    """
    alive = ~result.diverged
    epochs, loss, accuracy = _recorded(result)
    solved_rate = _solved_at(result, epochs, loss, accuracy).mean(axis=1)
    solved_rate[-1] = (_solved_now(result) if grades is None else grades.solved)[alive].sum() / len(alive)
    values: dict[str, Array] = {}
    if alive.any():
        values |= _spread(loss[:, alive])
        values[accuracy_name(result.settings.truth_table)] = accuracy[:, alive].mean(axis=1)
    values["solved_rate"] = solved_rate
    table = [(key, column.tolist()) for key, column in values.items()]
    return [
        (key, epoch, column[t])
        for t, epoch in enumerate(epochs.tolist())
        for key, column in table
        if math.isfinite(column[t])
    ]


def _recorded(result: TrainingResult) -> tuple[NDArray[np.int64], Array, Array]:
    """The recorded epochs reached by all networks that did not diverge (T,), and their losses and accuracies (T, R).

    If training ended between two recorded epochs, the final values are added as a last row.
    """
    history, alive = result.history, ~result.diverged
    reached = ~np.isnan(history.loss[:, alive]).any(axis=1)
    epochs, loss, accuracy = history.epochs[reached], history.loss[reached], history.accuracy[reached]
    last = int(result.epochs_trained[alive].max(initial=0))
    if not len(epochs) or last > epochs[-1]:
        epochs = np.append(epochs, last)
        loss = np.vstack([loss, result.loss])
        accuracy = np.vstack([accuracy, result.accuracy])
    return epochs, loss, accuracy


def _solved_at(result: TrainingResult, epochs: NDArray[np.int64], loss: Array, accuracy: Array) -> NDArray[np.bool_]:
    """(T, R) whether a network was solved at an epoch; with mse, where no cross-entropy is recorded, by that epoch."""
    task = result.settings.truth_table
    if result.settings.loss == "cross_entropy":
        enough = loss < solving_loss(task.n_samples)
    else:
        enough = result.epochs_to_solve <= epochs[:, None]
    holds: NDArray[np.bool_] = enough & (accuracy >= 1) & ~result.diverged
    return holds


def _solved_now(result: TrainingResult) -> NDArray[np.bool_]:
    return solved(result.network, result.settings.truth_table)


def _spread(loss: Array) -> dict[str, Array]:
    """Mean and quantiles over the networks, (T,) each; quantiles interpolate linearly between order statistics."""
    with np.errstate(over="ignore", invalid="ignore"):
        values: dict[str, Any] = {"loss": loss.mean(axis=1)}
        values |= zip(QUANTILES, np.quantile(loss, list(QUANTILES.values()), axis=1), strict=True)
    return values


def outcome(result: TrainingResult, grades: Grades) -> str:
    """The most frequent outcome of the networks; of equally frequent ones, the first in this list.

    ``recovered``; ``mirror``: contains a mirror of the design, but not the design; ``redundant``: contains the design
    but does not rely on it; ``other``: solves the task in another way (without a reference: in any way); ``stuck``:
    does not solve it; ``diverged``.
    """
    nothing = np.zeros(len(grades), dtype=bool)
    recovered = nothing if grades.recovered is None else grades.recovered
    contains = nothing if grades.contains is None else grades.contains
    mirror = nothing if grades.family is None else grades.family == "mirror"
    kinds = {
        "recovered": recovered,
        "mirror": mirror,
        "redundant": contains & ~recovered,
        "other": grades.solved & ~contains & ~mirror,
        "stuck": ~grades.solved,
    }
    counts = {name: np.count_nonzero(holds & ~result.diverged) for name, holds in kinds.items()}
    counts["diverged"] = np.count_nonzero(result.diverged)
    return max(counts, key=lambda name: counts[name])


def _median_known(values: Array) -> float:
    known = values[~np.isnan(values)]
    return float(np.median(known)) if known.size else math.nan


def _median_epochs(epochs: Array) -> float:
    """The median, where nan (never) counts as infinite."""
    return float(np.median(np.where(np.isnan(epochs), np.inf, epochs)))
