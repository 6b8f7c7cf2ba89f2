"""A sweep's runs in, its ranking, families and Pareto front out."""

from __future__ import annotations

import pytest

from nnexp.analysis import formats
from nnexp.analysis.summarize import families, pareto, summarize_records
from nnexp.analysis.trials import trials_frame
from nnexp.errors import NotFoundError
from tests.helpers.made_up_sweep import run, sweep


def test_ranked_by_the_lower_end_then_solved_then_trial() -> None:
    """All of four networks do not beat 90% of a thousand; ties go by solved rate, then by the lower trial."""
    records = [
        run(0, networks=4, recovery_rate=1.0, solved_rate=1.0),
        run(1, networks=1000, recovery_rate=0.9, solved_rate=0.9),
        run(2, networks=1000, recovery_rate=0.0, solved_rate=0.2),
        run(3, networks=1000, recovery_rate=0.0, solved_rate=0.3),
        run(4, networks=1000, recovery_rate=0.0, solved_rate=0.3),
    ]
    summary = summarize_records("s", records)
    assert summary.ranked["trial"].tolist() == [1, 0, 3, 4, 2]
    assert summary.ranked["note"].tolist() == ["selected, not re-tested", "", "", "", ""]


def test_a_retest_is_read_back_from_the_runs_metrics() -> None:
    """The metrics `retest_networks` and `retest_rate` of the winner's run count as its re-test."""
    summary = summarize_records(
        "s", [run(0, recovery_rate=0.5, solved_rate=0.5, retest_networks=400, retest_rate=0.45)]
    )
    assert summary.best is not None
    assert summary.best.retest is not None
    assert summary.best.retest.successes == 180


def test_without_a_reference_settings_are_ranked_by_solved_rate() -> None:
    """A task without a reference is ranked by its solved rate and says nothing of recovery."""
    records = [run(t, task="and", solved_rate=0.1 * t) for t in range(5)]
    summary = summarize_records("s", records)
    assert summary.measure == "solved_rate"
    assert summary.ranked["trial"].iloc[0] == 4
    assert list(summary.families) == ["hidden_size", "settings", "networks", "solved", "not_solved"]
    assert "recover" not in " ".join((*summary.answer, *summary.notes))
    assert "recovery" not in formats.to_markdown(summary)


def test_no_runs_is_an_error_that_says_what_to_do() -> None:
    """An empty sweep has no summary."""
    with pytest.raises(NotFoundError, match="nnexp sweep"):
        summarize_records("s", [])


def test_families_add_up() -> None:
    """The families' shares of a hidden size add up to one, weighted by networks."""
    records = [
        run(0, hidden_size=2, networks=100, recovery_rate=0.2, contains_rate=0.3, mirror_rate=0.4, solved_rate=0.8),
        run(1, hidden_size=2, networks=300, recovery_rate=0.0, contains_rate=0.1, mirror_rate=0.0, solved_rate=0.4),
    ]
    row = families(trials_frame(records)).iloc[0]
    assert row["networks"] == 400
    assert row["hand_designed"] == pytest.approx(0.15)
    assert row["mirror"] == pytest.approx(0.1)
    assert row[["hand_designed", "mirror", "other", "not_solved"]].sum() == pytest.approx(1)


def test_the_pareto_front_holds_what_no_other_beats() -> None:
    """Trials beaten in one objective and no better in the other are left out; minimized objectives count backwards."""
    points = [(0.9, 100.0), (0.8, 50.0), (0.7, 80.0), (0.9, 120.0), (0.1, 10.0)]
    records = [run(t, recovery_rate=r, solved_rate=r, epochs_to_solve_median=e) for t, (r, e) in enumerate(points)]
    summary = summarize_records(
        "s", records, objective=("recovery_rate", "epochs_to_solve_median"), directions=("maximize", "minimize")
    )
    assert summary.pareto is not None
    assert summary.pareto["trial"].tolist() == [0, 1, 4]
    assert "Pareto front" in formats.to_text(summary)
    assert pareto(summary.ranked, ["recovery_rate", "loss"], ["maximize", "minimize"]).empty


def test_a_summary_is_the_same_each_time() -> None:
    """The same runs have the same summary, in any order."""
    records, _ = sweep(40, lambda setting: 0.4 if setting["hidden_size"] == 2 else 0.1)
    assert formats.to_json(summarize_records("s", records)) == formats.to_json(summarize_records("s", records[::-1]))


def test_a_front_of_a_metric_that_no_run_has_is_empty() -> None:
    """Where all networks diverged an objective may be undefined for every run: the summary is still finite."""
    records = [run(t, recovery_rate=0.0, solved_rate=0.0, diverged_rate=1.0) for t in range(3)]
    summary = summarize_records("s", records, objective=("recovery_rate", "loss_p10"), directions=("maximize",))
    assert summary.pareto is not None
    assert summary.pareto.empty
    assert "diverged" in formats.to_text(summary)


def test_finished_runs_without_any_metric() -> None:
    """Finished runs that lack every metric are counted, not ranked, and each format says so."""
    summary = summarize_records("s", [run(0), run(1)], objective=("loss", "solved_rate"), directions=())
    assert summary.best is None
    assert "No finished trial has a solved rate" in formats.to_text(summary)
    assert "2 trials finished without a solved rate" in formats.to_json(summary)


def test_families_leave_out_runs_that_lack_their_metrics() -> None:
    """An unknown share is not a share of zero."""
    records = [run(0, hidden_size=2, recovery_rate=0.2, contains_rate=0.4, mirror_rate=0.4, solved_rate=0.8)]
    records.append(run(1, hidden_size=2, recovery_rate=0.2, solved_rate=0.8))
    row = families(trials_frame(records)).iloc[0]
    assert (row["settings"], row["hand_designed"]) == (1, 0.4)
