"""The comparison of two runs or two sweeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from nnexp.analysis import trials
from nnexp.analysis.effects import mean_interval, seed_groups
from nnexp.analysis.format import label, with_interval
from nnexp.analysis.significance import Outcomes, holm, mcnemar, outcomes_of, pair, unpaired
from nnexp.analysis.summary import Summary
from nnexp.errors import NotFoundError
from nnexp.recovery.intervals import wilson

#: The grades that are true or false, in the order of a table.
YES_NO = ("correct", "solved", "confident", "contains", "recovered")
#: Rate -> trial -> which of its networks succeeded.
OutcomesByRate = Mapping[str, Mapping[int, Outcomes]]


@dataclass(frozen=True, eq=False)
class Comparison:
    """The comparison of two sweeps or two runs.

    Attributes:
        names: the names of both.
        overview: for sweeps one row each: the number of settings, the first of the ranking with its rate, the mean rate
            over settings with its interval, and the shares of solved and mirror networks. For runs the table of
            `compare_runs`.
        matched: for sweeps one row per setting that both tried: its factors, ``left_trial``, ``right_trial``,
            ``left_rate``, ``right_rate``, ``difference`` (left - right), and if the networks of both trials are known
            ``only_left``, ``only_right``, ``p_value`` (exact McNemar test, network by network) and ``p_holm``. Empty
            for runs.
        answer: the results in words; empty for runs.
    """

    names: tuple[str, str]
    overview: pd.DataFrame
    matched: pd.DataFrame
    answer: tuple[str, ...] = ()

    def tables(self) -> dict[str, list[dict[str, Any]]]:
        """Title -> rows: the overview, then the settings that both tried, if any."""
        tables = {" against ".join(self.names): self.overview, "The same settings": self.matched}
        return {title: _rows(table) for title, table in tables.items() if len(table)}

    def plain(self) -> dict[str, Any]:
        """The answer and the tables, for JSON."""
        return {"answer": self.answer, **self.tables()}


def _rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(key): value for key, value in row.items()} for row in table.to_dict(orient="records")]


def compare_runs(left: pd.DataFrame, right: pd.DataFrame) -> pd.DataFrame:
    """Compare two runs, grade by grade.

    Args:
        left: one row per network: ``index`` and the yes/no grades, as in ``networks.parquet``.
        right: the same of the other run.

    Returns:
        One row per grade that both have: ``grade``, each side's ``networks``, ``rate``, ``low`` and ``high``, the
        ``difference`` left - right with ``test`` ("McNemar, exact" on the networks that both have, "Fisher, exact" if
        they share none), ``p_value`` and ``p_holm``.

    Raises:
        NotFoundError: the runs have no grade in common.
    """
    rows = []
    for grade in YES_NO:
        first, second = outcomes_of(left, grade), outcomes_of(right, grade)
        if first is None or second is None:
            continue
        row: dict[str, Any] = {"grade": grade}
        for name, side in (("left", first), ("right", second)):
            low, high = wilson(side.successes, len(side))
            row |= {f"{name}_networks": len(side), f"{name}_rate": side.successes / len(side)}
            row |= {f"{name}_low": float(low), f"{name}_high": float(high)}
        row["difference"] = row["left_rate"] - row["right_rate"]
        mine, theirs = pair(first, second)
        row["test"] = "McNemar, exact" if len(mine) else "Fisher, exact"
        row["p_value"] = mcnemar(mine, theirs).p_value if len(mine) else unpaired(first, second)
        rows.append(row)
    if not rows:
        raise NotFoundError("the two runs have no grade in common: no grade is in both files networks.parquet")
    frame = pd.DataFrame(rows)
    return frame.assign(p_holm=holm(frame["p_value"].to_numpy(dtype=np.float64)))


def compare_sweeps(
    left: Summary,
    right: Summary,
    *,
    left_outcomes: OutcomesByRate | None = None,
    right_outcomes: OutcomesByRate | None = None,
) -> Comparison:
    """Compare two sweeps, and setting by setting those that both tried.

    Settings are the same when every factor that either sweep varies has the same value. Factors that both keep fixed
    may differ, such as the task or the encoding of two sweeps over one grid. The rates and tests are of the recovery
    rate if both sweeps have one, else of the solved rate.

    Args:
        left: the summary of one sweep.
        right: that of the other.
        left_outcomes: for each rate and trial, which networks succeeded.
        right_outcomes: the same of the other sweep.
    """
    both = left.measure == right.measure == "recovery_rate"
    measure = "recovery_rate" if both else "solved_rate"
    sides = [(outcomes or {}).get(measure, {}) for outcomes in (left_outcomes, right_outcomes)]
    matched = _with_tests(_matched(left.ranked, right.ranked, measure), *sides)
    overview = pd.DataFrame([_overview(summary, measure) for summary in (left, right)])
    answer = _in_words(left.name, right.name, overview, matched, measure)
    return Comparison((left.name, right.name), overview, matched, answer)


def _overview(summary: Summary, measure: str) -> dict[str, Any]:
    ranked = summary.ranked
    rates = ranked[measure].to_numpy(dtype=np.float64)
    low, high = mean_interval(rates, ranked["networks"].to_numpy(), seed_groups(ranked))
    first = summary.best
    return {
        "sweep": summary.name,
        "task": summary.task,
        "settings": len(ranked),
        "networks": int(ranked["networks"].sum()),
        "first_trial": None if first is None else first.trial,
        "first_setting": "" if first is None else first.setting,
        f"first_{measure}": float(ranked[measure].iloc[0]) if len(ranked) else np.nan,
        f"first_{measure}_low": float(ranked[f"{measure}_low"].iloc[0]) if len(ranked) else np.nan,
        f"first_{measure}_high": float(ranked[f"{measure}_high"].iloc[0]) if len(ranked) else np.nan,
        measure: rates.mean() if len(rates) else np.nan,
        f"{measure}_low": low,
        f"{measure}_high": high,
        "solved_share": ranked["solved_rate"].mean(),
        "mirror_share": ranked["mirror_rate"].mean(),
    }


def _matched(left: pd.DataFrame, right: pd.DataFrame, measure: str) -> pd.DataFrame:
    """The settings that both sweeps tried; of repeated settings only the first in the ranking."""
    varied = set(trials.varied(left)) | set(trials.varied(right))
    factors = [factor for factor in trials.FACTORS if factor in varied] or ["hidden_size"]
    columns = [*factors, "trial", measure]
    sides = [
        frame[columns].drop_duplicates(factors).rename(columns={"trial": f"{side}_trial", measure: f"{side}_rate"})
        for side, frame in (("left", left), ("right", right))
    ]
    merged = sides[0].merge(sides[1], on=factors, how="inner", sort=False)
    return merged.assign(difference=merged["left_rate"] - merged["right_rate"])


def _with_tests(matched: pd.DataFrame, left: Mapping[int, Outcomes], right: Mapping[int, Outcomes]) -> pd.DataFrame:
    rows = []
    for at, (mine, theirs) in enumerate(zip(matched["left_trial"], matched["right_trial"], strict=True)):
        if mine in left and theirs in right:
            first, second = pair(left[mine], right[theirs])
            if len(first):
                test = mcnemar(first, second)
                rows.append((at, test.only_first, test.only_second, test.p_value))
    if not rows:
        return matched
    columns = ["at", "only_left", "only_right", "p_value"]
    tests = pd.DataFrame(rows, columns=columns).set_index("at")
    tests["p_holm"] = holm(tests["p_value"].to_numpy(dtype=np.float64))
    return matched.join(tests)


def _in_words(left: str, right: str, overview: pd.DataFrame, matched: pd.DataFrame, measure: str) -> tuple[str, ...]:
    means = [
        f"{row['sweep']} {with_interval(row[measure], row[f'{measure}_low'], row[f'{measure}_high'])}"
        for row in overview.to_dict(orient="records")
    ]
    lines = [f"Mean {label(measure)} over settings, with 95% interval: {'; '.join(means)}."]
    if matched.empty:
        return (*lines, "The sweeps have no setting in common, so no settings are compared.")
    difference = matched["difference"]
    lines.append(
        f"{len(matched):,} settings are in both: {left} is higher in {int((difference > 0).sum()):,}, "
        f"{right} in {int((difference < 0).sum()):,}, mean difference {100 * difference.mean():+.1f} points."
    )
    if "p_holm" in matched:
        tested = matched.dropna(subset=["p_holm"])
        apart = tested[tested["p_holm"] <= 0.05]
        lines.append(
            f"{len(apart):,} of {len(tested):,} tested settings differ (exact McNemar tests, network by network; "
            f"Holm's correction, 5%): {int((apart['only_left'] > apart['only_right']).sum()):,} in favour of {left}, "
            f"{int((apart['only_left'] < apart['only_right']).sum()):,} of {right}."
        )
    return tuple(lines)
