"""A worker on a sweep: takes trials, finishes them, hands them back, and takes back what the dead left.

A trial's *number* is one of the sweep's ``trials`` slots, so the budget is exact by construction: no trial is made past
the last slot, and a dead worker's trial keeps its number. Claims are made while all other processes wait, so that the
number and the trials to learn from are known. Finishing is a compare-and-set: of two that trained the same trial (a
stopped process that woke up), one is told that it came late.

Each method's writes are in such an order that a death between any two leaves what `reclaim_dead` and `claim` mend.
"""

from __future__ import annotations

import functools
import math
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from optuna.exceptions import UpdateFinishedTrialError
from optuna.pruners import BasePruner, MedianPruner, SuccessiveHalvingPruner
from optuna.trial import FrozenTrial, TrialState, create_trial

from nnexp.errors import NotFoundError, StoreError
from nnexp.search.sweep_file import Sweep
from nnexp.study import processes, samplers
from nnexp.study.trials import CLAIM, PARAMS, RESULT, Claim, FinishedState, Reclaimed, TrialRecord, feasible, record

if TYPE_CHECKING:
    from nnexp.study.study import SweepStudy

#: Seconds for which claims keep other processes waiting, at most one suggestion longer.
TURN = 1.0


class Worker:
    """A process that has joined a sweep, by `SweepStudy.join`.

    Attributes:
        study: the sweep's study.
        record: where it works, as the study holds it.
    """

    def __init__(self, study: SweepStudy, record: processes.WorkerRecord) -> None:
        self.study = study
        self.record = record
        self._storage = study.store.storage
        self._pure = samplers.pure(study.sweep)
        self._distributions = samplers.distributions(study.sweep.searched)
        self._pruner = _pruner(study.sweep)
        self._observer = processes.Observer(study.sweep.lease)
        self._held: dict[int, Claim] = {}
        self._saying = threading.Lock()

    # Living

    @property
    def id(self) -> str:
        """Its name."""
        return self.record.id

    @property
    def held(self) -> list[Claim]:
        """What it has claimed and neither finished nor handed back."""
        return list(self._held.values())

    def beat(self) -> None:
        """Tell the others that it lives."""
        self._say(beats=self.record.beats + 1)

    @contextmanager
    def keep_beating(self) -> Iterator[None]:
        """Beat four times a lease from a thread for the time of the block."""
        ended = threading.Event()

        def run() -> None:
            while not ended.wait(self.study.sweep.lease / 4):
                try:
                    self.beat()
                except NotFoundError:
                    return  # the sweep was deleted: the work itself will find out
                except StoreError:
                    continue  # the store may be back by the next beat

        thread = threading.Thread(target=run, name="nnexp-heartbeat", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def leave(self) -> None:
        """Hand back what it holds and leave in good order."""
        self.hand_back(self.held)
        self._say(left=True)

    def _say(self, **changes: Any) -> None:
        with self._saying:
            self.record = replace(self.record, **changes)
            key, plain = processes.PREFIX + self.id, self.record.plain()
            self.study.call(lambda: self._storage.set_study_user_attr(self.study.study_id, key, plain))

    # Claiming

    def claim(self, n: int) -> list[Claim]:
        """Take up to ``n`` trials: those that wait first, then new ones; none when the budget is used up.

        A setting whose workers died `SweepStudy.max_deaths` times comes last and alone, and while it is held nothing
        else is given: if the worker dies again, it is known why.
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
        view, budget = self.study.view, self.study.sweep.trials
        view.refresh()
        if any(record(t).deaths >= self.study.max_deaths for t in view.unfinished if t.number in self._held):
            return []
        waiting = [t for t in view.unfinished if t.state == TrialState.WAITING and t.number < budget]
        suspects = [t for t in waiting if record(t).deaths >= self.study.max_deaths]
        ready = [t for t in waiting if record(t).deaths < self.study.max_deaths]
        deadline = time.monotonic() + TURN
        claims: list[Claim] = []
        number = view.total
        while len(claims) < n and (ready or number < budget) and not (claims and time.monotonic() > deadline):
            if ready:
                claim = self._take(ready.pop(0))
            else:
                claim = self._new(number)
                number = number + 1 if claim is None else claim.number + 1
            if claim is not None:
                claims.append(claim)
        if not claims and not self._held:
            claims = [claim for t in suspects[:1] if (claim := self._take(t)) is not None]
        return claims

    def _take(self, trial: FrozenTrial) -> Claim | None:
        """A waiting trial; None if somebody else was quicker."""
        known = record(trial)
        said = _said(known, self.id, known.attempt + 1)
        try:
            # First whose it is: a trial that runs for nobody would have to be guessed at.
            self._storage.set_trial_user_attr(known.trial_id, CLAIM, said)
            if not self._storage.set_trial_state_values(known.trial_id, TrialState.RUNNING):
                return None
        except UpdateFinishedTrialError:
            return None
        params = self._complete(known.trial_id, known.number, known.params)
        return Claim(known.number, known.trial_id, params, known.attempt + 1, self.id)

    def _new(self, expected: int) -> Claim | None:
        """A trial that did not exist; ``expected`` is the number that it should get."""
        params = {} if self._pure is None else self._pure.params(expected)
        template = create_trial(
            state=TrialState.RUNNING,
            params=params,
            distributions={key: self._distributions[key] for key in params},
            user_attrs={CLAIM: {"worker": self.id, "attempt": 1, "deaths": 0, "alone": 0}},
        )
        trial_id = self._storage.create_new_trial(self.study.study_id, template)
        if self._has_number(trial_id, expected):
            return Claim(expected, trial_id, self._complete(trial_id, expected, params), 1, self.id)
        # Somebody else made one meanwhile: another program, or this process was stopped and its lock taken from it.
        number = self._storage.get_trial(trial_id).number
        if self._pure is not None:
            params = self._pure.params(number)
            self._storage.set_trial_user_attr(trial_id, PARAMS, params)
        if number >= self.study.sweep.trials:
            self._return(trial_id, {"worker": None, "attempt": 0, "deaths": 0})
            return None
        return Claim(number, trial_id, self._complete(trial_id, number, params), 1, self.id)

    def _has_number(self, trial_id: int, number: int) -> bool:
        try:
            return self._storage.get_trial_id_from_study_id_trial_number(self.study.study_id, number) == trial_id
        except KeyError:
            return False

    def _complete(self, trial_id: int, number: int, known: Mapping[str, Any]) -> dict[str, Any]:
        """The trial's parameters, those that are missing drawn and stored."""
        missing = [key for key in self._distributions if key not in known]
        if not missing:
            return {key: known[key] for key in self._distributions}
        if self._pure is not None:
            drawn = self._pure.params(number)
        else:
            drawn = samplers.suggest(self.study.sweep, self.study.fresh(), self._storage.get_trial(trial_id))
        for key in missing:
            dist = self._distributions[key]
            self._storage.set_trial_param(trial_id, key, dist.to_internal_repr(drawn[key]), dist)
        return {key: known.get(key, drawn[key]) for key in self._distributions}

    # Working

    def report(self, claim: Claim, epoch: int, value: float) -> bool:
        """Store an intermediate value of the objective; False if the trial is already finished by another."""
        try:
            self.study.call(lambda: self._storage.set_trial_intermediate_value(claim.trial_id, epoch, value))
        except UpdateFinishedTrialError:
            return False
        return True

    def should_prune(self, claim: Claim) -> bool:
        """Whether the sweep's pruner would stop the trial, after what was reported of it."""
        pruner = self._pruner
        if pruner is None:
            return False

        def work() -> bool:
            trial = self._storage.get_trial(claim.trial_id)
            return not trial.state.is_finished() and bool(pruner.prune(self.study.fresh(), trial))

        try:
            return self.study.call(work)
        except UpdateFinishedTrialError:  # halving keeps notes in the trial; it is another's and finished
            return False

    def finish(
        self,
        claim: Claim,
        state: FinishedState,
        values: Sequence[float | None] | None = None,
        attrs: Mapping[str, Any] | None = None,
    ) -> bool:
        """Finish a trial; False if somebody else had finished it before.

        Args:
            claim: the trial.
            state: COMPLETE, PRUNED or FAIL.
            values: one for each objective, when COMPLETE; None or nan, an undefined one, counts as the worst there is.
            attrs: JSON values to keep with the trial, such as final metrics; nan and infinities are left out.
        """
        told = None if values is None else feasible(values, self.study.sweep.directions)
        result = {"worker": self.id, "attempt": claim.attempt, "attrs": _finite(attrs or {})}

        def work() -> bool:
            self._storage.get_study_directions(self.study.study_id)  # a journal takes writes to deleted studies' trials
            try:
                self._storage.set_trial_user_attr(claim.trial_id, RESULT, result)
                self._storage.set_trial_state_values(claim.trial_id, TrialState[state], told)
            except UpdateFinishedTrialError:
                # Perhaps by this very call, whose answer was lost with the connection.
                finished = record(self._storage.get_trial(claim.trial_id))
                return (finished.owner, finished.attempt) == (self.id, claim.attempt)
            return True

        first = self.study.exclusively(work)
        self._held.pop(claim.number, None)
        return first

    def hand_back(self, claims: Iterable[Claim]) -> None:
        """Give trials back as if they had never been taken; those that are no longer its own are left alone."""
        claims = list(claims)

        def work() -> None:
            for claim in claims:
                known = record(self._storage.get_trial(claim.trial_id))
                if self._is_still(claim, known):
                    self._return(known.trial_id, _said(known, None, known.attempt - 1))

        if claims:
            self.study.exclusively(work)
        for claim in claims:
            self._held.pop(claim.number, None)

    def _is_still(self, claim: Claim, trial: TrialRecord) -> bool:
        """Whether the trial is as this worker claimed it, and not another's meanwhile."""
        return trial.state == "RUNNING" and (trial.owner, trial.attempt) == (self.id, claim.attempt)

    def _return(self, trial_id: int, said: Mapping[str, Any]) -> None:
        self._storage.set_trial_user_attr(trial_id, CLAIM, said)  # first: running for nobody means free
        self._storage.set_trial_state_values(trial_id, TrialState.WAITING)

    # The dead

    def reclaim_dead(self) -> Reclaimed:
        """Take back the trials of workers that died or left; a setting that kills its workers is set aside as FAIL.

        It must have killed them while nothing else was in training: a pool's process once, and twice in all; or, since
        whole workers are killed for other reasons too, `SweepStudy.max_deaths` + 1 of them.

        Call it at least every half lease: the time in which a worker moves its counter is counted between calls.
        """
        known = self._known()
        dead = self._dead(known)
        self.study.call(self.study.view.refresh)
        if all(known[name].left for name in dead) and not any(
            self._is_abandoned(trial, known, dead) for trial in self.study.view.unfinished
        ):
            return Reclaimed([], [])
        return self.study.exclusively(lambda: self._reclaim(known, dead))

    def dead(self) -> set[str]:
        """The names of the workers that died or left, as far as seen; like `reclaim_dead`, to be asked often."""
        return self._dead(self._known())

    def _known(self) -> dict[str, processes.WorkerRecord]:
        known = processes.records(self.study.attrs())
        if self.id in known and known[self.id].left and not self.record.left:
            self.beat()  # it slept longer than the lease and was given up
        return known

    def _dead(self, known: Mapping[str, processes.WorkerRecord]) -> set[str]:
        return {name for name, worker in known.items() if name != self.id and self._observer.dead(worker)}

    def _is_abandoned(
        self, trial: FrozenTrial, known: Mapping[str, processes.WorkerRecord], dead: Iterable[str]
    ) -> bool:
        if trial.state != TrialState.RUNNING:
            return False
        owner = record(trial).owner
        if owner == self.id:
            return trial.number not in self._held  # a claim whose answer was lost with the connection
        return owner is None or owner not in known or owner in dead

    def _reclaim(self, known: Mapping[str, processes.WorkerRecord], dead: set[str]) -> Reclaimed:
        self.study.view.refresh()  # another may have been quicker
        company = Counter(record(t).owner for t in self.study.view.unfinished if t.state == TrialState.RUNNING)
        taken = Reclaimed([], [])
        for trial in self.study.view.unfinished:
            if self._is_abandoned(trial, known, dead):
                left = record(trial)
                deaths = int(left.owner in dead and not known[str(left.owner)].left)
                # A whole worker may have been killed for other reasons, by chance at this setting again and again.
                limit = self.study.max_deaths + 1
                self._give_up(left, taken, deaths=deaths, alone=company[left.owner] == 1, limit=limit)
        for name in dead:
            if not known[name].left:  # last: whether it died or left makes a difference above
                buried = replace(known[name], left=True).plain()
                self._storage.set_study_user_attr(self.study.study_id, processes.PREFIX + name, buried)
        return taken

    def _give_up(self, trial: TrialRecord, taken: Reclaimed, *, deaths: int, alone: bool, limit: int) -> None:
        """Return a trial to those that wait, or set it aside when it killed too often, and surely it alone."""
        told = replace(trial, deaths=trial.deaths + deaths, alone=trial.alone + (deaths if alone else 0))
        said = _said(told, None, trial.attempt)
        guilty = deaths and alone and told.deaths >= self.study.max_deaths and told.alone >= limit
        if not guilty or set(trial.params) != set(self._distributions):  # without them it was never in training
            self._return(trial.trial_id, said)
            taken.waiting.append(trial.number)
            return
        error = f"its process was killed {told.deaths} times, the last time while training this setting alone"
        result = {"worker": trial.owner, "attempt": trial.attempt, "attrs": {"error": error}}
        self._storage.set_trial_user_attr(trial.trial_id, CLAIM, said)
        self._storage.set_trial_user_attr(trial.trial_id, RESULT, result)
        self._storage.set_trial_state_values(trial.trial_id, TrialState.FAIL)
        taken.set_aside.append(trial.number)

    def mourn(self, claims: Sequence[Claim]) -> Reclaimed:
        """Give back trials of this worker during which its training pool was killed, as if the worker had died."""

        def work() -> Reclaimed:
            taken = Reclaimed([], [])
            for claim in claims:
                trial = record(self._storage.get_trial(claim.trial_id))
                if self._is_still(claim, trial):
                    self._give_up(trial, taken, deaths=1, alone=len(claims) == 1, limit=1)
            return taken

        taken = self.study.exclusively(work)
        for claim in claims:
            self._held.pop(claim.number, None)
        return taken


def _pruner(sweep: Sweep) -> BasePruner | None:
    if sweep.pruner == "median":
        # The plateaus of the first tenth look all alike.
        return MedianPruner(n_startup_trials=5, n_warmup_steps=sweep.epochs // 10)
    if sweep.pruner == "asha":
        # Rungs at 1/64, 1/16 and 1/4 of the epochs; the default would take them from the first trial to finish.
        return SuccessiveHalvingPruner(min_resource=max(1, sweep.epochs // 64), reduction_factor=4)
    return None


def _said(trial: TrialRecord, worker: str | None, attempt: int) -> dict[str, Any]:
    """Whose a trial is, as its attribute says it."""
    return {"worker": worker, "attempt": attempt, "deaths": trial.deaths, "alone": trial.alone}


def _finite(attrs: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in attrs.items() if not (isinstance(value, float) and not math.isfinite(value))}
