"""A worker on a sweep: it claims trials, finishes them, hands them back, and takes back the trials of dead workers.

A sweep of N trials has the trial numbers 0 to N - 1, so the budget is exact by construction: no trial is created with a
larger number, and a dead worker's trial keeps its number. Claims are made under a lock that all processes share, so
that the next number and the trials to learn from are known. Finishing is a compare-and-set: if two workers trained the
same trial (one of them was suspended meanwhile), `Worker.finish` returns False for the second.

A process may die between any two writes: `Worker.reclaim_dead` and `Worker.claim` of another worker complete them.
"""

from __future__ import annotations

import functools
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState, create_trial

from nnexp.errors import NotFoundError, StoreError
from nnexp.study import processes, pruning, samplers, transitions
from nnexp.study.processes import FailureDetector, WorkerProcess
from nnexp.study.race import Race, bounds
from nnexp.study.study import SweepStudy
from nnexp.study.trials import CLAIM, PARAMS, Claim, FinishedState, Reclaimed, Trial, replace_undefined

#: Seconds after which a call of `Worker.claim` releases the lock, so that other processes get their turn.
LONGEST_CLAIM = 1.0


class Worker:
    """A process that has joined a sweep; made by `join`.

    Attributes:
        study: the study of the sweep.
        process: the worker's entry in the study.
    """

    def __init__(self, study: SweepStudy, process: WorkerProcess) -> None:
        self.study = study
        self.process = process
        self._storage = study.store.storage
        self._pure_sampler = samplers.pure(study.sweep)
        self._distributions = samplers.distributions(study.sweep.searched)
        self._pruner = pruning.pruner(study.sweep)
        self._detector = FailureDetector(study.sweep.lease)
        self._held: dict[int, Claim] = {}
        self._writing_entry = threading.Lock()

    @classmethod
    def join(cls, study: SweepStudy, worker_id: str | None = None) -> Worker:
        """Join ``study`` as a worker; ``worker_id`` must never have been used before; by default it is a new one."""
        worker = cls(study, processes.this_process(worker_id))
        worker.beat()
        return worker

    # Membership

    @property
    def id(self) -> str:
        """The worker's name."""
        return self.process.id

    @property
    def held(self) -> list[Claim]:
        """The trials that it has claimed, and neither finished nor handed back."""
        return list(self._held.values())

    def beat(self) -> None:
        """Send a heartbeat."""
        self._update_entry(beats=self.process.beats + 1)

    @contextmanager
    def keep_beating(self) -> Iterator[None]:
        """Send four heartbeats per lease from a thread for the duration of the block."""
        ended = threading.Event()

        def run() -> None:
            while not ended.wait(self.study.sweep.lease / 4):
                try:
                    self.beat()
                except NotFoundError:
                    return  # the sweep was deleted; the next claim or finish raises the same error
                except StoreError:
                    continue  # the store may answer again by the next heartbeat

        thread = threading.Thread(target=run, name="nnexp-heartbeat", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def leave(self) -> None:
        """Hand back all held trials and leave the sweep."""
        self.hand_back(self.held)
        self._update_entry(left=True)

    def _update_entry(self, **changes: Any) -> None:
        with self._writing_entry:
            self.process = replace(self.process, **changes)
            self.study.call(lambda: self._store_entry(self.process))

    def _store_entry(self, process: WorkerProcess) -> None:
        key = processes.PREFIX + process.id
        self._storage.set_study_user_attr(self.study.study_id, key, process.to_json())

    # Claiming

    def claim(self, n: int) -> list[Claim]:
        """Claim up to ``n`` trials: waiting ones first, then new ones; none when the budget is used up.

        A trial whose workers died `SweepStudy.max_deaths` times is claimed last and alone, and nothing else is claimed
        while it is held: if the worker dies again, this trial is known to be the cause.
        """
        claims: list[Claim] = []
        while n > 0:
            more = self.study.exclusively(functools.partial(self._claim, n))
            if not more:
                break
            self._held.update((claim.number, claim) for claim in more)
            claims += more
            n -= len(more)
        return claims

    def _claim(self, n: int) -> list[Claim]:
        cache, budget = self.study.cache, self.study.sweep.trials
        cache.refresh()
        if any(self._is_suspect(t) for t in cache.unfinished if t.number in self._held):
            return []
        waiting = [t for t in cache.unfinished if t.state == TrialState.WAITING and t.number < budget]
        suspects = [t for t in waiting if self._is_suspect(t)]
        ready = [t for t in waiting if not self._is_suspect(t)]
        deadline = time.monotonic() + LONGEST_CLAIM
        claims: list[Claim] = []
        number = cache.total
        while len(claims) < n and (ready or number < budget) and not (claims and time.monotonic() > deadline):
            if ready:
                claim = self._claim_waiting(ready.pop(0))
            else:
                claim = self._claim_new(number)
                if claim is None or claim.number != number:  # this process has lost its lock
                    return claims if claim is None else [*claims, claim]
                number += 1
            if claim is not None:
                claims.append(claim)
        if not claims and not self._held:
            claims = [claim for t in suspects[:1] if (claim := self._claim_waiting(t)) is not None]
        return claims

    def _is_suspect(self, trial: FrozenTrial) -> bool:
        """Whether so many workers have died with the trial that it may be what kills them."""
        return Trial.from_optuna(trial).deaths >= self.study.max_deaths

    def _claim_waiting(self, trial: FrozenTrial) -> Claim | None:
        """Claim a waiting trial; returns None if another worker was faster."""
        known = Trial.from_optuna(trial)
        if not transitions.start(self._storage, known, self.id):
            return None
        params = self._complete_params(known.trial_id, known.number, known.params)
        return Claim(known.number, known.trial_id, params, known.attempt + 1, self.id)

    def _claim_new(self, expected: int) -> Claim | None:
        """Create a trial, which should get the number ``expected``; returns None if it is beyond the budget."""
        params = {} if self._pure_sampler is None else self._pure_sampler.params(expected)
        template = create_trial(
            state=TrialState.RUNNING,
            params=params,
            distributions={key: self._distributions[key] for key in params},
            user_attrs={CLAIM: {"worker": self.id, "attempt": 1, "deaths": 0, "alone": 0}},
        )
        trial_id = self._storage.create_new_trial(self.study.study_id, template)
        if self._has_number(trial_id, expected):
            return Claim(expected, trial_id, self._complete_params(trial_id, expected, params), 1, self.id)
        # Another process created one meanwhile: another program, or this process was suspended and lost its lock.
        trial = Trial.from_optuna(self._storage.get_trial(trial_id))
        number = trial.number
        if self._pure_sampler is not None:
            params = self._pure_sampler.params(number)
            self._storage.set_trial_user_attr(trial_id, PARAMS, params)
        if number >= self.study.sweep.trials:
            transitions.release(self._storage, trial, attempt=0)
            return None
        return Claim(number, trial_id, self._complete_params(trial_id, number, params), 1, self.id)

    def _has_number(self, trial_id: int, number: int) -> bool:
        try:
            return self._storage.get_trial_id_from_study_id_trial_number(self.study.study_id, number) == trial_id
        except KeyError:
            return False

    def _complete_params(self, trial_id: int, number: int, known: Mapping[str, Any]) -> dict[str, Any]:
        """All parameters of the trial; those that are not ``known`` are drawn and stored."""
        missing = [key for key in self._distributions if key not in known]
        if not missing:
            return {key: known[key] for key in self._distributions}
        if self._pure_sampler is not None:
            drawn = self._pure_sampler.params(number)
        else:
            trial = self._storage.get_trial(trial_id)
            drawn = samplers.suggest(self.study.sweep, self.study.optuna_study(), trial)
        for key in missing:
            dist = self._distributions[key]
            self._storage.set_trial_param(trial_id, key, dist.to_internal_repr(drawn[key]), dist)
        return {key: known.get(key, drawn[key]) for key in self._distributions}

    # Training

    def set_intermediate_value(self, claim: Claim, step: int, value: float) -> bool:
        """Store the objective after ``step`` epochs, in a race after ``step`` networks.

        Returns False if another worker has finished the trial.
        """
        try:
            self.study.call(lambda: self._storage.set_trial_intermediate_value(claim.trial_id, step, value))
        except UpdateFinishedTrialError:
            return False
        return True

    def should_prune(self, claim: Claim) -> bool:
        """Whether the sweep's pruner would stop the trial, given the intermediate values stored so far."""
        pruner = self._pruner
        if pruner is None:
            return False

        def work() -> bool:
            trial = self._storage.get_trial(claim.trial_id)
            return not trial.state.is_finished() and bool(pruner.prune(self.study.optuna_study(), trial))

        try:
            return self.study.call(work)
        except UpdateFinishedTrialError:  # halving stores attributes in the trial, which another worker has finished
            return False

    def best_lower_bound(self, race: Race) -> float:
        """The best lower bound of any trial of the sweep, from the intermediate values that all workers stored."""
        self.study.call(self.study.cache.refresh)
        rates = {n: rate for n, rate in self.study.cache.highest.items() if n in race.rungs and rate > 0}
        lower, _ = bounds([round(n * rate) for n, rate in rates.items()], list(rates), race)
        return float(lower.max(initial=0.0))

    def finish(
        self,
        claim: Claim,
        state: FinishedState,
        values: Sequence[float | None] | None = None,
        attrs: Mapping[str, Any] | None = None,
    ) -> bool:
        """Finish a trial; returns False if another worker had finished it before.

        Args:
            claim: the trial.
            state: COMPLETE, PRUNED or FAIL.
            values: one per objective when COMPLETE; an undefined one (None or nan) counts as the worst possible value.
            attrs: JSON values to store with the trial, such as final metrics; nan and infinities are left out.
        """
        defined = None if values is None else replace_undefined(values, self.study.sweep.directions)

        def work() -> bool:
            # Raises KeyError if the study was deleted; a journal would accept writes to a trial of a deleted study.
            self._storage.get_study_directions(self.study.study_id)
            return transitions.finish(self._storage, claim, state, defined, attrs or {})

        first = self.study.exclusively(work)
        self._held.pop(claim.number, None)
        return first

    def hand_back(self, claims: Iterable[Claim]) -> None:
        """Return trials as if they had never been claimed; those that another worker has taken are not changed."""
        claims = list(claims)

        def work() -> None:
            for claim in claims:
                trial = Trial.from_optuna(self._storage.get_trial(claim.trial_id))
                if self._still_holds(claim, trial):
                    transitions.release(self._storage, trial, trial.attempt - 1)

        if claims:
            self.study.exclusively(work)
        for claim in claims:
            self._held.pop(claim.number, None)

    def _still_holds(self, claim: Claim, trial: Trial) -> bool:
        """Whether ``trial`` is as this worker claimed it, so that no other worker has taken it meanwhile."""
        return trial.state == "RUNNING" and (trial.owner, trial.attempt) == (self.id, claim.attempt)

    # Dead workers

    def reclaim_dead(self) -> Reclaimed:
        """Take back the trials of workers that died or left; a trial that kills its workers is set aside as FAIL.

        It is set aside when its workers died `SweepStudy.max_deaths` times or more, the last time while they trained
        nothing else, and such deaths came often enough. One is enough when a training pool was killed (see
        `count_pool_death`). Whole workers are also killed for other reasons, so `SweepStudy.max_deaths` + 1 of their
        deaths are needed.

        Call it at least every half lease: at most that time between two calls counts as silence of a worker.
        """
        known = self._known_workers()
        dead = self._dead_among(known)
        self.study.call(self.study.cache.refresh)
        if all(known[name].left for name in dead) and not any(
            self._is_abandoned(trial, known, dead) for trial in self.study.cache.unfinished
        ):
            return Reclaimed([], [])
        return self.study.exclusively(lambda: self._reclaim(known, dead))

    def dead_workers(self) -> set[str]:
        """The ids of the workers observed to have died or left; call it as often as `reclaim_dead`."""
        return self._dead_among(self._known_workers())

    def _known_workers(self) -> dict[str, WorkerProcess]:
        known = processes.stored_in(self.study.attrs())
        if self.id in known and known[self.id].left and not self.process.left:
            self.beat()  # this process was suspended for longer than the lease, and was declared dead
        return known

    def _dead_among(self, known: Mapping[str, WorkerProcess]) -> set[str]:
        return {name for name, worker in known.items() if name != self.id and self._detector.is_dead(worker)}

    def _is_abandoned(self, trial: FrozenTrial, known: Mapping[str, WorkerProcess], dead: Iterable[str]) -> bool:
        if trial.state != TrialState.RUNNING:
            return False
        owner = Trial.from_optuna(trial).owner
        if owner == self.id:
            return trial.number not in self._held  # claimed, but the answer of the store was lost
        return owner is None or owner not in known or owner in dead

    def _reclaim(self, known: Mapping[str, WorkerProcess], dead: set[str]) -> Reclaimed:
        cache = self.study.cache
        cache.refresh()  # another worker may have reclaimed them meanwhile
        held = Counter(Trial.from_optuna(t).owner for t in cache.unfinished if t.state == TrialState.RUNNING)
        reclaimed = Reclaimed([], [])
        for frozen in cache.unfinished:
            if self._is_abandoned(frozen, known, dead):
                trial = Trial.from_optuna(frozen)
                deaths = int(trial.owner in dead and not known[str(trial.owner)].left)
                # A whole worker may have been killed for other reasons, by chance with the same trial repeatedly.
                limit = self.study.max_deaths + 1
                self._take_back(trial, reclaimed, deaths=deaths, alone=held[trial.owner] == 1, limit=limit)
        for name in dead:
            if not known[name].left:  # written last: above, it matters whether a worker died or left
                self._store_entry(replace(known[name], left=True))
        return reclaimed

    def _take_back(self, trial: Trial, reclaimed: Reclaimed, *, deaths: int, alone: bool, limit: int) -> None:
        """Let a trial wait for the next worker, or set it aside as the cause of its workers' deaths.

        Args:
            trial: the trial, in state RUNNING.
            reclaimed: receives the trial's number.
            deaths: the number of deaths to add, 0 or 1.
            alone: whether its worker held no other trial.
            limit: how many deaths of a worker that held no other trial set it aside.
        """
        trial = replace(trial, deaths=trial.deaths + deaths, deaths_alone=trial.deaths_alone + deaths * alone)
        is_cause = deaths and alone and trial.deaths >= self.study.max_deaths and trial.deaths_alone >= limit
        if not is_cause or set(trial.params) != set(self._distributions):  # without all parameters it was not trained
            transitions.release(self._storage, trial, trial.attempt)
            reclaimed.waiting.append(trial.number)
            return
        error = f"its process was killed {trial.deaths} times, the last time while training this setting alone"
        transitions.set_aside(self._storage, trial, error)
        reclaimed.set_aside.append(trial.number)

    def count_pool_death(self, claims: Sequence[Claim]) -> Reclaimed:
        """Return this worker's trials whose training pool was killed, and count a death for each of them."""

        def work() -> Reclaimed:
            reclaimed = Reclaimed([], [])
            for claim in claims:
                trial = Trial.from_optuna(self._storage.get_trial(claim.trial_id))
                if self._still_holds(claim, trial):
                    self._take_back(trial, reclaimed, deaths=1, alone=len(claims) == 1, limit=1)
            return reclaimed

        reclaimed = self.study.exclusively(work)
        for claim in claims:
            self._held.pop(claim.number, None)
        return reclaimed
