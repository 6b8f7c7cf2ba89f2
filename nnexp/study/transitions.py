"""Changes of a trial's state in the store, each with its writes in an order that survives a kill between any two.

The owner is always written before the state: a trial in state RUNNING without a living owner counts as abandoned, and
the next worker takes it back.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.trial import TrialState

from nnexp.study.trials import CLAIM, RESULT, Claim, FinishedState, Trial


def start(storage: BaseStorage, trial: Trial, worker: str) -> bool:
    """WAITING to RUNNING, for ``worker``; returns False if another worker was faster."""
    try:
        storage.set_trial_user_attr(trial.trial_id, CLAIM, _claim_attr(trial, worker, trial.attempt + 1))
        return storage.set_trial_state_values(trial.trial_id, TrialState.RUNNING)
    except UpdateFinishedTrialError:
        return False


def release(storage: BaseStorage, trial: Trial, attempt: int) -> None:
    """RUNNING to WAITING, with ``attempt`` attempts so far; the deaths are those of ``trial``."""
    storage.set_trial_user_attr(trial.trial_id, CLAIM, _claim_attr(trial, None, attempt))
    storage.set_trial_state_values(trial.trial_id, TrialState.WAITING)


def set_aside(storage: BaseStorage, trial: Trial, error: str) -> None:
    """RUNNING to FAIL, with the reason, for a trial that kills its workers; the deaths are those of ``trial``."""
    result = {"worker": trial.owner, "attempt": trial.attempt, "attrs": {"error": error}}
    storage.set_trial_user_attr(trial.trial_id, CLAIM, _claim_attr(trial, None, trial.attempt))
    storage.set_trial_user_attr(trial.trial_id, RESULT, result)
    storage.set_trial_state_values(trial.trial_id, TrialState.FAIL)


def finish(
    storage: BaseStorage,
    claim: Claim,
    state: FinishedState,
    values: Sequence[float] | None,
    attrs: Mapping[str, Any],
) -> bool:
    """RUNNING (or WAITING, if it was taken back meanwhile) to a final state; returns False if it was final before.

    Args:
        storage: Optuna's storage.
        claim: the trial and the worker that trained it.
        state: the final state.
        values: one defined value per objective, or None.
        attrs: JSON values to store with the trial; nan and infinities are left out.
    """
    result = {"worker": claim.worker, "attempt": claim.attempt, "attrs": _finite(attrs)}
    try:
        storage.set_trial_user_attr(claim.trial_id, RESULT, result)
        storage.set_trial_state_values(claim.trial_id, TrialState[state], values)
    except UpdateFinishedTrialError:
        # Possibly finished by this very call, if the answer was lost with the connection.
        finished = Trial.from_optuna(storage.get_trial(claim.trial_id))
        return (finished.owner, finished.attempt) == (claim.worker, claim.attempt)
    return True


def _claim_attr(trial: Trial, worker: str | None, attempt: int) -> dict[str, Any]:
    return {"worker": worker, "attempt": attempt, "deaths": trial.deaths, "alone": trial.deaths_alone}


def _finite(attrs: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in attrs.items() if not (isinstance(value, float) and not math.isfinite(value))}
