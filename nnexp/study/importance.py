"""Which searched settings explain the differences in a metric, by Optuna's evaluators."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import optuna
from optuna.study import Study

from nnexp.study.trials import Trial


def importances(study: Study, metrics: Sequence[str]) -> dict[str, dict[str, float]]:
    """For each metric, the importance of each searched setting; the importances for one metric add up to 1.

    A metric is left out when fewer than ten finished trials have it, when it is constant, or when some trial lacks it.
    PED-ANOVA finds what distinguishes the lowest tenth of the values, so rates are negated for it.
    """
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances  # slow to load, rarely needed

    finished = [t for t in study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,)) if t.params]
    found = {}
    for metric in metrics:
        values = {trial.number: Trial.from_optuna(trial).attrs.get(metric, math.nan) for trial in finished}
        finite = [value for value in values.values() if math.isfinite(value)]
        if len(finite) < 10 or len(set(finite)) < 2 or len(finite) < len(values):
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            warnings.filterwarnings("ignore", "PedAnova", UserWarning)  # says that low values count as good
            warnings.filterwarnings("ignore", "Target and region", UserWarning)  # many equal values: equal importances
            shares = get_param_importances(
                study,
                evaluator=PedAnovaImportanceEvaluator(),
                target=lambda trial, values=values: -values[trial.number],  # type: ignore[misc]
            )
        found[metric] = {name: float(share) for name, share in shares.items()}
    return found
