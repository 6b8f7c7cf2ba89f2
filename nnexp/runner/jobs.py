"""The training of trials as jobs, which are packed into tasks for a training pool.

A process of the pool receives and returns plain values; it does not access Optuna, MLflow or files.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnexp.network.settings import Settings
from nnexp.recovery import grades as recovery
from nnexp.search.sweep_file import Sweep
from nnexp.training import trainer
from nnexp.training.result import TrainingResult, concatenate

#: The most networks in a task. Few large tasks cost less than many small ones: 5,000 epochs need 150,000 calls of NumPy
#: even if few networks are left in the trainer's tiles at the end.
TASK_NETWORKS = 32768
#: The fewest networks in a task, if there are as many; below this the fixed cost of NumPy's calls dominates.
TASK_NETWORKS_LOW = 512
#: Batches in training at once if suggestions do not depend on earlier results, so that the pool is never idle.
LOOKAHEAD = 3
#: The same for a race, whose rounds have few networks of each trial.
RACE_LOOKAHEAD = 16


def is_independent(sweep: Sweep) -> bool:
    """Whether a suggestion does not depend on earlier results."""
    return sweep.sampler in ("random", "qmc", "grid")


def lookahead(sweep: Sweep) -> int:
    """How many batches are in training at once."""
    if not is_independent(sweep) or sweep.pruner not in ("none", "race"):
        return 1
    return LOOKAHEAD if sweep.pruner == "none" else RACE_LOOKAHEAD


@dataclass(frozen=True, eq=False)
class Job:
    """Some networks of one trial, to be trained to epoch ``until``.

    Attributes:
        start: the result of an earlier job of the same networks, which this one continues; None starts them.
    """

    trial: int
    settings: Settings
    index: NDArray[np.int64]
    until: int
    start: TrainingResult | None = None


@dataclass(frozen=True, eq=False)
class JobResult:
    """The networks of one job, trained and graded.

    Attributes:
        seconds: the job's share of the time of its task.
    """

    trial: int
    result: TrainingResult
    grades: recovery.Grades
    seconds: float


def run_jobs(jobs: Sequence[Job]) -> list[JobResult]:
    """Train and grade ``jobs`` (all to the same ``until``) together; runs in a process of the pool."""
    began = time.perf_counter()
    results = trainer.advance([job.start or trainer.start(job.settings, job.index) for job in jobs], jobs[0].until)
    grades = [grade(result) for result in results]
    seconds = time.perf_counter() - began
    costs = [cost(job) for job in jobs]
    return [
        JobResult(job.trial, result, graded, seconds * own / sum(costs))
        for job, result, graded, own in zip(jobs, results, grades, costs, strict=True)
    ]


def grade(result: TrainingResult) -> recovery.Grades:
    """The grades of a training's final weights."""
    return recovery.assess(result.network, result.settings.truth_table, result.settings.loss)


def cost(job: Job) -> float:
    """The relative cost of a job: networks times hidden units times epochs."""
    return len(job.index) * job.settings.hidden_size * job.until


def submit(pool: Executor, jobs: Iterable[Job], workers: int) -> list[Future[list[JobResult]]]:
    """Send jobs to the pool as tasks, the most expensive first so that no core works alone at the end."""
    tasks = sorted(pack(list(jobs), workers), key=lambda task: -sum(map(cost, task)))
    return [pool.submit(run_jobs, task) for task in tasks]


def pack(jobs: Sequence[Job], workers: int) -> Iterator[list[Job]]:
    """Group jobs of one shape and one ``until`` into few tasks of equal size, but several for every worker."""
    total = sum(len(job.index) for job in jobs)
    limit = int(np.clip(total // (3 * workers), TASK_NETWORKS_LOW, TASK_NETWORKS))
    groups: dict[tuple[object, ...], list[Job]] = {}
    for job in jobs:
        s = job.settings
        groups.setdefault((s.hidden_size, s.task, s.dtype, s.activation, s.loss, job.until), []).append(job)
    for group in groups.values():
        networks = sum(len(job.index) for job in group)
        yield from _fill(group, size=-(-networks // -(-networks // limit)))


def _fill(jobs: Sequence[Job], size: int) -> Iterator[list[Job]]:
    """Tasks of ``size`` networks; a job that continues an earlier one is not divided."""
    task: list[Job] = []
    room = size
    for job in jobs:
        rest: Job | None = job
        while rest is not None:
            if task and (room == 0 or (rest.start is not None and len(rest.index) > room)):
                yield task
                task, room = [], size
            part, rest = (rest, None) if rest.start is not None else _cut(rest, room)
            task.append(part)
            room = max(room - len(part.index), 0)
    yield task


def _cut(job: Job, at: int) -> tuple[Job, Job | None]:
    """The job of the first ``at`` networks, and the job of the others (None if there are none)."""
    if len(job.index) <= at:
        return job, None
    return dataclasses.replace(job, index=job.index[:at]), dataclasses.replace(job, index=job.index[at:])


def join(results: Sequence[JobResult]) -> recovery.GradedNetworks:
    """The networks of one trial, put together in the order of their index."""
    parts = sorted(results, key=lambda part: int(part.result.index[0]))
    if len(parts) == 1:
        return recovery.GradedNetworks(parts[0].result, parts[0].grades, parts[0].seconds)
    result = concatenate([part.result for part in parts])
    grades = recovery.concatenate([part.grades for part in parts])
    return recovery.GradedNetworks(result, grades, sum(part.seconds for part in parts))


def train(
    pool: Executor, settings: Settings, index: NDArray[np.int64], workers: int, until: int | None = None
) -> recovery.GradedNetworks:
    """Train and grade networks ``index`` of one setting, spread over the pool, to epoch ``until`` or their end."""
    tasks = submit(pool, [Job(0, settings, index, until or settings.epochs)], workers)
    return join([part for task in tasks for part in task.result()])
