"""A worker's loop on a sweep that races: what becomes of a dropped trial, also with two workers and after a kill."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient

from nnexp.network.settings import Settings
from nnexp.runner import doctor
from nnexp.runner.replay import replay
from nnexp.search.sweep_file import Sweep
from nnexp.stores import Stores
from nnexp.study import SweepStudy, Trial, open_storage
from nnexp.study.race import Race, bounds
from nnexp.tracking.schema import OUTCOME, RACE, RunRecord
from nnexp.tracking.store import Tracking
from nnexp.training import trainer
from tests.helpers import small_sweeps

#: Of AND, solved with the higher learning rates and never with the lowest ones: these are dropped after 16 networks.
PLAN = small_sweeps.plan(
    trials=8,
    task="and",
    seeds=40,
    epochs=100,
    sampler="grid",
    batch=1,
    pruner="race",
    race={"start": 8},
    space={"hidden_size": [2, 3], "learning_rate": [1e-6, 1e-5, 3.0, 5.0]},
)
RUNGS = (8, 16, 32, 40)


def trials_of(where: Stores, sweep: Sweep = PLAN) -> list[Trial]:
    """The trials in the study."""
    with open_storage(where.storage, create=False) as storage:
        return SweepStudy.open(storage, sweep.name).trials()


def assert_raced(trials: Iterable[Trial], sweep: Sweep = PLAN) -> None:
    """Every trial has the rate of a rung, and a trial was dropped only if another one is better beyond doubt."""
    race = Race.of(sweep)
    assert race is not None
    trials = list(trials)
    assert {trial.state for trial in trials} == {"COMPLETE"}
    networks = np.array([trial.attrs["networks"] for trial in trials])
    rates = np.array([trial.values[0] for trial in trials if trial.values])
    lower, upper = bounds(np.rint(networks * rates), networks, race)
    dropped = np.array([trial.attrs.get("race") == "dropped" for trial in trials])
    assert dropped.any()
    assert (upper[dropped] < lower.max()).all()
    assert not dropped[lower.argmax()]


def assert_first_networks(sweep: Sweep, where: Stores) -> None:
    """Each run has the first networks of its setting, to the bit."""
    tracking = Tracking(where.tracking_uri)
    for run in tracking.runs(sweep.name):
        settings: Settings = run.settings
        again = trainer.advance([trainer.start(settings, np.arange(settings.seeds))], settings.epochs)[0].network
        assert small_sweeps.weights(tracking.networks(run.run_id)) == [array.tobytes() for array in again.weights]


@pytest.fixture(scope="module")
def raced(tmp_path_factory: pytest.TempPathFactory) -> Stores:
    """The stores of the race, run by one worker."""
    where = small_sweeps.stores(tmp_path_factory.mktemp("race"))
    small_sweeps.run(PLAN, where)
    return where


def runs_of(where: Stores) -> list[RunRecord]:
    """The runs in MLflow, by trial."""
    return Tracking(where.tracking_uri).runs(PLAN.name)


def test_a_dropped_trial_ended_as_planned(raced: Stores) -> None:
    """COMPLETE with the rate of the networks that it has, FINISHED in MLflow, its outcome as graded, and a tag."""
    small_sweeps.assert_whole(PLAN, raced)
    trials = trials_of(raced)
    assert_raced(trials)
    dropped = [trial.number for trial in trials if trial.attrs.get("race") == "dropped"]
    assert dropped == [trial.number for trial in trials if trial.params["learning_rate"] < 1]
    for trial, run in zip(trials, runs_of(raced), strict=True):
        assert run.status == "FINISHED"
        assert run.params["seeds"] == str(trial.attrs["networks"])
        assert run.metrics["solved_rate"] == (trial.values or [None])[0]
        assert run.tags.get(RACE) == ("dropped" if trial.number in dropped else None)
        assert run.tags[OUTCOME] not in ("pruned", "failed")
        assert trial.attrs["networks"] == (16 if trial.number in dropped else 40)


def test_every_worker_can_read_the_rates_at_the_rungs(raced: Stores) -> None:
    """They are the trial's intermediate values in Optuna, by the number of networks."""
    with open_storage(raced.storage, create=False) as storage:
        stored = SweepStudy.open(storage, PLAN.name).optuna_study().trials
    for trial in stored:
        poor = trial.params["learning_rate"] < 1
        assert (16 in trial.intermediate_values, 32 in trial.intermediate_values) == (True, not poor)
        assert tuple(trial.intermediate_values) == RUNGS[: len(trial.intermediate_values)]
        assert list(trial.intermediate_values.values())[-1] == trial.value


def test_every_trial_of_a_race_replays_as_identical(raced: Stores) -> None:
    """A dropped one has its own number of networks."""
    found = [replay(run.run_id, raced) for run in runs_of(raced)]
    assert [each.identical for each in found] == [True] * PLAN.trials
    assert {each.networks for each in found} == {16, 40}


def test_a_lost_run_of_a_dropped_trial_is_restored_as_it_was(raced: Stores, tmp_path: Path) -> None:
    """With its number of networks, its tag and the same bits."""
    where = small_sweeps.copied(Path(raced.storage).parent, tmp_path)
    before = next(run for run in runs_of(where) if RACE in run.tags)
    weights = small_sweeps.networks(PLAN, where)
    MlflowClient(where.tracking_uri).delete_run(before.run_id)
    doctor.examine(where, PLAN.name, repair=True)
    after = runs_of(where)[before.trial]
    assert after.run_id != before.run_id
    assert (after.params, after.tags.get(RACE)) == (before.params, "dropped")
    assert small_sweeps.networks(PLAN, where) == weights


@pytest.mark.parametrize(("sampler", "batch"), [("random", 2), ("tpe", 3)])
def test_a_race_of_one_worker_is_deterministic(sampler: str, batch: int, tmp_path: Path) -> None:
    """Which trials are dropped, and with how many networks, does not depend on the timing."""
    space = {"hidden_size": {"low": 2, "high": 5}, "learning_rate": [1e-6, 3.0, 5.0]}
    sweep = PLAN.replace(sampler=sampler, batch=batch, trials=12, space=space)
    found = []
    for name in ("a", "b"):
        where = Stores("sqlite:///unused.db", str(tmp_path / f"{name}.journal"), tmp_path / name)
        small_sweeps.run(sweep, where, offline=True)
        assert_raced(trials_of(where, sweep), sweep)
        found.append([(trial.values, trial.attrs["networks"]) for trial in trials_of(where, sweep)])
    assert found[0] == found[1]


@pytest.mark.slow
@pytest.mark.parametrize("kill", [False, True])
def test_two_workers_race_in_one_sweep(kill: bool, tmp_path: Path) -> None:
    """Every trial is dropped rightly, whichever worker trained it; also when one of them is killed in between."""
    sweep = PLAN.replace(epochs=3000, lease=4.0, seeds=200, sampler="grid")
    where = small_sweeps.stores(tmp_path)
    workers = [small_sweeps.process(small_sweeps.run, sweep, where) for _ in range(2)]
    try:
        if kill:
            deadline = time.monotonic() + 60
            while not (Path(where.storage).exists() and '"intermediate_value"' in Path(where.storage).read_text()):
                assert time.monotonic() < deadline
                time.sleep(0.02)
            small_sweeps.kill(workers[0])
        for worker in workers:
            worker.join(120)
        assert workers[1].exitcode == 0
    finally:
        for worker in workers:
            small_sweeps.kill(worker)
    small_sweeps.assert_whole(sweep, where)
    assert_raced(trials_of(where, sweep), sweep)
    assert_first_networks(sweep, where)
