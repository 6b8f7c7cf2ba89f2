"""A sweep's end: lost evidence made again, the winner re-tested, the answer written to the parent run (floor 4).

Any worker that sees the budget met may do it; one does, and doing it again changes nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np

from nnexp import batches, execution, results
from nnexp.evidence import failure_evidence, spool_evidence
from nnexp.publication import publish
from nnexp.spool import Entry, Spool
from nnexp.study import FinishedState, SweepStudy, TrialRecord, Worker
from nnexp.tracking import Tracking
from nnexp.tracking_records import SweepRun
from nnexp.writer import Writer

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

    def write(self) -> None:
        """Concludes the sweep, or waits for the worker that does."""
        budget = self.study.sweep.trials
        while not is_concluded(self.study):
            if not self._elected(budget):
                time.sleep(TICK)
                continue
            pool = self.open_pool()
            try:
                self.restore(pool)
                self.flush()
                self._retest(pool)
            finally:
                execution.abandon(pool)
            publish(self.study, self.tracking, self.run)
            self.study.set(WRITTEN, budget)

    def _elected(self, budget: int) -> bool:
        """Whether this worker is the one that writes; a dead one is replaced."""
        key = f"{WRITER}:{budget}"
        writer = self.study.set_once(key, self.worker.id)
        if writer != self.worker.id and writer in self.worker.dead():
            self.study.set(key, self.worker.id)
            return False  # two may have done so: the last one's word stands at the next look
        return bool(writer == self.worker.id)

    def restore(self, pool: Executor) -> list[int]:
        """Trains again what is finished in the study, but neither in MLflow nor waiting anywhere; gives the numbers."""
        delivered = {
            trial
            for trial, runs in self.tracking.delivered_trials(self.study.name).items()
            if any(status != "RUNNING" for _, status in runs)
        }
        waiting = {entry.trial: entry for entry in self.spool.entries(self.study.name)}
        lost = []
        for trial in self.study.trials():
            if not trial.is_finished or trial.number in delivered:
                continue
            if trial.number in waiting:
                self.writer.put(waiting[trial.number], fresh=False)
            elif not self._is_coming(trial):
                self.writer.put(self._again(pool, trial), fresh=False)
                lost.append(trial.number)
        return lost

    def _is_coming(self, trial: TrialRecord) -> bool:
        """Whether the trial's evidence is with another living worker; waits for it as long as that worker lives."""
        while trial.owner is not None and trial.owner != self.worker.id and trial.owner not in self.worker.dead():
            if trial.number in self.tracking.delivered_trials(self.study.name):
                return True
            time.sleep(TICK)
        return False

    def _again(self, pool: Executor, trial: TrialRecord) -> Entry:
        """A trial's evidence made again: the same networks to the bit."""
        sweep = self.study.sweep
        began = trial.started.timestamp() if trial.started else time.time()
        settings = sweep.settings(trial.params, seeds=int(trial.attrs.get("networks", 0)) or None)
        if trial.state == "FAIL":
            reason = str(trial.attrs.get("error", "unknown"))
            return failure_evidence(self.spool, sweep, trial.number, settings, reason, began)
        epochs = int(trial.attrs.get("epochs", settings.epochs))
        trained = batches.train(pool, settings, np.arange(settings.seeds), self.workers, until=epochs)
        state: FinishedState = "PRUNED" if trial.state == "PRUNED" else "COMPLETE"
        return spool_evidence(self.spool, sweep, trial.number, settings, trained, state, began)

    def _retest(self, pool: Executor) -> None:
        """Trains the winner on fresh networks: the best of many settings looks better than it is."""
        summary = results.SweepResults(self.tracking, self.study.name).summary()
        if summary.best is None or summary.best.retest is not None:
            return
        winner = next(t for t in self.study.trials() if t.number == summary.best.trial)
        settings = self.study.sweep.settings(winner.params)
        count = max(RETEST_NETWORKS, summary.best.figure.networks)
        _, grades, _ = batches.train(pool, settings, np.arange(FRESH, FRESH + count), self.workers)
        hits = grades.recovered if grades.recovered is not None else grades.solved
        self.tracking.log_progress(
            summary.best.run_id, 0, {"retest_networks": float(count), "retest_rate": float(hits.mean())}
        )
