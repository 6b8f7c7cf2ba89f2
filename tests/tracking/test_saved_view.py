"""The saved views: what MLflow's UI reads from an experiment's tags."""

from __future__ import annotations

import json
from typing import Any

import pytest

from nnexp.search import sweep_file
from nnexp.tracking import saved_view
from nnexp.tracking.schema import SweepRun

SPACE = """
[space]
hidden_size = { low = 2, high = 8 }
learning_rate = { low = 0.1, high = 10.0, log = true }
init = ["orthogonal", "he_normal"]
momentum = [0.0, 0.9]
"""


def state(key: str, head: str = 'name = "s"\ntask = "xnor"\ntrials = 4\n') -> dict[str, Any]:
    """The state of one of the views of a sweep."""
    tags = saved_view.tags(sweep_file.parse(head + SPACE), 1000)
    view = json.loads(tags[saved_view.PREFIX + key])
    assert view["createdAt"] == view["updatedAt"] == 1000
    found: dict[str, Any] = json.loads(view["state"])
    return found


def test_columns_are_in_the_order_of_a_readers_questions() -> None:
    """The rate with its lower end, by which the table is sorted; solved, outcome, then the settings."""
    found = state(saved_view.RANKING)
    columns = [column.split("`")[1] for column in found["selectedColumns"]]
    factors = ["hidden_size", "learning_rate", "init", "init_scale", "momentum"]
    assert columns == ["best", "recovery_rate", "recovery_rate_low", "solved_rate", "outcome", *factors]
    assert (found["orderByKey"], found["orderByAsc"]) == ("metrics.`recovery_rate_low`", False)
    assert found["columnOrder"][0] == "attributes.`Run Name`"
    assert found["columnOrder"][2:] == found["selectedColumns"]
    assert set(found["columnWidths"]) == set(found["columnOrder"])


def test_other_objectives_are_columns() -> None:
    """The table is sorted as the summary sorts, regardless of the sweep's objective."""
    found = state(saved_view.RANKING, 'name = "s"\ntask = "xnor"\ntrials = 4\nobjective = "loss"\n')
    assert "metrics.`loss`" in found["selectedColumns"]
    assert found["orderByKey"] == "metrics.`recovery_rate_low`"


@pytest.mark.parametrize("key", [saved_view.RANKING, saved_view.CHARTS])
def test_task_without_a_design_is_sorted_by_the_solved_rate(key: str) -> None:
    """Its runs have no recovery rate."""
    found = state(key, 'name = "s"\ntask = "majority:3"\ntrials = 4\n')
    assert found["orderByKey"] == "metrics.`solved_rate`"
    assert "recovery_rate" not in json.dumps([found.get("selectedColumns"), found.get("compareRunCharts")])


def test_charts_cover_what_was_searched() -> None:
    """Parallel coordinates over all searched keys, one chart for each that is a number, and curves over log epochs."""
    found = state(saved_view.CHARTS)
    charts = [chart for chart in found["compareRunCharts"] if not chart["deleted"]]
    parallel, *scatters, curves = charts
    assert parallel["selectedParams"] == ["hidden_size", "learning_rate", "init", "momentum"]
    assert parallel["selectedMetrics"] == ["recovery_rate"]
    assert [chart["xaxis"]["key"] for chart in scatters] == ["hidden_size", "learning_rate", "momentum"]
    assert (curves["metricKey"], curves["xAxisScaleType"]) == ("solved_rate", "log")
    assert {chart["metricSectionId"] for chart in found["compareRunCharts"]} == {
        section["uuid"] for section in found["compareRunSections"]
    }


def test_metrics_that_are_logged_once_have_no_chart() -> None:
    """The UI would add a line of one point for each metric without a chart, so each has a deleted one."""
    charts = state(saved_view.CHARTS)["compareRunCharts"]
    deleted = {chart["metricKey"] for chart in charts if chart["deleted"]}
    assert {"recovery_rate", "stuck_rate", "train_seconds", "xnor_accuracy"} <= deleted
    assert len({chart["uuid"] for chart in charts}) == len(charts)


def test_addresses() -> None:
    """A view opens by its key, the charts in the UI's chart mode; a run and its artifact have one each."""
    assert saved_view.page("3") == "#/experiments/3/runs?viewStateShareKey=nnexp-ranking&workflowType=machine_learning"
    assert saved_view.page("3", saved_view.CHARTS).endswith("=machine_learning&compareRunsMode=CHART")
    run = SweepRun("s", "3", "abc")
    assert saved_view.run_page(run) == "#/experiments/3/runs/abc"
    assert saved_view.run_page(run, "report.html") == "#/experiments/3/runs/abc/artifacts/report.html"
