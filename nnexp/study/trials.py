"""What others see of a study: frozen trials, claims and counts, and how trials are ranked."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple, cast

from optuna.trial import FrozenTrial

#: The states of a trial, by Optuna's names.
State = Literal["RUNNING", "WAITING", "COMPLETE", "PRUNED", "FAIL"]
FinishedState = Literal["COMPLETE", "PRUNED", "FAIL"]

#: The trial attributes that this package writes, each one JSON value, since every attribute is a write of its own:
#: who has it (worker, attempt, deaths, alone), what came of it (worker, attempt, attrs), and its parameters in the
#: rare case that they were stored for another number (Optuna does not let them be changed).
CLAIM = "nnexp:claim"
PARAMS = "nnexp:params"
RESULT = "nnexp:result"


@dataclass(frozen=True)
class Claim:
    """A trial that a worker has taken to train.

    Attributes:
        number: the trial's number, the sweep's slot from 0.
        trial_id: its key in the study store.
        params: its searched settings.
        attempt: 1 for the first worker that tries it.
        worker: who took it.
    """

    number: int
    trial_id: int
    params: Mapping[str, Any]
    attempt: int
    worker: str


@dataclass(frozen=True)
class TrialRecord:
    """A trial as the study holds it.

    Attributes:
        number: the sweep's slot from 0.
        trial_id: its key in the study store.
        state: Optuna's name for it.
        params: its searched settings (partly there if its worker died while taking it).
        values: a value for each objective; infinite where the objective was undefined.
        attrs: what `Worker.finish` was given: final metrics and the like.
        owner: the worker that has or finished it.
        attempt: how many workers have tried it.
        deaths: how many of them died meanwhile. alone: how many of these while they trained nothing else.
        started: when the last of them took it.
        finished: when it was finished.
    """

    number: int
    trial_id: int
    state: State
    params: Mapping[str, Any]
    values: tuple[float, ...] | None = None
    attrs: Mapping[str, Any] = field(default_factory=dict)
    owner: str | None = None
    attempt: int = 0
    deaths: int = 0
    alone: int = 0
    started: datetime | None = None
    finished: datetime | None = None

    @property
    def is_finished(self) -> bool:
        """Whether its state is final."""
        return self.state in ("COMPLETE", "PRUNED", "FAIL")


class Counts(NamedTuple):
    """Trials by state, of the sweep's ``budget`` slots."""

    complete: int
    pruned: int
    failed: int
    running: int
    waiting: int
    budget: int

    @property
    def finished(self) -> int:
        """Slots that are done with: COMPLETE, PRUNED and set aside."""
        return self.complete + self.pruned + self.failed

    @property
    def left(self) -> int:
        """Slots that are not."""
        return self.budget - self.finished


class Reclaimed(NamedTuple):
    """What was taken back from dead workers, by trial number."""

    waiting: list[int]
    set_aside: list[int]


def record(trial: FrozenTrial) -> TrialRecord:
    """A trial in the package's own terms."""
    claim = trial.user_attrs.get(CLAIM, {})
    result = trial.user_attrs.get(RESULT, {})
    finisher = result if trial.state.is_finished() else claim
    return TrialRecord(
        number=trial.number,
        trial_id=trial._trial_id,
        state=cast("State", trial.state.name),
        params={**trial.params, **trial.user_attrs.get(PARAMS, {})},
        values=None if trial.values is None else tuple(trial.values),
        attrs=result.get("attrs", {}),
        owner=finisher.get("worker"),
        attempt=finisher.get("attempt", 0),
        deaths=claim.get("deaths", 0),
        alone=claim.get("alone", 0),
        started=_aware(trial.datetime_start),
        finished=_aware(trial.datetime_complete),
    )


def _aware(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.astimezone(UTC)


def feasible(values: Sequence[float | None], directions: Sequence[str]) -> list[float]:
    """``values`` with the worst there is for an undefined one (None or nan), since Optuna takes nan for a failure."""
    worst = {"maximize": -math.inf, "minimize": math.inf}
    return [
        worst[direction] if value is None or math.isnan(value) else float(value)
        for value, direction in zip(values, directions, strict=True)
    ]


def best(trials: Iterable[TrialRecord], direction: str) -> TrialRecord | None:
    """The COMPLETE trial of the best first objective; ties by higher ``solved_rate``, then by lower number."""
    return min(filter(_is_complete, trials), key=_order(direction), default=None)


def _is_complete(trial: TrialRecord) -> bool:
    return trial.state == "COMPLETE" and trial.values is not None


def _order(direction: str) -> Callable[[TrialRecord], tuple[float, float, int]]:
    sign = -1.0 if direction == "maximize" else 1.0
    return lambda trial: (sign * (trial.values or (0.0,))[0], -_solved(trial), trial.number)


def _solved(trial: TrialRecord) -> float:
    value = trial.attrs.get("solved_rate", -math.inf)
    return float(value) if isinstance(value, int | float) and not math.isnan(value) else -math.inf
