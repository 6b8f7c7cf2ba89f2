"""Tables and paragraphs for a terminal's width: nothing is wider, and nothing is cut or lost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnexp.analysis.layout import Block, blocks, paragraph

HEADINGS = ["trial", "recovery rate", "note"]
ROWS = [["1", "62% (56% to 67%)", "re-tested: 61%"], ["20", "–", ""]]

words = st.text("ab1.", min_size=1, max_size=8)
cells = st.lists(words, max_size=4).map(" ".join)


def width_of(block: Block, gap: int = 2, padding: int = 0) -> int:
    """The characters of its widest line."""

    def lines(cell: str) -> int:
        return max(len(line) for line in cell.split("\n"))

    columns = zip(block.headings, *block.rows, strict=True)
    widths = [max(lines(column[0]) + padding, *map(lines, column)) for column in columns]
    return sum(widths) + gap * (len(widths) - 1)


def test_table_that_fits_stays_as_it_is() -> None:
    """Also where no width is given."""
    whole = Block([0, 1, 2], HEADINGS, ROWS)
    assert blocks(HEADINGS, ROWS, 41) == blocks(HEADINGS, ROWS, None) == [whole]


def test_columns_without_room_are_printed_below_with_the_keys_again() -> None:
    """Rows without text there are left out."""
    first, second = blocks(HEADINGS, ROWS, 24)
    assert (first.columns, first.rows) == ([0, 1], [row[:2] for row in ROWS])
    assert (second.columns, second.rows) == ([0, 2], [["1", "re-tested: 61%"]])


def test_headings_are_wrapped_before_columns_are_moved() -> None:
    """A heading is wrapped to the width of its cells."""
    (only,) = blocks(["trial", "hidden size"], [["1", "8"]], 13)
    assert only.headings == ["trial", "hidden\nsize"]


def test_keys_are_the_columns_that_tell_rows_apart() -> None:
    """Such as factor and level."""
    rows = [["init", "normal", "x" * 20, "y" * 20], ["init", "uniform", "x" * 20, "y" * 20]]
    assert [block.columns for block in blocks(["factor", "level", "a", "b"], rows, 40)] == [[0, 1, 2], [0, 1, 3]]


@given(st.data(), st.integers(1, 6), st.integers(1, 4), st.integers(60, 120), st.sampled_from([(2, 2), (3, 0)]))
def test_no_block_is_wider_and_no_word_is_lost(
    data: st.DataObject, columns: int, count: int, width: int, style: tuple[int, int]
) -> None:
    """For any table of words of up to eight characters."""
    gap, padding = style
    headings = data.draw(st.lists(words, min_size=columns, max_size=columns))
    rows = data.draw(st.lists(st.lists(cells, min_size=columns, max_size=columns), min_size=count, max_size=count))
    found = blocks(headings, rows, width, gap=gap, padding=padding)
    assert all(width_of(block, gap, padding) <= width for block in found)
    assert {word for row in rows for cell in row for word in cell.split()} <= {
        word for block in found for row in block.rows for cell in row for word in cell.split()
    }


@pytest.mark.parametrize("width", [20, 80])
def test_paragraph_is_wrapped_at_spaces(width: int) -> None:
    """The lines after the first are indented."""
    lines = paragraph("a-b 0.123456 " * 20, width, indent="  ").split("\n")
    assert max(map(len, lines)) <= width
    assert all(line.startswith("  ") for line in lines[1:])
    assert " ".join(" ".join(lines).split()) == ("a-b 0.123456 " * 20).strip()
