"""A sweep's end: lost evidence made again, the winner re-tested, the answer written to the parent run (floor 4).

Any worker that sees the budget met may do it; one does, and doing it again changes nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor
from dataclasses import dataclass

import numpy as np

from nnexp.analysis import results
from nnexp.runner import jobs
from nnexp.runner import pool as execution
from nnexp.runner.publish import publish
from nnexp.runner.retry import Patience
from nnexp.study import FinishedState, SweepStudy, Trial, Worker
from nnexp.tracking.delivery import Writer
from nnexp.tracking.outbox import Entry, Spool
from nnexp.tracking.schema import SweepRun
from nnexp.tracking.store import Tracking
from nnexp.tracking.trial_run import failure_evidence, spool_evidence

#: Networks of the re-test have numbers from here on, which no sweep's seeds reach.
FRESH = 10_000_000
#: And there are at least this many: an interval of about ±3 points.
RETEST_NETWORKS = 1000
#: Study attributes: who writes the conclusion of a budget, and the budget whose conclusion is written.
WRITER, WRITTEN = "conclusion_writer", "concluded"
TICK = 0.5


def is_concluded(study: SweepStudy) -> bool:
    """Whether the conclusion of the present budget is written."""
    return bool(study.get(WRITTEN) == study.sweep.trials)


@dataclass(frozen=True)
class Conclusion:
    """What it takes to conclude a sweep.

    Attributes:
        writer: delivers evidence. flush: waits until it has, or raises.
        open_pool: makes a training pool of ``workers`` processes.
        patience: with the tracking store, when it is away.
    """

    study: SweepStudy
    worker: Worker
    tracking: Tracking
    run: SweepRun
    spool: Spool
    writer: Writer
    flush: Callable[[], None]
    open_pool: Callable[[], Executor]
    workers: int
    patience: Patience

    def write(self) -> None:
        """Concludes the sweep, or waits for the worker that does.

        Raises:
            StoreError: a store failed, or was away for too long. NnexpError: the training pool did.
            Interrupted: a signal.
        """
        while self.study.is_done() and not is_concluded(self.study):
            budget = self.study.sweep.trials
            if not self._elected(budget):
                self.patience.wait(TICK)
                continue
            pool = self.open_pool()
            try:
                self.patience.call(lambda: self.restore(pool))  # noqa: B023  called in this round
                self.patience.call(lambda: self._retest(pool))  # noqa: B023
                self.patience.call(lambda: publish(self.study, self.tracking, self.run, pool))  # noqa: B023
            except BrokenExecutor as error:
                self.patience.wait(0)  # a signal to the whole process group ends the pool too
                raise execution.broken(error) from error
            finally:
                execution.abandon(pool)
            self.study.set(WRITTEN, budget)

    def _elected(self, budget: int) -> bool:
        """Whether this worker is the one that writes; a dead one is replaced."""
        key = f"{WRITER}:{budget}"
        writer = self.study.set_once(key, self.worker.id)
        if writer == self.worker.id:
            return True
        return writer in self.worker.dead_workers() and self.study.compare_and_set(key, writer, self.worker.id)

    def restore(self, pool: Executor) -> list[int]:
        """Sees to it that every finished trial is in MLflow once, in full; gives the numbers that were trained again.

        What another living worker has finished is awaited; what nobody has any more is trained again.
        """
        made = []
        while lost := self._undelivered():
            waiting = {entry.trial: entry for entry in self.spool.entries(self.study.name)}
            dead = self.worker.dead_workers()
            sent, pause = self.writer.delivered, TICK
            for trial in lost:
                if trial.number in waiting:
                    self.writer.put(waiting[trial.number], fresh=False)
                elif trial.state == "FAIL" or trial.owner in (None, self.worker.id) or trial.owner in dead:
                    self.writer.put(self.again(pool, trial), fresh=False)
                    made.append(trial.number)
            self.flush()
            if self.writer.delivered > sent:
                pause = 0.0
            self.patience.wait(pause)
        self.tracking.delete_duplicates(self.study.name)
        return made

    def _undelivered(self) -> list[Trial]:
        """The finished trials that have no ended run."""
        runs = self.tracking.delivered_trials(self.study.name)
        ended = {number for number, of_trial in runs.items() if of_trial[0][1] != "RUNNING"}
        return [trial for trial in self.study.trials() if trial.is_finished and trial.number not in ended]

    def again(self, pool: Executor, trial: Trial) -> Entry:
        """A trial's evidence made again, in the spool: the same networks to the bit.

        Raises:
            UsageError: the trial's params are not the sweep's. StoreError: the spool cannot be written.
        """
        sweep = self.study.sweep
        began = trial.started.timestamp() if trial.started else time.time()
        settings = sweep.settings(trial.params, seeds=int(trial.attrs.get("networks", 0)) or None)
        if trial.state == "FAIL":
            reason = str(trial.attrs.get("error", "unknown"))
            return failure_evidence(self.spool, sweep, trial.number, settings, reason, began)
        epochs = int(trial.attrs.get("epochs", settings.epochs))
        trained = jobs.train(pool, settings, np.arange(settings.seeds), self.workers, until=epochs)
        state: FinishedState = "PRUNED" if trial.state == "PRUNED" else "COMPLETE"
        return spool_evidence(self.spool, sweep, trial.number, settings, trained, state, epochs=epochs, began=began)[0]

    def _retest(self, pool: Executor) -> None:
        """Trains the winner on fresh networks: the best of many settings looks better than it is."""
        summary = results.SweepResults(self.tracking, self.study.name).summary()
        if summary.best is None or summary.best.retest is not None:
            return
        winner = next(t for t in self.study.trials() if t.number == summary.best.trial)
        settings = self.study.sweep.settings(winner.params)
        count = max(RETEST_NETWORKS, summary.best.estimate.networks)
        _, grades, _ = jobs.train(pool, settings, np.arange(FRESH, FRESH + count), self.workers)
        hits = grades.recovered if grades.recovered is not None else grades.solved
        self.tracking.log_progress(
            summary.best.run_id, 0, {"retest_networks": float(count), "retest_rate": float(hits.mean())}
        )
