"""A sweep's runs in, its answer out."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from nnexp.analysis import tables
from nnexp.analysis.narrative import percent
from nnexp.analysis.significance import Outcomes
from nnexp.analysis.summary import families, pareto, summarize_records
from nnexp.analysis.trials import levels, measure_of, trials_frame
from nnexp.errors import NotFoundError, UsageError
from tests.helpers.made_up_sweep import Run, run, sweep


def only_small_networks(setting: dict[str, object]) -> float:
    """Recovery of 40% with 2 hidden units, none with more than 4."""
    return {2: 0.4, 3: 0.2, 4: 0.1}.get(setting["hidden_size"], 0.0)  # type: ignore[call-overload, no-any-return]


def test_params_get_their_types_back() -> None:
    """MLflow keeps text; the table has whole numbers, numbers and names, and every metric as a float."""
    frame = trials_frame(
        [run(1, hidden_size=3, learning_rate=0.25, recovery_rate=0.5, solved_rate=0.5, extra=7.0), run(0)]
    )
    assert frame["trial"].tolist() == [0, 1]
    assert frame["hidden_size"].dtype == np.int64
    assert frame["learning_rate"].dtype == np.float64
    assert frame.loc[1, "hidden_size"] == 3
    assert frame.loc[0, "hidden_size"] == 4  # the default that Settings has
    assert frame.loc[1, "extra"] == 7.0
    assert np.isnan(frame.loc[0, "recovery_rate"])


def test_intervals_are_wilsons() -> None:
    """The table's intervals are SciPy's Wilson intervals of the counts."""
    row = trials_frame([run(0, networks=200, recovery_rate=0.37, solved_rate=0.8)]).iloc[0]
    expected = stats.binomtest(74, 200).proportion_ci(method="wilson")
    assert (row["recovery_rate_low"], row["recovery_rate_high"]) == pytest.approx((expected.low, expected.high))
    assert row["recovered"] == 74


def test_adaptive_seeds_count_what_was_trained() -> None:
    """With adaptive seeds the metric `networks` says how many there were."""
    row = trials_frame([Run(0, "run0", params={"seeds": "4096"}, metrics={"networks": 128.0})]).iloc[0]
    assert row["networks"] == 128


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


def test_the_answer_says_who_leads_and_how_sure_that_is() -> None:
    """The headline has the setting, the counts and the interval; without a re-test it says so."""
    records, outcomes = sweep(60, only_small_networks)
    summary = summarize_records("s", records, outcomes=outcomes, sampler="random", planned=60)
    text = " ".join(summary.answer)
    best = summary.best
    assert best is not None
    assert f"trial {best.trial} " in text
    assert "2 hidden units" in text
    assert "not re-tested" in text
    assert "exact McNemar, Holm over all pairs" in text
    assert "hidden size 2 gives" in text
    assert "learning rate 0" not in summary.answer[3]
    assert not any("not finished" in note for note in summary.notes)


def test_a_retest_gives_both_figures() -> None:
    """The re-tested winner is called the best, with what it reached in the sweep and on fresh networks."""
    records, _ = sweep(60, only_small_networks)
    first = summarize_records("s", records).best
    assert first is not None
    fresh = {first.trial: Outcomes(np.arange(256, 1256), np.arange(1000) < 390)}
    summary = summarize_records("s", records, retests=fresh)
    assert summary.answer[0].startswith(f"Best: trial {first.trial}")
    assert "390 of 1,000 networks, 39%" in summary.answer[1]
    assert f"{first.figure.successes} of 256" in summary.answer[0]
    assert summary.ranked["note"].iloc[0] == "re-tested: 39% of 1,000"


def test_a_retest_is_read_back_from_the_runs_metrics() -> None:
    """The metrics `retest_networks` and `retest_rate` of the winner's run count as its re-test."""
    summary = summarize_records(
        "s", [run(0, recovery_rate=0.5, solved_rate=0.5, retest_networks=400, retest_rate=0.45)]
    )
    assert summary.best is not None
    assert summary.best.retest is not None
    assert summary.best.retest.successes == 180


def test_equal_settings_name_no_factor() -> None:
    """Of 15 sweeps of equal settings at most a few say that a factor matters."""
    named = 0
    for seed in range(15):
        records, _ = sweep(60, lambda _: 0.3, seed=seed)
        named += "What matters" in " ".join(summarize_records("s", records).answer)
    assert named <= 2


def test_no_recovery_at_all() -> None:
    """Zero recoveries are stated with what the data cannot rule out."""
    records, _ = sweep(5, lambda _: 0.0)
    text = summarize_records("s", records).answer[0]
    assert text.startswith("No network recovered the hand-designed solution: 0 of 1,280 networks in 5 settings.")
    assert "up to 1.5%" in text


def test_one_trial() -> None:
    """One setting is described, nothing is compared, and no interval over settings is made up."""
    summary = summarize_records("s", [run(0, recovery_rate=0.5, solved_rate=0.75, contains_rate=0.5, mirror_rate=0.25)])
    assert summary.answer[0].startswith("One setting was tried")
    assert summary.marginals["recovery_rate_low"].isna().all()
    assert "128 of 256" in tables.to_text(summary)


def test_all_diverged() -> None:
    """Where everything diverged the answer says that, and what to do."""
    records = [run(t, recovery_rate=0, solved_rate=0, diverged_rate=1) for t in range(3)]
    assert "diverged" in summarize_records("s", records).answer[0]


def test_no_reference_is_judged_by_solving() -> None:
    """A task without a reference is ranked by its solved rate and says nothing of recovery."""
    records = [run(t, task="and", solved_rate=0.1 * t) for t in range(5)]
    summary = summarize_records("s", records)
    assert summary.measure == "solved_rate"
    assert summary.ranked["trial"].iloc[0] == 4
    assert list(summary.families) == ["hidden_size", "settings", "networks", "solved", "not_solved"]
    assert "recover" not in " ".join(summary.answer)
    assert "recovery" not in tables.to_markdown(summary)


def test_a_sweep_still_running_says_so() -> None:
    """Running and missing trials are counted, pruned and failed ones are not ranked."""
    records = [
        run(0, recovery_rate=0.5, solved_rate=0.5),
        run(1, status="RUNNING"),
        run(2, status="KILLED", solved_rate=0.1),
    ]
    summary = summarize_records("s", records, planned=10)
    assert summary.running
    assert len(summary.ranked) == 1
    assert any("2 of 10 trials are done" in note for note in summary.notes)
    assert any("1 trial was pruned, not ranked" in note for note in summary.notes)


def test_nothing_finished_yet() -> None:
    """Runs without results give a summary that renders and says what state they are in."""
    summary = summarize_records("s", [run(0, status="RUNNING"), run(1, status="FAILED")])
    assert summary.best is None
    assert "1 running" in summary.answer[0]
    assert "1 failed" in summary.answer[0]
    assert "No setting has a result yet" in tables.to_text(summary)
    json.loads(tables.to_json(summary))


def test_no_runs_is_an_error_that_says_what_to_do() -> None:
    """An empty sweep has no summary."""
    with pytest.raises(NotFoundError, match="nnexp sweep"):
        summarize_records("s", [])


def test_missing_artifacts_are_named() -> None:
    """What could not be read is named, and the rest is used."""
    summary = summarize_records(
        "s", [run(0, recovery_rate=0.5, solved_rate=0.5)], missing=["networks.parquet of trial 3"]
    )
    assert "Missing and left out: networks.parquet of trial 3." in summary.notes


def test_stop_rule_and_sampler_are_stated() -> None:
    """Early stopping and a crowding sampler limit what the tables say."""
    records = [run(t, recovery_rate=0.5, solved_rate=0.5, stop="solved") for t in range(2)]
    notes = " ".join(summarize_records("s", records, sampler="tpe").notes)
    assert "stop = solved: networks that stop early have not saturated" in notes
    assert "crowds its trials" in notes


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
    assert "Pareto front" in tables.to_text(summary)
    assert pareto(summary.ranked, ["recovery_rate", "loss"], ["maximize", "minimize"]).empty


@pytest.mark.parametrize("settings", [7, 60, 200, 2000])
def test_learning_rates_are_binned_by_decade_fractions(settings: int) -> None:
    """Each value lies in its range, ranges are the same powers of ten for any sweep, finer for more settings."""
    values = pd.Series(10 ** np.random.default_rng(0).uniform(-3, 1, settings))
    labels, order = levels(values, "learning_rate")
    assert set(labels) == set(order)
    if settings == 7:
        assert len(order) == 7
        return
    for value, label in zip(values, labels, strict=True):
        low, high = map(float, label.split("–"))
        assert low * 0.99 <= value <= high * 1.01
    assert "0.01–" in " ".join(order)


def test_a_grids_values_are_its_levels() -> None:
    """Few values are not binned, and values that would print alike stay apart."""
    assert levels(pd.Series([0.1, 1.0, 0.1]), "learning_rate")[1] == ["0.1", "1"]
    assert len(levels(pd.Series([0.10001, 0.10002]), "learning_rate")[1]) == 2


def test_percent_is_never_rounded_to_certainty() -> None:
    """Only nothing is 0% and only everything 100%."""
    shown = [percent(rate) for rate in (0.0, 0.0004, 0.0312, 0.0999, 0.617, 0.9949, 0.9996, 1.0, float("nan"))]
    assert shown == ["0%", "<0.1%", "3.1%", "10%", "62%", "99.5%", ">99.9%", "100%", "–"]


@pytest.fixture(scope="module")
def records() -> list[Run]:
    """A random sweep of 40 settings."""
    return sweep(40, only_small_networks)[0]


def test_every_format_holds_the_same_ranking(records: list[Run], tmp_path: Path) -> None:
    """CSV, Parquet and JSON read back the ranked table; Markdown and text show its first row."""
    summary = summarize_records("s", records)
    for name in ("s.csv", "s.parquet", "s.json", "s.md", "s.txt"):
        tables.write(summary, tmp_path / name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s.csv", "s.json", "s.md", "s.parquet", "s.txt"]
    trials = summary.ranked["trial"].tolist()
    assert pd.read_csv(tmp_path / "s.csv")["trial"].tolist() == trials
    assert pd.read_parquet(tmp_path / "s.parquet")["trial"].tolist() == trials
    plain = json.loads((tmp_path / "s.json").read_text())
    assert [row["trial"] for row in plain["ranked"]] == trials
    assert plain["best"]["in_the_sweep"]["networks"] == 256
    assert f"| 1 | {trials[0]} |" in (tmp_path / "s.md").read_text()
    assert summary.answer[0] in " ".join((tmp_path / "s.txt").read_text().split())


def test_csv_keeps_every_digit(records: list[Run]) -> None:
    """Numbers in the CSV are read back to the bit."""
    summary = summarize_records("s", records)
    # As text, then by Python: how exactly read_csv itself reads a number depends on pandas' version.
    again = pd.read_csv(io.StringIO(tables.to_csv(summary)), dtype={"learning_rate": str})
    assert [float(text) for text in again["learning_rate"]] == summary.ranked["learning_rate"].tolist()


def test_an_unknown_ending_names_the_known_ones(records: list[Run], tmp_path: Path) -> None:
    """A file ending that no format has is wrong usage, and nothing is written."""
    with pytest.raises(UsageError, match=r"\.csv"):
        tables.write(summarize_records("s", records), tmp_path / "s.xlsx")
    assert not list(tmp_path.iterdir())


def test_a_summary_is_the_same_each_time(records: list[Run]) -> None:
    """The bootstrap is seeded: the same runs give the same text, in any order."""
    assert tables.to_json(summarize_records("s", records)) == tables.to_json(summarize_records("s", records[::-1]))


def test_measure_of_an_empty_table() -> None:
    """Nothing finished: judged by solving until a recovery rate is known."""
    assert measure_of(trials_frame([])) == "solved_rate"
