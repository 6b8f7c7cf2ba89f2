"""What one factor does, averaged over the rest of a sweep, with intervals by bootstrap over settings (floor 3).

A level's rate is the mean over its settings, and settings differ far more than their seeds do: a Wilson interval on
the pooled networks would cover the mean about 18% of the time instead of 95%. So the settings are drawn again, not
the networks. Settings that start from the same random numbers (same seed, hidden size and initializer) err together;
that share of the noise survives any drawing of settings and is added to each draw.

What the interval covers is the mean over settings drawn like the sweep's, so it is an estimate for the search space
under a grid, random or qmc sampler. TPE crowds its trials where recovery is likely: there a marginal describes the
settings that were tried. No interval knows of settings rarer than those tried: where one setting in ten recovers at
all, a level of six settings often holds none. `tests/test_marginals.py` measures the coverage.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from nnexp.analysis.levels import levels
from nnexp.analysis.significance import holm
from nnexp.analysis.trials import ALWAYS, measure_of, varied
from nnexp.recovery.intervals import wilson

Floats = NDArray[np.float64]

RESAMPLES = 2000


def bootstrap_mean(
    rates: Floats,
    networks: NDArray[np.integer],
    groups: NDArray[np.integer],
    *,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> tuple[float, float]:
    """An interval for the mean rate over settings, by bootstrap over the settings.

    Each draw takes S settings with replacement, averages their rates, and adds the error that settings of one group
    share. What is drawn is studentized: how far the mean of a draw lies from the sweep's, in units of that draw's own
    standard error (Efron and Tibshirani 1993, section 12.5, the bootstrap-t interval). Rates of recovery are skewed,
    many settings having none; there this covers more than the plain percentiles do. It can run far out where few
    settings recover, so it ends at the latest where Wilson's interval would if each setting's rate were 0 or 1: no
    rates between 0 and 1 vary more than those. A rate's standard error is computed with two successes and two failures
    added, so that a rate of 0 has one too.

    Args:
        rates: (S,) each setting's rate.
        networks: (S,) how many networks each rate is of.
        groups: (S,) whole numbers from 0; settings of one group share their initial weights.
        confidence: of the interval.
        resamples: draws.
        seed: of the draws, so that a summary is the same each time.

    Returns:
        Lower and upper end in [0, 1]; both nan for fewer than two settings, from which nothing is known of others.
    """
    count = len(rates)
    if count < 2:
        return np.nan, np.nan
    shrunk = (rates * networks + 2) / (networks + 4)
    variance = shrunk * (1 - shrunk) / (networks + 4)
    shared = np.zeros((count, groups.max() + 1))
    shared[np.arange(count), groups] = np.sqrt(variance)
    shared = shared[:, np.bincount(groups) > 1]  # what a lone setting's seeds add, drawing settings already shows
    sample = _Sample(rates, variance, shared)
    mean, error = sample.mean_and_error(np.full((1, count), 1 / count))
    rng = np.random.default_rng(seed)
    students = np.empty(resamples)
    step = max(1, 2_000_000 // count)
    for start in range(0, resamples, step):
        weights = _drawn(rng, min(step, resamples - start), count)
        means, errors = sample.mean_and_error(weights)
        noise = ((weights @ shared) * rng.standard_normal((len(weights), shared.shape[1]))).sum(axis=1)
        students[start : start + len(weights)] = (means + noise - mean) / errors
    tail = (1 - confidence) / 2
    upper, lower = np.quantile(students, [tail, 1 - tail])
    widest = wilson(min(float(mean[0]), 1.0) * count, count)  # the mean of ones may be rounded to above 1
    low = max(float(mean[0] - lower * error[0]), float(widest[0]))
    high = min(float(mean[0] - upper * error[0]), float(widest[1]))
    return low, high


def _drawn(rng: np.random.Generator, draws: int, count: int) -> Floats:
    """(B, S) how often each setting is in each draw of S, divided by S."""
    places = rng.integers(0, count, (draws, count)) + count * np.arange(draws)[:, None]
    return np.bincount(places.ravel(), minlength=draws * count).reshape(draws, count) / count


@dataclass(frozen=True, eq=False)
class _Sample:
    """S settings: their rates (S,), the variance of each (S,), and its root by shared group (S, G)."""

    rates: Floats
    variance: Floats
    shared: Floats

    def mean_and_error(self, weights: Floats) -> tuple[Floats, Floats]:
        """The mean rate of weighted settings, (B, S) to (B,), and its standard error: between settings, and shared."""
        mean = weights @ self.rates
        count = len(self.rates)
        between = np.maximum(weights @ self.rates**2 - mean**2, 0) * count / (count - 1)
        own = weights @ self.variance  # the least that settings differ by chance, were they equal
        return mean, np.sqrt(np.maximum(between, own) / count + ((weights @ self.shared) ** 2).sum(axis=1))


def marginals(frame: pd.DataFrame, *, resamples: int = RESAMPLES) -> pd.DataFrame:
    """Each level of each factor: the mean rates over its settings, with intervals by bootstrap over settings.

    Args:
        frame: finished trials, as `trials_frame` gives them.
        resamples: draws of the bootstrap.

    Returns:
        A row a level: ``factor``, ``level``, ``settings``, ``networks``, ``recovery_rate`` with ``_low`` and ``_high``,
        ``solved_rate`` with ``_low`` and ``_high``, ``mirror_rate``, ``best_rate`` (of the level's best setting, in the
        measure of the sweep). Rates are nan where undefined.
    """
    measure = measure_of(frame)
    rows = []
    groups = frame.groupby(["seed", "hidden_size", "init"]).ngroup().to_numpy()
    for factor in dict.fromkeys([*ALWAYS, *varied(frame)]):
        if frame.empty:
            break
        labels, order = levels(frame[factor], factor)
        for level in order:
            at = (labels == level).to_numpy()
            part = frame[at]
            row = {"factor": factor, "level": level, "settings": len(part), "networks": int(part["networks"].sum())}
            local = np.unique(groups[at], return_inverse=True)[1]
            for rate in ("recovery_rate", "solved_rate"):
                values = part[rate].to_numpy(dtype=np.float64)
                known = ~np.isnan(values)
                row[rate] = values[known].mean() if known.any() else np.nan
                row[f"{rate}_low"], row[f"{rate}_high"] = bootstrap_mean(
                    values[known], part["networks"].to_numpy()[known], local[known], resamples=resamples
                )
            rows.append(row | {"mirror_rate": part["mirror_rate"].mean(), "best_rate": part[measure].max()})
    rates = [f"{rate}{end}" for rate in ("recovery_rate", "solved_rate") for end in ("", "_low", "_high")]
    columns = ["factor", "level", "settings", "networks", *rates, "mirror_rate", "best_rate"]
    return pd.DataFrame(rows, columns=columns)


def factor_tests(frame: pd.DataFrame, measure: str) -> dict[str, float]:
    """Whether a factor's levels differ at all: Kruskal and Wallis' test over settings, Holm over factors.

    Ranks are exchangeable where all settings are equal and share no draws. Those of one hidden size and initializer do,
    and then this alone names these two factors far too often: a difference counts only where the intervals of two
    levels, which hold the shared noise, lie apart as well (`answer.sentences`).

    Returns:
        The adjusted p-value of each varied factor that has two levels of two settings or more.
    """
    raw: dict[str, float] = {}
    for factor in varied(frame):
        labels, order = levels(frame[factor], factor)
        samples = [frame.loc[labels == level, measure].dropna().to_numpy() for level in order]
        samples = [sample for sample in samples if len(sample) > 1]
        if len(samples) < 2:
            continue
        values = np.concatenate(samples)
        raw[factor] = 1.0 if np.ptp(values) == 0 else float(stats.kruskal(*samples).pvalue)
    return dict(zip(raw, holm(list(raw.values())).tolist(), strict=True))
