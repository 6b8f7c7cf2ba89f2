"""The README's generated parts are what the program says now."""

from __future__ import annotations

from tests.helpers.generate_readme import README, refreshed


def test_the_generated_parts_are_fresh() -> None:
    """Else `python -m tests.helpers.generate_readme` writes them anew."""
    text = README.read_text(encoding="utf-8")
    assert refreshed(text) == text, "stale: run python -m tests.helpers.generate_readme"
