"""The tables of a summary as text cells, for a terminal, Markdown and the report."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from nnexp.analysis import format as fmt
from nnexp.analysis.summary import Summary

#: The columns after the factors in the ranked table; files such as CSV hold every column.
_SHORT = ("networks", "recovery_rate", "solved_rate", "mirror_rate", "note")


def cell(value: Any, column: str = "") -> str:
    """One value as text: a rate in percent, an undefined value as a dash."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, float):
        if "rate" in column and "learning" not in column:
            return fmt.percent(value)
        return f"{value:.3g}" if abs(value) < 1e3 else f"{value:,.0f}"
    if isinstance(value, int | np.integer):
        return f"{int(value):,}" if column == "networks" else str(value)
    return str(value)


def rates(frame: pd.DataFrame, rate: str) -> list[str]:
    """A column of rates with its intervals, such as ``62% (56% to 67%)``."""
    return list(map(fmt.with_interval, frame[rate], frame[f"{rate}_low"], frame[f"{rate}_high"]))


def ranked_table(summary: Summary, top: int | None = None, columns_after: Sequence[str] = _SHORT) -> pd.DataFrame:
    """The ranked settings: rank, trial, the factors, then other columns; rates are shown with their intervals.

    Args:
        summary: of the sweep.
        top: how many settings; None for all.
        columns_after: which columns follow the factors.
    """
    frame = summary.ranked if top is None else summary.ranked.head(top)
    columns = {}
    for column in ("rank", "trial", *summary.factors, *columns_after):
        if frame[column].isna().all():
            continue
        if column in ("recovery_rate", "solved_rate"):
            columns[fmt.label(column)] = rates(frame, column)
        else:
            columns[fmt.label(column)] = [cell(value, column) for value in frame[column].tolist()]
    if not any(columns.get("note", ())):
        columns.pop("note", None)
    return pd.DataFrame(columns)


def marginals_table(summary: Summary) -> pd.DataFrame:
    """The mean rates at each level of each factor."""
    frame = summary.marginals
    table = pd.DataFrame({"factor": [fmt.label(name) for name in frame["factor"]], "level": frame["level"].tolist()})
    for column in ("settings", "networks"):
        table[column] = [cell(value, column) for value in frame[column].tolist()]
    for rate in ("recovery_rate", "solved_rate"):
        if frame[rate].notna().any():
            table[fmt.label(rate)] = rates(frame, rate)
    for rate in ("mirror_rate", "best_rate"):
        if frame[rate].notna().any():
            table[fmt.label(rate)] = [fmt.percent(value) for value in frame[rate]]
    return table


def families_table(shares: pd.DataFrame) -> pd.DataFrame:
    """The families' shares by hidden size."""
    return pd.DataFrame(
        {
            fmt.label(str(column)): [
                fmt.percent(value) if isinstance(value, float) else cell(value, str(column))
                for value in shares[column].tolist()
            ]
            for column in shares
        }
    )


def pareto_table(summary: Summary) -> pd.DataFrame | None:
    """The settings of the Pareto front; None for a sweep with one objective."""
    if summary.pareto is None:
        return None
    known = dict.fromkeys(["trial", *summary.factors, "recovery_rate", "solved_rate", "epochs_to_solve_median", "loss"])
    columns = [column for column in known if column in summary.pareto and not summary.pareto[column].isna().all()]
    return pd.DataFrame({fmt.label(c): [cell(value, c) for value in summary.pareto[c].tolist()] for c in columns})


def contenders_table(summary: Summary) -> pd.DataFrame | None:
    """The settings of the play-off with their rates on fresh networks; None where fewer than two took part."""
    if summary.play_off is None or len(summary.play_off.contenders) < 2:
        return None
    rows = [
        {
            "trial": str(each.trial),
            "setting": each.setting,
            "fresh networks": f"{each.fresh.networks:,}",
            fmt.label(summary.measure): fmt.with_interval(each.fresh.rate, each.fresh.low, each.fresh.high),
            "may be the best": "yes" if each.left else "no",
        }
        for each in summary.play_off.contenders
    ]
    return pd.DataFrame(rows)


def sections(summary: Summary, top: int | None) -> list[tuple[str, pd.DataFrame]]:
    """The tables of a summary with their headings; empty tables are left out."""
    shown = len(summary.ranked) if top is None else min(top, len(summary.ranked))
    of = "" if shown == len(summary.ranked) else f" (first {shown} of {len(summary.ranked):,})"
    front, again = pareto_table(summary), contenders_table(summary)
    tables = [
        *([("The play-off, on fresh networks", again)] if again is not None else []),
        (f"Settings, best first{of}", ranked_table(summary, top)),
        *([("Pareto front", front)] if front is not None else []),
        ("Averages over settings, with 95% intervals over settings", marginals_table(summary)),
        ("Families of solutions by hidden size", families_table(summary.families)),
    ]
    return [(heading, table) for heading, table in tables if len(table)]
