"""The names of a trial's final metrics, each with its better direction; a sweep's objective is one of them.

Their formulas are in `nnexp.recovery.trial_metrics`. A test checks that both have the same names.
"""

from __future__ import annotations

from typing import Literal

from nnexp.network import tasks
from nnexp.network.reference import has_reference, mirrors

Direction = Literal["maximize", "minimize"]

#: The metrics of a task that has a hand-designed reference.
REFERENCE_METRICS: dict[str, Direction] = {
    "recovery_rate": "maximize",
    "recovery_rate_low": "maximize",
    "recovery_rate_high": "maximize",
    "contains_rate": "maximize",
    "mirror_rate": "maximize",  # only if the reference has a mirror
    "needed_rate": "maximize",
    "stuck_rate": "minimize",  # only for truth tables of two inputs
    "design_share_median": "maximize",
    "reference_distance_median": "minimize",
}
#: The metrics of every task.
COMMON_METRICS: dict[str, Direction] = {
    "solved_rate": "maximize",
    "correct_rate": "maximize",
    "confident_rate": "maximize",
    "diverged_rate": "minimize",
    "accuracy": "maximize",  # logged as `accuracy_name(task)`
    "loss": "minimize",
    "loss_median": "minimize",
    "loss_p10": "minimize",
    "loss_p90": "minimize",
    "epochs_to_solve_median": "minimize",
    "train_seconds": "minimize",
}


def accuracy_name(task: tasks.Task) -> str:
    """The name under which the mean accuracy on ``task`` is logged."""
    return "xnor_accuracy" if task.spec == "xnor" else "accuracy"


def metric_directions(task: tasks.Task) -> dict[str, Direction]:
    """The final metrics that a sweep of ``task`` logs, each with its better direction; the default objective is first.

    Raises:
        UsageError: the task's own reference does not solve it.
    """
    known = {**REFERENCE_METRICS, **COMMON_METRICS} if has_reference(task) else dict(COMMON_METRICS)
    if mirrors(task) is None:
        known.pop("mirror_rate", None)
    if task.n_inputs != 2 or task.n_samples != 4:
        known.pop("stuck_rate", None)
    return {accuracy_name(task) if name == "accuracy" else name: direction for name, direction in known.items()}
