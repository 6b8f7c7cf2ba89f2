"""Sweeps from the outside: submit one, work on it until done, say what it found, stop it, delete it (floor 4)."""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import TYPE_CHECKING

from nnexp.analysis import results
from nnexp.errors import Interrupted, NnexpError, NotFoundError, StoreError
from nnexp.network.reference import has_reference
from nnexp.runner import pool as execution
from nnexp.runner import preflight, signals
from nnexp.runner.finalize import Conclusion, is_concluded
from nnexp.runner.progress import Progress
from nnexp.runner.retry import Patience
from nnexp.runner.trial_loop import SweepWork
from nnexp.search import sweep_file
from nnexp.search.sweep_file import Sweep
from nnexp.stores import Stores
from nnexp.study import SweepStudy, Worker, open_storage
from nnexp.tracking import saved_view
from nnexp.tracking.delivery import Writer
from nnexp.tracking.outbox import Spool
from nnexp.tracking.schema import SweepRun
from nnexp.tracking.store import Tracking

if TYPE_CHECKING:
    from nnexp.analysis.summary import Summary

Watch = Callable[[Progress], None]
log = logging.getLogger("nnexp")
#: Seconds that an end leaves for what waits, and again for what is being delivered; and for a store that is away.
GRACE = 1.25
PATIENCE = 60.0


def sweep(
    source: str | Path | Sweep,
    *,
    overrides: Sequence[str] = (),
    stores: Stores | None = None,
    jobs: int | None = None,
    pool: str | None = None,
    offline: bool = False,
    progress: Watch | None = None,
) -> Summary | None:
    """Runs a sweep, or goes on where it ended, and gives its summary.

    Args:
        source: a sweep file's path, or a sweep.
        overrides: ``key=value`` over the file.
        stores: where studies and runs are; by default from the environment, else in the working directory.
        jobs: processes that train; by default the machine's cores.
        pool: as `execution.open_pool` takes it.
        offline: leave the runs in the spool; there is no summary then (None).
        progress: is told how far it is.

    Raises:
        UsageError: a wrong file, or one that differs from the stored sweep of that name.
        StoreError: a store cannot be opened or fails; what was finished is kept.
        Interrupted: SIGINT or SIGTERM; the work in flight was handed back.
    """
    plan = source if isinstance(source, Sweep) else sweep_file.load(source, overrides)
    stores = stores or Stores.choose()
    with signals.taken() as interrupted:
        if not offline:
            preflight.check(stores, plan.name)
        with open_storage(stores.storage) as storage:
            study = SweepStudy.create(storage, plan)
            study.clear_stop()
            if is_concluded(study) and not Spool(stores.spool).entries(plan.name):
                log.warning("nnexp: sweep %r is finished; nothing is left to do", plan.name)
                return None if offline else results.summarize(plan.name, stores)
            work_on(study, stores, jobs=jobs, pool=pool, offline=offline, progress=progress, interrupted=interrupted)
            if offline:
                return None
            return results.summarize(plan.name, stores)


def submit(plan: Sweep, *, stores: Stores) -> None:
    """Puts a sweep into the shared study store, for workers to find; again: it is there already.

    Raises:
        UsageError: one of that name is there with another file.
        StoreError: the store cannot be opened.
    """
    with open_storage(stores.storage) as storage:
        SweepStudy.create(storage, plan).clear_stop()


def stop(name: str, *, stores: Stores) -> None:
    """Asks all workers on a sweep to finish what they train and leave.

    Raises:
        NotFoundError: no such sweep.
    """
    with open_storage(stores.storage, create=False) as storage:
        SweepStudy.open(storage, name).request_stop()


def delete(name: str, *, stores: Stores) -> None:
    """Removes a sweep from the study store, the tracking store and the spool.

    Raises:
        NotFoundError: it is in neither store.
        NnexpError: somebody works on it.
    """
    found = False
    with contextlib.suppress(NotFoundError), open_storage(stores.storage, create=False) as storage:
        study = SweepStudy.open(storage, name)
        if busy := study.live_workers():
            raise NnexpError(f"sweep {name!r}: {len(busy)} workers are on it; first: nnexp stop {name}")
        study.delete()
        found = True
    for entry in Spool(stores.spool).entries(name):
        entry.remove()
    try:
        Tracking(stores.tracking_uri).delete_sweep(name)
    except NotFoundError:
        if not found:
            raise


def work_on(
    study: SweepStudy,
    stores: Stores,
    *,
    jobs: int | None,
    pool: str | None,
    offline: bool,
    progress: Watch | None,
    interrupted: Callable[[], int | None],
    deadline: float = math.inf,
) -> None:
    """Works on one sweep until its budget is met (by whoever), it is stopped, or ``deadline`` (`time.monotonic`).

    Whoever sees the budget met makes lost evidence again and writes the summary, once.

    Raises:
        StoreError: a store failed; what was finished is kept.
        Interrupted: a signal; the work in flight was handed back.
    """
    workers = jobs or execution.default_jobs()
    patience = Patience(interrupted, log.warning)
    tracking = None if offline else patience.call(lambda: Tracking(stores.tracking_uri))
    run = None if tracking is None else parent(study, tracking, patience)
    spool = Spool(stores.spool)
    spool.clean()

    def open_pool() -> Executor:
        return execution.open_pool(pool or "processes", workers)

    worker = Worker.join(study)
    writer = open_writer(tracking, run, study.sweep.lease)
    with leaving(worker, writer), worker.keep_beating():
        deliver_leftovers(study, spool, writer)
        SweepWork(
            study,
            worker,
            spool,
            writer,
            open_pool=open_pool,
            workers=workers,
            interrupted=interrupted,
            watch=progress or (lambda _: None),
            deadline=deadline,
        ).run()
        drain(writer, interrupted)
        if tracking is None or run is None:
            return
        if study.is_done():
            Conclusion(
                study,
                worker,
                tracking,
                run,
                spool,
                writer,
                lambda: drain(writer, interrupted),
                open_pool,
                workers,
                patience,
            ).write()
        elif study.stop_requested():
            patience.call(lambda: tracking.set_sweep_status(run.run_id, "KILLED"))


@contextlib.contextmanager
def leaving(worker: Worker, writer: Writer) -> Iterator[None]:
    """Sends what can be sent and hands back what is in flight, however the body ends."""
    try:
        yield
    except BaseException:
        writer.close(GRACE)
        with contextlib.suppress(NnexpError):  # the body's own error tells more; a worker that is gone counts as dead
            worker.leave()
        raise
    writer.close(GRACE)
    worker.leave()


def open_writer(tracking: Tracking | None, run: SweepRun | None, lease: float) -> Writer:
    """A writer to the sweep's runs; without tracking one that leaves everything in the spool."""
    if tracking is None or run is None:
        return Writer(None, log.warning)
    return Writer(
        lambda entry, fresh: tracking.deliver(entry, run, fresh=fresh),
        log.warning,
        lambda step, metrics: tracking.log_progress(run.run_id, step, metrics),
        fresh_for=lease / 2,
    )


def drain(writer: Writer, interrupted: Callable[[], int | None]) -> None:
    """Waits until everything handed to the writer is delivered.

    Raises:
        StoreError: the store did not answer for `PATIENCE` seconds, or refused something; it waits in the spool.
        Interrupted: a signal.
    """
    patience = time.monotonic() + PATIENCE
    while writer.waiting and not (writer.away and time.monotonic() > patience):
        if (number := interrupted()) is not None:
            raise Interrupted(number)
        if not writer.away:
            patience = time.monotonic() + PATIENCE
        time.sleep(0.02)
    if left := writer.waiting + writer.refused:
        raise StoreError(
            f"{left} finished trials are not in MLflow yet and wait in the spool; deliver them: nnexp doctor --deliver"
        )


def parent(study: SweepStudy, tracking: Tracking, patience: Patience) -> SweepRun:
    """The sweep's parent run, found or created, with its file, its description and its truth table.

    Raises:
        StoreError: the store failed, was away for longer than ``patience``, or has runs of another study of that name.
        Interrupted: a signal.
    """
    plan = study.sweep
    searched = ", ".join(plan.searched)
    note = (
        f"Sweep **{plan.name}** of {plan.trials:,} settings on {plan.task[:60]}: {searched} by {plan.sampler}. "
        "Its answer stands here when it is done."
    )
    tags = {"nnexp.task": plan.task[:5000]}
    run = patience.call(
        lambda: tracking.ensure_sweep(plan.name, text=plan.text, note=note, tags=tags, study=study.identity())
    )
    if not patience.call(lambda: tracking.has_dataset(run.run_id)):  # what is logged last is missing after a kill
        task = plan.truth_table
        label = "task" if task.is_custom else task.spec
        view = saved_view.ranking(
            tuple(plan.searched),
            plan.objective[0],
            ascending=plan.directions[0] == "minimize",
            has_reference=has_reference(task),
            now_ms=int(time.time() * 1000),
        )
        key = saved_view.PREFIX + saved_view.RANKING
        patience.call(lambda: tracking.set_experiment_tag(run.experiment_id, key, view))
        patience.call(lambda: tracking.log_dataset(run.run_id, label, task.inputs, task.targets))
    if not is_concluded(study):
        # Not RUNNING: nobody could change that if all workers were killed.
        patience.call(
            lambda: tracking.set_sweep_status(run.run_id, "KILLED" if study.stop_requested() else "SCHEDULED")
        )
    return run


def deliver_leftovers(study: SweepStudy, spool: Spool, writer: Writer) -> None:
    """Hands what an earlier process left in the spool to the writer; only trials that the study has as finished."""
    finished = {trial.number for trial in study.trials() if trial.is_finished}
    for entry in spool.entries(study.name):
        if entry.trial in finished:
            writer.put(entry, fresh=False)
