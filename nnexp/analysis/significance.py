"""Whether two settings differ: exact tests on networks that are paired by their index.

Network i starts from the same random numbers in all settings with the same seed, hidden size and initializer, so
settings are compared pair by pair. McNemar's test considers the networks that succeeded in only one of two settings:
are they equally likely in both? It is exact (a binomial test with probability ½). If settings do not share their random
numbers, the pairs are independent, and the test is valid as well.

A setting that was chosen as the best by the same networks must not be tested as if it had been chosen beforehand: of
200 equal settings the highest would differ "significantly" from the lowest far too often. `against_rest` therefore
corrects for all pairs that could have been chosen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Flags = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Outcomes:
    """Which networks of one setting succeeded.

    Attributes:
        index: (n,) the index of each network, each once.
        success: (n,) whether that network succeeded.
    """

    index: NDArray[np.integer[Any]]
    success: Flags

    def __len__(self) -> int:
        return len(self.index)

    @property
    def successes(self) -> int:
        """How many succeeded."""
        return int(np.count_nonzero(self.success))


@dataclass(frozen=True)
class McNemar:
    """How many networks succeeded in both of two settings, in only one, and in neither; the exact p-value."""

    both: int
    only_first: int
    only_second: int
    neither: int
    p_value: float


def pair(first: Outcomes, second: Outcomes) -> tuple[Flags, Flags]:
    """The successes of the networks that both settings trained, in the same order."""
    _, at_first, at_second = np.intersect1d(first.index, second.index, assume_unique=True, return_indices=True)
    return first.success[at_first], second.success[at_second]


def mcnemar(first: Flags, second: Flags) -> McNemar:
    """McNemar's exact test of two settings on the same n networks.

    Args:
        first: (n,) whether each network succeeded in the first setting.
        second: (n,) the same in the second.

    Returns:
        The four counts and the two-sided p-value, 1 if no network distinguishes them.
    """
    only_first = int(np.count_nonzero(first & ~second))
    only_second = int(np.count_nonzero(second & ~first))
    both = int(np.count_nonzero(first & second))
    discordant = only_first + only_second
    p_value = float(_even_split(only_first, only_second))
    return McNemar(both, only_first, only_second, len(first) - both - discordant, p_value)


def _even_split(some: ArrayLike, others: ArrayLike) -> NDArray[np.float64]:
    """Two-sided p-values of the exact binomial test that ``some`` and ``others`` are equally likely; 1 for 0 and 0.

    Both tails are equal, since the probability is ½: the p-value is twice the lower tail, at most 1.
    """
    some, others = np.asarray(some), np.asarray(others)
    p_values: NDArray[np.float64] = np.minimum(2 * stats.binom.cdf(np.minimum(some, others), some + others, 0.5), 1.0)
    return p_values


def holm(p_values: Sequence[float] | NDArray[np.floating], family: int | None = None) -> NDArray[np.float64]:
    """Holm's adjusted p-values (Scandinavian Journal of Statistics 6, 1979, 65-70).

    If hypotheses with an adjusted p-value of at most α are rejected, the probability of a false rejection is at most α.

    Args:
        p_values: (m,) the raw p-values.
        family: the number of comparisons from which these m were chosen by the data (at least m; m by default). The
            i-th smallest, from 0, is then multiplied by ``family - i``. Holm's procedure over the whole family rejects
            at least as much.

    Returns:
        (m,) in the order given, at most 1.
    """
    raw = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(raw, kind="stable")
    factors = (len(raw) if family is None else family) - np.arange(len(raw))
    adjusted = np.empty_like(raw)
    adjusted[order] = np.minimum(np.maximum.accumulate(raw[order] * factors), 1.0) if len(raw) else raw
    return adjusted


def unpaired(first: Outcomes, second: Outcomes) -> float:
    """Fisher's exact p-value for two settings that share no network."""
    table = [[o.successes, len(o) - o.successes] for o in (first, second)]
    return float(stats.fisher_exact(np.array(table)).pvalue)


def against_rest(outcomes: Mapping[int, Outcomes], best: int) -> pd.DataFrame:
    """Exact McNemar tests of one setting against each of the others, with Holm's correction.

    ``best`` was chosen by the same networks, so the correction is for all pairs of trials.

    Args:
        outcomes: the networks of each trial.
        best: the trial to compare with the others.

    Returns:
        One row per other trial, in the order of the mapping: ``trial``, ``pairs``, ``only_best``, ``only_other``,
        ``difference`` (of the rates on shared networks), ``p_value``, ``p_holm``. Trials that share no network with
        ``best`` are left out.
    """
    rows = []
    for trial, other in outcomes.items():
        mine, theirs = pair(outcomes[best], other)
        if trial == best or not len(mine):
            continue
        rows.append((trial, len(mine), np.count_nonzero(mine & ~theirs), np.count_nonzero(theirs & ~mine)))
    frame = pd.DataFrame(rows, columns=["trial", "pairs", "only_best", "only_other"], dtype="int64")
    only_best, only_other = frame["only_best"].to_numpy(), frame["only_other"].to_numpy()
    p_values = _even_split(only_best, only_other)
    compared = len(rows) + 1
    difference = (only_best - only_other) / frame["pairs"].to_numpy()
    return frame.assign(
        difference=difference, p_value=p_values, p_holm=holm(p_values, family=compared * (compared - 1) // 2)
    )


def outcomes_of(networks: pd.DataFrame, grade: str) -> Outcomes | None:
    """One grade of a run's networks; None where the table lacks it or it is undefined (a task without a reference)."""
    if grade not in networks or networks.empty or networks[grade].isna().all():
        return None
    flags = networks[grade].fillna(value=False).astype(bool).to_numpy()
    return Outcomes(networks["index"].to_numpy(), flags)
