"""What a sweep tells whoever watches it (floor 0)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """A sweep's state at one moment.

    Attributes:
        done: finished trials (complete, pruned or set aside). total: the budget.
        networks: networks trained by this process. seconds: since this process began.
        best: the best value of the first objective so far. objective: its name.
        failed: trials set aside. undelivered: evidence that waits in the spool.
        waiting: whether training waits for the tracking store at this moment.
        notice: something that the user should know now, such as an unreachable server.
    """

    sweep: str
    done: int
    total: int
    networks: int
    seconds: float
    objective: str
    best: float | None = None
    failed: int = 0
    undelivered: int = 0
    waiting: bool = False
    notice: str | None = None
