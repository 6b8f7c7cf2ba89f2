"""Rates, intervals and names as text for a reader."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nnexp.analysis.summary import Estimate

_LABEL = {
    "hidden_size": "hidden size",
    "learning_rate": "learning rate",
    "init": "initializer",
    "init_scale": "initial scale",
}


def percent(rate: float) -> str:
    """A rate in percent, such as ``62%``, ``3.1%`` or ``<0.1%``; only 0 and 1 are 0% and 100%, and nan is a dash."""
    if math.isnan(rate):
        return "–"
    if rate in (0.0, 1.0):
        return f"{rate:.0%}"
    if rate < 0.001 or rate > 0.999:
        return "<0.1%" if rate < 0.5 else ">99.9%"
    return f"{rate:.1%}" if rate < 0.0995 or rate > 0.9905 else f"{rate:.0%}"


def interval(low: float, high: float) -> str:
    """An interval of rates, such as ``56% to 67%``."""
    return f"{percent(low)} to {percent(high)}"


def with_interval(rate: float, low: float, high: float) -> str:
    """A rate with its interval, such as ``62% (56% to 67%)``; without the interval where that is nan."""
    return percent(rate) if math.isnan(rate) or math.isnan(low) else f"{percent(rate)} ({interval(low, high)})"


def estimate(value: Estimate) -> str:
    """An estimate, such as ``158 of 256 networks, 62% (95% interval 56% to 67%)``."""
    return (
        f"{value.successes:,} of {value.networks:,} networks, {percent(value.rate)} "
        f"(95% interval {interval(value.low, value.high)})"
    )


def label(name: str) -> str:
    """The name of a factor or a column in words."""
    return _LABEL.get(name, name.replace("_", " "))
