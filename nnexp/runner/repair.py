"""Repairing the faults that `doctor` finds: lost data is trained or written again, and surplus data is removed."""

from __future__ import annotations

import time
from collections.abc import Iterable
from concurrent.futures import Executor

from nnexp.errors import StoreError, UsageError
from nnexp.runner import signals
from nnexp.runner.finalize import Finalization
from nnexp.runner.session import FINALIZED, Options, Session, joined
from nnexp.runner.signals import SignalCheck
from nnexp.stores import Stores
from nnexp.study import SweepStudy
from nnexp.tracking.schema import ENDED, SWEEP_FILE


def deliver(study: SweepStudy, stores: Stores, interrupted: SignalCheck) -> None:
    """Deliver the finished trials of a sweep that wait in the spool.

    Raises:
        StoreError: the tracking store refused some of them, which still wait. Interrupted: a signal.
    """
    with joined(study, stores, Options(interrupted)) as session:
        session.deliver_leftovers()
        session.drain()


def repair(
    study: SweepStudy, stores: Stores, interrupted: SignalCheck, damaged: Iterable[int], *, finalize: bool
) -> None:
    """Repair a sweep's stores, as far as possible, unless workers are working on it.

    Args:
        study: the sweep's study.
        stores: where its runs and its spool are.
        interrupted: returns the number of a signal that asked for the end, or None.
        damaged: trials whose runs are to be written again.
        finalize: also publish the results of a finished sweep again.

    Raises:
        StoreError: a store failed. NnexpError: the training pool failed. Interrupted: a signal. A second call continues
            the repair.
    """
    if (finished := study.counts().finished) > study.sweep.trials:
        # Trials cannot be removed from a study, and these are valid as well.
        study = SweepStudy.create(study.store, study.sweep.replace(trials=finished))
    if study.live_workers():
        return
    with joined(study, stores, Options(interrupted)) as session:
        assert session.parent is not None  # noqa: S101  it is not offline
        finalization = Finalization(session, session.parent.tracking, session.parent.run)
        finalization.tracking.log_text(finalization.run.run_id, study.sweep.text, SWEEP_FILE)
        _reclaim(session)
        _clean_spool(session)
        session.deliver_leftovers()
        session.drain()
        with session.training_pool() as executor:
            _write_again(finalization, executor, damaged)
            _, restored = finalization.restore(executor)
        _remove_orphans(finalization)
        if study.is_done():
            if finalize or restored:
                study.set(FINALIZED, None)
            finalization.write()


def _reclaim(session: Session) -> None:
    """Take back the trials of dead workers; one of another machine counts as dead after a lease without a heartbeat."""
    lease = session.study.sweep.lease
    deadline = time.monotonic() + 1.5 * lease
    while time.monotonic() < deadline:
        session.worker.reclaim_dead()
        if not session.study.counts().running:
            return
        signals.sleep(min(0.5, lease / 8), session.options.interrupted)


def _clean_spool(session: Session) -> None:
    """Remove damaged entries from the spool, and those of trials that are to be trained again."""
    finished = {trial.number for trial in session.study.trials() if trial.is_finished}
    for entry in session.spool.entries(session.study.name):
        try:
            entry.read()
        except StoreError:
            entry.remove()
            continue
        if entry.trial not in finished:
            entry.remove()


def _write_again(finalization: Finalization, executor: Executor, damaged: Iterable[int]) -> None:
    """Write the results of damaged trials to the spool again, and only then delete their runs."""
    trials = {trial.number: trial for trial in finalization.session.study.trials()}
    runs = finalization.tracking.trial_runs(finalization.run)
    for number in damaged:
        try:
            finalization.train_again(executor, trials[number])
        except UsageError:
            continue  # a trial of another program: its params are not those of the sweep
        for run in runs:
            if run.trial == number:
                finalization.tracking.delete_run(run.run_id)


def _remove_orphans(finalization: Finalization) -> None:
    """Delete runs of trials that are not finished, and runs that never ended; nest the others below the parent run."""
    tracking, parent = finalization.tracking, finalization.run.run_id
    finished = {trial.number for trial in finalization.session.study.trials() if trial.is_finished}
    for run in tracking.trial_runs(finalization.run):
        if run.trial not in finished or run.status not in ENDED:
            tracking.delete_run(run.run_id)
        elif run.tags.get("mlflow.parentRunId") != parent:
            tracking.set_tags(run.run_id, {"mlflow.parentRunId": parent})
