"""The epochs at which each pruner judges a trial, and that it stops a poor one there."""

from __future__ import annotations

import pytest
from optuna.pruners import MedianPruner, SuccessiveHalvingPruner

from nnexp.study import Store, SweepStudy, Worker
from nnexp.study.pruning import pruner, rungs
from tests.helpers.small_study import make


def test_rungs() -> None:
    """A trial halts where its pruner judges it, and at its last epoch; each epoch occurs once."""
    assert rungs(make(epochs=640)) == [640]
    assert rungs(make(pruner="asha", epochs=640)) == [10, 40, 160, 640]
    assert rungs(make(pruner="median", epochs=640)) == [80, 160, 320, 640]
    assert rungs(make(pruner="asha", epochs=5)) == [1, 5]
    assert rungs(make(pruner="median", epochs=1)) == [1]


@pytest.mark.parametrize("epochs", [1, 5, 63, 640, 5000])
def test_the_pruner_judges_at_the_rungs(epochs: int) -> None:
    """Optuna's pruners receive values at the epochs at which they use them."""
    halving = pruner(make(pruner="asha", epochs=epochs))
    assert isinstance(halving, SuccessiveHalvingPruner)
    assert halving._min_resource == max(1, epochs // 64)
    median = pruner(make(pruner="median", epochs=epochs))
    assert isinstance(median, MedianPruner)
    assert median._n_warmup_steps <= rungs(make(pruner="median", epochs=epochs))[0]
    assert pruner(make(epochs=epochs)) is None


@pytest.mark.parametrize("name", ["median", "asha"])
def test_a_poor_trial_is_pruned(store: Store, name: str) -> None:
    """Each pruner stops a trial that is worse than all before it, and lets equal ones continue."""
    worker = Worker.join(SweepStudy.create(store, make(pruner=name, epochs=640, trials=13)))
    for claim in worker.claim(12):
        for epoch in (10, 40, 160):
            assert worker.set_intermediate_value(claim, epoch, 0.9)
            assert not worker.should_prune(claim)
        assert worker.finish(claim, "COMPLETE", [0.9])
    (poor,) = worker.claim(1)
    assert worker.set_intermediate_value(poor, 160, 0.0)
    assert worker.should_prune(poor)
    assert worker.finish(poor, "PRUNED")
    assert not worker.should_prune(poor)
    assert worker.study.counts().pruned == 1
