"""Tables, pairs and JSON on stdout."""

from __future__ import annotations

import json

import pytest

from nnexp.cli.output import format_value, print_json, print_pairs, print_records, print_table, printable


def test_columns_of_numbers_are_aligned_to_the_right(capsys: pytest.CaptureFixture[str]) -> None:
    """Columns of text are aligned to the left; an undefined number is a dash."""
    print_table(["name", "count"], [["a", 1], ["bcd", 12345], ["e", None]], "A title")
    assert [line.rstrip() for line in capsys.readouterr().out.splitlines()] == [
        "A title",
        "name   count",
        "────────────",
        "a          1",
        "bcd    12345",
        "e          –",
    ]


def test_a_long_cell_is_not_wrapped_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """In a file or a pipe every row is one line."""
    print_table(["name"], [["x" * 300]])
    assert "x" * 300 in capsys.readouterr().out


def test_a_rate_and_its_interval_share_a_column(capsys: pytest.CaptureFixture[str]) -> None:
    """The bounds are called `x_rate_low` or `x_low`; without them the rate is printed alone."""
    print_records(
        [
            {"run": "a", "solved_rate": 0.5, "solved_rate_low": 0.25, "solved_rate_high": 0.75},
            {"run": "b", "solved_rate": 0.5, "solved_rate_low": float("nan"), "solved_rate_high": None},
            {"run": "c", "solved_rate": None, "solved_rate_low": None, "solved_rate_high": None},
        ]
    )
    header, _, *rows = capsys.readouterr().out.splitlines()
    assert header.split("  ")[0] == "run"
    assert "low" not in header
    assert [row.split(maxsplit=1)[1].rstrip() for row in rows] == ["50.0% (25.0% to 75.0%)", "50.0%", "–"]
    print_records([{"left_rate": 0.5, "left_low": 0.25, "left_high": 0.75}])
    assert "50.0% (25.0% to 75.0%)" in capsys.readouterr().out


def test_no_rows_are_only_a_title(capsys: pytest.CaptureFixture[str]) -> None:
    """As for a store without sweeps."""
    print_records([], "No sweeps in this store")
    assert capsys.readouterr().out.strip() == "No sweeps in this store"


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (float("nan"), "–"), (True, "yes"), (False, "no"), (0.123456, "0.1235"), (12, "12"), ("a", "a")],
)
def test_cells_are_short(value: object, text: str) -> None:
    """Numbers have four digits, Booleans are words."""
    assert format_value(value) == text


def test_names_and_values_are_printed_in_two_columns(capsys: pytest.CaptureFixture[str]) -> None:
    """The values are aligned."""
    print_pairs([("a", "1"), ("long", "2")])
    assert capsys.readouterr().out == "a     1\nlong  2\n"


def test_numbers_that_are_not_finite_are_null_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    """At every depth, so that the output is valid JSON."""
    print_json({"a": float("nan"), "b": [1.5, float("inf"), {"c": [float("-inf"), "text", None, True]}]})
    assert json.loads(capsys.readouterr().out) == {"a": None, "b": [1.5, None, {"c": [None, "text", None, True]}]}


def test_control_characters_of_a_store_do_not_reach_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """In cells, names and values; line breaks of a text stay."""
    hostile = "\x1b]0;title\x07\x1b[2Jxnor\r\x9b31m"
    print_table(["name"], [[hostile]])
    print_pairs([("task", hostile)])
    shown = capsys.readouterr().out
    assert "xnor" in shown
    assert not {"\x1b", "\x07", "\r", "\x9b"} & set(shown)
    assert printable("a\nb\x1b") == "a\nb"
