"""The loop of one worker on one sweep: claim trials, train them, finish them in the study, deliver them to MLflow.

The steps of a trial are in an order that survives a kill at any instant:

1. the worker claims it in the study (compare-and-set: only one worker has it, until that worker dies);
2. its networks are trained and graded in the pool;
3. its results are written to the spool (a directory, renamed into place);
4. it is finished in the study (compare-and-set: the first worker succeeds, a later one removes its own entry);
5. a thread delivers the entry to MLflow and removes it.

After a kill before step 4 the trial is taken back and trained again, with the same bits. After a kill after step 4 the
entry is in the spool, and is delivered at the next start. If the spool is lost, the finished trial has no run, and is
trained again when the sweep is finalized.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from dataclasses import dataclass, field
from itertools import compress
from typing import Any

import numpy as np

from nnexp.errors import NnexpError
from nnexp.network.settings import Settings
from nnexp.recovery import trial_metrics
from nnexp.recovery.grades import GradedNetworks
from nnexp.runner import jobs, pool
from nnexp.runner.adaptive import next_round
from nnexp.runner.jobs import Job, JobResult
from nnexp.runner.progress import Progress
from nnexp.runner.session import Session
from nnexp.search.seeds import AdaptiveSeeds
from nnexp.study import Claim, FinishedState
from nnexp.study.pruning import rungs
from nnexp.study.race import Race, decide
from nnexp.tracking.schema import DROPPED
from nnexp.tracking.trial_run import write_trained

#: Seconds between two checks for signals, and between two checks for the study's stop flag and for dead workers.
TICK = 0.25
UPKEEP = 3.0
#: Seconds until a worker that found nothing to claim tries again.
IDLE = 1.0

#: The tasks that a batch waits for.
Tasks = list[Future[list[JobResult]]]


@dataclass
class TrialInTraining:
    """A claimed trial: its networks that are completely trained, and those that are paused at a rung."""

    claim: Claim
    settings: Settings
    complete: list[JobResult] = field(default_factory=list)
    paused: list[JobResult] = field(default_factory=list)
    began: float = field(default_factory=time.time)
    epoch: int = 0
    pruned: bool = False
    dropped: bool = False

    def jobs(self, until: int) -> list[Job]:
        """The jobs that continue the paused networks, or else start those that have no result yet."""
        if self.paused:
            paused = [part.result for part in self.paused]
            return [Job(self.claim.number, self.settings, result.index, until, result) for result in paused]
        trained = sum(len(part.result.index) for part in self.complete)
        return [Job(self.claim.number, self.settings, np.arange(trained, self.settings.seeds), until)]

    def receive(self, results: Sequence[JobResult], until: int) -> None:
        """Add those ``results`` that are of this trial."""
        self.epoch = until
        own = [part for part in results if part.trial == self.claim.number]
        self.paused = [part for part in own if not part.result.is_complete]
        self.complete += [part for part in own if part.result.is_complete]

    @property
    def trained(self) -> GradedNetworks:
        """All networks so far, in the order of their index."""
        return jobs.join([*self.complete, *self.paused])

    def metrics(self) -> dict[str, float]:
        """The trial's metrics so far: the last values of the curves, and the final metrics."""
        result, grades, seconds = self.trained
        return {
            **{key: value for key, _, value in trial_metrics.curves(result, grades)},
            **trial_metrics.final_metrics(result, grades, seconds),
        }

    def extend_to(self, networks: int) -> None:
        """Raise ``settings.seeds``, the number of networks to train."""
        self.settings = self.settings.replace(seeds=networks)

    def extend(self, adaptive: AdaptiveSeeds | None) -> bool:
        """Increase ``settings.seeds`` by another round of networks; returns False if there is none."""
        if adaptive is None or self.pruned:
            return False
        grades = self.trained.grades
        successes = grades.recovered if grades.recovered is not None else grades.solved
        more = next_round(int(successes.sum()), len(successes), adaptive)
        self.extend_to(len(successes) + more)
        return more > 0


@dataclass
class Batch:
    """Trials that were claimed together: the remaining steps, and the tasks that the next step waits for."""

    steps: Generator[Tasks, None, None]
    tasks: Tasks


class TrialLoop:
    """A worker's work on one sweep, from its first claim to its last finished trial."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.study, self.worker, self.delivery = session.study, session.worker, session.delivery
        sweep = session.study.sweep
        self.adaptive = sweep.seeds if isinstance(sweep.seeds, AdaptiveSeeds) else None
        at_once = jobs.lookahead(sweep)
        # Those that race share their rounds: they are one batch, which claims more when some of them have ended.
        self.lookahead, self.batch = (at_once, sweep.batch) if sweep.race is None else (1, at_once * sweep.batch)
        self.pool = session.open_pool()
        self.batches: list[Batch] = []
        self.networks = 0
        self.began = time.monotonic()
        self._upkeep_at = self._claim_at = 0.0
        self._waited = 0.0
        self._stop_requested = False

    def run(self) -> None:
        """Work until all trials are finished, the sweep is stopped, the deadline has passed or a signal arrives.

        Raises:
            Interrupted: a signal; `Worker.leave` hands back the trials in training.
            StoreError: a store failed; finished trials are kept.
        """
        try:
            while True:
                self.session.check_signals()
                now = time.monotonic()
                if now >= self._upkeep_at:
                    self._upkeep(now)
                if not self._is_closing() and now >= self._claim_at:
                    self._claim(now)
                if not self.batches and (self._is_closing() or self.study.is_done()):
                    break
                self._wait()
            self._show_progress()
        finally:
            pool.abandon(self.pool)

    def _is_closing(self) -> bool:
        """Whether no more trials are to be claimed."""
        return self._stop_requested or time.monotonic() >= self.session.options.deadline

    def _upkeep(self, now: float) -> None:
        """Read the stop flag, take back the trials of dead workers, and publish the progress."""
        self._upkeep_at = now + UPKEEP
        self._stop_requested = self.study.stop_requested()
        self.worker.reclaim_dead()
        self._show_progress()

    def _claim(self, now: float) -> None:
        """Start as many batches as may be in training at once."""
        while len(self.batches) < self.lookahead:
            claimed = self._claimed(self.batch)
            if not claimed:
                self._claim_at = now + IDLE
                return
            steps = self._steps(claimed) if self.study.sweep.race is None else self._race(claimed)
            try:
                self.batches.append(Batch(steps, next(steps)))
            except BrokenExecutor:
                self._replace_pool()

    def _claimed(self, n: int) -> list[TrialInTraining]:
        """Up to ``n`` trials, claimed just now."""
        return [TrialInTraining(c, self.study.sweep.settings(c.params)) for c in self.worker.claim(n)]

    def _steps(self, trials: list[TrialInTraining]) -> Generator[Tasks, None, None]:
        """Train a batch to every rung, without the trials pruned there, then in rounds of more seeds, and finish it.

        Yields the tasks to wait for before the next step.
        """
        going, sweep = trials, self.study.sweep
        for until in rungs(sweep):
            yield from self._train(going, until)
            if until < sweep.epochs:
                going = self._prune(going, until)
        while going := [trial for trial in going if trial.extend(self.adaptive)]:
            yield from self._train(going, sweep.epochs)
        for trial in trials:
            self._finish(trial)

    def _race(self, racing: list[TrialInTraining]) -> Generator[Tasks, None, None]:
        """Train trials side by side, each to its next rung, and finish those that get no more networks.

        For an independent sampler others take their place. With one worker the course of a race is deterministic: all
        networks of a round are awaited, and the trials are judged in the order of their claims.

        Yields the tasks to wait for before the next round.
        """
        ended: list[TrialInTraining] = []
        while racing or ended:
            tasks = self._submit(racing, self.study.sweep.epochs)
            for trial in ended:  # while the pool works on the next round
                self.session.check_signals()
                self._finish(trial)
            yield tasks
            self._receive(tasks, racing, self.study.sweep.epochs)
            ended, racing = self._judge(racing)
            if jobs.is_independent(self.study.sweep) and not self._is_closing():
                racing += self._claimed(self.batch - len(racing))

    def _judge(self, trials: list[TrialInTraining]) -> tuple[list[TrialInTraining], list[TrialInTraining]]:
        """Store the rate of every trial at its rung and compare it with the whole sweep.

        Returns:
            Those that get no more networks, and those that go on to their next rung.
        """
        race = Race.of(self.study.sweep)
        if race is None or not trials:
            return [], []
        networks, rates = [trial.settings.seeds for trial in trials], []
        for trial, n in zip(trials, networks, strict=True):
            rates.append(self._values(trial.metrics())[0] or 0.0)
            self.worker.set_intermediate_value(trial.claim, n, rates[-1])
        successes = np.rint(np.multiply(networks, rates))
        decision = decide(successes, networks, race, self.worker.best_lower_bound(race))
        racing = decision.racing & (np.array(networks) < race.seeds)
        for trial, dropped, goes_on in zip(trials, decision.dropped, racing, strict=True):
            trial.dropped = bool(dropped)
            if goes_on:
                trial.extend_to(race.rungs[race.rungs.index(trial.settings.seeds) + 1])
        return list(compress(trials, ~racing)), list(compress(trials, racing))

    def _train(self, trials: list[TrialInTraining], until: int) -> Generator[Tasks, None, None]:
        tasks = self._submit(trials, until)
        yield tasks
        self._receive(tasks, trials, until)

    def _submit(self, trials: list[TrialInTraining], until: int) -> Tasks:
        wanted = [job for trial in trials for job in trial.jobs(until)]
        return jobs.submit(self.pool, wanted, self.session.workers)

    def _receive(self, tasks: Tasks, trials: list[TrialInTraining], until: int) -> None:
        results = [result for task in tasks for result in task.result()]
        for trial in trials:
            trial.receive(results, until)

    def _prune(self, trials: list[TrialInTraining], until: int) -> list[TrialInTraining]:
        """Store the value of every trial at this rung, in the order of their numbers; returns those not pruned."""
        for trial in trials:
            value = self._values(trial.metrics())[0]
            self.worker.set_intermediate_value(trial.claim, until, math.nan if value is None else value)
        for trial in trials:
            trial.pruned = self.worker.should_prune(trial.claim)
        return [trial for trial in trials if not trial.pruned]

    def _values(self, metrics: dict[str, float]) -> list[float | None]:
        """The objectives' values; None for an undefined one (nothing solved, all diverged)."""
        return [metrics.get(name) for name in self.study.sweep.objective]

    def _finish(self, trial: TrialInTraining) -> None:
        """Write a trial to the spool, finish it in the study and deliver it, in this order."""
        state: FinishedState = "PRUNED" if trial.pruned else "COMPLETE"
        trained = trial.trained
        entry, metrics = write_trained(
            self.session.spool,
            self.study.sweep,
            trial.claim.number,
            trial.settings,
            trained,
            state,
            epochs=trial.epoch,
            began=trial.began,
            dropped=trial.dropped,
        )
        self.networks += len(trained.result.index)
        values = self._values(metrics) if state == "COMPLETE" else None
        # With the numbers of networks and epochs, a run that is lost before its delivery can be trained again.
        attrs: dict[str, Any] = {**metrics, "networks": len(trained.result.index), "epochs": trial.epoch}
        if trial.dropped:
            attrs["race"] = DROPPED
        if self.worker.finish(trial.claim, state, values, attrs):
            self.delivery.put(entry, fresh=trial.claim.attempt == 1)
        else:
            entry.remove()  # this process was suspended; meanwhile another worker took over the trial and finished it

    def _wait(self) -> None:
        """Wait a tick for the pool, and continue every batch whose tasks are all done."""
        pending = [task for batch in self.batches for task in batch.tasks if not task.done()]
        if pending:
            wait(pending, timeout=TICK, return_when=FIRST_COMPLETED)
        elif not self.batches:
            time.sleep(TICK)
        for batch in list(self.batches):
            if not all(task.done() for task in batch.tasks):
                continue
            try:
                batch.tasks = next(batch.steps)
            except StopIteration:
                self.batches.remove(batch)
            except BrokenExecutor:
                self._replace_pool()
                return

    def _replace_pool(self) -> None:
        """Continue with a new pool after a process of the old one was killed, perhaps by its trial (memory).

        It counts as a worker's death for every trial in training.

        Raises:
            NnexpError: a new pool cannot run anything either; the trials are not the cause and are handed back.
            Interrupted: a signal, which also ended the pool if it was sent to the whole process group.
        """
        pool.abandon(self.pool)
        self.session.check_signals()
        self.pool = self.session.open_pool()
        try:
            self.pool.submit(os.getpid).result()
        except (BrokenExecutor, OSError, EOFError) as error:
            self.session.check_signals()
            raise NnexpError(
                f"the training pool's processes end before they train ({str(error) or type(error).__name__}); "
                "give them more memory, or try fewer --jobs or --pool inline"
            ) from error
        self.session.check_signals()
        self.worker.count_pool_death(self.worker.held)
        self.batches.clear()

    def _show_progress(self) -> None:
        """Publish the progress of the sweep: to the caller, and to the parent run."""
        counts, best = self.study.counts(), self.study.best()
        seconds = time.monotonic() - self.began
        waited, self._waited = self._waited, self.delivery.waited
        rate = self.networks / seconds if seconds > 0 else 0.0
        value = best.values[0] if best is not None and best.values else None
        if value is not None and not math.isfinite(value):
            value = None  # no trial has a defined value yet
        objective = self.study.sweep.objective[0]
        progress = Progress(
            done=counts.finished,
            total=counts.budget,
            networks_per_second=rate,
            best=value,
            objective=objective,
            waiting_for_tracking=self.delivery.waited > waited,
            failed=counts.failed,
            spool=self.delivery.waiting,
        )
        if self.session.options.progress is not None:
            self.session.options.progress(progress)
        metrics = {"trials_done": float(counts.finished), "networks_per_second": rate}
        if value is not None:
            metrics[f"best_{objective}"] = value
        self.delivery.progress(counts.finished, metrics)
