"""Mending what `doctor` found: everything that was lost is made again, and what is too much is removed (floor 4)."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from concurrent.futures import BrokenExecutor, Executor
from contextlib import contextmanager

from nnexp.errors import Interrupted, StoreError, UsageError
from nnexp.runner import pool as execution
from nnexp.runner import signals
from nnexp.runner.finalize import WRITTEN, Conclusion
from nnexp.runner.retry import Patience
from nnexp.runner.sweeps import deliver_leftovers, drain, leaving, log, open_writer, parent
from nnexp.stores import Stores
from nnexp.study import SweepStudy, Worker
from nnexp.tracking.delivery import Writer
from nnexp.tracking.outbox import Spool
from nnexp.tracking.schema import ENDED, SWEEP_FILE, SweepRun
from nnexp.tracking.store import Tracking


class Repair:
    """Mends one sweep, as a worker of its own."""

    def __init__(self, study: SweepStudy, tracking: Tracking, stores: Stores, interrupted: signals.Look) -> None:
        self.study, self.tracking, self.interrupted = study, tracking, interrupted
        self.spool = Spool(stores.spool)
        self.jobs = execution.default_jobs()
        self.patience = Patience(interrupted, log.warning)

    def deliver(self) -> None:
        """Sends what the spool holds of finished trials.

        Raises:
            StoreError: some would not be taken; they still wait. Interrupted: a signal.
        """
        with self._at_work() as (_, writer, _):
            deliver_leftovers(self.study, self.spool, writer)
            drain(writer, self.interrupted)

    def mend(self, damaged: Iterable[int], *, conclude: bool) -> None:
        """Makes the stores whole, as far as it can be done.

        Args:
            damaged: trials whose runs are to be made again.
            conclude: write a finished sweep's answer again, too.

        Raises:
            StoreError: a store failed. Interrupted: a signal. Both leave the rest for another time.
        """
        if (finished := self.study.counts().finished) > self.study.sweep.trials:
            # Trials cannot be taken out of a study, and they are as good as the others.
            self.study = SweepStudy.create(self.study.store, self.study.sweep.replace(trials=finished))
        if self.study.live_workers():
            return
        with self._at_work() as (worker, writer, run):
            self._reclaim(worker)
            self.tracking.log_text(run.run_id, self.study.sweep.text, SWEEP_FILE)
            self._remove_stale()
            deliver_leftovers(self.study, self.spool, writer)
            drain(writer, self.interrupted)
            conclusion = self._conclusion(worker, writer, run)
            self._make_again(damaged, conclusion)
            with self._pool() as pool:
                conclude = bool(conclusion.restore(pool)) or conclude
            self._remove_orphans(run)
            if self.study.is_done():
                if conclude:
                    self.study.set(WRITTEN, None)
                conclusion.write()

    @contextmanager
    def _at_work(self) -> Iterator[tuple[Worker, Writer, SweepRun]]:
        run = parent(self.study, self.tracking, self.patience)
        self.spool.clean()
        worker = Worker.join(self.study)
        writer = open_writer(self.tracking, run, self.study.sweep.lease)
        with leaving(worker, writer), worker.keep_beating():
            yield worker, writer, run

    def _conclusion(self, worker: Worker, writer: Writer, run: SweepRun) -> Conclusion:
        def flush() -> None:
            drain(writer, self.interrupted)

        def open_pool() -> Executor:
            return execution.open_pool("processes", self.jobs)

        return Conclusion(
            self.study, worker, self.tracking, run, self.spool, writer, flush, open_pool, self.jobs, self.patience
        )

    @contextmanager
    def _pool(self) -> Iterator[Executor]:
        pool = execution.open_pool("processes", self.jobs)
        try:
            yield pool
        except BrokenExecutor as error:
            self.patience.wait(0)  # a signal to the whole process group ends the pool too
            raise execution.broken(error) from error
        finally:
            execution.abandon(pool)

    def _reclaim(self, worker: Worker) -> None:
        """Takes back what the dead left; a worker of another machine counts as dead after a lease of silence."""
        deadline = time.monotonic() + 1.5 * self.study.sweep.lease
        while time.monotonic() < deadline:
            if (number := self.interrupted()) is not None:
                raise Interrupted(number)
            worker.reclaim_dead()
            if not self.study.counts().running:
                return
            time.sleep(min(0.5, self.study.sweep.lease / 8))

    def _remove_stale(self) -> None:
        """Removes from the spool what is damaged, and what is of trials that are to be trained again."""
        finished = {trial.number for trial in self.study.trials() if trial.is_finished}
        for entry in self.spool.entries(self.study.name):
            try:
                entry.evidence()
            except StoreError:
                entry.remove()
                continue
            if entry.trial not in finished:
                entry.remove()

    def _make_again(self, damaged: Iterable[int], conclusion: Conclusion) -> None:
        """Writes the damaged runs' evidence again, and only then deletes them."""
        trials = {trial.number: trial for trial in self.study.trials()}
        runs = self.tracking.delivered_trials(self.study.name)
        with self._pool() as pool:
            for number in damaged:
                try:
                    conclusion.again(pool, trials[number])
                except UsageError:
                    continue  # another program's trial: its params are not the sweep's
                for run_id, _ in runs.get(number, []):
                    self.tracking.delete_run(run_id)

    def _remove_orphans(self, run: SweepRun) -> None:
        """Deletes runs of trials that are not finished and half runs; ties the others to the parent."""
        finished = {trial.number for trial in self.study.trials() if trial.is_finished}
        for number, runs in self.tracking.delivered_trials(self.study.name).items():
            for run_id, status in runs:
                if number not in finished or status not in ENDED:
                    self.tracking.delete_run(run_id)
        for record in self.tracking.runs(self.study.name):
            if record.tags.get("mlflow.parentRunId") != run.run_id:
                self.tracking.set_tags(record.run_id, {"mlflow.parentRunId": run.run_id})
