"""The time, disk space and memory that a sweep needs, estimated before it is run: `nnexp sweep FILE --dry-run`."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

import numpy as np

from nnexp.network.settings import Settings
from nnexp.runner import pool
from nnexp.runner.jobs import Job, lookahead, run_jobs
from nnexp.search.space import Choice, Fixed, FloatRange, IntRange
from nnexp.search.sweep_file import Sweep
from nnexp.training import trainer

#: Bytes on disk per run without its networks (rows of params, tags and metrics, the best network), per metric row, per
#: network, and per weight.
RUN_BYTES, METRIC_BYTES, NETWORK_BYTES, WEIGHT_BYTES = 30_000, 60, 150, 8
#: Bytes of memory per network in training with its history and grades, and per weight; measured with 50,000 networks.
NETWORK_MEMORY, WEIGHT_MEMORY = 1_500, 25
#: Seconds per trial that are not training: suggestion, writing and logging.
TRIAL_SECONDS = 0.06
#: The sample that is trained to estimate the time.
SAMPLE_NETWORKS, SAMPLE_EPOCHS = 512, 200


@dataclass(frozen=True)
class Plan:
    """What a sweep needs; bytes and seconds are estimates.

    Attributes:
        networks: of all trials together; with adaptive seeds the most.
        epochs: the most per network.
        metric_rows: rows of metrics in MLflow's store.
        disk_bytes: disk space of MLflow's store.
        memory_bytes: memory of all networks that are in training at once.
        seconds: the most; networks that stop early and pruned trials need less.
        jobs: processes that train.
    """

    name: str
    trials: int
    networks: int
    epochs: int
    metric_rows: int
    disk_bytes: int
    memory_bytes: int
    seconds: float
    jobs: int

    def words(self) -> dict[str, str]:
        """Labels and values, for people."""
        installed = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        too_much = f", more than this machine's {_size(installed)}: choose fewer seeds, or a smaller batch"
        return {
            "sweep": self.name,
            "trials": f"{self.trials:,}",
            "networks": f"{self.networks:,}",
            "epochs": f"{self.epochs:,} for each network at most",
            "metric rows": f"{self.metric_rows:,}",
            "disk": f"about {_size(self.disk_bytes)}",
            "memory": f"about {_size(self.memory_bytes)} at once{too_much if self.memory_bytes > installed else ''}",
            "time": f"about {_duration(self.seconds)} at most, with {self.jobs} processes",
        }


def plan(sweep: Sweep, jobs: int | None = None) -> Plan:
    """Estimate what ``sweep`` needs; a small sample of it is trained to estimate the time."""
    jobs = jobs or pool.default_jobs()
    seeds = sweep.seeds if isinstance(sweep.seeds, int) else sweep.seeds.max
    networks = sweep.trials * seeds
    typical = middle(sweep)
    seconds = seconds_per_epoch(typical) * networks * sweep.epochs / jobs
    points = len(trainer.recorded_epochs(sweep.epochs)) * 6 + 16  # curves, and final metrics
    weights = typical.hidden_size * (typical.truth_table.n_inputs + 2) + 1
    at_once = min(sweep.trials, sweep.batch * lookahead(sweep)) * seeds
    return Plan(
        name=sweep.name,
        trials=sweep.trials,
        networks=networks,
        epochs=sweep.epochs,
        metric_rows=sweep.trials * points,
        disk_bytes=sweep.trials * (RUN_BYTES + METRIC_BYTES * points)
        + networks * (NETWORK_BYTES + WEIGHT_BYTES * weights),
        memory_bytes=at_once * (NETWORK_MEMORY + WEIGHT_MEMORY * weights),
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


def seconds_per_epoch(settings: Settings) -> float:
    """Seconds per epoch of one network on this machine, from a short training."""
    short = settings.replace(epochs=SAMPLE_EPOCHS, seeds=SAMPLE_NETWORKS, stop="none")
    began = time.perf_counter()
    run_jobs([Job(0, short, np.arange(SAMPLE_NETWORKS), SAMPLE_EPOCHS)])
    return (time.perf_counter() - began) / (SAMPLE_NETWORKS * SAMPLE_EPOCHS)


def _size(count: float) -> str:
    """Bytes as text: ``12 MB``, ``3.4 TB``."""
    for unit in ("MB", "GB"):
        if count < 1e9:
            return f"{count / 1e6:,.0f} {unit}"
        count /= 1e3
    return f"{count / 1e6:,.1f} TB"


def _duration(seconds: float) -> str:
    """Seconds as text: ``40 s``, ``2.5 min``, ``3.1 hours``, ``12.0 days``, ``4.0 years``."""
    for unit, length, most in (("s", 1, 60), ("min", 60, 3600), ("hours", 3600, 86400), ("days", 86400, 365 * 86400)):
        if seconds < most:
            return f"{seconds / length:.{0 if unit == 's' else 1}f} {unit}"
    return f"{seconds / (365 * 86400):,.1f} years"
