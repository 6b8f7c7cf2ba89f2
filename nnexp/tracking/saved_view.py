"""Saved views of a sweep's table of runs, as MLflow's UI offers them under "Views" (floor 3).

The UI keeps a view in a tag of the experiment: JSON with a name, times, and a state, itself JSON. A UI that does not
know the tag ignores it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

PREFIX = "mlflow.sharedViewState."
RANKING = "nnexp-ranking"

# Few enough to stand beside the params without scrolling; the UI orders them by name. It cuts headings after some
# twelve letters: of names that begin alike, such as recovery_rate and recovery_rate_low, there is one.
_FIGURES = ("recovery_rate", "solved_rate", "mirror_rate")
_FIGURES_WITHOUT_REFERENCE = ("solved_rate", "confident_rate", "epochs_to_solve_median")


def ranking(searched: Sequence[str], objective: str, *, ascending: bool, has_reference: bool, now_ms: int) -> str:
    """The value of the tag ``PREFIX + RANKING``: the settings as a flat table, the best by the objective first.

    Args:
        searched: the keys of the space that vary.
        objective: the metric to sort by.
        ascending: whether less is better.
        has_reference: whether the task has a hand-designed network.
        now_ms: the view's time.
    """
    figures = _FIGURES if has_reference else _FIGURES_WITHOUT_REFERENCE
    metrics = [objective, *(name for name in figures if not objective.startswith(name))]
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
