"""The progress of a sweep, as shown to the user by its worker."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """The progress of a sweep.

    Attributes:
        done: trials finished, of ``total``; ``failed`` of them were set aside.
        networks_per_second: networks that this worker has trained per second; 0 when unknown.
        best: the best value of the (first) objective so far; None before the first. objective: the objective's name.
        waiting_for_tracking: training waits, since logging is slower.
        spool: finished trials that wait on disk for the tracking store.
        play_off: the round of the play-off in words, after the last trial.
    """

    done: int
    total: int
    networks_per_second: float = 0.0
    best: float | None = None
    objective: str = "recovery_rate"
    waiting_for_tracking: bool = False
    failed: int = 0
    spool: int = 0
    play_off: str = ""

    @property
    def details(self) -> str:
        """Everything but the number of trials, in words."""
        parts = [f"play-off: {self.play_off}"] if self.play_off else []
        if self.networks_per_second:
            parts.append(f"{self.networks_per_second:,.0f} networks/s")
        if self.best is not None:
            parts.append(f"best {self.objective} {self.best:.4g}")
        if self.failed:
            parts.append(f"{self.failed} failed")
        if self.spool:
            parts.append(f"{self.spool} waiting in the spool")
        if self.waiting_for_tracking:
            parts.append("training waits for tracking")
        return ", ".join(parts)
