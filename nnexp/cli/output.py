"""Results on stdout: tables for people, JSON for programs (floor 5)."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click

_WIDTH = 1000  # of a table that goes to a file or a pipe: no cell is broken


def draw(columns: Sequence[str], rows: Iterable[Sequence[object]], title: str = "") -> None:
    """Print a table; columns of numbers are set flush right."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    rows = [list(row) for row in rows]
    drawn = Table(box=box.SIMPLE_HEAD, show_edge=False, title_justify="left", pad_edge=False)
    drawn.title = Text(title, style="bold") if title else None
    for place, column in enumerate(columns):
        numeric = bool(rows) and all(isinstance(row[place], int | float) or row[place] is None for row in rows)
        drawn.add_column(Text(column), justify="right" if numeric else "left")
    for row in rows:
        drawn.add_row(*(Text(written(value)) for value in row))
    terminal = sys.stdout.isatty()
    Console(file=sys.stdout, width=None if terminal else _WIDTH, highlight=False).print(drawn)


def written(value: object) -> str:
    """A value as a table's cell shows it."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)


def document(value: Any) -> None:
    """Print ``value`` as JSON; what is no finite number becomes null."""
    click.echo(json.dumps(_plain(value), indent=2, allow_nan=False, ensure_ascii=False))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, str) or value is None:
        return value
    if hasattr(value, "tolist"):  # NumPy's arrays and scalars
        return _plain(value.tolist())
    if isinstance(value, Iterable):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, bool | int | float) else str(value)


def records(found: Sequence[Mapping[str, Any]], title: str = "") -> None:
    """Print rows with the same keys as a table; a rate and its lower and upper end make one column."""
    rows: list[dict[str, Any]] = _plain(found)
    names = list(rows[0]) if rows else []
    bounds = {name: ends for name in names if (ends := _ends(name, names))}
    folded = {end for ends in bounds.values() for end in ends}
    columns = [name for name in names if name not in folded]
    cells = [[_rate(row, name, bounds[name]) if name in bounds else row[name] for name in columns] for row in rows]
    draw([name.replace("_", " ") for name in columns], cells, title)


def _ends(name: str, names: Sequence[str]) -> tuple[str, str] | None:
    """The columns of a rate's interval: ``x_rate`` has ``x_rate_low`` or ``x_low``, and likewise ``high``."""
    for stem in (name, name.removesuffix("_rate")):
        if f"{stem}_low" in names and f"{stem}_high" in names:
            return f"{stem}_low", f"{stem}_high"
    return None


def _rate(row: Mapping[str, Any], name: str, ends: tuple[str, str]) -> str:
    rate, low, high = row[name], row[ends[0]], row[ends[1]]
    if rate is None:
        return written(rate)
    return f"{rate:.1%}" if low is None or high is None else f"{rate:.1%} ({low:.1%} to {high:.1%})"


def pairs(rows: Iterable[tuple[str, str]]) -> None:
    """Print names and what they are, in two columns."""
    rows = list(rows)
    width = max((len(name) for name, _ in rows), default=0)
    for name, value in rows:
        click.echo(f"{name:<{width}}  {value}")
