"""A sweep's experiment and parent run: created once, also by workers that start together."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from nnexp.tracking.schema import SWEEP
from nnexp.tracking.store import Tracking


def test_sweep_is_created_once(tracking: Tracking, name: str) -> None:
    """Ensuring a sweep again finds the same experiment and parent run."""
    assert tracking.find_sweep(name) is None
    first = tracking.ensure_sweep(name, text="trials = 1\n", note="what was swept", tags={"nnexp.task": "xnor"})
    assert tracking.ensure_sweep(name, text="trials = 1\n", note="another note") == first
    assert tracking.find_sweep(name) == first == tracking.sweep(name)
    assert name in tracking.sweeps()
    run = tracking.client.get_run(first.run_id)
    assert run.info.run_name == name
    assert run.data.tags["mlflow.note.content"] == "what was swept"
    assert run.data.tags["nnexp.task"] == "xnor"


def test_workers_that_start_together_share_one_parent(tracking: Tracking, tracking_store: str, name: str) -> None:
    """Four workers at once end with one experiment and one parent run."""
    clients = [Tracking(tracking_store) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        found = set(pool.map(lambda one: one.ensure_sweep(name, text="a = 1", note=""), clients))
    assert len(found) == 1
    assert len(tracking.client.search_runs([found.pop().experiment_id])) == 1


@pytest.mark.parametrize("clock", [0.0, 1.0], ids=["set back to 1970", "right"])
def test_parent_of_a_killed_worker_is_awaited_for_a_bounded_time(
    tracking: Tracking, name: str, monkeypatch: pytest.MonkeyPatch, clock: float
) -> None:
    """The worker that created the experiment was killed before it created the parent run, whatever the clock says."""
    tracking.client.create_experiment(name, tags={SWEEP: name})
    monkeypatch.setattr("nnexp.tracking.experiment.PARENT_WAIT", 1.0)
    monkeypatch.setattr("nnexp.tracking.experiment.time", SimpleNamespace(time=lambda: clock * time.time()))
    before = time.monotonic()
    run = tracking.ensure_sweep(name, text="trials = 1\n", note="")
    assert 0.5 < time.monotonic() - before < 15
    assert tracking.find_sweep(name) == run


def test_parent_is_not_awaited_in_an_old_experiment(tracking: Tracking, name: str) -> None:
    """A worker that created the experiment long ago was killed: no parent run is to come."""
    tracking.client.create_experiment(name, tags={SWEEP: name})
    time.sleep(1.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nnexp.tracking.experiment.PARENT_WAIT", 0.5)
        patch.setattr("tenacity.nap.time.sleep", lambda _: pytest.fail("waits for a run"))
        run = tracking.ensure_sweep(name, text="trials = 1\n", note="")
    assert tracking.find_sweep(name) == run


def test_users_own_experiment_is_adopted_at_once(
    tracking: Tracking, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one that was created this moment: no other worker is about to create a parent run in it."""
    tracking.client.create_experiment(name)
    monkeypatch.setattr("nnexp.tracking.experiment._awaited_parent", lambda *_: pytest.fail("waits for a run"))
    run = tracking.ensure_sweep(name, text="trials = 1\n", note="")
    assert tracking.find_sweep(name) == run
