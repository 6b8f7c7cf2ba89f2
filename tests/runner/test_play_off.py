"""The play-off at the end of a sweep: what it stores, and that an interrupted one ends with the same results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nnexp.analysis import contenders, playoff, results
from nnexp.errors import NnexpError
from nnexp.recovery.grades import assess
from nnexp.runner import jobs, play_off, sweeps
from nnexp.runner.play_off import FIRST_NETWORKS, FRESH, Field
from nnexp.runner.progress import Progress
from nnexp.search.sweep_file import Sweep
from nnexp.stores import Stores
from nnexp.study import SweepStudy, open_storage
from nnexp.tracking.store import Tracking
from nnexp.training import trainer
from tests.helpers import small_sweeps

#: Three settings that nearly always solve AND, and three that never do.
PLAN = small_sweeps.plan(
    trials=6,
    task="and",
    seeds=64,
    epochs=60,
    sampler="grid",
    space={"hidden_size": [2, 4, 6], "learning_rate": [1e-6, 2.0]},
)


def held(where: Stores, sweep: Sweep = PLAN) -> contenders.Results:
    """The results as the parent run has them."""
    tracking = Tracking(where.tracking_uri)
    return contenders.Results.parse(tracking.text(tracking.sweep(sweep.name).run_id, contenders.FILE))


def counts(where: Stores) -> dict[str, list[int]]:
    """The successes after each rung, as the study has them."""
    with open_storage(where.storage, create=False) as storage:
        found: dict[str, list[int]] = SweepStudy.open(storage, PLAN.name).get(play_off.COUNTS)
    return found


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Stores:
    """The stores of the sweep."""
    where = small_sweeps.stores(tmp_path_factory.mktemp("playoff"))
    small_sweeps.run(PLAN, where)
    return where


def test_the_settings_that_may_be_the_best_are_trained_on_fresh_networks(finished: Stores) -> None:
    """The runs of all that took part have the metrics, and no others; the networks are those from FRESH on."""
    found = held(finished)
    runs = Tracking(finished.tracking_uri).runs(PLAN.name)
    assert {run.trial for run in runs if "retest_rate" in run.metrics} == set(found.trials)
    assert set(found.trials) <= {run.trial for run in runs if run.metrics["solved_rate"] > 0}
    for trial, networks, successes in zip(found.trials, found.networks, found.successes, strict=True):
        run = runs[trial]
        assert run.metrics["retest_networks"] == networks
        assert run.metrics["retest_rate"] == successes / networks
        trained = trainer.advance([trainer.start(run.settings, np.arange(FRESH, FRESH + networks))], PLAN.epochs)[0]
        assert assess(trained.network, run.settings.truth_table).solved.sum() == successes


def test_the_summary_finds_the_set_again(finished: Stores) -> None:
    """The first of the set is the best setting, and leads the ranking with the rate to quote."""
    summary = results.summarize(PLAN.name, finished)
    assert summary.play_off is not None
    assert summary.best is not None
    first = summary.play_off.left[0]
    assert (summary.best.trial, summary.best.retest) == (first.trial, first.fresh)
    assert summary.ranked["trial"].head(len(summary.play_off.left)).tolist() == [
        each.trial for each in summary.play_off.left
    ]
    assert first.fresh.networks >= FIRST_NETWORKS
    assert "95% sure" in summary.answer[0]
    assert "the rate to quote" in summary.answer[1]


def test_an_interrupted_play_off_goes_on_with_its_round(
    finished: Stores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second round fails; the next start trains no network of the first one again, and the results are the same."""
    where = small_sweeps.stores(tmp_path)
    submit, rounds = jobs.submit, []

    def fails(pool: Any, wanted: Any, workers: int) -> Any:
        wanted = list(wanted)
        if wanted[0].index[0] >= FRESH:
            rounds.append([int(job.index[0]) for job in wanted])
            if len(rounds) == 2:
                raise NnexpError("the second round fails")
        return submit(pool, wanted, workers)

    monkeypatch.setattr(jobs, "submit", fails)
    with pytest.raises(NnexpError, match="second round"):
        small_sweeps.run(PLAN, where)
    assert {len(known) for known in counts(where).values()} == {1}
    told: list[Progress] = []
    small_sweeps.run(PLAN, where, progress=told.append)
    assert "play-off: " in told[-1].details
    assert all(start > FRESH for round_ in rounds[2:] for start in round_)
    assert held(where) == held(finished)
    assert counts(where) == counts(finished)
    small_sweeps.assert_whole(PLAN, where)


def test_a_finished_play_off_is_not_held_again(finished: Stores, tmp_path: Path) -> None:
    """A repeated finalization trains nothing and logs no metric a second time; an extended sweep holds another one."""
    where = small_sweeps.copied(Path(finished.storage).parent, tmp_path)
    told: list[Progress] = []
    summary = sweeps.sweep(PLAN, stores=where, pool="inline", progress=told.append)
    assert not any(progress.play_off for progress in told)
    tracking = Tracking(where.tracking_uri)
    run = tracking.runs(PLAN.name)[held(where).trials[0]].run_id
    assert len(tracking.client.get_metric_history(run, "retest_rate")) == 1
    assert summary is not None


def test_a_sweep_without_a_success_has_one_contender_and_no_champion(tmp_path: Path) -> None:
    """Nothing tells its settings apart; a model that solves nothing is not registered."""
    where = small_sweeps.stores(tmp_path)
    sweep = PLAN.replace(space={"hidden_size": [2, 3], "learning_rate": 1e-6}, trials=2)
    summary = sweeps.sweep(sweep, stores=where, pool="inline")
    assert summary is not None
    assert summary.answer[0].startswith("No network of the sweep solved the task")
    assert len(held(where, sweep).trials) == 1
    assert list(Tracking(where.tracking_uri).client.search_registered_models()) == []


def test_a_play_off_has_at_most_as_many_networks_as_its_sweep() -> None:
    """Ten equal settings would take 8,192 each; the rounds end before, and the first gets what its rate needs."""
    race = playoff.rule(10, 0.975, 0.0)
    rungs = np.array(race.rungs)
    field = Field(list(range(10)), [], race, 12_000, {str(t): (rungs // 2).tolist() for t in range(10)})
    networks = np.zeros(10, dtype=np.int64)
    totals = []
    while (total := field.next_total(networks)).sum() > networks.sum():
        networks = total
        totals.append(total.tolist())
    assert totals == [[256] * 10, [512] * 10, [1024] * 10]
