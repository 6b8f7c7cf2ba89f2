"""A study's trials as this process knows them: what is finished is converted once and never looked at again."""

from __future__ import annotations

from collections import Counter

from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial

from nnexp.study.records import Counts, TrialRecord, record


class View:
    """The trials of one study; `refresh` costs little where little has changed.

    Attributes:
        total: how many trials there are; the next one's number.
        unfinished: the others than `finished`, by number.
    """

    def __init__(self, storage: BaseStorage, study_id: int) -> None:
        self._storage = storage
        self._study_id = study_id
        self._finished: dict[int, TrialRecord] = {}
        self._states: Counter[str] = Counter()
        self._frontier = 0  # every trial below is finished
        self.total = 0
        self.unfinished: list[FrozenTrial] = []

    def refresh(self) -> None:
        """Look at what was not finished last time, and at what is new."""
        trials = self._storage.get_all_trials(self._study_id, deepcopy=False)
        self.total = len(trials)
        self.unfinished = []
        for trial in trials[self._frontier :]:
            if trial.number in self._finished:
                continue
            if trial.state.is_finished():
                self._finished[trial.number] = record(trial)
                self._states[trial.state.name] += 1
            else:
                self.unfinished.append(trial)
        self._frontier = self.unfinished[0].number if self.unfinished else self.total

    def records(self) -> list[TrialRecord]:
        """All trials, by number."""
        every = [*self._finished.values(), *map(record, self.unfinished)]
        return sorted(every, key=lambda trial: trial.number)

    def counts(self, budget: int) -> Counts:
        """The trials by state."""
        open_states = Counter(trial.state.name for trial in self.unfinished)
        done = self._states
        return Counts(
            done["COMPLETE"], done["PRUNED"], done["FAIL"], open_states["RUNNING"], open_states["WAITING"], budget
        )
