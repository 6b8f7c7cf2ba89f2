"""Which searched settings matter for an outcome, by Optuna's evaluators."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import optuna
from optuna.study import Study

from nnexp.study.trials import record


def importances(study: Study, metrics: Sequence[str]) -> dict[str, dict[str, float]]:
    """For each metric that finished trials have, each searched setting's share; the shares of a metric add up to 1.

    PED-ANOVA asks what sets the best tenth apart, and takes low values as good: rates are negated for it.
    """
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances  # slow to load, and rarely needed

    done = [t for t in study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,)) if t.params]
    found = {}
    for metric in metrics:
        values = {trial.number: record(trial).attrs.get(metric, math.nan) for trial in done}
        finite = [value for value in values.values() if math.isfinite(value)]
        if len(finite) < 10 or len(set(finite)) < 2 or len(finite) < len(values):
            continue  # too few to tell, nothing to explain, or not known of all
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            warnings.filterwarnings("ignore", "PedAnova", UserWarning)  # that low is good: so rates are negated
            warnings.filterwarnings("ignore", "Target and region", UserWarning)  # many equal values: equal shares
            shares = get_param_importances(
                study,
                evaluator=PedAnovaImportanceEvaluator(),
                target=lambda trial, values=values: -values[trial.number],  # type: ignore[misc]
            )
        found[metric] = {name: float(share) for name, share in shares.items()}
    return found
