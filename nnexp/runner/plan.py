"""What a sweep will take, before it is run: `nnexp sweep FILE --dry-run` (floor 3)."""

from __future__ import annotations

import time
from dataclasses import dataclass

from nnexp.network.settings import Settings
from nnexp.runner import jobs as batches
from nnexp.runner import pool
from nnexp.search.space import Choice, Fixed, FloatRange, IntRange
from nnexp.search.sweep_file import Sweep
from nnexp.training import trainer

#: Bytes of a run beside its networks (rows of params, tags and metrics, the best network), and of a network's row.
RUN_BYTES = 30_000
NETWORK_BYTES = 150
WEIGHT_BYTES = 8
#: Seconds of a trial that are not training: suggestion, evidence and logging.
TRIAL_SECONDS = 0.06
#: Seconds that the sample, on which the estimate of the time rests, is trained.
SAMPLE_NETWORKS, SAMPLE_EPOCHS = 512, 200


@dataclass(frozen=True)
class Plan:
    """What a sweep will take; times and sizes are estimates.

    Attributes:
        networks: at most, where seeds are adaptive. metric_rows: what MLflow stores.
        disk_bytes: of MLflow's store. seconds: at most; stopped and pruned networks take less.
    """

    name: str
    trials: int
    networks: int
    epochs: int
    metric_rows: int
    disk_bytes: int
    seconds: float
    jobs: int

    def words(self) -> dict[str, str]:
        """Labels and values for people."""
        minutes = self.seconds / 60
        return {
            "sweep": self.name,
            "trials": f"{self.trials:,}",
            "networks": f"{self.networks:,}",
            "epochs": f"{self.epochs:,} for each network at most",
            "metric rows": f"{self.metric_rows:,}",
            "disk": f"about {self.disk_bytes / 1e6:,.0f} MB",
            "time": f"about {minutes:.1f} min at most, with {self.jobs} processes"
            if minutes >= 1
            else f"about {self.seconds:.0f} s at most, with {self.jobs} processes",
        }


def plan(sweep: Sweep, jobs: int | None = None) -> Plan:
    """What ``sweep`` will take; trains a small sample of it for the time."""
    jobs = jobs or pool.default_jobs()
    seeds = sweep.seeds if isinstance(sweep.seeds, int) else sweep.seeds.max
    networks = sweep.trials * seeds
    typical = middle(sweep)
    per_epoch = sample(typical)
    seconds = per_epoch * networks * sweep.epochs / jobs
    points = len(trainer.recorded_epochs(sweep.epochs)) * 6 + 16  # curves, and final metrics
    weights = typical.hidden_size * (typical.truth_table.n_inputs + 2) + 1
    return Plan(
        name=sweep.name,
        trials=sweep.trials,
        networks=networks,
        epochs=sweep.epochs,
        metric_rows=sweep.trials * points,
        disk_bytes=sweep.trials * (RUN_BYTES + 60 * points) + networks * (NETWORK_BYTES + WEIGHT_BYTES * weights),
        seconds=max(seconds, sweep.trials * TRIAL_SECONDS) + 5,
        jobs=jobs,
    )


def middle(sweep: Sweep) -> Settings:
    """A setting in the middle of the space."""
    params: dict[str, object] = {}
    for key, dim in sweep.space.items():
        if isinstance(dim, IntRange):
            params[key] = (dim.low + dim.high + 1) // 2
        elif isinstance(dim, FloatRange):
            params[key] = dim.low**0.5 * dim.high**0.5 if dim.log else (dim.low + dim.high) / 2
        elif isinstance(dim, Choice):
            params[key] = dim.values[len(dim.values) // 2]
        else:
            assert isinstance(dim, Fixed)  # noqa: S101  there are four kinds
    return sweep.settings(params)


def sample(settings: Settings) -> float:
    """Seconds for one network's epoch on this machine, from a short training."""
    import numpy as np

    short = settings.replace(epochs=SAMPLE_EPOCHS, seeds=SAMPLE_NETWORKS, stop="none")
    began = time.perf_counter()
    batches.run_jobs([batches.Job(0, short, np.arange(SAMPLE_NETWORKS), SAMPLE_EPOCHS)])
    return (time.perf_counter() - began) / (SAMPLE_NETWORKS * SAMPLE_EPOCHS)
