"""The answer in plain words: short, with numbers, and no surer than the data (floor 3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from nnexp.analysis.summary import Best, Figure, Summary

_GOAL = {"recovery_rate": "recovered the hand-designed solution", "solved_rate": "solved the task"}
#: Samplers that try more settings where they did well: averages over a sweep's settings are not over its space.
CROWDING = ("tpe", "nsga2")
_LABEL = {
    "hidden_size": "hidden size",
    "learning_rate": "learning rate",
    "init": "initializer",
    "init_scale": "initial scale",
}


def percent(rate: float) -> str:
    """A rate as a reader wants it: ``62%``, ``3.1%``, ``<0.1%``, ``0%``."""
    if np.isnan(rate):
        return "–"
    if rate in (0.0, 1.0):
        return f"{rate:.0%}"
    if rate < 0.001 or rate > 0.999:
        return "<0.1%" if rate < 0.5 else ">99.9%"
    return f"{rate:.1%}" if rate < 0.0995 or rate > 0.9905 else f"{rate:.0%}"


def interval(low: float, high: float) -> str:
    """An interval of rates, such as ``56% to 67%``."""
    return f"{percent(low)} to {percent(high)}"


def figure(value: Figure) -> str:
    """A figure in words, such as ``158 of 256 networks, 62% (95% interval 56% to 67%)``."""
    return (
        f"{value.successes:,} of {value.networks:,} networks, {percent(value.rate)} "
        f"(95% interval {interval(value.low, value.high)})"
    )


def label(factor: str) -> str:
    """A factor's name in words."""
    return _LABEL.get(factor, factor.replace("_", " "))


def sentences(summary: Summary, sampler: str = "") -> tuple[str, ...]:
    """Which settings reach the goal, how sure that is, and what matters; ``sampler`` is the sweep's."""
    if summary.best is None:
        states = ", ".join(f"{count} {state.lower()}" for state, count in summary.counts.items())
        return (f"No setting has a result yet: of the sweep's trials {states}.",)
    diverged = summary.ranked["diverged_rate"]
    if (diverged == 1).all():
        return (f"Every network of every setting diverged ({len(diverged)} settings): try lower learning rates.",)
    parts = [_headline(summary, summary.best)]
    if summary.best.figure.successes:
        parts += [_sureness(summary, summary.best), _spread(summary), _effects(summary, sampler)]
    parts.append(_families(summary))
    return tuple(part for part in parts if part)


def _headline(summary: Summary, best: Best) -> str:
    ranked, goal = summary.ranked, _GOAL[summary.measure]
    total = f"{int(ranked['networks'].sum()):,} networks in {len(ranked):,} setting{'s' * (len(ranked) > 1)}"
    if not best.figure.successes:
        most = float(ranked[f"{summary.measure}_high"].max())
        return f"No network {goal}: 0 of {total}. A single setting's rate may still be up to {percent(most)} (95%)."
    if len(ranked) == 1:
        return f"One setting was tried: {best.setting}. It {goal} in {figure(best.figure)}."
    place = "First in the ranking" if best.retest is None else "Best"
    return f"{place}: trial {best.trial} ({best.setting}) {goal} in {figure(best.figure)}."


def _sureness(summary: Summary, best: Best) -> str:
    ranked, parts = summary.ranked, []
    if best.retest is not None:
        parts.append(
            f"Trained again on fresh networks it did so in {figure(best.retest)}: this is the figure to quote."
        )
    elif len(ranked) > 1:
        parts.append(f"It was selected as the best of {len(ranked):,} and not re-tested, so its figure flatters it.")
    if summary.rivals is not None:
        worse = int((summary.rivals["p_holm"] <= 0.05).sum())
        level = len(summary.rivals) - worse
        parts.append(
            f"Network by network it beats {worse:,} of the {len(summary.rivals):,} others "
            f"(exact McNemar, Holm over all pairs at 5%); {level:,} cannot be told from it."
        )
    elif len(ranked) > 1:
        overlap = int((ranked[f"{summary.measure}_high"].iloc[1:] >= best.figure.low).sum())
        parts.append(f"{overlap:,} of the {len(ranked) - 1:,} others have intervals that reach into its own.")
    return " ".join(parts)


def _spread(summary: Summary) -> str:
    """How many settings reach the goal often, and how many at all."""
    if len(summary.ranked) == 1:
        return ""
    some, tenth, half = (int((summary.ranked[summary.measure] >= least).sum()) for least in (1e-9, 0.1, 0.5))
    return (
        f"Of {len(summary.ranked):,} settings {some:,} did so at all, {tenth:,} in at least a tenth of their networks "
        f"and {half:,} in at least half."
    )


def _effects(summary: Summary, sampler: str) -> str:
    """The factors whose levels differ beyond chance and shared seeds, each with its best and worst level."""
    rate, found = summary.measure, []
    for factor, p_value in sorted(summary.effects.items(), key=lambda item: item[1]):
        part = summary.marginals[summary.marginals["factor"] == factor].dropna(subset=[f"{rate}_low"])
        if p_value > 0.05 or len(part) < 2:
            continue
        ordered = part.sort_values(rate, kind="stable")
        top, bottom = ordered.iloc[-1], ordered.iloc[0]
        if top[f"{rate}_low"] <= bottom[f"{rate}_high"]:
            continue
        ends = [
            f"{row['level']} gives {percent(row[rate])} ({interval(row[f'{rate}_low'], row[f'{rate}_high'])})"
            for row in (top, bottom)
        ]
        found.append(f"{label(factor)} {ends[0]}, {ends[1]}")
    if found:
        start = "What matters, averaged over the other settings:"
        if sampler in CROWDING:
            start = "Averaged over the settings that the sampler chose, not over the whole space:"
        return f"{start} {'; '.join(found)}."
    return "No single factor's levels can be told apart." if summary.effects else ""


def _families(summary: Summary) -> str:
    table = summary.families
    if "hand_designed" not in table or not table["networks"].sum():
        return ""
    weights = table["networks"].to_numpy(dtype=np.float64)
    hand, mirror, other, none = (
        float(np.average(table[column], weights=weights))
        for column in ("hand_designed", "mirror", "other", "not_solved")
    )
    return (
        f"Of all networks {percent(hand)} contain the hand-designed logic, {percent(mirror)} its mirror alone, "
        f"{percent(other)} solved it another way and {percent(none)} did not solve it."
    )


def notes(summary: Summary, *, sampler: str, missing: Sequence[str]) -> tuple[str, ...]:
    """What limits the answer, a sentence each."""
    lines = []
    if summary.running:
        done = sum(count for state, count in summary.counts.items() if state != "RUNNING")
        of = f" of {summary.planned:,}" if summary.planned else ""
        lines.append(f"The sweep is not finished: {done:,}{of} trials are done. The answer may change.")
    for state, words in (("KILLED", "pruned"), ("FAILED", "failed")):
        if state in summary.counts:
            count = summary.counts[state]
            lines.append(f"{count:,} {'trial was' if count == 1 else 'trials were'} {words}, not ranked.")
    if len(summary.ranked):
        lines.append(_stopping(summary))
    if sampler in CROWDING:
        lines.append(
            f"The sampler ({sampler}) crowds its trials where they do well: averages over settings describe those "
            "tried, not the whole space. Read effects from a grid, random or qmc sweep."
        )
    if missing:
        shown = ", ".join(missing[:10]) + (f" and {len(missing) - 10} more" if len(missing) > 10 else "")
        lines.append(f"Missing and left out: {shown}.")
    return tuple(lines)


def _stopping(summary: Summary) -> str:
    epochs = " or ".join(f"{count:,}" for count in sorted(summary.ranked["epochs"].unique()))
    stops = sorted(summary.ranked["stop"].unique())
    text = f"Within {epochs} epochs; stop = {', '.join(stops)}"
    if stops == ["none"]:
        return f"{text}."
    return f"{text}: networks that stop early have not saturated yet, and their logic shows later than their answers."
