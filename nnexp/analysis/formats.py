"""A summary as text, Markdown, JSON, CSV or Parquet."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from nnexp import _atomic
from nnexp.analysis.layout import blocks, paragraph
from nnexp.analysis.summary import Summary
from nnexp.analysis.tables import sections
from nnexp.errors import UsageError
from nnexp.network.network_file import plain

_WIDTH = 110  # of paragraphs where no width is asked for
_PADDING = 2  # tabulate makes a column this much wider than its heading


def aligned(table: pd.DataFrame, style: str, width: int | None = None) -> str:
    """Text cells in aligned columns, columns of numbers to the right.

    Args:
        table: of text cells.
        style: a table format of the library tabulate, such as "simple" or "github".
        width: characters that a line may have; what does not fit is printed below.
    """
    right = [all(text[:1] in "0123456789<>–-" for text in table[column]) for column in table]
    texts = []
    for block in blocks(list(map(str, table)), table.to_numpy().tolist(), width, padding=_PADDING):
        part = pd.DataFrame(block.rows, columns=block.headings)
        sides = ["right" if right[i] else "left" for i in block.columns]
        texts.append(str(part.to_markdown(index=False, tablefmt=style, disable_numparse=True, colalign=sides)))
    return "\n\n".join(texts)


def to_text(summary: Summary, top: int | None = 10, width: int | None = None) -> str:
    """The answer, the tables and the notes as plain text.

    Args:
        summary: what to write.
        top: how many settings; None for all.
        width: the terminal's, in characters; None for a file, whose tables have one line per row.
    """
    wide = width or _WIDTH
    title = "which settings recover the hand-designed solution"
    if summary.measure == "solved_rate":
        title = "which settings solve the task (it has no hand-designed solution)"
    parts = [paragraph(f"{summary.name}: {title}", wide)]
    parts += ["\n".join(paragraph(line, wide) for line in summary.answer)]
    parts += [
        f"{paragraph(heading, wide)}\n{aligned(table, 'simple', width)}" for heading, table in sections(summary, top)
    ]
    parts += ["\n".join(paragraph(f"Note: {note}", wide) for note in summary.notes)] if summary.notes else []
    return "\n\n".join(parts) + "\n"


def to_markdown(summary: Summary, top: int | None = 20) -> str:
    """The answer, the tables and the notes as Markdown; bars in cells are escaped."""
    parts = [f"# Sweep `{summary.name}`", "\n\n".join(summary.answer)]
    for heading, table in sections(summary, top):
        escaped = table.map(lambda text: text.replace("|", "\\|"))
        parts.append(f"## {heading}\n\n{aligned(escaped, 'github')}")
    parts += ["## Notes\n\n" + "\n".join(f"- {note}" for note in summary.notes)] if summary.notes else []
    return "\n\n".join(parts) + "\n"


def to_json(summary: Summary) -> str:
    """The whole summary as JSON. Its tables are lists with one object per row; undefined numbers are null."""
    best = summary.best
    tables = {name: getattr(summary, name) for name in ("ranked", "marginals", "families", "rivals", "pareto")}
    whole = {
        "name": summary.name,
        "task": summary.task,
        "measure": summary.measure,
        "answer": summary.answer,
        "notes": summary.notes,
        "counts": summary.counts,
        "planned": summary.planned,
        "best": best
        and {
            "trial": best.trial,
            "run_id": best.run_id,
            "setting": best.setting,
            "in_the_sweep": dataclasses.asdict(best.estimate),
            "retest": best.retest and dataclasses.asdict(best.retest),
        },
        "play_off": summary.play_off and {**dataclasses.asdict(summary.play_off), "left": len(summary.play_off.left)},
        "importance": summary.importance,
        **{name: None if table is None else table.to_dict(orient="records") for name, table in tables.items()},
    }
    return json.dumps(plain(whole), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def to_csv(summary: Summary) -> str:
    """The ranked table with every column, as CSV."""
    return str(summary.ranked.to_csv(index=False, lineterminator="\n"))


def write(summary: Summary, path: Path) -> None:
    """Write a summary to a file, atomically, in the format of its ending.

    Args:
        summary: what to write.
        path: ends in .txt, .md, .json, .csv or .parquet (the last two hold the ranked table).

    Raises:
        UsageError: another ending.
    """
    texts: dict[str, Callable[[Summary], str]] = {
        ".txt": to_text,
        ".md": to_markdown,
        ".json": to_json,
        ".csv": to_csv,
    }
    if path.suffix == ".parquet":
        _atomic.write_with(path, lambda temporary: summary.ranked.to_parquet(temporary, index=False))
    elif path.suffix in texts:
        _atomic.write_text(path, texts[path.suffix](summary))
    else:
        raise UsageError(f"file = {str(path)!r}: expected an ending of {', '.join((*texts, '.parquet'))}")
