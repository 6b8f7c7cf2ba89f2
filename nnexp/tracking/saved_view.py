"""Saved views of a sweep's runs, which MLflow's UI offers under "Views": the settings as a table, and as charts.

The UI stores a view in a tag of the experiment: JSON with a name, times, and a state, which is JSON text itself. A
version of the UI that does not know the tag, or a key of the state, ignores it.
"""

from __future__ import annotations

import json
from typing import Any

from nnexp.search.metrics import metric_directions
from nnexp.search.space import KINDS
from nnexp.search.sweep_file import Sweep
from nnexp.tracking.schema import OUTCOME, SweepRun

PREFIX = "mlflow.sharedViewState."
RANKING, CHARTS = "nnexp-ranking", "nnexp-charts"

_RUN_NAME, _CREATED = "attributes.`Run Name`", "runDateAndNestInfo"
#: The first factors of a table, whether searched or not; other searched keys follow.
_FACTORS = ("hidden_size", "learning_rate", "init", "init_scale")
#: Metrics of the best setting alone.
_RETEST = ("retest_networks", "retest_rate")
#: Pixels of a column: as wide as its heading, which the UI would cut after about twelve letters; of the column with
#: the time of creation only the icon of the status is left.
_LETTER, _MARGIN, _NAME_WIDTH, _ICON, _OUTCOME = 7, 32, 200, 45, 105


def page(experiment_id: str, view: str = RANKING) -> str:
    """The address of a view within the UI."""
    charts = "&compareRunsMode=CHART" if view == CHARTS else ""
    return f"#/experiments/{experiment_id}/runs?viewStateShareKey={view}&workflowType=machine_learning{charts}"


def run_page(sweep: SweepRun, artifact: str = "") -> str:
    """The address of the parent run within the UI, or of one of its artifacts."""
    return f"#/experiments/{sweep.experiment_id}/runs/{sweep.run_id}" + (f"/artifacts/{artifact}" if artifact else "")


def tags(sweep: Sweep, now_ms: int) -> dict[str, str]:
    """The experiment's tags that hold the views.

    Args:
        sweep: the sweep.
        now_ms: the views' time, in milliseconds since 1970.
    """
    views = {RANKING: ("Settings, best first", _ranking(sweep)), CHARTS: ("Settings as charts", _charts(sweep))}
    return {
        PREFIX + key: json.dumps({"name": name, "createdAt": now_ms, "updatedAt": now_ms, "state": json.dumps(state)})
        for key, (name, state) in views.items()
    }


def _ranking(sweep: Sweep) -> dict[str, Any]:
    """The settings as one table in the order of a reader's questions, sorted as the summary sorts them."""
    rate, sort = _measure(sweep)
    metrics = dict.fromkeys([rate, sort, *(name for name in sweep.objective if name != rate), "solved_rate"])
    columns = [
        ("tags", "best"),
        *(("metrics", name) for name in metrics),
        ("tags", OUTCOME),
        *(("params", name) for name in dict.fromkeys([*_FACTORS, *sweep.searched])),
    ]
    widths = {_column(*column): _LETTER * len(column[1]) + _MARGIN for column in columns}
    widths[_column("tags", OUTCOME)] = _OUTCOME
    return {
        **_search(sort),
        "selectedColumns": list(widths),
        "columnOrder": [_RUN_NAME, _CREATED, *widths],
        "columnWidths": {_RUN_NAME: _NAME_WIDTH, _CREATED: _ICON, **widths},
    }


def _charts(sweep: Sweep) -> dict[str, Any]:
    """Parallel coordinates of what was searched, the rate against each number that was searched, and the curves.

    The UI loads the first hundred runs. Its charts of two params coloured by a metric are not used: their axes are
    linear, on which rates and scales that were drawn on logarithmic ones lie in one corner.
    """
    rate, sort = _measure(sweep)
    numbers = [key for key in sweep.searched if KINDS[key] is not str]
    sections: dict[str, list[dict[str, Any]]] = {
        "What was searched": [
            {
                "type": "PARALLEL",
                "selectedParams": list(sweep.searched),
                "selectedMetrics": [rate],
                "showAllRuns": True,
            }
        ],
        f"{rate} against each number": [
            {"type": "SCATTER", "xaxis": {"key": key, "type": "PARAM"}, "yaxis": {"key": rate, "type": "METRIC"}}
            for key in numbers
        ],
        "Curves": [
            {
                "type": "LINE",
                "metricKey": "solved_rate",
                "selectedMetricKeys": ["solved_rate"],
                "xAxisKey": "step",
                "xAxisScaleType": "log",
                "useGlobalXaxisKey": False,
                "lineSmoothness": 0,
                "useGlobalLineSmoothing": False,
                "displayPoints": False,
            }
        ],
        # The UI adds a chart of its own for every metric that has none, of one point where it was logged once.
        "Model metrics": [
            {"type": "BAR", "metricKey": name, "deleted": True}
            for name in (*metric_directions(sweep.truth_table), *_RETEST)
            if name != "solved_rate"
        ],
    }
    return {
        **_search(sort),
        "runsHiddenMode": "SHOW_ALL",
        "runListHidden": True,
        "isAccordionReordered": True,  # the UI keeps the order of the sections
        "compareRunCharts": [
            {"uuid": f"{name} {i}", "metricSectionId": name, "isGenerated": False, "deleted": False, **chart}
            for name, charts in sections.items()
            for i, chart in enumerate(charts)
        ],
        "compareRunSections": [
            {
                "uuid": name,
                "name": name,
                "display": True,
                "isReordered": False,
                "deleted": all(chart.get("deleted") for chart in charts),
                "columns": max(1, min(3, len(charts))),
                "cardHeight": 320,
            }
            for name, charts in sections.items()
        ],
    }


def _measure(sweep: Sweep) -> tuple[str, str]:
    """The rate by which the summary ranks settings, and the metric that sorts runs in the same way."""
    if "recovery_rate" in metric_directions(sweep.truth_table):
        return "recovery_rate", "recovery_rate_low"
    return "solved_rate", "solved_rate"


def _search(sort: str) -> dict[str, Any]:
    return {
        "searchFilter": "tags.`nnexp.role` = 'trial'",
        "orderByKey": _column("metrics", sort),
        "orderByAsc": False,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
    }


def _column(kind: str, name: str) -> str:
    return f"{kind}.`{name}`"
