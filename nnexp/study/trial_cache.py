"""A study's trials as this process knows them: what is finished is converted once and never looked at again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from optuna.storages import BaseStorage
from optuna.storages.journal import JournalStorage
from optuna.trial import FrozenTrial

from nnexp.study.trials import Counts, TrialRecord, record


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
        self.total = 0
        self.unfinished: list[FrozenTrial] = []

    def refresh(self) -> None:
        """Look at what was not finished last time, and at what is new.

        Raises:
            KeyError: the study was deleted.
        """
        news = list(self._news())
        self.unfinished = []
        for trial in news:
            if trial.state.is_finished():
                self._finished[trial.number] = record(trial)
                self._states[trial.state.name] += 1
            else:
                self.unfinished.append(trial)

    def _news(self) -> Iterator[FrozenTrial]:
        """The trials that may not be as they were, by number."""
        if self.total and isinstance(self._storage, JournalStorage):
            # It answers from memory, yet copies the list of all trials when asked for more than one.
            self._storage.get_study_directions(self._study_id)
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
