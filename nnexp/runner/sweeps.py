"""The operations on a sweep: run it, submit it to workers, stop it, delete it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nnexp.analysis import results
from nnexp.errors import NnexpError, NotFoundError
from nnexp.runner import preflight, signals
from nnexp.runner.finalize import Finalization
from nnexp.runner.progress import Progress
from nnexp.runner.session import Options, Session, is_finalized, joined, log
from nnexp.runner.trial_loop import TrialLoop
from nnexp.search import sweep_file
from nnexp.search.sweep_file import Sweep
from nnexp.stores import Stores
from nnexp.study import SweepStudy, open_storage
from nnexp.tracking.spool import Spool
from nnexp.tracking.store import Tracking

if TYPE_CHECKING:
    from nnexp.analysis.summary import Summary


def sweep(
    source: str | Path | Sweep,
    *,
    overrides: Sequence[str] = (),
    stores: Stores | None = None,
    jobs: int | None = None,
    pool: str | None = None,
    offline: bool = False,
    progress: Callable[[Progress], None] | None = None,
) -> Summary | None:
    """Run a sweep, or continue it where it ended, and return its summary.

    Args:
        source: the path of a sweep file, or a sweep.
        overrides: each ``key=value`` replaces a value of the file.
        stores: where studies and runs are; by default from the environment, else in the working directory.
        jobs: processes that train; by default one per core.
        pool: the training pool, see `pool.open_pool`.
        offline: leave the runs in the spool; the result is then None instead of a summary.
        progress: is called regularly with the progress of the sweep.

    Raises:
        UsageError: a wrong file, or one that differs from the stored sweep of that name.
        StoreError: a store cannot be opened or fails; finished trials are kept.
        Interrupted: SIGINT or SIGTERM; the trials in training were handed back.
    """
    plan = source if isinstance(source, Sweep) else sweep_file.load(source, overrides)
    stores = stores or Stores.choose()
    with signals.handled() as interrupted:
        if not offline:
            preflight.check(stores, plan.name)
        with open_storage(stores.storage) as storage:
            study = SweepStudy.create(storage, plan)
            study.clear_stop()
            summary = None
            if is_finalized(study) and not Spool(stores.spool).entries(plan.name):
                log.warning("nnexp: sweep %r is finished; nothing is left to do", plan.name)
            else:
                options = Options(interrupted, jobs=jobs, pool=pool, offline=offline, progress=progress)
                summary = work_on(study, stores, options)
            if offline:
                return None
            return summary or results.summarize(plan.name, stores)


def work_on(study: SweepStudy, stores: Stores, options: Options) -> Summary | None:
    """Work on one sweep until all its trials are finished (by any worker), it is stopped, or the deadline has passed.

    When all trials are finished, one of the workers finalizes the sweep.

    Returns:
        The summary, if this worker published it.

    Raises:
        StoreError: a store failed; finished trials are kept.
        Interrupted: a signal; the trials in training were handed back.
    """
    with joined(study, stores, options) as session:
        session.deliver_leftovers()
        TrialLoop(session).run()
        session.drain()
        return _finish(session)


def _finish(session: Session) -> Summary | None:
    """Finalize a sweep whose trials are all finished, or mark a stopped one; without a parent run do nothing."""
    if session.parent is None:
        return None
    tracking, run = session.parent.tracking, session.parent.run
    if session.study.is_done():
        return Finalization(session, tracking, run).write()
    if session.study.stop_requested():
        session.retry.call(lambda: tracking.set_sweep_status(run.run_id, "KILLED"))
    return None


def submit(plan: Sweep, *, stores: Stores) -> None:
    """Add a sweep to the shared study store, where workers find it; submitting it again has no effect.

    Raises:
        UsageError: a sweep of that name with another file exists.
        StoreError: the store cannot be opened.
    """
    with open_storage(stores.storage) as storage:
        SweepStudy.create(storage, plan).clear_stop()


def stop(name: str, *, stores: Stores) -> None:
    """Ask all workers on a sweep to finish the trials in training and to leave.

    Raises:
        NotFoundError: no such sweep.
    """
    with open_storage(stores.storage, create=False) as storage:
        SweepStudy.open(storage, name).request_stop()


def delete(name: str, *, stores: Stores) -> None:
    """Remove a sweep from the study store, the tracking store and the spool.

    Raises:
        NotFoundError: it is in neither store.
        NnexpError: workers are working on it.
    """
    found = False
    with contextlib.suppress(NotFoundError), open_storage(stores.storage, create=False) as storage:
        study = SweepStudy.open(storage, name)
        if active := study.live_workers():
            raise NnexpError(f"sweep {name!r}: {len(active)} workers are working on it; first: nnexp stop {name}")
        study.delete()
        found = True
    for entry in Spool(stores.spool).entries(name):
        entry.remove()
    try:
        Tracking(stores.tracking_uri).delete_sweep(name)
    except NotFoundError:
        if not found:
            raise
