"""The run of a trial: its params, tags, metrics and artifacts have the contract's names."""

from __future__ import annotations

import time

from nnexp.network.settings import Settings
from nnexp.recovery.grades import GradedNetworks, assess
from nnexp.search import sweep_file
from nnexp.tracking.spool import Spool
from nnexp.tracking.trial_run import write_failed, write_trained
from nnexp.training.trainer import train

SWEEP = sweep_file.parse(
    'name = "xnor"\ntrials = 4\nseeds = 8\nepochs = 20\n[space]\nlearning_rate = { low = 0.1, high = 1.0 }\n'
)
SETTINGS = Settings(learning_rate=0.5, epochs=20, seeds=8)


def test_trained_trial_has_all_that_its_run_shows(spool: Spool) -> None:
    """Params, tags, final metrics at the last epoch, and both artifacts."""
    result = train(SETTINGS)
    trained = GradedNetworks(result, assess(result.network, SETTINGS.truth_table), 0.5)
    began = time.time() - 3
    entry, metrics = write_trained(spool, SWEEP, 3, SETTINGS, trained, "PRUNED", epochs=20, began=began)
    run = entry.read()
    assert (run.sweep, run.trial, run.state) == ("xnor", 3, "PRUNED")
    assert run.params == {"trial": "3", **{key: str(value) for key, value in SETTINGS.model_dump().items()}}
    assert {"nnexp.version", "nnexp.numpy_version", "nnexp.cpu_features", "nnexp.epochs_trained"} <= set(run.tags)
    assert run.tags["outcome"] == "pruned"
    assert run.tags["objective"] == f"recovery_rate = {metrics['recovery_rate']:.4g}"
    assert {key: value for key, step, value in run.metrics if step == 20} == metrics
    assert run.name == "#3 h=4 lr=0.5 glorot_uniform×1"
    assert "of 8 networks solve xnor within 20 epochs" in run.note
    assert 3000 <= run.ended_ms - run.started_ms < 60_000
    assert {path.name for path in entry.files.iterdir()} == {"networks.parquet", "best_network.json"}


def test_failed_trial_has_its_reason(spool: Spool) -> None:
    """It has no metrics and no artifacts, and does not end before it began, even if the clock was set back."""
    began = time.time() + 1000
    entry = write_failed(spool, SWEEP, 3, SETTINGS, "its worker was killed 3 times", began)
    run = entry.read()
    assert (run.state, run.metrics, run.tags["outcome"]) == ("FAIL", (), "failed")
    assert run.tags["nnexp.failure"] == "its worker was killed 3 times"
    assert run.ended_ms == run.started_ms == int(began * 1000)
    assert list(entry.files.iterdir()) == []


def test_pruned_trial_says_when_and_why(spool: Spool) -> None:
    """After how many of the epochs, and the most frequent reason why its networks do not recover by then."""
    settings = Settings(learning_rate=0.03, init_scale=0.1, epochs=4000, seeds=8)
    result = train(settings.model_copy(update={"epochs": 50}))
    trained = GradedNetworks(result, assess(result.network, settings.truth_table), 0.5)
    entry, _ = write_trained(spool, SWEEP, 3, settings, trained, "PRUNED", epochs=50, began=time.time())
    note = entry.read().note
    assert note.startswith("Pruned after 50 of 4,000 epochs. **0.0%** of 8 networks solve xnor by then; ")
    assert "within 4,000" not in note
    assert "8 of 8 networks are on the plateau at loss ln 2, with the same answer for every input" in note
    assert "the initial weights are too small" in note
