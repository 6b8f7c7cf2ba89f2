"""The end of a sweep: lost runs are restored, the play-off is held, and the results are published.

Any worker may do it when all trials are finished. One is elected; doing it again has no effect.
"""

from __future__ import annotations

import contextlib
import time
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np

from nnexp.analysis.results import SweepResults
from nnexp.analysis.summary import Summary
from nnexp.errors import NotFoundError
from nnexp.runner import jobs, play_off, signals
from nnexp.runner.publish import publish
from nnexp.runner.session import FINALIZED, Session, is_finalized
from nnexp.study import FinishedState, Trial
from nnexp.tracking.runs import valid_runs
from nnexp.tracking.schema import DROPPED, ENDED, SWEEP_FILE, RunRecord, SweepRun
from nnexp.tracking.spool import Entry, LockWatch
from nnexp.tracking.store import Tracking
from nnexp.tracking.trial_run import write_failed, write_trained

#: The study attribute that names, for each budget, the worker elected to finalize it.
ELECTED = "conclusion_writer"
#: Seconds between two checks whether another worker has finished its part.
TICK = 0.5


@dataclass(frozen=True)
class Finalization:
    """The finalization of the sweep of a session, whose ``run`` in ``tracking`` is its parent run."""

    session: Session
    tracking: Tracking
    run: SweepRun

    def write(self) -> Summary | None:
        """Finalize the sweep, and return its summary; or wait until the elected worker has done so, and return None.

        Raises:
            StoreError: a store failed, or did not answer for too long. NnexpError: the training pool failed.
            Interrupted: a signal.
        """
        study, summary = self.session.study, None
        while study.is_done() and not is_finalized(study):
            budget = study.sweep.trials
            if self._is_elected(budget):
                with self.session.training_pool() as executor:
                    summary = self._write(executor)
                study.set(FINALIZED, budget)
            else:
                signals.sleep(TICK, self.session.options.interrupted)
        return summary

    def _is_elected(self, budget: int) -> bool:
        """Whether this worker is the one that finalizes; a dead one is replaced."""
        study, worker = self.session.study, self.session.worker
        key = f"{ELECTED}:{budget}"
        elected = study.set_once(key, worker.id)
        if elected == worker.id:
            return True
        return elected in worker.dead_workers() and study.compare_and_set(key, elected, worker.id)

    def _write(self, executor: Executor) -> Summary:
        """Restore, hold the play-off and publish, from one listing of the runs."""
        call, study = self.session.retry.call, self.session.study
        runs, _ = call(lambda: self.restore(executor))
        found = SweepResults(self.tracking, self.run, study.sweep, runs)
        call(lambda: play_off.hold(self.session, self.tracking, found, executor))
        # A worker that started before the sweep was extended may have written its smaller file over the present one.
        call(self._write_sweep_file)
        return call(lambda: publish(study, self.tracking, self.run, found, executor))

    def _write_sweep_file(self) -> None:
        run_id, text = self.run.run_id, self.session.study.sweep.text
        with contextlib.suppress(NotFoundError):
            if self.tracking.text(run_id, SWEEP_FILE) == text:
                return
        self.tracking.log_text(run_id, text, SWEEP_FILE)

    def restore(self, executor: Executor) -> tuple[list[RunRecord], list[int]]:
        """Log every finished trial to MLflow exactly once.

        Trials that another living worker finished are awaited; those that are in no spool any more are trained again.

        Returns:
            The one run of each trial, and the numbers of the trials that were trained again.

        Raises:
            StoreError: another process, probably suspended, has held an entry of the spool for longer than a lease.
        """
        session, restored = self.session, []
        watch = LockWatch(session.study.sweep.lease)
        while lost := self._lost(runs := self.tracking.trial_runs(self.run)):
            waiting = {entry.trial: entry for entry in session.spool.entries(session.study.name)}
            dead = session.worker.dead_workers()
            before = session.delivery.delivered
            for trial in lost:
                if trial.number in waiting:
                    session.delivery.put(waiting[trial.number], fresh=False)
                elif trial.state == "FAIL" or trial.owner in (None, session.worker.id) or trial.owner in dead:
                    session.delivery.put(self.train_again(executor, trial), fresh=False)
                    restored.append(trial.number)
            session.drain()
            watch.check(waiting[trial.number] for trial in lost if trial.number in waiting)
            pause = 0.0 if session.delivery.delivered > before else TICK
            signals.sleep(pause, session.options.interrupted)
        counted = {each.trial: each.run_id for each in reversed(runs)}  # of a trial's runs the first is valid
        for each in runs:
            if each.run_id != counted[each.trial]:
                self.tracking.delete_run(each.run_id)
        return valid_runs(runs), restored

    def _lost(self, runs: list[RunRecord]) -> list[Trial]:
        """The finished trials that have no ended run."""
        ended = {each.trial for each in runs if each.status in ENDED}
        return [trial for trial in self.session.study.trials() if trial.is_finished and trial.number not in ended]

    def train_again(self, executor: Executor, trial: Trial) -> Entry:
        """Train a finished trial again, with the same bits, and write it to the spool.

        Raises:
            UsageError: the trial's params are not those of the sweep. StoreError: the spool cannot be written.
        """
        spool, sweep = self.session.spool, self.session.study.sweep
        began = trial.started.timestamp() if trial.started else time.time()
        settings = sweep.settings(trial.params, seeds=int(trial.attrs.get("networks", 0)) or None)
        if trial.state == "FAIL":
            reason = str(trial.attrs.get("error", "unknown"))
            return write_failed(spool, sweep, trial.number, settings, reason, began)
        epochs = int(trial.attrs.get("epochs", settings.epochs))
        trained = jobs.train(executor, settings, np.arange(settings.seeds), self.session.workers, until=epochs)
        dropped = trial.attrs.get("race") == DROPPED
        state: FinishedState = "PRUNED" if trial.state == "PRUNED" else "COMPLETE"
        entry, _ = write_trained(
            spool, sweep, trial.number, settings, trained, state, epochs=epochs, began=began, dropped=dropped
        )
        return entry
