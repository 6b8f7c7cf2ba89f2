"""One worker on one sweep: claim, train, tell, log. The one place where study, pool, spool and tracking meet (floor 4).

A trial's life, in the order that survives a kill at any instant:

1. the study gives a claim on it (compare-and-set: one worker has it, or after a death another one);
2. its networks are trained and graded in the pool;
3. its evidence is written to the spool (a directory, renamed into place);
4. the study is told (compare-and-set: the first finisher wins, and a second one takes its evidence back);
5. the writer delivers the evidence to MLflow and removes it from the spool.

A kill before 4 leaves the trial to be taken back and trained again, to the bit; a kill after 4 leaves evidence in the
spool, to be delivered at the next start; a spool that is lost leaves a trial without a run, which is trained again.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, wait
from dataclasses import dataclass, field

import numpy as np

from nnexp.errors import Interrupted, NnexpError
from nnexp.network.settings import Settings
from nnexp.recovery import trial_metrics
from nnexp.recovery.grades import GradedNetworks
from nnexp.runner import jobs as batches
from nnexp.runner import pool
from nnexp.runner.adaptive import next_round
from nnexp.runner.jobs import Job, Segment
from nnexp.runner.progress import Progress
from nnexp.search.sweep_file import AdaptiveSeeds
from nnexp.study import Claim, FinishedState, SweepStudy, Worker
from nnexp.study.pruning import rungs
from nnexp.tracking.delivery import Writer
from nnexp.tracking.outbox import Spool
from nnexp.tracking.trial_run import spool_evidence

#: Batches in flight where a suggestion does not depend on earlier results: the pool never runs dry between two batches.
LOOKAHEAD = 3
#: Seconds between two looks at signals, and between two at the study's stop flag and the dead.
TICK = 0.25
UPKEEP = 3.0
#: Seconds until a worker that found nothing to claim asks again.
IDLE = 1.0

Pending = list[Future[list[Segment]]]


@dataclass
class Attempt:
    """A claimed trial in training."""

    claim: Claim
    settings: Settings
    done: list[Segment] = field(default_factory=list)
    midway: list[Segment] = field(default_factory=list)
    began: float = field(default_factory=time.time)
    epoch: int = 0
    pruned: bool = False

    def jobs(self, until: int) -> list[Job]:
        """What is to be trained next: the networks midway further, else those that have no result yet."""
        if self.midway:
            return [Job(self.claim.number, self.settings, s.result.index, until, s.result) for s in self.midway]
        trained = sum(len(s.result.index) for s in self.done)
        return [Job(self.claim.number, self.settings, np.arange(trained, self.settings.seeds), until)]

    def receive(self, segments: Sequence[Segment], until: int) -> None:
        """Takes what `jobs` gave; a segment without a state is trained to its end."""
        self.epoch = until
        own = [s for s in segments if s.trial == self.claim.number]
        self.midway = [s for s in own if not s.result.is_complete]
        self.done += [s for s in own if s.result.is_complete]

    @property
    def trained(self) -> GradedNetworks:
        """Everything so far, in the order of the networks' index."""
        return batches.join([*self.done, *self.midway])

    def metrics(self) -> dict[str, float]:
        """The trial's metrics so far, final names and last curve values both."""
        result, grades, seconds = self.trained
        return {
            **{key: value for key, _, value in trial_metrics.curves(result, grades)},
            **trial_metrics.final_metrics(result, grades, seconds),
        }

    def extend(self, adaptive: AdaptiveSeeds | None) -> bool:
        """Whether another round of seeds is wanted; if so the settings ask for it from now on."""
        if adaptive is None or self.pruned:
            return False
        _, grades, _ = self.trained
        hits = grades.recovered if grades.recovered is not None else grades.solved
        more = next_round(int(hits.sum()), len(hits), adaptive)
        self.settings = self.settings.replace(seeds=len(hits) + more)
        return more > 0


@dataclass
class InFlight:
    """A batch of attempts, and what it waits for."""

    attempts: list[Attempt]
    steps: Iterator[Pending]
    pending: Pending


class SweepWork:
    """A worker's work on one sweep, from its first claim to its last finished trial.

    Args:
        open_pool: makes the training pool; called again when one of the pool's processes was killed.
        workers: how many tasks the pool runs at once.
        interrupted: gives the number of a signal that asked for the end, or None.
        watch: is told the progress, often.
        deadline: `time.monotonic` at which to claim no more.
    """

    def __init__(
        self,
        study: SweepStudy,
        worker: Worker,
        spool: Spool,
        writer: Writer,
        *,
        open_pool: Callable[[], Executor],
        workers: int,
        interrupted: Callable[[], int | None],
        watch: Callable[[Progress], None],
        deadline: float,
    ) -> None:
        self.study, self.worker, self.spool, self.writer = study, worker, spool, writer
        self.open_pool, self.workers, self.interrupted, self.watch = open_pool, workers, interrupted, watch
        self.deadline = deadline
        self.adaptive = study.sweep.seeds if isinstance(study.sweep.seeds, AdaptiveSeeds) else None
        self.independent = study.sweep.sampler in ("random", "qmc", "grid") and study.sweep.pruner == "none"
        self.pool = open_pool()
        self.flying: list[InFlight] = []
        self.networks = 0
        self.began = time.monotonic()
        self._upkeep_at = self._claim_at = 0.0
        self._waited = 0.0
        self._stop_asked = False

    def run(self) -> None:
        """Works until the budget is met, the sweep is stopped, the deadline is past or a signal arrives.

        Raises:
            Interrupted: a signal; `Worker.leave` hands back what was in flight.
            StoreError: a store failed; what was finished is kept.
        """
        try:
            while self._go_on():
                self._wait()
            self._tell()
        finally:
            pool.abandon(self.pool)

    def _go_on(self) -> bool:
        """Looks after signals, the dead and the next claims; False when there is nothing more to do."""
        self._raise_interrupted()
        now = time.monotonic()
        if now >= self._upkeep_at:
            self._upkeep_at = now + UPKEEP
            self._stop_asked = self.study.stop_requested()
            self.worker.reclaim_dead()
            self._tell()
        closing = self._stop_asked or now >= self.deadline
        if not closing and now >= self._claim_at:
            self._claim(now)
        if self.flying:
            return True
        return not closing and not self.study.is_done()

    def _raise_interrupted(self) -> None:
        if (number := self.interrupted()) is not None:
            raise Interrupted(number)

    def _claim(self, now: float) -> None:
        room = LOOKAHEAD if self.independent else 1
        while len(self.flying) < room:
            claims = self.worker.claim(self.study.sweep.batch)
            if not claims:
                self._claim_at = now + IDLE
                return
            self._launch(claims)

    def _launch(self, claims: list[Claim]) -> None:
        attempts = [Attempt(claim, self.study.sweep.settings(claim.params)) for claim in claims]
        steps = self._steps(attempts)
        try:
            self.flying.append(InFlight(attempts, steps, next(steps)))
        except BrokenExecutor:
            self._replace_pool()

    def _steps(self, attempts: list[Attempt]) -> Generator[Pending, None, None]:
        """A batch's course: every rung for those not pruned, then rounds of further seeds; yields what to wait for."""
        going = attempts
        epochs = self.study.sweep.epochs
        for until in rungs(self.study.sweep):
            yield from self._train(going, until)
            if until < epochs:
                going = self._prune(going, until)
        while going := [attempt for attempt in going if attempt.extend(self.adaptive)]:
            yield from self._train(going, epochs)
        for attempt in attempts:
            self._finish(attempt)

    def _train(self, attempts: list[Attempt], until: int) -> Generator[Pending, None, None]:
        futures = batches.submit(self.pool, [job for attempt in attempts for job in attempt.jobs(until)], self.workers)
        yield futures
        segments = [segment for future in futures for segment in future.result()]
        for attempt in attempts:
            attempt.receive(segments, until)

    def _prune(self, attempts: list[Attempt], until: int) -> list[Attempt]:
        """Reports every attempt's value at this rung, in the order of their numbers, then asks which go on."""
        for attempt in attempts:
            value = self._values(attempt.metrics())[0]
            self.worker.set_intermediate_value(attempt.claim, until, math.nan if value is None else value)
        for attempt in attempts:
            attempt.pruned = self.worker.should_prune(attempt.claim)
        return [attempt for attempt in attempts if not attempt.pruned]

    def _values(self, metrics: dict[str, float]) -> list[float | None]:
        """The objectives' values; None for what is undefined (nothing solved, all diverged)."""
        return [metrics.get(name) for name in self.study.sweep.objective]

    def _finish(self, attempt: Attempt) -> None:
        state: FinishedState = "PRUNED" if attempt.pruned else "COMPLETE"
        trained = attempt.trained
        entry, metrics = spool_evidence(
            self.spool,
            self.study.sweep,
            attempt.claim.number,
            attempt.settings,
            trained,
            state,
            epochs=attempt.epoch,
            began=attempt.began,
        )
        self.networks += len(trained[0].index)
        values = self._values(metrics) if state == "COMPLETE" else None
        # The numbers of networks and epochs are what it takes to make lost evidence again.
        attrs = {**metrics, "networks": len(trained[0].index), "epochs": attempt.epoch}
        if self.worker.finish(attempt.claim, state, values, attrs):
            self.writer.put(entry, fresh=attempt.claim.attempt == 1)
        else:
            entry.remove()  # it was given to another while this process slept, and finished there

    def _wait(self) -> None:
        """Waits a tick for the pool, and takes every batch whose futures are all done one step further."""
        pending = [future for batch in self.flying for future in batch.pending if not future.done()]
        if pending:
            wait(pending, timeout=TICK, return_when=FIRST_COMPLETED)
        elif not self.flying:
            time.sleep(TICK)
        for batch in list(self.flying):
            if not all(future.done() for future in batch.pending):
                continue
            try:
                batch.pending = next(batch.steps)
            except StopIteration:
                self.flying.remove(batch)
            except BrokenExecutor:
                self._replace_pool()
                return

    def _replace_pool(self) -> None:
        """A pool's process was killed, perhaps by its trial (memory): counts a death for all in flight, and goes on.

        Raises:
            NnexpError: a new pool cannot run anything either; the trials are not to blame and are handed back.
            Interrupted: a signal, which ended the pool too where it was sent to the whole process group.
        """
        pool.abandon(self.pool)
        self._raise_interrupted()
        self.pool = self.open_pool()
        try:
            self.pool.submit(os.getpid).result()
        except (BrokenExecutor, OSError, EOFError) as error:
            self._raise_interrupted()
            raise NnexpError(
                f"the training pool's processes end before they train ({str(error) or type(error).__name__}); "
                "give them more memory, or try fewer --jobs or --pool inline"
            ) from error
        self._raise_interrupted()
        self.worker.count_pool_death(self.worker.held)
        self.flying.clear()

    def _tell(self) -> None:
        counts, best = self.study.counts(), self.study.best()
        seconds = time.monotonic() - self.began
        waited, self._waited = self._waited, self.writer.waited
        rate = self.networks / seconds if seconds > 0 else 0.0
        value = best.values[0] if best is not None and best.values else None
        if value is not None and not math.isfinite(value):
            value = None  # nothing has one yet
        self.watch(
            Progress(
                done=counts.finished,
                total=counts.budget,
                networks_per_second=rate,
                best=value,
                objective=self.study.sweep.objective[0],
                waiting_for_tracking=self.writer.waited > waited,
                failed=counts.failed,
                spool=self.writer.waiting,
            )
        )
        shown = {"trials_done": float(counts.finished), "networks_per_second": rate}
        if value is not None:
            shown[f"best_{self.study.sweep.objective[0]}"] = value
        self.writer.progress(counts.finished, shown)
