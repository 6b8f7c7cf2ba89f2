"""The trials of a study as plain values: a trial, a worker's claim on it, counts by state, and which trial is best."""

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

#: The trial attributes that this package writes. Each is one JSON object, since every attribute costs a write.
#: CLAIM: the worker that holds the trial (worker, attempt, deaths, alone).
#: RESULT: the outcome (worker, attempt, attrs).
#: PARAMS: the parameters, in the rare case that Optuna stored those of another number; Optuna cannot change them.
CLAIM = "nnexp:claim"
PARAMS = "nnexp:params"
RESULT = "nnexp:result"


@dataclass(frozen=True)
class Claim:
    """A trial that a worker has taken to train.

    Attributes:
        number: the trial's number within the sweep, from 0.
        trial_id: the trial's key in the study store.
        params: the values of the searched settings.
        attempt: 1 for the first worker that tries the trial.
        worker: the id of the worker that took it.
    """

    number: int
    trial_id: int
    params: Mapping[str, Any]
    attempt: int
    worker: str


@dataclass(frozen=True)
class Trial:
    """A trial as the study stores it.

    Attributes:
        number: the trial's number within the sweep, from 0.
        trial_id: the trial's key in the study store.
        state: Optuna's name of the state.
        params: the values of the searched settings; incomplete if a worker died while it was claiming the trial.
        values: one value per objective; infinite where the objective was undefined.
        attrs: what was passed to `Worker.finish`, such as the final metrics.
        owner: the id of the worker that holds the trial or finished it.
        attempt: the number of workers that have tried it.
        deaths: the number of workers that died while they held it.
        deaths_alone: the number of those that trained no other trial when they died.
        started: when the last attempt began.
        finished: when the trial was finished.
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
    deaths_alone: int = 0
    started: datetime | None = None
    finished: datetime | None = None

    @property
    def is_finished(self) -> bool:
        """Whether the state is final."""
        return self.state in ("COMPLETE", "PRUNED", "FAIL")

    @classmethod
    def from_optuna(cls, trial: FrozenTrial) -> Trial:
        """Convert Optuna's trial, with the attributes that this package stored in it."""
        claim = trial.user_attrs.get(CLAIM, {})
        result = trial.user_attrs.get(RESULT, {})
        holder = result if trial.state.is_finished() else claim
        return cls(
            number=trial.number,
            trial_id=trial._trial_id,
            state=cast("State", trial.state.name),
            params={**trial.params, **trial.user_attrs.get(PARAMS, {})},
            values=None if trial.values is None else tuple(trial.values),
            attrs=result.get("attrs", {}),
            owner=holder.get("worker"),
            attempt=holder.get("attempt", 0),
            deaths=claim.get("deaths", 0),
            deaths_alone=claim.get("alone", 0),
            started=_in_utc(trial.datetime_start),
            finished=_in_utc(trial.datetime_complete),
        )


class Counts(NamedTuple):
    """The number of trials in each state; ``budget`` is the ``trials`` of the sweep file."""

    complete: int
    pruned: int
    failed: int
    running: int
    waiting: int
    budget: int

    @property
    def finished(self) -> int:
        """The number of trials in a final state."""
        return self.complete + self.pruned + self.failed

    @property
    def left(self) -> int:
        """The number of trials still to be finished."""
        return self.budget - self.finished


class Reclaimed(NamedTuple):
    """The numbers of the trials taken back from dead workers: those to be tried again, and those set aside as FAIL."""

    waiting: list[int]
    set_aside: list[int]


def _in_utc(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.astimezone(UTC)


def replace_undefined(values: Sequence[float | None], directions: Sequence[str]) -> list[float]:
    """``values``, with each undefined one (None or nan) replaced by the worst possible value.

    Optuna would count a trial with a nan as failed.
    """
    worst = {"maximize": -math.inf, "minimize": math.inf}
    return [
        worst[direction] if value is None or math.isnan(value) else float(value)
        for value, direction in zip(values, directions, strict=True)
    ]


def best(trials: Iterable[Trial], direction: str) -> Trial | None:
    """The COMPLETE trial with the best first objective; a tie goes to the higher ``solved_rate``, then lower number."""
    return min(filter(_is_complete, trials), key=_rank(direction), default=None)


def _is_complete(trial: Trial) -> bool:
    return trial.state == "COMPLETE" and trial.values is not None


def _rank(direction: str) -> Callable[[Trial], tuple[float, float, int]]:
    sign = -1.0 if direction == "maximize" else 1.0
    return lambda trial: (sign * (trial.values or (0.0,))[0], -_solved_rate(trial), trial.number)


def _solved_rate(trial: Trial) -> float:
    value = trial.attrs.get("solved_rate", -math.inf)
    return float(value) if isinstance(value, int | float) and not math.isnan(value) else -math.inf
