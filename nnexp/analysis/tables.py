"""A summary as text, Markdown, JSON, CSV or Parquet (floor 3)."""

from __future__ import annotations

import json
import os
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nnexp.analysis import narrative
from nnexp.analysis.summary import Summary
from nnexp.errors import UsageError

#: What a reader first wants of the ranked table; the files hold every column.
_SHORT = ("networks", "recovery_rate", "solved_rate", "mirror_rate", "note")
_WIDTH = 110  # of paragraphs on a terminal
FORMATS = (".txt", ".md", ".json", ".csv", ".parquet")


def cell(value: Any, column: str = "") -> str:
    """One value as a reader wants it; rates in percent, what is undefined as a dash."""
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return "–"
    if isinstance(value, float):
        if "rate" in column and "learning" not in column:
            return narrative.percent(float(value))
        return f"{float(value):.3g}" if abs(value) < 1e3 else f"{float(value):,.0f}"
    if isinstance(value, int | np.integer):
        return f"{int(value):,}" if column == "networks" else str(value)
    return str(value)


def with_interval(frame: pd.DataFrame, rate: str) -> list[str]:
    """A column of rates with its interval, such as ``62% (56% to 67%)``."""
    texts = []
    for value, low, high in zip(frame[rate], frame[f"{rate}_low"], frame[f"{rate}_high"], strict=True):
        if np.isnan(value):
            texts.append("–")
        elif np.isnan(low):
            texts.append(narrative.percent(value))
        else:
            texts.append(f"{narrative.percent(value)} ({narrative.interval(low, high)})")
    return texts


def ranked_table(summary: Summary, top: int | None = None, columns_after: Sequence[str] = _SHORT) -> pd.DataFrame:
    """The ranked settings as text cells: rank, trial, the factors, then the rates, the measure's with its interval.

    Args:
        summary: the sweep's.
        top: how many settings, all by default.
        columns_after: which columns follow the factors.
    """
    frame = summary.ranked if top is None else summary.ranked.head(top)
    columns = {}
    for column in ("rank", "trial", *summary.factors, *columns_after):
        if frame[column].isna().all():
            continue
        if column in ("recovery_rate", "solved_rate"):
            columns[narrative.label(column)] = with_interval(frame, column)
        else:
            columns[narrative.label(column)] = [cell(value, column) for value in frame[column].tolist()]
    if not any(columns.get("note", ())):
        columns.pop("note", None)
    return pd.DataFrame(columns)


def marginals_table(summary: Summary, factor: str | None = None) -> pd.DataFrame:
    """The marginals as text cells, of one factor or of all."""
    frame = summary.marginals
    if factor is not None:
        frame = frame[frame["factor"] == factor]
    table = pd.DataFrame(
        {"factor": [narrative.label(name) for name in frame["factor"]], "level": frame["level"].tolist()}
    )
    for column in ("settings", "networks"):
        table[column] = [cell(value, column) for value in frame[column].tolist()]
    for rate in ("recovery_rate", "solved_rate"):
        if frame[rate].notna().any():
            table[narrative.label(rate)] = with_interval(frame, rate)
    for rate in ("mirror_rate", "best_rate"):
        if frame[rate].notna().any():
            table[narrative.label(rate)] = [narrative.percent(value) for value in frame[rate]]
    return table


def families_table(summary: Summary) -> pd.DataFrame:
    """The families' shares as text cells."""
    return pd.DataFrame(
        {
            narrative.label(str(column)): [
                narrative.percent(value) if isinstance(value, float) else cell(value, str(column))
                for value in summary.families[column].tolist()
            ]
            for column in summary.families
        }
    )


def pareto_table(summary: Summary) -> pd.DataFrame | None:
    """The Pareto front's settings as text cells, None for a sweep of one objective."""
    if summary.pareto is None:
        return None
    known = dict.fromkeys(["trial", *summary.factors, "recovery_rate", "solved_rate", "epochs_to_solve_median", "loss"])
    columns = [column for column in known if column in summary.pareto and not summary.pareto[column].isna().all()]
    return pd.DataFrame({narrative.label(c): [cell(value, c) for value in summary.pareto[c].tolist()] for c in columns})


def sections(summary: Summary, top: int | None = None) -> list[tuple[str, pd.DataFrame]]:
    """The tables of a summary with their headings, those that hold a row."""
    shown = len(summary.ranked) if top is None else min(top, len(summary.ranked))
    of = "" if shown == len(summary.ranked) else f" (first {shown} of {len(summary.ranked):,})"
    front = pareto_table(summary)
    tables = [
        (f"Settings, best first{of}", ranked_table(summary, top)),
        *([("Pareto front", front)] if front is not None else []),
        ("Averages over settings, intervals by bootstrap over settings", marginals_table(summary)),
        ("Families of solutions by hidden size", families_table(summary)),
    ]
    return [(heading, table) for heading, table in tables if len(table)]


def text_table(table: pd.DataFrame) -> str:
    """Text cells in aligned columns, numbers to the right."""
    rows = [list(map(str, table.columns)), *(list(map(str, row)) for row in table.itertuples(index=False))]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    right = [all(row[i][:1] in "0123456789<>–-" for row in rows[1:]) for i in range(len(widths))]
    lines = [
        "  ".join(text.rjust(w) if r else text.ljust(w) for text, w, r in zip(row, widths, right, strict=True)).rstrip()
        for row in rows
    ]
    return "\n".join([lines[0], "  ".join("─" * w for w in widths), *lines[1:]])


def markdown_table(table: pd.DataFrame) -> str:
    """Text cells as a Markdown table; bars in cells are escaped."""
    rows = [list(map(str, table.columns)), ["---"] * len(table.columns)]
    rows += [[str(value).replace("|", "\\|") for value in row] for row in table.itertuples(index=False)]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _wrapped(line: str) -> str:
    return textwrap.fill(line, _WIDTH, break_on_hyphens=False, break_long_words=False)


def to_text(summary: Summary, top: int | None = 10) -> str:
    """The answer, then the tables, in plain text for a terminal."""
    parts = [f"{summary.name}: which settings recover the hand-designed solution"]
    if summary.measure == "solved_rate":
        parts = [f"{summary.name}: which settings solve the task (it has no hand-designed solution)"]
    parts += ["\n".join(_wrapped(line) for line in summary.answer)]
    parts += [f"{heading}\n{text_table(table)}" for heading, table in sections(summary, top)]
    parts += ["\n".join(_wrapped(f"Note: {note}") for note in summary.notes)] if summary.notes else []
    return "\n\n".join(parts) + "\n"


def to_markdown(summary: Summary, top: int | None = 20) -> str:
    """The same as Markdown."""
    parts = [f"# Sweep `{summary.name}`", "\n\n".join(summary.answer)]
    parts += [f"## {heading}\n\n{markdown_table(table)}" for heading, table in sections(summary, top)]
    parts += ["## Notes\n\n" + "\n".join(f"- {note}" for note in summary.notes)] if summary.notes else []
    return "\n\n".join(parts) + "\n"


def _plain(value: Any) -> Any:
    """What JSON can hold: nan, infinity and missing become null, NumPy's scalars Python's."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not np.isfinite(value):
        return None
    if isinstance(value, pd.Timestamp):
        return value.isoformat()
    return value


def to_plain(summary: Summary) -> dict[str, Any]:
    """The whole summary as plain lists and dictionaries, for ``--json``."""
    best = summary.best
    tables = {
        "ranked": summary.ranked,
        "marginals": summary.marginals,
        "families": summary.families,
        "rivals": summary.rivals,
        "pareto": summary.pareto,
    }
    whole = {
        "name": summary.name,
        "task": summary.task,
        "measure": summary.measure,
        "answer": list(summary.answer),
        "notes": list(summary.notes),
        "counts": dict(summary.counts),
        "planned": summary.planned,
        "best": None
        if best is None
        else {
            "trial": best.trial,
            "run_id": best.run_id,
            "setting": best.setting,
            "in_the_sweep": vars(best.figure),
            "retest": None if best.retest is None else vars(best.retest),
        },
        "importance": {key: dict(value) for key, value in summary.importance.items()},
        **{key: None if table is None else table.to_dict(orient="records") for key, table in tables.items()},
    }
    return {key: _plain(value) for key, value in whole.items()}


def to_json(summary: Summary) -> str:
    """The whole summary as JSON (see `to_plain`)."""
    return json.dumps(to_plain(summary), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def to_csv(summary: Summary) -> str:
    """The ranked table with every column, as CSV."""
    return str(summary.ranked.to_csv(index=False, lineterminator="\n"))


def to_parquet(summary: Summary, path: str | os.PathLike[str]) -> None:
    """The ranked table with every column, as a Parquet file."""
    summary.ranked.to_parquet(path, index=False)


def write(summary: Summary, path: str | os.PathLike[str]) -> None:
    """Writes a summary to a file, in the format of its ending; the file is whole or not there.

    Args:
        summary: what to write.
        path: ends in .txt, .md, .json, .csv or .parquet (the last two hold the ranked table).

    Raises:
        UsageError: another ending.
    """
    target = Path(path)
    if target.suffix not in FORMATS:
        raise UsageError(f"file = {str(path)!r}: expected an ending of {', '.join(FORMATS)}")
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        if target.suffix == ".parquet":
            to_parquet(summary, partial)
        else:
            make = {".txt": to_text, ".md": to_markdown, ".json": to_json, ".csv": to_csv}[target.suffix]
            partial.write_text(make(summary), encoding="utf-8")
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
