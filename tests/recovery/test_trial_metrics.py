"""A trial's metrics and curves, from real trainings and against plain computations."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from scipy import stats

from nnexp.network.settings import Settings
from nnexp.recovery.grades import assess
from nnexp.recovery.trial_metrics import curves, final_metrics, outcome
from nnexp.training import trainer
from nnexp.training.result import TrainingResult

CURVES = ["loss", "loss_median", "loss_p10", "loss_p90", "xnor_accuracy", "solved_rate"]


def graded(result: TrainingResult):
    s = result.settings
    return assess(result.network, s.truth_table, s.loss)


def replaced(result: TrainingResult, **changes) -> TrainingResult:
    return dataclasses.replace(result, **changes)


def with_diverged(result: TrainingResult, networks: list[int]) -> TrainingResult:
    """The result as it were had some networks diverged after its first recorded epoch."""
    broken, history = result.network.copy(), result.history
    broken.W1[networks] = np.nan
    loss, accuracy = history.loss.copy(), history.accuracy.copy()
    loss[1:, networks] = accuracy[1:, networks] = np.nan
    last_loss, last_accuracy, diverged = result.loss.copy(), result.accuracy.copy(), result.diverged.copy()
    last_loss[networks] = last_accuracy[networks] = np.nan
    diverged[networks] = True
    return replaced(
        result,
        network=broken,
        diverged=diverged,
        loss=last_loss,
        accuracy=last_accuracy,
        history=dataclasses.replace(history, loss=loss, accuracy=accuracy),
    )


@pytest.fixture(scope="module")
def result() -> TrainingResult:
    return trainer.train(Settings(hidden_size=2, learning_rate=2.0, epochs=600, seeds=200))


def test_curves_have_the_documented_names_at_the_recorded_epochs(result):
    points = curves(result, graded(result))
    assert sorted({key for key, _, _ in points}) == sorted(CURVES)
    for key in CURVES:
        assert [epoch for name, epoch, _ in points if name == key] == result.history.epochs.tolist()
    assert len({(key, epoch) for key, epoch, _ in points}) == len(points)


def test_curves_are_the_means_quantiles_and_shares_of_the_history(result):
    found = {(key, epoch): value for key, epoch, value in curves(result, graded(result))}
    for t, epoch in enumerate(result.history.epochs.tolist()):
        loss, accuracy = result.history.loss[t], result.history.accuracy[t]
        expected = [
            *(loss.mean(), np.median(loss), np.percentile(loss, 10), np.percentile(loss, 90)),
            *(accuracy.mean(), np.mean((accuracy == 1) & (loss < 0.3))),
        ]
        for key, value in zip(CURVES, expected, strict=True):
            assert found[key, epoch] == pytest.approx(value, rel=1e-12)


def test_the_last_point_is_the_final_value(result):
    grades = graded(result)
    last = {key: value for key, _, value in curves(result)}
    assert last["solved_rate"] == grades.solved.mean()
    assert last["loss"] == pytest.approx(result.loss.mean())
    assert last["xnor_accuracy"] == pytest.approx(result.accuracy.mean())
    assert curves(result) == curves(result, grades)


def test_final_metrics_are_rates_with_wilsons_interval_and_medians(result):
    grades = graded(result)
    metrics = final_metrics(result, grades, 1.5)
    k, n = int(grades.recovered.sum()), len(grades)
    interval = stats.binomtest(k, n).proportion_ci(method="wilson")
    expected = {
        "correct_rate": grades.correct.mean(),
        "confident_rate": grades.confident.mean(),
        "recovery_rate": k / n,
        "recovery_rate_low": interval.low,
        "recovery_rate_high": interval.high,
        "contains_rate": grades.contains.mean(),
        "needed_rate": grades.needed.mean(),
        "mirror_rate": (grades.family == "mirror").mean(),
        "stuck_rate": np.isin(grades.plateau, ["constant", "one half", "two thirds"]).mean(),
        "design_share_median": np.median(grades.design_share),
        "diverged_rate": 0,
        "epochs_to_solve_median": np.median(np.nan_to_num(result.epochs_to_solve, nan=np.inf)),
        "reference_distance_median": np.median(grades.reference_distance),
        "train_seconds": 1.5,
    }
    assert not set(metrics) & set(CURVES)
    assert {key: value for key, value in expected.items() if math.isfinite(value)} == pytest.approx(metrics)


def test_the_outcome_is_the_most_frequent_one(result):
    grades = graded(result)
    kinds = {
        "recovered": grades.recovered.sum(),
        "mirror": (grades.family == "mirror").sum(),
        "redundant": (grades.contains & ~grades.recovered).sum(),
        "other": (grades.family == "other").sum(),
        "stuck": (~grades.solved).sum(),
    }
    assert sum(kinds.values()) == len(grades)
    assert outcome(result, grades) == max(kinds, key=lambda name: kinds[name])
    broken = with_diverged(result, list(range(150)))
    assert outcome(broken, graded(broken)) == "diverged"
    untrained = trainer.train(result.settings.replace(epochs=1))
    assert outcome(untrained, graded(untrained)) == "stuck"


@pytest.mark.parametrize(("solved", "median"), [(3, 20.0), (2, None), (1, None)])
def test_half_or_more_unsolved_leave_no_median_of_epochs(result, solved, median):
    """Of four: with three solved it is between the second and third, with two it would be at infinity."""
    four = trainer.train(result.settings.replace(seeds=4, epochs=1))
    epochs = np.array([10.0, 20.0, 20.0, 50.0])
    epochs[solved:] = np.nan
    metrics = final_metrics(replaced(four, epochs_to_solve=epochs), graded(four), 0)
    assert metrics.get("epochs_to_solve_median") == median


def test_diverged_networks_are_failures_in_rates_and_absent_from_means(result):
    some = with_diverged(result, [0, 1, 2])
    grades, kept = graded(some), slice(3, None)
    metrics = final_metrics(some, grades, 0)
    assert metrics["diverged_rate"] == pytest.approx(3 / 200)
    assert metrics["recovery_rate"] == pytest.approx(graded(result).recovered[kept].sum() / 200)
    assert metrics["reference_distance_median"] == np.median(graded(result).reference_distance[kept])
    found = {(key, epoch): value for key, epoch, value in curves(some, grades)}
    for t, epoch in enumerate(some.history.epochs.tolist()):
        assert found["loss", epoch] == pytest.approx(result.history.loss[t, kept].mean())
        solved = (result.history.accuracy[t, kept] == 1) & (result.history.loss[t, kept] < 0.3)
        assert found["solved_rate", epoch] == pytest.approx(solved.sum() / 200)


def test_where_all_diverged_only_rates_are_left(result):
    none = with_diverged(result, list(range(200)))
    grades = graded(none)
    assert {(key, value) for key, _, value in curves(none, grades)} == {("solved_rate", 0.0)}
    metrics = final_metrics(none, grades, 0)
    assert metrics["diverged_rate"] == 1
    assert metrics["recovery_rate"] == 0
    assert {"epochs_to_solve_median", "reference_distance_median"}.isdisjoint(metrics)


def test_a_training_that_ends_early_has_its_final_values_last():
    """Stopped at epoch 77, which is not a recorded one, the curve ends there."""
    s = Settings(hidden_size=3, epochs=1000, seeds=20)
    (result,) = trainer.advance([trainer.start(s)], 77)
    points = curves(result)
    assert max(epoch for _, epoch, _ in points) == 77
    last = {key: value for key, epoch, value in points if epoch == 77}
    assert last["loss"] == pytest.approx(result.loss.mean())
    assert set(last) == set(CURVES)


def test_other_tasks_have_plain_accuracy_and_no_recovery():
    result = trainer.train(Settings(task="and", epochs=50, seeds=10))
    keys = {key for key, _, _ in curves(result)}
    assert "accuracy" in keys
    assert "xnor_accuracy" not in keys
    metrics = final_metrics(result, graded(result), 0)
    assert {"correct_rate", "confident_rate", "diverged_rate"} <= set(metrics)
    assert not {"recovery_rate", "contains_rate", "mirror_rate", "reference_distance_median"} & set(metrics)


def test_mse_networks_have_a_solved_curve_that_ends_at_their_grade():
    result = trainer.train(
        Settings(loss="mse", activation="sigmoid", learning_rate=8.0, momentum=0.9, epochs=800, seeds=40)
    )
    grades = graded(result)
    rates = [value for key, _, value in curves(result, grades) if key == "solved_rate"]
    assert grades.solved.any()
    assert rates[-1] == grades.solved.mean()
    assert rates[0] == 0


def test_losses_beyond_all_numbers_are_not_logged(result):
    """A mean that overflows is undefined; the median is not."""
    huge = result.history.loss.copy()
    huge[5, :60] = 1.7e308
    points = curves(replaced(result, history=dataclasses.replace(result.history, loss=huge)), graded(result))
    epoch = int(result.history.epochs[5])
    assert {key for key, at, _ in points if at == epoch} == set(CURVES) - {"loss"}
