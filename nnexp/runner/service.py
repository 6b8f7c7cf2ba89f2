"""A worker on every open sweep of a shared store: a batch job, or a service (floor 4)."""

from __future__ import annotations

import functools
import logging
import math
import time
from collections.abc import Callable, Sequence

from nnexp.errors import Interrupted, NotFoundError, StoreError
from nnexp.runner import liveness, signals
from nnexp.runner.finalize import is_concluded
from nnexp.runner.progress import Progress
from nnexp.runner.sweeps import work_on
from nnexp.stores import Stores
from nnexp.study import Store, SweepStudy, open_storage

log = logging.getLogger("nnexp")
#: Seconds between two looks for open sweeps, and until a sweep is tried again whose store failed.
PAUSE, SET_ASIDE = 2.0, 30.0


def work(
    stores: Stores,
    *,
    sweeps: Sequence[str] = (),
    drain: bool = False,
    max_minutes: float | None = None,
    jobs: int | None = None,
    pool: str | None = None,
    offline: bool = False,
    progress: Callable[[Progress], None] | None = None,
) -> None:
    """Works on every open sweep, oldest first, or on those named.

    Args:
        stores: the shared stores.
        sweeps: names; none for all.
        drain: end when nothing is left, instead of waiting for more.
        max_minutes: claim nothing more after this long, and end.
        jobs: processes that train.
        pool: as `execution.open_pool` takes it.
        offline: leave the runs in the spool.
        progress: is told how far the present sweep is.

    Raises:
        NotFoundError: a named sweep is not there.
        StoreError: with ``drain``, what a store failed with at a sweep, after the others were worked on.
        Interrupted: a signal; the work in flight was handed back.
    """
    deadline = math.inf if max_minutes is None else time.monotonic() + 60 * max_minutes
    with signals.taken() as signalled, open_storage(stores.storage) as storage:

        def interrupted() -> int | None:
            liveness.beat()
            return signalled()

        attempt = functools.partial(
            work_on,
            stores=stores,
            jobs=jobs,
            pool=pool,
            offline=offline,
            progress=progress,
            interrupted=interrupted,
            deadline=deadline,
        )
        failed: dict[str, tuple[float, StoreError]] = {}  # when to try a sweep again, and why
        try:
            while time.monotonic() < deadline:
                if (number := interrupted()) is not None:
                    raise Interrupted(number)
                try:
                    studies = open_studies(storage, sweeps, concluded=offline)
                except StoreError as error:
                    if drain:
                        raise
                    log.warning("nnexp: %s", error)
                    _sleep(SET_ASIDE, interrupted)
                    continue
                ready = [study for study in studies if _is_ready(failed.get(study.name), drain=drain)]
                if not ready:
                    if drain:
                        break
                    _sleep(PAUSE, interrupted)
                for study in ready:
                    failed.pop(study.name, None)
                    if (failure := _store_failure(attempt, study, named=bool(sweeps))) is not None:
                        failed[study.name] = time.monotonic() + SET_ASIDE, failure
            if drain and failed:
                raise next(iter(failed.values()))[1]
        finally:
            liveness.stop()


def _store_failure(attempt: Callable[[SweepStudy], None], study: SweepStudy, *, named: bool) -> StoreError | None:
    """Works on a sweep; returns what a store failed with, since others may still be worked on, and it may be back.

    Raises:
        NotFoundError: a sweep that was named is gone; any other that was deleted meanwhile is none to work on.
    """
    try:
        attempt(study)
    except StoreError as error:
        log.warning("nnexp: sweep %r is set aside: %s", study.name, error)
        return error
    except NotFoundError:
        if named:
            raise
        log.warning("nnexp: sweep %r was deleted", study.name)
    return None


def _is_ready(failure: tuple[float, StoreError] | None, *, drain: bool) -> bool:
    """Whether to work on a sweep, given when to try it again and why: a batch job tries once, a service for ever."""
    return failure is None or (not drain and failure[0] <= time.monotonic())


def open_studies(storage: Store, names: Sequence[str], *, concluded: bool) -> list[SweepStudy]:
    """The sweeps with something left to do, without those that were stopped.

    Args:
        storage: the study store.
        names: those asked for; none for all.
        concluded: whether a sweep counts as concluded when its budget is met (an offline worker writes no summary).

    Raises:
        NotFoundError: a named sweep is not there.
    """
    found = []
    for name in names or [each.name for each in SweepStudy.list_all(storage)]:
        try:
            study = SweepStudy.open(storage, name)
            # The cheap questions first: a service asks them every other second.
            if not (study.stop_requested() or is_concluded(study) or (concluded and study.is_done())):
                found.append(study)
        except NotFoundError:
            if names:
                raise  # else it was deleted in this moment
    return found


def _sleep(seconds: float, interrupted: Callable[[], int | None]) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end and interrupted() is None:
        time.sleep(0.1)
