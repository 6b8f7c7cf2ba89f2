"""Every run of a sweep is trained again to the bit."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from nnexp.runner.replay import replay
from nnexp.tracking.store import Tracking
from tests.helpers import small_sweeps
from tests.helpers.sampling import LONG

PLAN = small_sweeps.plan(trials=50 if LONG else 12, epochs=64, batch=8, pruner="asha", objective="loss")


@pytest.mark.slow
def test_every_run_of_a_sweep_replays_as_identical(tmp_path: Path) -> None:
    """Pruned runs among them; one run by the command."""
    where = small_sweeps.stores(tmp_path)
    small_sweeps.run(PLAN, where)
    runs = Tracking(where.tracking_uri).runs(PLAN.name)
    assert [run.trial for run in runs] == list(range(PLAN.trials))
    assert {run.status for run in runs} == {"FINISHED", "KILLED"}
    for run in runs:
        outcome = replay(run.run_id, where)
        assert outcome.identical, outcome.text
        assert outcome.networks == PLAN.seeds
    done = subprocess.run(
        [sys.executable, "-m", "nnexp", "replay", f"{PLAN.name}#7", *small_sweeps.options(where)],
        cwd=tmp_path,
        env={"PYTHONPATH": str(Path(__file__).parents[2]), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "identical: all weights of 12 networks\n"), done.stderr
