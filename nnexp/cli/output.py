"""Results on stdout: tables and text for people, JSON for programs."""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click

_UNLIMITED = 10_000  # characters of a line in a file or a pipe


def terminal_width() -> int | None:
    """The width of the terminal that stdout is, in characters; None for a file or a pipe."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], title: str = "") -> None:
    """Print a table; columns of numbers are aligned to the right.

    On a terminal, columns that do not fit are printed below the others. In a file or a
    pipe every row is one line.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from nnexp.analysis.layout import blocks

    rows, width = [list(row) for row in rows], terminal_width()
    # Without a height, rich takes a terminal without escape sequences to be 80 characters wide.
    console = Console(file=sys.stdout, width=width or _UNLIMITED, height=25, highlight=False)
    if title:
        console.print(Text(title, style="bold"))
    numeric = [
        bool(rows) and all(row[i] is None or isinstance(row[i], int | float) for row in rows)
        for i in range(len(columns))
    ]
    cells = [[format_value(value) for value in row] for row in rows]
    for at, block in enumerate(blocks(columns, cells, width, gap=3)):
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
        for i, heading in zip(block.columns, block.headings, strict=True):
            table.add_column(Text(heading), justify="right" if numeric[i] else "left")
        for row in block.rows:
            table.add_row(*map(Text, row))
        if at:
            console.print()
        console.print(table)


def print_prose(text: str) -> None:
    """Print a paragraph, wrapped at spaces on a terminal."""
    from nnexp.analysis.layout import paragraph

    width, text = terminal_width(), printable(text)
    click.echo(paragraph(text, width) if width else text)


def print_records(rows: Sequence[Mapping[Any, Any]], title: str = "") -> None:
    """Print a table whose rows have the same keys; a rate and the bounds of its interval share one column.

    Without rows there are no columns, and only the title is printed.
    """
    if not rows:
        click.echo(title)
        return
    names = list(rows[0])
    bounds = {name: pair for name in names if (pair := _bounds(name, names))}
    columns = [name for name in names if all(name not in pair for pair in bounds.values())]
    cells = [
        [_with_interval(row, name, bounds[name]) if name in bounds else row[name] for name in columns] for row in rows
    ]
    print_table([name.replace("_", " ") for name in columns], cells, title)


def _bounds(name: str, names: Sequence[str]) -> tuple[str, str] | None:
    """The columns with the interval of a rate: ``x_rate`` has ``x_rate_low`` or ``x_low``, and so for ``high``."""
    for stem in (name, name.removesuffix("_rate")):
        if f"{stem}_low" in names and f"{stem}_high" in names:
            return f"{stem}_low", f"{stem}_high"
    return None


def _with_interval(row: Mapping[str, Any], name: str, bounds: tuple[str, str]) -> str:
    rate, low, high = row[name], row[bounds[0]], row[bounds[1]]
    if _is_undefined(rate):
        return format_value(rate)
    return f"{rate:.1%}" if _is_undefined(low) or _is_undefined(high) else f"{rate:.1%} ({low:.1%} to {high:.1%})"


def _is_undefined(value: object) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def printable(text: str) -> str:
    """``text`` without control characters: text from a store must not move the cursor or change the terminal."""
    return "".join(char for char in text if char.isprintable() or char == "\n")


def format_value(value: object) -> str:
    """A value as the text of a cell; a dash if it is undefined."""
    if _is_undefined(value):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else printable(str(value))


def print_pairs(rows: Iterable[tuple[str, str]]) -> None:
    """Print names and values in two columns."""
    from nnexp.analysis.layout import paragraph

    rows, terminal = list(rows), terminal_width()
    width = max((len(name) for name, _ in rows), default=0)
    for name, value in rows:
        line = printable(f"{name:<{width}}  {value}")
        click.echo(paragraph(line, terminal, indent=" " * (width + 2)) if terminal else line)


def print_json(value: Any) -> None:
    """Print ``value`` as JSON; nan and infinity become null, dataclasses objects."""
    from nnexp.network.network_file import plain

    click.echo(json.dumps(plain(value), indent=2, allow_nan=False, ensure_ascii=False, default=dataclasses.asdict))
