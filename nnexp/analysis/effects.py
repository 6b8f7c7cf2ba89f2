"""The effect of one factor, averaged over the other factors of a sweep, with intervals over settings.

The rate of a level is the mean over its settings, and settings differ far more than their seeds do: a Wilson interval
of the pooled networks covers the mean about 18% of the time instead of 95%. So the sample here consists of settings,
not of networks; `mean_interval` has the formula.

The interval is for the mean over settings that are drawn in the same way as those of the sweep. With a grid, random or
qmc sampler this is the mean over the search space. TPE places its trials where recovery is likely, so with it the mean
is over such settings. An interval cannot account for settings too rare to be in the sample: where one setting in ten
recovers at all, a level with six settings often has none of these. `tests/analysis/test_effects.py` measures the
coverage.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special, stats

from nnexp.analysis.levels import levels
from nnexp.analysis.significance import holm
from nnexp.analysis.trials import ALWAYS, measure_of, varied

Floats = NDArray[np.float64]
Integers = NDArray[np.integer]

CONFIDENCE = 0.95
RATES = ("recovery_rate", "solved_rate")


def mean_interval(rates: Floats, networks: Integers, groups: Integers) -> tuple[float, float]:
    """A 95% interval for the mean rate over settings.

    It is the interval of Korn and Graubard (Survey Methodology 24, 1998, 193-201) for a proportion from a clustered
    sample: that of Clopper and Pearson for p n* successes among n* networks, where n* is the effective sample size.
    With p the mean of S rates and s² their variance,

        1/n* = (t/z)² s² / (S p (1 - p)) + 1/N

    The first term makes the interval about as wide as Student's t interval over settings: t is the 0.975 quantile of
    Student's distribution with S - 1 degrees of freedom, z that of the normal distribution. The second term is the
    noise of the networks, which s² does not contain if settings share their seeds: N is the number of networks with
    different seeds. It also keeps the width above zero if all rates are equal. If settings do not share seeds, s²
    already contains this noise, and the interval is somewhat wider than necessary.

    Args:
        rates: (S,) the rate of each setting.
        networks: (S,) the number of networks of each setting.
        groups: (S,) settings of one group share their seeds.

    Returns:
        The lower and the upper end, in [0, 1] and around the mean; both nan for fewer than two settings.
    """
    count = len(rates)
    if count < 2:
        return np.nan, np.nan
    tail = (1 - CONFIDENCE) / 2
    mean = min(float(rates.mean()), 1.0)  # the mean of ones may be rounded to above 1
    inverse = 1 / _distinct(networks, groups)
    if 0 < mean < 1:
        widening = special.stdtrit(count - 1, 1 - tail) / special.ndtri(1 - tail)
        inverse += widening**2 * float(rates.var(ddof=1)) / (count * mean * (1 - mean))
    total = 1 / inverse
    hits, misses = mean * total, (1 - mean) * total
    low = float(special.betaincinv(hits, misses + 1, tail)) if hits > 0 else 0.0
    high = float(special.betainccinv(hits + 1, misses, tail)) if misses > 0 else 1.0
    return min(low, mean), max(high, mean)  # corrects rounding errors


def _distinct(networks: Integers, groups: Integers) -> float:
    """N: how many independent networks have a mean as precise as the mean over these settings, if all had one rate.

    The m settings of a group train the same n networks and have the weight m/S in the mean, so the variance of the mean
    is p (1 - p) times the sum over groups of (m/S)²/n.
    """
    _, group, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    fewest = np.full(len(sizes), np.inf)
    np.minimum.at(fewest, group, networks)
    return float(len(groups) ** 2 / (sizes**2 / fewest).sum())


def seed_groups(frame: pd.DataFrame) -> Integers:
    """(S,) the group of each setting: those of one seed, hidden size and initializer start from the same numbers."""
    groups: Integers = frame.groupby(["seed", "hidden_size", "init"]).ngroup().to_numpy()
    return groups


def marginals(frame: pd.DataFrame) -> pd.DataFrame:
    """The mean rates at each level of each factor, with intervals over settings.

    Args:
        frame: finished trials, as `trials_frame` returns them.

    Returns:
        One row per level: ``factor``, ``level``, ``settings``, ``networks``, ``recovery_rate`` with ``_low`` and
        ``_high``, ``solved_rate`` with ``_low`` and ``_high``, ``mirror_rate``, ``best_rate`` (of the level's best
        setting, in the measure of the sweep). Rates are nan where undefined.
    """
    measure, groups, rows = measure_of(frame), seed_groups(frame), []
    for factor in dict.fromkeys([*ALWAYS, *varied(frame)]) if len(frame) else ():
        labels, order = levels(frame[factor], factor)
        for level in order:
            at = (labels == level).to_numpy()
            part = frame[at]
            row = {"factor": factor, "level": level, "settings": len(part), "networks": int(part["networks"].sum())}
            for rate in RATES:
                values, networks = part[rate].to_numpy(dtype=np.float64), part["networks"].to_numpy()
                known = ~np.isnan(values)
                row[rate] = values[known].mean() if known.any() else np.nan
                ends = mean_interval(values[known], networks[known], groups[at][known])
                row[f"{rate}_low"], row[f"{rate}_high"] = ends
            rows.append(row | {"mirror_rate": part["mirror_rate"].mean(), "best_rate": part[measure].max()})
    rates = [f"{rate}{end}" for rate in RATES for end in ("", "_low", "_high")]
    columns = ["factor", "level", "settings", "networks", *rates, "mirror_rate", "best_rate"]
    return pd.DataFrame(rows, columns=columns)


def factor_tests(frame: pd.DataFrame, measure: str) -> dict[str, float]:
    """Whether the levels of a factor differ: the test of Kruskal and Wallis over settings, with Holm over factors.

    The test assumes that settings are independent. Settings with the same hidden size and initializer share their
    seeds, so for these two factors it is significant far too often. `nnexp.analysis.narrative` names a factor only if,
    in addition, the intervals of two levels do not overlap; these account for the shared seeds.

    Returns:
        The adjusted p-value of each varied factor that has two levels with two settings or more.
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
