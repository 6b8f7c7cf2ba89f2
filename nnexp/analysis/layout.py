"""Tables of text cells and paragraphs laid out for the width of a terminal, without cutting a word or a digit."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace

#: The fewest characters that a column of text is wrapped to.
NARROWEST = 16


@dataclass(frozen=True)
class Block:
    """Some of a table's columns, which fit beside each other; cells and headings may hold several lines.

    Attributes:
        columns: their numbers in the table.
        headings: one for each column.
        rows: one list of cells for each row of the table.
    """

    columns: list[int]
    headings: list[str]
    rows: list[list[str]]


def blocks(
    headings: Sequence[str], rows: Sequence[Sequence[str]], width: int | None, *, gap: int = 2, padding: int = 0
) -> list[Block]:
    """A table as blocks that fit a width and are to be printed below each other.

    Text and headings are wrapped at spaces. Columns for which there is still no room form further blocks, each of which
    begins with the key columns again: the fewest leading ones that tell the rows apart. A row is left out of a further
    block where it has no text.

    Args:
        headings: the table's.
        rows: its cells, one list for each row.
        width: characters; None for a table of one block whose cells stay as they are.
        gap: characters between two columns.
        padding: how many characters more than its heading a column has at least.
    """
    whole = range(len(headings))
    table = [[headings[i], *(row[i] for row in rows)] for i in whole]

    def needed(column: Sequence[str]) -> int:
        return max(_longest(column[:1]) + padding, _longest(column[1:]))

    if width is None or sum(map(needed, table)) + gap * (len(table) - 1) <= width:
        return [_block(table, list(whole))]
    table = [[_heading(column, padding), *column[1:]] for column in table]
    keys = _keys(rows)
    if sum(needed(table[i]) + gap for i in range(keys)) > width / 2:
        keys, table[0] = 1, [_wrapped(cell, width // 2) for cell in table[0]]
    rest = width - sum(needed(table[i]) + gap for i in range(keys))
    for i in whole[keys:]:
        table[i] = [_wrapped(cell, max(NARROWEST, rest)) for cell in table[i]]
    found, room = [list(range(keys))], rest
    for i in whole[keys:]:
        if needed(table[i]) > room and len(found[-1]) > keys:
            found.append(list(range(keys)))
            room = rest
        found[-1].append(i)
        room -= needed(table[i]) + gap
    first, *others = [_block(table, columns) for columns in found]
    return [first, *(replace(block, rows=[row for row in block.rows if any(row[keys:])]) for block in others)]


def _heading(column: Sequence[str], padding: int) -> str:
    """A column's heading, wrapped so that it is not wider than the cells, or than its longest word."""
    words = [len(word) for word in column[0].split()]
    return _wrapped(column[0], max(_longest(column[1:]) - padding, *words, 1))


def _keys(rows: Sequence[Sequence[str]]) -> int:
    """The fewest leading columns in which all rows differ; 1 where there are none."""
    for count in range(1, len(rows[0]) if rows else 1):
        if len({tuple(row[:count]) for row in rows}) == len(rows):
            return count
    return 1


def paragraph(text: str, width: int, indent: str = "") -> str:
    """Prose wrapped at spaces, all lines but the first indented."""
    return textwrap.fill(text, width, break_on_hyphens=False, break_long_words=False, subsequent_indent=indent)


def _block(table: list[list[str]], columns: list[int]) -> Block:
    rows = zip(*(table[i][1:] for i in columns), strict=True)
    return Block(columns, [table[i][0] for i in columns], [list(row) for row in rows])


def _wrapped(cell: str, width: int) -> str:
    lines = [textwrap.fill(line, width, break_on_hyphens=False) for line in cell.split("\n")]
    return "\n".join(lines)


def _longest(column: Sequence[str]) -> int:
    return max((len(line) for cell in column for line in cell.split("\n")), default=0)
