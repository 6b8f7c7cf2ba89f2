"""The end of a sweep: its runs are read once, and every worker's view of its size ends as the study's."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from nnexp.analysis import results
from nnexp.runner import sweeps
from nnexp.runner.progress import Progress
from nnexp.tracking.schema import SWEEP_FILE
from nnexp.tracking.store import Tracking
from tests.helpers import small_sweeps

PLAN = small_sweeps.plan(trials=4)


def test_the_runs_of_a_sweep_are_listed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To restore, to re-test, to publish and to print the summary, which is the one that the stores hold."""
    listings: Counter[bool] = Counter()
    search = MlflowClient.search_runs

    def counted(client: MlflowClient, *args: Any, **more: Any) -> Any:
        listings["filter_string" in more] += 1
        return search(client, *args, **more)

    monkeypatch.setattr(MlflowClient, "search_runs", counted)
    where = small_sweeps.stores(tmp_path)
    summary = sweeps.sweep(PLAN, stores=where, pool="inline")
    assert listings[False] == 1
    stored = results.summarize(PLAN.name, where)
    assert summary is not None
    assert summary.answer == stored.answer
    assert summary.best == stored.best
    assert summary.best is not None
    assert summary.best.retest is not None


def test_a_sweep_extended_by_another_worker_keeps_the_larger_file(tmp_path: Path) -> None:
    """A worker that started before the extension may write its smaller file later; the study's file is right."""
    where = small_sweeps.stores(tmp_path)
    smaller = PLAN.replace(trials=2)

    def write_smaller(_: Progress) -> None:
        tracking = Tracking(where.tracking_uri)
        tracking.log_text(tracking.sweep(PLAN.name).run_id, smaller.text, SWEEP_FILE)

    small_sweeps.run(PLAN, where, progress=write_smaller)
    tracking = Tracking(where.tracking_uri)
    assert tracking.text(tracking.sweep(PLAN.name).run_id, SWEEP_FILE) == PLAN.text
    small_sweeps.assert_whole(PLAN, where)


def test_a_sweep_whose_networks_all_diverge_is_finalized(tmp_path: Path) -> None:
    """No run has the second objective then: there is no Pareto front, and no failure."""
    where = small_sweeps.stores(tmp_path)
    space = {"learning_rate": 1e308, "hidden_size": [2, 3]}
    sweep = small_sweeps.plan(trials=2, space=space, dtype="float32", objective=["solved_rate", "xnor_accuracy"])
    summary = sweeps.sweep(sweep, stores=where, pool="inline")
    assert summary is not None
    assert "diverged" in summary.answer[0]
    assert summary.pareto is not None
    assert summary.pareto.empty
    small_sweeps.assert_whole(sweep, where)
