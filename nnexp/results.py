"""What the tracking store holds of a sweep, read back: summary, report, comparison, networks (floor 4)."""

from __future__ import annotations

from nnexp import config
from nnexp.stores import Stores
from nnexp.summary import Summary, summarize_records
from nnexp.tracking import Tracking


def summary(name: str, stores: Stores) -> Summary:
    """The summary of a sweep, finished or not.

    Raises:
        NotFoundError: no such sweep, or it has no runs.
    """
    return summary_of(Tracking(stores.tracking_uri), name)


def summary_of(tracking: Tracking, name: str) -> Summary:
    """The same from an open tracking store."""
    sweep = config.parse(tracking.sweep_text(name), f"sweep {name!r}")
    return summarize_records(
        name,
        tracking.runs(name),
        objective=sweep.objective,
        directions=sweep.directions,
        sampler=sweep.sampler,
        planned=sweep.trials,
    )
