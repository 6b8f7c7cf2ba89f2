"""A sweep's answer: settings ranked, each factor's effect, the families found, and what that says in words (floor 3).

`summarize_records` is pure: plain records in, a frozen `Summary` out. `summarize`, `networks` and `grade` are the
public functions that read the tracking store, or a network's weights, and give a table.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from nnexp.analysis import narrative, trials
from nnexp.analysis.effects import factor_tests, marginals
from nnexp.analysis.significance import Outcomes, against_rest
from nnexp.errors import NotFoundError
from nnexp.recovery.intervals import wilson
from nnexp.stores import Stores

if TYPE_CHECKING:
    from nnexp.network.model import Parameters
    from nnexp.network.tasks import Task

FINISHED = "FINISHED"


@dataclass(frozen=True)
class Figure:
    """A rate with its Wilson interval: ``successes`` of ``networks``."""

    networks: int
    successes: int
    rate: float
    low: float
    high: float

    @classmethod
    def of(cls, successes: int, networks: int) -> Figure:
        """The figure of ``successes`` among ``networks`` (at least one)."""
        low, high = wilson(successes, networks)
        return cls(networks, successes, successes / networks, float(low), float(high))


@dataclass(frozen=True)
class Best:
    """The first of the ranking.

    Attributes:
        trial: its number. run_id: MLflow's name of its run.
        setting: its settings in words.
        figure: what it reached in the sweep, by which it was selected.
        retest: what the same setting reached on fresh networks, None while not re-tested.
    """

    trial: int
    run_id: str
    setting: str
    figure: Figure
    retest: Figure | None = None


@dataclass(frozen=True, eq=False)
class Summary:
    """Everything that a sweep's tables and report say.

    Attributes:
        name: the sweep's name. task: its task's spec.
        measure: ``recovery_rate``, or ``solved_rate`` for a task without a reference.
        answer: the answer in plain words, a sentence or two each.
        ranked: a row a finished trial, the best first; ``note`` says what the first is.
        marginals: see `nnexp.analysis.effects.marginals`. effects: each factor's adjusted p-value.
        families: shares of networks by hidden size.
        best: the first of the ranking, None where nothing finished.
        rivals: the best against each other trial (see `against_rest`), None without the networks' tables.
        importance: evaluator or metric to factor to share, as the study gives it.
        pareto: the trials that no other beats in every objective, None for one objective.
        counts: how many trials are in each state. planned: how many the sweep has, None where unknown.
        notes: what limits the answer: the stop rule, the sampler, what is missing or still running.
    """

    name: str
    task: str
    measure: str
    ranked: pd.DataFrame
    marginals: pd.DataFrame
    effects: Mapping[str, float]
    families: pd.DataFrame
    best: Best | None
    rivals: pd.DataFrame | None
    importance: Mapping[str, Mapping[str, float]]
    pareto: pd.DataFrame | None
    counts: Mapping[str, int]
    planned: int | None = None
    notes: tuple[str, ...] = ()
    answer: tuple[str, ...] = ()
    factors: tuple[str, ...] = field(default=trials.ALWAYS)

    @property
    def running(self) -> bool:
        """Whether trials are still to come."""
        done = sum(count for state, count in self.counts.items() if state != "RUNNING")
        return "RUNNING" in self.counts or (self.planned is not None and done < self.planned)


def summarize_records(
    name: str,
    records: Iterable[trials.Record],
    *,
    outcomes: Mapping[int, Outcomes] | None = None,
    retests: Mapping[int, Outcomes] | None = None,
    importance: Mapping[str, Mapping[str, float]] | None = None,
    objective: Sequence[str] = (),
    directions: Sequence[str] = (),
    sampler: str = "",
    planned: int | None = None,
    missing: Sequence[str] = (),
) -> Summary:
    """The summary of a sweep's runs.

    Args:
        name: the sweep's name.
        records: its child runs, finished or not.
        outcomes: which networks of each trial succeeded, for the paired tests (which leave out trials without them).
        retests: the same on fresh network numbers, for the best or some of the best. Where there are none, the metrics
            ``retest_networks`` and ``retest_rate`` of the best trial's run count, if it has them.
        importance: what the study says of the factors, by measure.
        objective: the sweep's objectives; two or more give a Pareto front.
        directions: "maximize" or "minimize" for each objective.
        sampler: the sweep's sampler, named in a note where it crowds its trials.
        planned: the sweep's number of trials.
        missing: artifacts that could not be read, named in a note.

    Returns:
        The summary, its answer in words included.

    Raises:
        NotFoundError: there are no runs.
    """
    frame = trials.trials_frame(records)
    if frame.empty:
        raise NotFoundError(f"sweep {name!r} has no runs yet; start it with: nnexp sweep FILE")
    measure = trials.measure_of(frame)
    done = frame[(frame["status"] == FINISHED) & frame[measure].notna()]
    factors = _shown_factors(frame)
    ranked = rank(done, measure)
    best = _best(ranked, measure, factors, retests or {}) if len(ranked) else None
    if best is not None:
        again = best.retest
        note = (
            f"re-tested: {narrative.percent(again.rate)} of {again.networks:,}" if again else "selected, not re-tested"
        )
        ranked["note"] = [note, *[""] * (len(ranked) - 1)]
    known = {trial: o for trial, o in (outcomes or {}).items() if trial in set(ranked["trial"])}
    rivals = against_rest(known, best.trial) if best is not None and best.trial in known and len(known) > 1 else None
    counts = {str(state): int(count) for state, count in frame["status"].value_counts().items()}
    summary = Summary(
        name=name,
        task=str(frame["task"].iloc[0]),
        measure=measure,
        ranked=ranked,
        marginals=marginals(done),
        effects=factor_tests(done, measure),
        families=families(done),
        best=best,
        rivals=rivals,
        importance=importance or {},
        pareto=pareto(ranked, objective, directions) if len(objective) > 1 else None,
        counts=counts,
        planned=planned,
        factors=tuple(factors),
    )
    summary = dataclasses.replace(summary, notes=narrative.notes(summary, sampler=sampler, missing=missing))
    return dataclasses.replace(summary, answer=narrative.sentences(summary, sampler))


def _shown_factors(frame: pd.DataFrame) -> list[str]:
    """The four factors of every sweep and whatever else this one varies."""
    return [factor for factor in trials.FACTORS if factor in trials.ALWAYS or trials.is_varied(frame[factor])]


def rank(done: pd.DataFrame, measure: str) -> pd.DataFrame:
    """The finished trials, best first, numbered by ``rank`` from 1.

    By the lower end of the measure's Wilson interval, so that a high rate of few networks does not win; ties by higher
    solved rate, then by lower trial.
    """
    ordered = done.sort_values(
        [f"{measure}_low", "solved_rate", "trial"], ascending=[False, False, True], na_position="last", kind="stable"
    ).reset_index(drop=True)
    ordered.insert(0, "rank", np.arange(1, len(ordered) + 1))
    ordered["note"] = ""
    return ordered


def _best(ranked: pd.DataFrame, measure: str, factors: Sequence[str], retests: Mapping[int, Outcomes]) -> Best:
    row = ranked.iloc[0]
    trial, networks = int(row["trial"]), int(row["networks"])
    successes = round(row[measure] * networks)
    retest = None
    if trial in retests and len(retests[trial]):
        retest = Figure.of(retests[trial].successes, len(retests[trial]))
    elif row.get("retest_networks", 0) > 0:
        count = int(row["retest_networks"])
        retest = Figure.of(round(row["retest_rate"] * count), count)
    setting = trials.describe_setting(row, factors)
    return Best(trial, str(row["run_id"]), setting, Figure.of(successes, networks), retest)


def families(done: pd.DataFrame) -> pd.DataFrame:
    """Shares of networks by hidden size, from the runs' final metrics.

    Returns:
        A row a hidden size: ``hidden_size``, ``settings``, ``networks``, then the shares, which add up to 1:
        ``hand_designed`` (with or without the mirror beside it), ``mirror`` (alone), ``other`` and ``not_solved``.
        Without a reference there is just ``solved`` and ``not_solved``; without a mirror its share is in ``other``.
    """
    rows = []
    for size, part in done.groupby("hidden_size"):
        weights = part["networks"].to_numpy(dtype=np.float64)
        row = {"hidden_size": size, "settings": len(part), "networks": int(weights.sum())}
        share = {rate: float(np.average(part[rate].fillna(0.0), weights=weights)) for rate in trials.RATES}
        solved = share["solved_rate"]
        if trials.has_reference(done):
            known = {"hand_designed": share["contains_rate"], "mirror": share["mirror_rate"]}
            row |= known | {"other": max(solved - sum(known.values()), 0.0)}
        else:
            row["solved"] = solved
        rows.append(row | {"not_solved": 1.0 - solved})
    return pd.DataFrame(rows)


def pareto(ranked: pd.DataFrame, objective: Sequence[str], directions: Sequence[str]) -> pd.DataFrame:
    """The trials that no other beats: none is as good in every objective and better in one.

    Args:
        ranked: finished trials.
        objective: metric names.
        directions: "maximize" or "minimize" for each (maximize where there are fewer).

    Returns:
        Rows of ``ranked`` in order of the first objective, the best first; trials that lack an objective are left out.
    """
    signs = [-1.0 if direction == "minimize" else 1.0 for direction in directions]
    signs += [1.0] * (len(objective) - len(signs))
    usable = ranked.dropna(subset=list(objective))
    points = usable[list(objective)].to_numpy(dtype=np.float64) * signs
    keep = [not np.any((points >= point).all(axis=1) & (points > point).any(axis=1)) for point in points]
    front = usable[np.array(keep, dtype=bool)]
    return front.sort_values([objective[0], "trial"], ascending=[signs[0] < 0, True], kind="stable").reset_index(
        drop=True
    )


def summarize(name: str, tracking_uri: str | None = None) -> pd.DataFrame:
    """The finished trials of a sweep, ranked: the table that `nnexp summarize NAME` prints.

    Args:
        name: the sweep's name.
        tracking_uri: MLflow's store; by default MLFLOW_TRACKING_URI, or ``mlflow.db`` in the working directory.

    Raises:
        NotFoundError: there is no such sweep, or it has no runs.
    """
    from nnexp.tracking.store import Tracking

    return summarize_records(name, Tracking(Stores.choose(tracking_uri).tracking_uri).runs(name)).ranked


def networks(name: str, tracking_uri: str | None = None) -> pd.DataFrame:
    """Every network of a sweep's finished trials, a row a network: its trial, its settings, its grades and its weights.

    Raises:
        NotFoundError: there is no such sweep, or none of its runs has its networks' table.
    """
    from nnexp.tracking.store import Tracking

    tracking = Tracking(Stores.choose(tracking_uri).tracking_uri)
    records = tracking.runs(name)
    settings = trials.trials_frame(records).set_index("trial")[[*trials.FACTORS, *trials.OTHER_SETTINGS]]
    parts: list[pd.DataFrame] = []
    for record in records:
        try:
            part = tracking.networks(record.run_id).to_pandas()
        except NotFoundError:
            continue
        row = {"trial": record.trial} | settings.loc[record.trial].to_dict()
        parts.append(pd.concat([pd.DataFrame(row, index=part.index), part], axis=1))
    if not parts:
        raise NotFoundError(f"sweep {name!r} has no networks.parquet in any of its {len(records)} runs")
    table: pd.DataFrame = pd.concat(parts, ignore_index=True)
    return table


def grade(
    parameters: Parameters,
    task: str | Task = "xnor",
    *,
    activation: Literal["tanh", "sigmoid"],
    encoding: Literal["binary", "bipolar"] = "binary",
) -> pd.DataFrame:
    """The grades of given networks, a row a network.

    Args:
        parameters: R networks.
        task: a known task's name, or a table.
        activation: of the hidden units.
        encoding: of the inputs.

    Returns:
        A row a network, a column a grade, in the order of the contract.

    Raises:
        UsageError: an unknown task, or one of other inputs than the networks have.
    """
    from nnexp.network import tasks
    from nnexp.recovery.grades import assess, columns

    table = tasks.get(task) if isinstance(task, str) else task
    return pd.DataFrame(columns(assess(parameters, table, activation, encoding)))
