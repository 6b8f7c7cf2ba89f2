"""A summary written in each format."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pandas as pd
import pytest

from nnexp.analysis import formats
from nnexp.analysis.summarize import summarize_records
from nnexp.errors import UsageError
from nnexp.tracking.schema import RunRecord
from tests.helpers.made_up_sweep import sweep


@pytest.fixture(scope="module")
def records() -> list[RunRecord]:
    """A random sweep of 40 settings."""
    return sweep(40, lambda setting: 0.4 if setting["hidden_size"] == 2 else 0.1)[0]


def test_every_format_holds_the_same_ranking(records: list[RunRecord], tmp_path: Path) -> None:
    """CSV, Parquet and JSON read back the ranked table; Markdown and text show its first row."""
    summary = summarize_records("s", records)
    for name in ("s.csv", "s.parquet", "s.json", "s.md", "s.txt"):
        formats.write(summary, tmp_path / name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s.csv", "s.json", "s.md", "s.parquet", "s.txt"]
    trials = summary.ranked["trial"].tolist()
    assert pd.read_csv(tmp_path / "s.csv")["trial"].tolist() == trials
    assert pd.read_parquet(tmp_path / "s.parquet")["trial"].tolist() == trials
    plain = json.loads((tmp_path / "s.json").read_text())
    assert [row["trial"] for row in plain["ranked"]] == trials
    assert plain["best"]["in_the_sweep"]["networks"] == 256
    first = next(line for line in (tmp_path / "s.md").read_text().splitlines() if line.startswith("|      1 |"))
    assert [text.strip() for text in first.split("|")][1:3] == ["1", str(trials[0])]
    assert summary.answer[0] in " ".join((tmp_path / "s.txt").read_text().split())


def test_csv_keeps_every_digit(records: list[RunRecord]) -> None:
    """Numbers in the CSV are read back to the bit."""
    summary = summarize_records("s", records)
    # As text, then by Python: how exactly read_csv itself reads a number depends on pandas' version.
    again = pd.read_csv(io.StringIO(formats.to_csv(summary)), dtype={"learning_rate": str})
    assert [float(text) for text in again["learning_rate"]] == summary.ranked["learning_rate"].tolist()


def test_an_unknown_ending_names_the_known_ones(records: list[RunRecord], tmp_path: Path) -> None:
    """A file ending that no format has is wrong usage, and nothing is written."""
    with pytest.raises(UsageError, match=r"\.csv"):
        formats.write(summarize_records("s", records), tmp_path / "s.xlsx")
    assert not list(tmp_path.iterdir())


def test_numbers_are_aligned_to_the_right() -> None:
    """Columns of numbers end in one column, columns of words begin in one; cells stay as they were written."""
    table = pd.DataFrame({"rank": ["1", "10"], "rate": ["5.0% (1.0% to 9.0%)", "–"], "init": ["normal", "he_normal"]})
    assert formats.aligned(table, "simple").splitlines() == [
        "  rank                 rate  init",
        "------  -------------------  ---------",
        "     1  5.0% (1.0% to 9.0%)  normal",
        "    10                    –  he_normal",
    ]


def test_bars_do_not_break_a_markdown_table(records: list[RunRecord]) -> None:
    """A cell that holds a bar stays one cell."""
    summary = summarize_records("s", records)
    summary.ranked["init"] = "a|b"
    rows = [line for line in formats.to_markdown(summary).splitlines() if "a\\|b" in line]
    assert len({line.replace("\\|", "").count("|") for line in rows}) == 1
