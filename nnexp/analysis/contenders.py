"""The play-off of a sweep: which of its settings enter, how its results are stored, and what a summary holds of it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from nnexp.analysis import playoff, trials
from nnexp.analysis.summary import Contender, Estimate, PlayOff
from nnexp.search.seeds import AdaptiveSeeds, RaceTable
from nnexp.search.space import Dimension, Value
from nnexp.search.sweep_file import Sweep
from nnexp.study.race import Race

#: The parent run's artifact that holds the `Results`.
FILE = "playoff.json"


@dataclass(frozen=True)
class Results:
    """The results of a play-off as they are stored.

    Attributes:
        planned: the ``trials`` of the sweep when it was held.
        confidence: of the selection of its settings, and of the play-off itself; the errors of both add up.
        tolerance: as the race has it.
        cut: how many more settings might be the best, but were not trained.
        trials: the settings that were trained on fresh networks, the highest rate in the sweep first.
        networks: fresh networks of each.
        successes: those that succeeded.
    """

    planned: int
    confidence: float
    tolerance: float
    cut: int
    trials: tuple[int, ...]
    networks: tuple[int, ...]
    successes: tuple[int, ...]

    @property
    def text(self) -> str:
        """As JSON."""
        return json.dumps(dataclasses.asdict(self), indent=1) + "\n"

    @classmethod
    def parse(cls, text: str) -> Results:
        """The results from their `text`.

        Raises:
            ValueError: the text is damaged.
        """
        try:
            values: dict[str, Any] = json.loads(text)
            lists: dict[str, Any] = {key: tuple(values.pop(key)) for key in ("trials", "networks", "successes")}
            return cls(**values, **lists)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(str(error)) from error


def selection(sweep: Sweep) -> Race:
    """The rule by which settings enter the play-off; a sweep that did not race has the rungs of its seeds."""
    race = Race.of(sweep)
    if race is not None:
        return race
    table = RaceTable()
    seeds = sweep.seeds
    start, most = (seeds.min, seeds.max) if isinstance(seeds, AdaptiveSeeds) else (seeds, seeds)
    return Race(sweep.trials, most, start, (1 + table.confidence) / 2, table.tolerance)


def entrants(ranked: pd.DataFrame, measure: str, race: Race) -> tuple[list[int], int]:
    """The trials that may be the best by the networks of the sweep.

    Where no network of the sweep succeeded, only the first of the ranking enters: nothing tells the others apart.

    Args:
        ranked: the finished trials, best first.
        measure: the rate by which they are ranked.
        race: the rule, from `selection`.

    Returns:
        The trials, and how many more there are beyond the most that enter.
    """
    known = ranked[np.isin(ranked["networks"], race.rungs)]
    if known.empty or not (ranked[measure] > 0).any():
        return ranked["trial"].head(1).tolist(), 0
    networks = known["networks"].to_numpy()
    found = playoff.candidates(np.rint(known[measure].to_numpy() * networks), networks, race)
    return known["trial"].iloc[found.index].tolist(), found.cut


def play_off(
    results: Results, done: pd.DataFrame, factors: Sequence[str], space: Mapping[str, Dimension], sampler: str
) -> PlayOff | None:
    """What a summary holds of a play-off.

    Args:
        results: as stored.
        done: the finished trials, one row each.
        factors: the columns that describe a setting.
        space: the searched space.
        sampler: the sweep's sampler; the guarantee for the whole sweep holds for those that ignore outcomes.

    Returns:
        The play-off; None if a trial that took part has no row.
    """
    rows = done.set_index("trial", drop=False)
    if not results.trials or not set(results.trials) <= set(rows.index):
        return None
    rule = playoff.rule(len(results.trials), results.confidence, results.tolerance)
    answer = playoff.answer(results.successes, results.networks, rule, selection_error=1 - results.confidence)
    left = answer.index.tolist()
    others = [i for i in np.argsort(-answer.rate, kind="stable").tolist() if i not in left]
    contenders = []
    for i in [*left, *others]:
        row = rows.loc[results.trials[i]]
        fresh = Estimate(
            results.networks[i],
            results.successes[i],
            float(answer.rate[i]),
            float(answer.low[i]),
            float(answer.high[i]),
        )
        contenders.append(
            Contender(
                results.trials[i], str(row["run_id"]), trials.describe_setting(row, factors), fresh, left=i in left
            )
        )
    columns = {key: "loss_function" if key == "loss" else key for key in space}
    settings = [{key: _plain(rows.loc[results.trials[i], column]) for key, column in columns.items()} for i in left]
    whole = sampler in ("random", "qmc", "grid") and not results.cut
    return PlayOff(
        contenders=tuple(contenders),
        confidence=answer.confidence if whole else results.confidence,
        whole=whole,
        cut=results.cut,
        region=playoff.region(settings, space),
    )


def _plain(value: Any) -> Value:
    """A number of NumPy as Python's own, for JSON."""
    plain: Value = value.item() if isinstance(value, np.generic) else value
    return plain
