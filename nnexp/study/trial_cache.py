"""The trials of a study as this process last read them: a finished trial is converted once and never read again."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator

from optuna.storages import BaseStorage
from optuna.storages.journal import JournalStorage
from optuna.trial import FrozenTrial

from nnexp.study.trials import Counts, Trial


class TrialCache:
    """The trials of one study; `refresh` is cheap when few of them have changed.

    Attributes:
        total: the number of trials, which is the number of the next one.
        unfinished: the trials that are not in a final state, by number.
        highest: step -> the highest intermediate value that any trial ever had at it.
    """

    def __init__(self, storage: BaseStorage, study_id: int) -> None:
        self._storage = storage
        self._study_id = study_id
        self._finished: dict[int, Trial] = {}
        self._finished_states: Counter[str] = Counter()
        self.total = 0
        self.unfinished: list[FrozenTrial] = []
        self.highest: dict[int, float] = {}

    def refresh(self) -> None:
        """Read the trials that were not finished at the last refresh, and the new ones.

        Raises:
            KeyError: the study was deleted.
        """
        changed = list(self._possibly_changed())
        self.unfinished = []
        for trial in changed:
            for step, value in trial.intermediate_values.items():
                if value > self.highest.get(step, -math.inf):  # False for nan
                    self.highest[step] = value
            if trial.state.is_finished():
                self._finished[trial.number] = Trial.from_optuna(trial)
                self._finished_states[trial.state.name] += 1
            else:
                self.unfinished.append(trial)

    def _possibly_changed(self) -> Iterator[FrozenTrial]:
        """The trials that may have changed since the last refresh, by number."""
        if self.total and isinstance(self._storage, JournalStorage):
            # It has all trials in memory. Reading them one by one avoids a copy of the whole list.
            self._storage.get_study_directions(self._study_id)  # raises KeyError if the study was deleted
            yield from (self._storage.get_trial(trial._trial_id) for trial in self.unfinished)
            while (trial_id := self._trial_id(self.total)) is not None:
                self.total += 1
                yield self._storage.get_trial(trial_id)
            return
        trials = self._storage.get_all_trials(self._study_id, deepcopy=False)
        start = self.unfinished[0].number if self.unfinished else self.total
        self.total = len(trials)
        yield from (trial for trial in trials[start:] if trial.number not in self._finished)

    def _trial_id(self, number: int) -> int | None:
        try:
            return self._storage.get_trial_id_from_study_id_trial_number(self._study_id, number)
        except KeyError:
            return None

    def trials(self) -> list[Trial]:
        """All trials, by number."""
        everything = [*self._finished.values(), *map(Trial.from_optuna, self.unfinished)]
        return sorted(everything, key=lambda trial: trial.number)

    def counts(self, budget: int) -> Counts:
        """The number of trials in each state."""
        unfinished = Counter(trial.state.name for trial in self.unfinished)
        finished = self._finished_states
        return Counts(
            complete=finished["COMPLETE"],
            pruned=finished["PRUNED"],
            failed=finished["FAIL"],
            running=unfinished["RUNNING"],
            waiting=unfinished["WAITING"],
            budget=budget,
        )
