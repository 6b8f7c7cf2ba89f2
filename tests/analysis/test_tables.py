"""The tables of a summary as text cells."""

from __future__ import annotations

import math

import pytest

from nnexp.analysis.summarize import summarize_records
from nnexp.analysis.tables import cell, pareto_table, ranked_table, sections
from tests.helpers.made_up_sweep import run, sweep


@pytest.mark.parametrize(
    ("value", "column", "text"),
    [
        (None, "note", "–"),
        (math.nan, "loss", "–"),
        (0.617, "solved_rate", "62%"),
        (0.5, "learning_rate", "0.5"),
        (12345.6, "epochs_to_solve_median", "12,346"),
        (1000, "networks", "1,000"),
        (1000, "trial", "1000"),
    ],
)
def test_values_are_written_for_their_column(value: object, column: str, text: str) -> None:
    """Rates are in percent, undefined values a dash, counts of networks have separators and numbers have not."""
    assert cell(value, column) == text


def test_the_ranked_table_has_rates_with_their_intervals() -> None:
    """One row per setting, with the columns that hold a value."""
    records = [run(t, recovery_rate=t / 4, solved_rate=t / 4) for t in range(3)]
    table = ranked_table(summarize_records("s", records), top=2)
    assert table["trial"].tolist() == ["2", "1"]
    assert table["recovery rate"].tolist() == ["50% (44% to 56%)", "25% (20% to 31%)"]
    assert "mirror rate" not in table
    assert table["note"].tolist() == ["selected, not re-tested", ""]


def test_a_shortened_ranking_says_of_how_many() -> None:
    """The heading of the first table names how many settings there are; empty tables are left out."""
    summary = summarize_records("s", sweep(12, lambda _: 0.3)[0])
    assert next(heading for heading, _ in sections(summary, 10)) == "Settings, best first (first 10 of 12)"
    assert next(heading for heading, _ in sections(summary, None)) == "Settings, best first"
    assert pareto_table(summary) is None
