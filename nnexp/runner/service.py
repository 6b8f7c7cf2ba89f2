"""A worker on all open sweeps of a shared store: a batch job, or a service."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

from nnexp.errors import NnexpError, NotFoundError, StoreError
from nnexp.runner import liveness, signals
from nnexp.runner.progress import Progress
from nnexp.runner.session import Options, is_finalized, log
from nnexp.runner.sweeps import work_on
from nnexp.stores import Stores
from nnexp.study import Store, SweepStudy, open_storage

#: Seconds between two searches for open sweeps, and until a sweep that failed is tried again.
POLL, SET_ASIDE = 2.0, 30.0


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
    """Work on every open sweep, oldest first, or on those named.

    A sweep that fails does not keep the worker from the others. A service tries it again later; a batch job (``drain``)
    tries each sweep once.

    Args:
        stores: the shared stores.
        sweeps: names; none for all.
        drain: end when nothing is left, instead of waiting for more.
        max_minutes: claim no trial after this long, and end.
        jobs: processes that train.
        pool: the training pool, see `pool.open_pool`.
        offline: leave the runs in the spool.
        progress: is called regularly with the progress of the current sweep.

    Raises:
        NotFoundError: a named sweep is not there.
        StoreError: with ``drain``, the study store failed, or a store failed at a sweep.
        NnexpError: the training pool failed.
        Interrupted: a signal; the trials in training were handed back.
    """
    deadline = math.inf if max_minutes is None else time.monotonic() + 60 * max_minutes
    with signals.handled() as signalled, open_storage(stores.storage) as storage, liveness.keep_touching() as step:

        def interrupted() -> int | None:
            step()
            return signalled()

        options = Options(interrupted, jobs, pool, offline, progress, deadline)
        failures: dict[str, Exception] = {}
        retry_at: dict[str, float] = {}
        while time.monotonic() < deadline:
            signals.check(interrupted)
            try:
                studies = open_studies(storage, sweeps, offline=offline)
            except StoreError as error:
                if drain:
                    raise
                log.warning("nnexp: %s", error)
                signals.sleep(SET_ASIDE, interrupted)
                continue
            ready = [study for study in studies if time.monotonic() >= retry_at.get(study.name, 0.0)]
            for study in ready:
                failures.pop(study.name, None)
                if (failure := _failure(study, stores, options, named=bool(sweeps))) is not None:
                    failures[study.name] = failure
                    retry_at[study.name] = math.inf if drain else time.monotonic() + SET_ASIDE
            if not ready and drain:
                break
            if not ready:
                signals.sleep(POLL, interrupted)
        if drain and failures:
            raise next(iter(failures.values()))


def _failure(study: SweepStudy, stores: Stores, options: Options, *, named: bool) -> Exception | None:
    """Work on one sweep; returns the failure of this sweep or of its stores, or None.

    Raises:
        NotFoundError: a sweep that was named was deleted; one that was not named is ignored.
        NnexpError, MemoryError: a failure that is not of the sweep or its stores. Interrupted: a signal.
    """
    try:
        work_on(study, stores, options)
    except StoreError as error:
        log.warning("nnexp: sweep %r is set aside: %s", study.name, error)
        return error
    except NotFoundError:
        if named:
            raise
        log.warning("nnexp: sweep %r was deleted", study.name)
    except (NnexpError, MemoryError):
        raise
    except Exception as error:  # a bug in one sweep must not keep a service from the others
        log.warning("nnexp: sweep %r is set aside: unexpected %s: %s", study.name, type(error).__name__, error)
        return error
    return None


def open_studies(storage: Store, names: Sequence[str], *, offline: bool) -> list[SweepStudy]:
    """The sweeps that have work left and were not stopped.

    Args:
        storage: the study store.
        names: the sweeps to consider; none for all.
        offline: leave out sweeps whose trials are all finished, since an offline worker does not finalize them.

    Raises:
        NotFoundError: a named sweep is not there.
    """
    found = []
    for name in names or [each.name for each in SweepStudy.list_all(storage)]:
        try:
            study = SweepStudy.open(storage, name)
            # The cheap checks first: a service makes them every two seconds.
            if not (study.stop_requested() or is_finalized(study) or (offline and study.is_done())):
                found.append(study)
        except NotFoundError:
            if names:
                raise  # otherwise it was deleted at this moment
    return found
