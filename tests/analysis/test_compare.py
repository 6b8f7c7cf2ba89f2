"""Two runs, or two sweeps, side by side."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from nnexp.analysis.compare import compare_runs, compare_sweeps
from nnexp.analysis.significance import Outcomes, mcnemar
from nnexp.analysis.summarize import summarize_records
from nnexp.errors import NotFoundError
from tests.helpers.made_up_sweep import run, sweep


def networks(recovered: list[bool], start: int = 0) -> pd.DataFrame:
    """A run's networks' table: all solved, some recovered."""
    index = np.arange(start, start + len(recovered))
    return pd.DataFrame({"index": index, "solved": True, "recovered": recovered})


def test_runs_on_the_same_networks_are_paired() -> None:
    """Grades of runs that share their seeds are compared by exact McNemar, with each side's Wilson interval."""
    left, right = networks([True] * 9 + [False] * 11), networks([False] * 8 + [True] * 2 + [False] * 10)
    table = compare_runs(left, right).set_index("grade")
    row = table.loc["recovered"]
    assert row["test"] == "McNemar, exact"
    expected = mcnemar(left["recovered"].to_numpy(), right["recovered"].to_numpy())
    assert (expected.only_first, expected.only_second) == (8, 1)
    assert row["p_value"] == pytest.approx(expected.p_value)
    assert row["difference"] == pytest.approx(0.35)
    assert row["left_low"] < 0.45 < row["left_high"]
    assert table.loc["solved", "p_value"] == 1.0
    assert (table["p_holm"] >= table["p_value"]).all()


def test_runs_on_other_networks_are_not_paired() -> None:
    """Runs without a common network number are compared by Fisher's test."""
    table = compare_runs(networks([True] * 5), networks([False] * 5, start=100)).set_index("grade")
    assert table.loc["recovered", "test"] == "Fisher, exact"
    assert table.loc["recovered", "p_value"] == pytest.approx(2 / 252)


def test_runs_without_a_common_grade() -> None:
    """Tables that share no grade cannot be compared, and the error says so."""
    with pytest.raises(NotFoundError, match="no grade in common"):
        compare_runs(pd.DataFrame({"index": [0], "solved": [True]}), pd.DataFrame({"index": [0]}))


def grid(task: str, rates: dict[tuple[int, float], float]) -> list:  # type: ignore[type-arg]
    """A sweep over a grid with given recovery rates."""
    return [
        run(t, task=task, hidden_size=h, learning_rate=r, recovery_rate=rate, solved_rate=rate, mirror_rate=0.0)
        for t, ((h, r), rate) in enumerate(rates.items())
    ]


def test_sweeps_are_matched_by_what_they_vary() -> None:
    """Settings are matched by hidden size and learning rate though the tasks differ; what one lacks is left out."""
    left = summarize_records("a", grid("xnor", {(2, 0.1): 0.5, (2, 1.0): 0.25, (4, 1.0): 0.75}))
    right = summarize_records("b", grid("xor", {(2, 0.1): 0.25, (4, 1.0): 0.75}))
    comparison = compare_sweeps(left, right)
    matched = comparison.matched.set_index(["hidden_size", "learning_rate"])
    assert len(matched) == 2
    assert matched.loc[(2, 0.1), "difference"] == 0.25
    assert comparison.overview["sweep"].tolist() == ["a", "b"]
    assert comparison.overview["recovery_rate"].tolist() == [0.5, 0.5]
    assert "2 settings are in both: a is higher in 1, b in 0, mean difference +12.5 points" in comparison.answer[1]


def test_sweeps_with_their_networks_are_tested_pair_by_pair() -> None:
    """With both sweeps' networks at hand each common setting has an exact p-value, corrected over the settings."""
    records, outcomes = sweep(20, lambda _: 0.3)
    better = {t: Outcomes(o.index, o.success | (o.index % 3 == 0)) for t, o in outcomes.items()}
    comparison = compare_sweeps(
        summarize_records("a", records),
        summarize_records("b", records),
        left_outcomes={"recovery_rate": outcomes},
        right_outcomes={"recovery_rate": better},
    )
    assert len(comparison.matched) == 20
    assert (comparison.matched["p_holm"] < 0.05).all()
    assert (comparison.matched["only_left"] == 0).all()
    assert "20 of 20 tested settings differ" in comparison.answer[2]


def test_a_sweep_against_itself() -> None:
    """Nothing differs from itself."""
    records, outcomes = sweep(12, lambda _: 0.3)
    summary = summarize_records("a", records)
    comparison = compare_sweeps(
        summary, summary, left_outcomes={"recovery_rate": outcomes}, right_outcomes={"recovery_rate": outcomes}
    )
    assert (comparison.matched["difference"] == 0).all()
    assert (comparison.matched["p_holm"] == 1).all()


def test_nothing_in_common_and_nothing_finished() -> None:
    """Sweeps without a common setting, or without a result, are still shown side by side."""
    left = summarize_records("a", grid("xnor", {(2, 0.1): 0.5, (3, 0.1): 0.5}))
    right = summarize_records("b", grid("xnor", {(5, 0.1): 0.5, (6, 0.1): 0.5}))
    assert "no setting in common" in compare_sweeps(left, right).answer[1]
    empty = summarize_records("c", [run(0, status="RUNNING")])
    assert compare_sweeps(left, empty).matched.empty


def test_a_task_without_a_reference_is_compared_by_solved_rate() -> None:
    """Where one sweep has no recovery the solved rate is compared."""
    left = summarize_records("a", grid("xnor", {(2, 0.1): 0.5, (3, 0.1): 0.5}))
    right = summarize_records(
        "b", [run(t, task="and", hidden_size=2 + t, learning_rate=0.1, solved_rate=1.0) for t in (0, 1)]
    )
    comparison = compare_sweeps(left, right)
    assert comparison.overview["solved_rate"].tolist() == [0.5, 1.0]
    assert comparison.matched["difference"].tolist() == [-0.5, -0.5]


def test_rates_and_tests_are_of_one_measure() -> None:
    """Two equal sweeps do not differ when one of them has no reference: what both have, the solved rate, is tested."""
    records, recovered = sweep(12, lambda _: 0.3)
    solved = {t: Outcomes(o.index, o.success | (o.index % 2 == 0)) for t, o in recovered.items()}
    bare = [
        replace(r, metrics={"solved_rate": r.metrics["solved_rate"]}, params=r.params | {"task": "and"})
        for r in records
    ]
    comparison = compare_sweeps(
        summarize_records("a", records),
        summarize_records("b", bare),
        left_outcomes={"recovery_rate": recovered, "solved_rate": solved},
        right_outcomes={"solved_rate": solved},
    )
    assert (comparison.matched["difference"] == 0).all()
    assert (comparison.matched["p_holm"] == 1).all()
    assert "0 of 12 tested settings differ" in comparison.answer[2]
