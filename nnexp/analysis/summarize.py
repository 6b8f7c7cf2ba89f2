"""Computing the summary of a sweep from its run records: the ranking, the families and the Pareto front."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from nnexp.analysis import contenders, narrative, trials
from nnexp.analysis import format as fmt
from nnexp.analysis.contenders import Results
from nnexp.analysis.effects import factor_tests, marginals
from nnexp.analysis.significance import Outcomes, against_rest
from nnexp.analysis.summary import Best, Estimate, PlayOff, Summary
from nnexp.errors import NotFoundError
from nnexp.search.space import Dimension

if TYPE_CHECKING:
    from nnexp.tracking.schema import RunRecord

FINISHED = "FINISHED"


def summarize_records(
    name: str,
    records: Iterable[RunRecord],
    *,
    outcomes: Mapping[str, Mapping[int, Outcomes]] | None = None,
    importance: Mapping[str, Mapping[str, float]] | None = None,
    objective: Sequence[str] = (),
    directions: Sequence[str] = (),
    sampler: str = "",
    planned: int | None = None,
    missing: Sequence[str] = (),
    play_off: Results | None = None,
    space: Mapping[str, Dimension] | None = None,
) -> Summary:
    """The summary of a sweep's runs.

    Args:
        name: the sweep's name.
        records: its child runs, finished or not.
        outcomes: for each rate and trial, which networks succeeded (see `nnexp.analysis.outcomes.SweepOutcomes`), for
            the paired tests. Trials without them are left out of the tests.
        importance: the importance of the factors, by metric.
        objective: the sweep's objectives; two or more have a Pareto front.
        directions: "maximize" or "minimize" for each objective.
        sampler: the sweep's sampler.
        planned: the sweep's number of trials.
        missing: artifacts that could not be read, in words.
        play_off: the results of the play-off, if it was held.
        space: the searched space, for the region that the best settings span.

    Returns:
        The summary with its answer in words. Without a play-off the re-test of the first setting is read from the
        metrics ``retest_networks`` and ``retest_rate`` of its run.

    Raises:
        NotFoundError: there are no runs.
    """
    frame = trials.trials_frame(records)
    if frame.empty:
        raise NotFoundError(f"sweep {name!r} has no runs yet; start it with: nnexp sweep FILE")
    measure = trials.measure_of(frame)
    done = frame[(frame["status"] == FINISHED) & frame[measure].notna()]
    factors = trials.shown_factors(frame)
    held = contenders.play_off(play_off, done, factors, space or {}, sampler) if play_off is not None else None
    ranked = rank(done, measure, [each.trial for each in held.left] if held else ())
    best = _first(ranked, measure, factors, held) if len(ranked) else None
    if best is not None:
        first, *others = [_note(row) for _, row in ranked.iterrows()]
        ranked["note"] = [first or "selected, not re-tested", *others]
    summary = Summary(
        name=name,
        task=str(frame["task"].iloc[0]),
        measure=measure,
        ranked=ranked,
        marginals=marginals(done),
        effects=factor_tests(done, measure),
        families=families(done),
        best=best,
        play_off=held,
        rivals=_rivals(ranked, best, (outcomes or {}).get(measure, {})),
        importance=importance or {},
        pareto=pareto(ranked, objective, directions) if len(objective) > 1 else None,
        counts={str(state): int(count) for state, count in frame["status"].value_counts().items()},
        planned=planned,
        sampler=sampler,
        missing=tuple(missing),
        factors=factors,
    )
    return dataclasses.replace(summary, answer=narrative.sentences(summary), notes=narrative.notes(summary))


def rank(done: pd.DataFrame, measure: str, first: Sequence[int] = ()) -> pd.DataFrame:
    """The finished trials, best first, numbered by ``rank`` from 1.

    The trials ``first``, which a play-off left, come first and in their order. All others are ranked by their results
    in the sweep: by the lower end of the measure's Wilson interval, so that a high rate of few networks does not win;
    ties by higher solved rate, then by lower trial number.
    """
    ordered = done.sort_values(
        [f"{measure}_low", "solved_rate", "trial"], ascending=[False, False, True], na_position="last", kind="stable"
    ).reset_index(drop=True)
    places = {trial: place for place, trial in enumerate(first)}
    places_of_all = ordered["trial"].map(lambda trial: places.get(trial, len(places)))
    ordered = ordered.iloc[np.argsort(places_of_all.to_numpy(), kind="stable")].reset_index(drop=True)
    ordered.insert(0, "rank", np.arange(1, len(ordered) + 1))
    ordered["note"] = ""
    return ordered


def _first(ranked: pd.DataFrame, measure: str, factors: Sequence[str], held: PlayOff | None) -> Best:
    row = ranked.iloc[0]
    retest = held.left[0].fresh if held else None
    if retest is None and row.get("retest_networks", 0) > 0 and row.get("retest_rate", np.nan) >= 0:
        networks = int(row["retest_networks"])
        retest = Estimate.of(round(row["retest_rate"] * networks), networks)
    networks = int(row["networks"])
    return Best(
        trial=int(row["trial"]),
        run_id=str(row["run_id"]),
        setting=trials.describe_setting(row, factors),
        estimate=Estimate.of(round(row[measure] * networks), networks),
        retest=retest,
    )


def _note(row: pd.Series) -> str:
    if not (row.get("retest_networks", 0) > 0 and row.get("retest_rate", np.nan) >= 0):
        return ""
    return f"re-tested: {fmt.percent(row['retest_rate'])} of {int(row['retest_networks']):,}"


def _rivals(ranked: pd.DataFrame, best: Best | None, outcomes: Mapping[int, Outcomes]) -> pd.DataFrame | None:
    """Tests of the first setting against each of the others whose networks are known."""
    known = {trial: outcomes[trial] for trial in ranked["trial"].tolist() if trial in outcomes}
    return against_rest(known, best.trial) if best is not None and best.trial in known and len(known) > 1 else None


def families(done: pd.DataFrame) -> pd.DataFrame:
    """Shares of networks by hidden size, from the runs' final metrics.

    Returns:
        One row per hidden size: ``hidden_size``, ``settings``, ``networks``, then the shares, which add up to 1:
        ``hand_designed`` (with or without the mirror), ``mirror`` (alone), ``other`` and ``not_solved``. Without a
        reference there are only ``solved`` and ``not_solved``. Trials without ``mirror_rate`` count it as 0; trials
        without another of these metrics are left out.
    """
    rows = []
    reference = trials.has_reference(done)
    for size, part in done.dropna(subset=["solved_rate", *(["contains_rate"] if reference else [])]).groupby(
        "hidden_size"
    ):
        weights = part["networks"].to_numpy(dtype=np.float64)
        share = {
            rate: float(np.average(part[rate].fillna(0.0), weights=weights))
            for rate in ("contains_rate", "mirror_rate", "solved_rate")
        }
        row = {"hidden_size": size, "settings": len(part), "networks": int(weights.sum())}
        if reference:
            known = {"hand_designed": share["contains_rate"], "mirror": share["mirror_rate"]}
            row |= known | {"other": max(share["solved_rate"] - sum(known.values()), 0.0)}
        else:
            row["solved"] = share["solved_rate"]
        rows.append(row | {"not_solved": 1.0 - share["solved_rate"]})
    return pd.DataFrame(rows)


def pareto(ranked: pd.DataFrame, objective: Sequence[str], directions: Sequence[str]) -> pd.DataFrame:
    """The Pareto front: no other trial is at least as good in every objective and better in one.

    Args:
        ranked: finished trials.
        objective: metric names.
        directions: "maximize" or "minimize" for each; missing ones are "maximize".

    Returns:
        Rows of ``ranked`` in order of the first objective, the best first. Trials that lack an objective are left out.
    """
    signs = [-1.0 if direction == "minimize" else 1.0 for direction in directions]
    signs += [1.0] * (len(objective) - len(signs))
    if not set(objective) <= set(ranked.columns):  # no run has this metric
        return ranked.head(0)
    usable = ranked.dropna(subset=list(objective))
    points = usable[list(objective)].to_numpy(dtype=np.float64) * signs
    keep = [not np.any((points >= point).all(axis=1) & (points > point).any(axis=1)) for point in points]
    front = usable[np.array(keep, dtype=bool)]
    return front.sort_values([objective[0], "trial"], ascending=[signs[0] < 0, True], kind="stable").reset_index(
        drop=True
    )
