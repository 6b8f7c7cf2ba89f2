"""The end of a sweep: its runs are read once, and every worker's view of its size ends as the study's."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from nnexp.analysis import results
from nnexp.errors import StoreError
from nnexp.runner import sweeps
from nnexp.runner.progress import Progress
from nnexp.tracking.schema import SWEEP_FILE
from nnexp.tracking.spool import Spool
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


def test_an_entry_held_by_a_suspended_process_ends_the_sweep_after_a_lease(tmp_path: Path) -> None:
    """The error names the process; when it has ended, the same command delivers the entry."""
    where = small_sweeps.stores(tmp_path)
    plan = PLAN.replace(lease=2.0)
    small_sweeps.run(plan, where, offline=True)
    held = Spool(where.spool).entries(plan.name)[1]
    code = (
        "import os, signal, sys; from pathlib import Path; from nnexp.tracking.spool import Entry\n"
        "with Entry(Path(sys.argv[1])).locked(): print(); sys.stdout.flush(); os.kill(os.getpid(), signal.SIGSTOP)"
    )
    with subprocess.Popen([sys.executable, "-c", code, held.path], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        try:
            with pytest.raises(StoreError, match=rf"000001: locked by process {holder.pid} for 2 s; continue or"):
                sweeps.sweep(plan, stores=where, pool="inline")
        finally:
            holder.kill()
    small_sweeps.run(plan, where)
    small_sweeps.assert_whole(plan, where)
