"""Saved views of a sweep's table of runs, which MLflow's UI offers under "Views".

The UI stores a view in a tag of the experiment: JSON with a name, times, and a state, which is JSON text itself. A
version of the UI that does not know the tag ignores it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

PREFIX = "mlflow.sharedViewState."
RANKING = "nnexp-ranking"

# Few enough to be visible beside the params without scrolling. The UI truncates headings after about twelve letters, so
# of names with a common beginning, such as recovery_rate and recovery_rate_low, only one is shown.
_METRICS = ("recovery_rate", "solved_rate", "mirror_rate")
_METRICS_WITHOUT_REFERENCE = ("solved_rate", "confident_rate", "epochs_to_solve_median")


def ranking(searched: Sequence[str], objective: str, *, ascending: bool, has_reference: bool, now_ms: int) -> str:
    """The value of the tag ``PREFIX + RANKING``: the settings as one table, sorted by the objective, the best first.

    Args:
        searched: the keys of the search space that vary.
        objective: the metric to sort by.
        ascending: whether lower values are better.
        has_reference: whether the task has a hand-designed network.
        now_ms: the view's time, in milliseconds since 1970.
    """
    others = _METRICS if has_reference else _METRICS_WITHOUT_REFERENCE
    metrics = [objective, *(name for name in others if not objective.startswith(name))]
    state = {
        "searchFilter": "tags.`nnexp.role` = 'trial'",
        "orderByKey": _column("metrics", objective),
        "orderByAsc": ascending,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": [
            *(_column("metrics", name) for name in metrics),
            *(_column("params", name) for name in searched),
            _column("tags", "best"),
        ],
    }
    label = f"Settings by {objective}"
    return json.dumps({"name": label, "createdAt": now_ms, "updatedAt": now_ms, "state": json.dumps(state)})


def _column(kind: str, name: str) -> str:
    return f"{kind}.`{name}`"
