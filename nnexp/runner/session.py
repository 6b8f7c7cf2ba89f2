"""A worker's session on one sweep: what it opens and holds, and always hands back at the end."""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor
from dataclasses import dataclass
from functools import partial

from nnexp.errors import NnexpError, StoreError
from nnexp.runner import pool, signals
from nnexp.runner.progress import Progress
from nnexp.runner.retry import Retry
from nnexp.runner.signals import SignalCheck
from nnexp.stores import Stores
from nnexp.study import SweepStudy, Worker
from nnexp.tracking import child_run, saved_view
from nnexp.tracking.delivery import Delivery
from nnexp.tracking.schema import SweepRun
from nnexp.tracking.spool import Spool
from nnexp.tracking.store import Tracking

log = logging.getLogger("nnexp")

#: Seconds at the end of a session for the entries that wait for delivery, and again for the entry being delivered.
CLOSING_TIME = 1.25
#: Seconds for which `Session.drain` waits for a store that does not answer.
DRAIN_LIMIT = 60.0
#: The study attribute that holds the budget for which the sweep is finalized.
FINALIZED = "concluded"


@dataclass(frozen=True)
class Options:
    """How a process works on sweeps.

    Attributes:
        interrupted: returns the number of a signal that asked for the end, or None.
        jobs: processes that train; None for one per core.
        pool: the training pool, see `pool.open_pool`.
        offline: leave finished trials in the spool.
        progress: is called regularly with the progress of the sweep.
        deadline: value of `time.monotonic` after which no trial is claimed.
    """

    interrupted: SignalCheck
    jobs: int | None = None
    pool: str | None = None
    offline: bool = False
    progress: Callable[[Progress], None] | None = None
    deadline: float = math.inf


@dataclass(frozen=True)
class Parent:
    """The tracking store and the sweep's parent run in it."""

    tracking: Tracking
    run: SweepRun


@dataclass(frozen=True)
class Session:
    """A worker's session on one sweep, opened by `joined`.

    Attributes:
        parent: the parent run to which finished trials are delivered; None offline.
        spool: where they wait. delivery: the thread that delivers them.
        retry: repeats calls to the tracking store while it does not answer.
        workers: how many tasks the training pool runs at once.
    """

    study: SweepStudy
    worker: Worker
    parent: Parent | None
    spool: Spool
    delivery: Delivery
    retry: Retry
    options: Options
    workers: int

    def check_signals(self) -> None:
        """Do nothing unless a signal asked for the end.

        Raises:
            Interrupted: it did.
        """
        signals.check(self.options.interrupted)

    def open_pool(self) -> Executor:
        """A new training pool."""
        return pool.open_pool(self.options.pool or "processes", self.workers)

    @contextlib.contextmanager
    def training_pool(self) -> Iterator[Executor]:
        """A training pool for the block.

        Raises:
            NnexpError: the pool broke.
        """
        executor = self.open_pool()
        try:
            yield executor
        except BrokenExecutor as error:
            self.check_signals()  # a signal to the whole process group ends the pool too
            raise pool.broken(error) from error
        finally:
            pool.abandon(executor)

    def deliver_leftovers(self) -> None:
        """Deliver the entries that an earlier process left in the spool, if their trials are finished in the study."""
        finished = {trial.number for trial in self.study.trials() if trial.is_finished}
        for entry in self.spool.entries(self.study.name):
            if entry.trial in finished:
                self.delivery.put(entry, fresh=False)

    def drain(self) -> None:
        """Wait until every finished trial of this session is delivered.

        Raises:
            StoreError: the store did not answer for `DRAIN_LIMIT` seconds, or refused an entry; entries that were not
                delivered stay in the spool.
            Interrupted: a signal.
        """
        delivery, limit = self.delivery, time.monotonic() + DRAIN_LIMIT
        while delivery.waiting and not (delivery.unreachable and time.monotonic() > limit):
            self.check_signals()
            if not delivery.unreachable:
                limit = time.monotonic() + DRAIN_LIMIT
            time.sleep(0.02)
        if left := delivery.waiting + delivery.refused:
            raise StoreError(
                f"{left} finished trials are not in MLflow yet and wait in the spool; "
                "deliver them: nnexp doctor --deliver"
            )


@contextlib.contextmanager
def joined(study: SweepStudy, stores: Stores, options: Options) -> Iterator[Session]:
    """Join a sweep as a worker for the block; at its end deliver the finished trials and hand back the others.

    Raises:
        StoreError: a store failed, did not answer for too long, or holds the runs of another study of that name.
        Interrupted: a signal.
    """
    retry = Retry(options.interrupted, log.warning)
    parent = None
    if not options.offline:
        tracking = retry.call(lambda: Tracking(stores.tracking_uri))
        parent = Parent(tracking, prepare_parent_run(study, tracking, retry))
    spool = Spool(stores.spool)
    spool.clean()
    worker = Worker.join(study)
    delivery = open_delivery(parent, study.sweep.lease)
    with _leaving(worker, delivery), worker.keep_beating():
        yield Session(study, worker, parent, spool, delivery, retry, options, options.jobs or pool.default_jobs())


@contextlib.contextmanager
def _leaving(worker: Worker, delivery: Delivery) -> Iterator[None]:
    try:
        yield
    except BaseException:
        delivery.close(CLOSING_TIME)
        with contextlib.suppress(NnexpError):  # the block raised the more useful error; others will detect the death
            worker.leave()
        raise
    delivery.close(CLOSING_TIME)
    worker.leave()


def open_delivery(parent: Parent | None, lease: float) -> Delivery:
    """The delivery of finished trials to the sweep's runs; without a parent run they stay in the spool."""
    if parent is None:
        return Delivery(None, log.warning)
    return Delivery(
        partial(child_run.deliver, parent.tracking, parent.run),
        log.warning,
        partial(parent.tracking.log_progress, parent.run.run_id),
        fresh_for=lease / 2,
    )


def prepare_parent_run(study: SweepStudy, tracking: Tracking, retry: Retry) -> SweepRun:
    """Find or create the sweep's parent run, with its sweep file, description and truth table.

    Raises:
        StoreError: the store failed, did not answer for too long, or holds the runs of another study of that name.
        Interrupted: a signal.
    """
    identity = study.identity()
    sweep = study.sweep
    note = (
        f"Sweep **{sweep.name}** of {sweep.trials:,} settings on {sweep.task[:60]}: {', '.join(sweep.searched)} by "
        f"{sweep.sampler}. Its answer is written here when it is finished."
    )
    tags = {"nnexp.task": sweep.task[:5000]}
    run = retry.call(lambda: tracking.ensure_sweep(sweep.name, text=sweep.text, note=note, tags=tags, study=identity))
    if not retry.call(lambda: tracking.has_dataset(run.run_id)):  # logged last, so that it is missing after a kill
        task = sweep.truth_table
        for key, view in saved_view.tags(sweep, int(time.time() * 1000)).items():
            retry.call(partial(tracking.set_experiment_tag, run.experiment_id, key, view))
        label = "task" if task.is_custom else task.spec
        retry.call(lambda: tracking.log_dataset(run.run_id, label, task.inputs, task.targets))
    if not is_finalized(study):
        # Not RUNNING: if all workers were killed, nobody could change that.
        status = "KILLED" if study.stop_requested() else "SCHEDULED"
        retry.call(lambda: tracking.set_sweep_status(run.run_id, status))
    return run


def is_finalized(study: SweepStudy) -> bool:
    """Whether the summary of all trials of the present budget is published."""
    return bool(study.get(FINALIZED) == study.sweep.trials)
