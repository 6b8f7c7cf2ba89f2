"""Results on stdout: tables for people, JSON for programs (floor 5)."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from pandas import DataFrame

_WIDTH = 160  # of a table that goes to a file or a pipe


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


def frame(table: DataFrame, title: str = "") -> None:
    """Print a DataFrame as a table, without its index."""
    rows = [[_plain(value) for value in row] for row in table.itertuples(index=False)]
    draw([str(column) for column in table.columns], rows, title)


def pairs(rows: Iterable[tuple[str, str]]) -> None:
    """Print names and what they are, in two columns."""
    rows = list(rows)
    width = max((len(name) for name, _ in rows), default=0)
    for name, value in rows:
        click.echo(f"{name:<{width}}  {value}")
