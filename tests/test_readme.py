"""The README: its generated parts, its links, and the places in the code that it names."""

from __future__ import annotations

from tests.helpers.generate_readme import README, refreshed


def test_the_generated_parts_are_up_to_date() -> None:
    """`python -m tests.helpers.generate_readme` updates them."""
    text = README.read_text(encoding="utf-8")
    assert refreshed(text) == text, "stale: run python -m tests.helpers.generate_readme"
