"""Two runs, or two sweeps, side by side (floor 3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from nnexp.analysis import narrative
from nnexp.analysis import trials as frames
from nnexp.analysis.effects import bootstrap_mean
from nnexp.analysis.significance import Outcomes, holm, mcnemar, outcomes_of, pair, unpaired
from nnexp.analysis.summary import Summary
from nnexp.errors import NotFoundError
from nnexp.recovery.intervals import wilson

#: The grades that a network either has or has not, in the order of a table.
YES_NO = ("correct", "solved", "confident", "contains", "recovered")


def compare_runs(left: pd.DataFrame, right: pd.DataFrame) -> pd.DataFrame:
    """Two runs side by side, grade by grade.

    Args:
        left: a row a network: ``index`` and the yes/no grades, as in `networks.parquet`.
        right: the same of the other run.

    Returns:
        A row a grade that both have: ``grade``, each side's ``networks``, ``rate``, ``low`` and ``high``, the
        ``difference`` left - right with ``test`` ("McNemar, exact" on the networks both have, "Fisher, exact" where
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
        raise NotFoundError(
            "the two runs have no grade in common: neither networks.parquet holds one that the other has"
        )
    frame = pd.DataFrame(rows)
    return frame.assign(p_holm=holm(frame["p_value"].to_numpy(dtype=np.float64)))


@dataclass(frozen=True, eq=False)
class SweepComparison:
    """Two sweeps side by side.

    Attributes:
        answer: what the tables say, in words.
        overview: a row a sweep: how many settings, the first of its ranking with its figure, the mean rate over
            settings with its bootstrap interval, and the shares of mirror and solved networks.
        matched: a row a setting that both sweeps tried: its factors, ``left_trial``, ``right_trial``, ``left_rate``,
            ``right_rate``, ``difference`` (left - right), and where both trials' networks are at hand ``only_left``,
            ``only_right``, ``p_value`` (exact McNemar, network by network) and ``p_holm``.
        measure: the rate compared.
    """

    answer: tuple[str, ...]
    overview: pd.DataFrame
    matched: pd.DataFrame
    measure: str


def compare_sweeps(
    left: Summary,
    right: Summary,
    *,
    left_outcomes: Mapping[int, Outcomes] | None = None,
    right_outcomes: Mapping[int, Outcomes] | None = None,
) -> SweepComparison:
    """Two sweeps side by side, and setting by setting where both tried the same.

    Settings are the same when every factor that either sweep varies has the same value: what both hold fixed may
    differ, such as the task or the encoding of two sweeps over one grid.

    Args:
        left: one sweep's summary.
        right: the other's.
        left_outcomes: which networks of each trial succeeded, in the measure compared.
        right_outcomes: the same of the other sweep.

    Returns:
        The comparison, in the recovery rate where both sweeps have one, else in the solved rate.
    """
    both = left.measure == right.measure == "recovery_rate"
    measure = "recovery_rate" if both else "solved_rate"
    matched = _matched(left.ranked, right.ranked, measure)
    matched = _with_tests(matched, left_outcomes or {}, right_outcomes or {})
    overview = pd.DataFrame([_overview(summary, measure) for summary in (left, right)])
    return SweepComparison(_in_words(left, right, overview, matched, measure), overview, matched, measure)


def _overview(summary: Summary, measure: str) -> dict[str, Any]:
    ranked = summary.ranked
    rates = ranked[measure].to_numpy(dtype=np.float64)
    groups = ranked.groupby(["seed", "hidden_size", "init"]).ngroup().to_numpy()
    low, high = bootstrap_mean(rates, ranked["networks"].to_numpy(), groups)
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
    """The settings that both sweeps tried, each once: of repeated settings the first in the ranking stands."""
    varied = set(frames.varied(left)) | set(frames.varied(right))
    factors = [factor for factor in frames.FACTORS if factor in varied] or ["hidden_size"]
    columns = [*factors, "trial", measure]
    sides = [
        frame[columns].drop_duplicates(factors).rename(columns={"trial": f"{side}_trial", measure: f"{side}_rate"})
        for side, frame in (("left", left), ("right", right))
    ]
    merged = sides[0].merge(sides[1], on=factors, how="inner", sort=False)
    return merged.assign(difference=merged["left_rate"] - merged["right_rate"])


def _with_tests(matched: pd.DataFrame, left: Mapping[int, Outcomes], right: Mapping[int, Outcomes]) -> pd.DataFrame:
    rows = []
    for at, trials in enumerate(zip(matched["left_trial"], matched["right_trial"], strict=True)):
        if trials[0] in left and trials[1] in right:
            mine, theirs = pair(left[trials[0]], right[trials[1]])
            if len(mine):
                test = mcnemar(mine, theirs)
                rows.append((at, test.only_first, test.only_second, test.p_value))
    if not rows:
        return matched
    columns = ["at", "only_left", "only_right", "p_value"]
    tests = pd.DataFrame(rows, columns=columns).set_index("at")
    tests["p_holm"] = holm(tests["p_value"].to_numpy(dtype=np.float64))
    return matched.join(tests)


def _in_words(
    left: Summary, right: Summary, overview: pd.DataFrame, matched: pd.DataFrame, measure: str
) -> tuple[str, ...]:
    what = narrative.label(measure)
    means = [
        f"{row['sweep']} {narrative.percent(row[measure])} "
        f"({narrative.interval(row[f'{measure}_low'], row[f'{measure}_high'])})"
        for row in overview.to_dict(orient="records")
    ]
    lines = [f"Mean {what} over settings, bootstrap over settings: {'; '.join(means)}."]
    if matched.empty:
        return (*lines, "The sweeps have no setting in common, so nothing is compared pair by pair.")
    difference = matched["difference"]
    lines.append(
        f"{len(matched):,} settings are in both: {left.name} is higher in {int((difference > 0).sum()):,}, "
        f"{right.name} in {int((difference < 0).sum()):,}, mean difference {100 * difference.mean():+.1f} points."
    )
    if "p_holm" in matched:
        apart = matched[matched["p_holm"] <= 0.05]
        lines.append(
            f"{len(apart):,} of these differ beyond chance (exact McNemar, network by network; Holm at 5%): "
            f"{int((apart['difference'] > 0).sum()):,} in favour of {left.name}, "
            f"{int((apart['difference'] < 0).sum()):,} of {right.name}."
        )
    return tuple(lines)
