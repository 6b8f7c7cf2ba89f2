"""Rates as text."""

from __future__ import annotations

from nnexp.analysis.format import percent


def test_percent_is_never_rounded_to_certainty() -> None:
    """Only nothing is 0% and only everything 100%."""
    shown = [percent(rate) for rate in (0.0, 0.0004, 0.0312, 0.0999, 0.617, 0.9949, 0.9996, 1.0, float("nan"))]
    assert shown == ["0%", "<0.1%", "3.1%", "10%", "62%", "99.5%", ">99.9%", "100%", "–"]
