"""The answer in words, with numbers and their uncertainty."""

from __future__ import annotations

import numpy as np

from nnexp.analysis import best_settings
from nnexp.analysis.format import estimate, interval, label, percent
from nnexp.analysis.summary import Best, Summary

_GOAL = {"recovery_rate": "recovered the hand-designed solution", "solved_rate": "solved the task"}
#: Samplers that try more settings where earlier ones did well: averages over settings are not over the search space.
_ADAPTIVE = ("tpe", "nsga2")
_SIGNIFICANT = 0.05
_DEFINITIONS = (
    "A network contains the hand-designed logic when it solves the task, has for each hidden unit of the hand-designed "
    "network a saturated unit of the same logic, and still answers right with these units alone. It has recovered the "
    "hand-designed solution when, in addition, these units carry more than half of the variation of its logits."
)
_EARLIER_RULE = (
    "nnexp 0.1.0 graded {which} by an earlier rule: a network had recovered the solution only if its answers are wrong "
    "without the units of the design."
)


def sentences(summary: Summary) -> tuple[str, ...]:
    """Which settings reach the goal, how certain that is, and which factors matter."""
    best = summary.best
    if best is None:
        return (_nothing_ranked(summary),)
    held = summary.play_off
    if held is not None and _succeeded(summary) and (held.whole or len(held.contenders) > 1):
        parts = [*best_settings.sentences(held)]
        parts.insert(1, _retest(summary, best))
    else:
        parts = [_headline(summary, best), _retest(summary, best)]
    if _succeeded(summary):
        parts += [_compared(summary), _spread(summary), _effects(summary)]
    parts.append(_families(summary))
    return tuple(part for part in parts if part)


def _nothing_ranked(summary: Summary) -> str:
    states = ", ".join(f"{count:,} {state.lower()}" for state, count in summary.counts.items())
    known = f" No finished trial has a {label(summary.measure)}." if "FINISHED" in summary.counts else ""
    return f"No setting has a result yet: of the sweep's trials {states}.{known}"


def _succeeded(summary: Summary) -> bool:
    """Whether any network of the sweep reached the goal."""
    return bool((summary.ranked[summary.measure] > 0).any())


def _headline(summary: Summary, best: Best) -> str:
    ranked, goal = summary.ranked, _GOAL[summary.measure]
    total = f"{int(ranked['networks'].sum()):,} networks in {_settings(len(ranked))}"
    if (ranked["diverged_rate"] == 1).all():
        return f"Every network of the sweep diverged: {total}. Try lower learning rates."
    if not _succeeded(summary):
        most = float(ranked[f"{summary.measure}_high"].max())
        return (
            f"No network of the sweep {goal}: 0 of {total}. "
            f"The 95% interval of a single setting's rate still reaches up to {percent(most)}."
        )
    if len(ranked) == 1:
        return f"One setting has a result: {best.setting}. It {goal} in {estimate(best.estimate)}."
    place = "Best" if _beats_all(summary) else "First in the ranking"
    return f"{place}: trial {best.trial} ({best.setting}) {goal} in {estimate(best.estimate)}."


def _settings(count: int) -> str:
    return f"{count:,} setting{'s' * (count != 1)}"


def _retest(summary: Summary, best: Best) -> str:
    """The rate on fresh networks, which is not biased by the choice among many settings."""
    if best.retest is not None:
        setting = "" if _succeeded(summary) else f", the first in the ranking ({best.setting}),"
        return (
            f"Trained again on fresh networks, trial {best.trial}{setting} {_GOAL[summary.measure]} in "
            f"{estimate(best.retest)}: this is the rate to quote."
        )
    if best.estimate.successes and len(summary.ranked) > 1:
        return (
            f"It was selected among {len(summary.ranked):,} settings by this rate and not re-tested: "
            "expect a lower rate on fresh networks."
        )
    return ""


def _verdicts(summary: Summary) -> tuple[int, int, int]:
    """How many of the other settings the first is significantly better than, worse than, and neither."""
    if summary.rivals is None:
        return 0, 0, 0
    apart, difference = summary.rivals["p_holm"] <= _SIGNIFICANT, summary.rivals["difference"]
    better, worse = int((apart & (difference > 0)).sum()), int((apart & (difference < 0)).sum())
    return better, worse, len(summary.rivals) - better - worse


def _beats_all(summary: Summary) -> bool:
    return _verdicts(summary)[0] == len(summary.ranked) - 1 > 0


def _compared(summary: Summary) -> str:
    """The tests of the first setting against each of the others, on the networks that both trained."""
    better, worse, neither = _verdicts(summary)
    compared, others = better + worse + neither, len(summary.ranked) - 1
    if not compared:
        return ""
    shared = "" if compared == others else f" (of {others:,}) that trained the same networks"
    return (
        f"Network by network it is better than {better:,} of the {compared:,} other settings{shared}, worse than "
        f"{worse:,}, and not significantly different from {neither:,} (exact McNemar tests, Holm's correction over all "
        "pairs, 5%)."
    )


def _spread(summary: Summary) -> str:
    """How many settings reach the goal at all, and how many often."""
    if len(summary.ranked) == 1:
        return ""
    rates = summary.ranked[summary.measure]
    some, tenth, half = int((rates > 0).sum()), int((rates >= 0.1).sum()), int((rates >= 0.5).sum())
    return (
        f"Of {len(rates):,} settings {some:,} had a network that {_GOAL[summary.measure]}; in {tenth:,} at least a "
        f"tenth of the networks did, in {half:,} at least half."
    )


def _effects(summary: Summary) -> str:
    """The factors whose levels differ significantly, also given the shared seeds, with their best and worst level."""
    rate, found = summary.measure, []
    for factor, p_value in sorted(summary.effects.items(), key=lambda item: item[1]):
        part = summary.marginals[summary.marginals["factor"] == factor].dropna(subset=[f"{rate}_low"])
        if p_value > _SIGNIFICANT or len(part) < 2:
            continue
        ordered = part.sort_values(rate, kind="stable")
        top, bottom = ordered.iloc[-1], ordered.iloc[0]
        if top[f"{rate}_low"] <= bottom[f"{rate}_high"]:
            continue
        ends = [
            f"{percent(row[rate])} ({interval(row[f'{rate}_low'], row[f'{rate}_high'])}) at {row['level']}"
            for row in (top, bottom)
        ]
        found.append(f"{label(factor)}, {ends[0]} and {ends[1]}")
    if found:
        among = (
            "among the settings that the sampler chose" if summary.sampler in _ADAPTIVE else "averaged over the others"
        )
        return f"Factors that matter, {among} (mean {label(rate)} at the best and the worst level): {'; '.join(found)}."
    return "No single factor has levels that differ significantly." if summary.effects else ""


def _families(summary: Summary) -> str:
    table = summary.families
    if "hand_designed" not in table or not table["networks"].sum():
        return ""
    weights = table["networks"].to_numpy(dtype=np.float64)
    hand, mirror, other, none = (
        float(np.average(table[column], weights=weights))
        for column in ("hand_designed", "mirror", "other", "not_solved")
    )
    text = (
        f"Of {int(weights.sum()):,} networks {percent(hand)} contain the hand-designed logic, {percent(mirror)} its "
        f"mirror alone, {percent(other)} solved the task in another way and {percent(none)} did not solve it."
    )
    if hand > 0 and not _succeeded(summary):
        text += " Those that contain it have not recovered the solution, which requires more: see the notes."
    return text


def notes(summary: Summary) -> tuple[str, ...]:
    """The limits of the answer, and the definitions of its terms."""
    lines = []
    if summary.running:
        of = f" of {summary.planned:,}" if summary.planned else ""
        lines.append(f"The sweep is not finished: {summary.done:,}{of} trials are done. The answer may change.")
    unranked = summary.counts.get("FINISHED", 0) - len(summary.ranked)
    states = ((summary.counts.get("KILLED", 0), "pruned"), (summary.counts.get("FAILED", 0), "failed"))
    for count, words in (*states, (unranked, f"finished without a {label(summary.measure)}")):
        if count:
            lines.append(f"Not ranked: {count:,} trial{'s' * (count > 1)} {words}.")
    if len(summary.ranked):
        lines.append(_stopping(summary))
        if summary.measure == "recovery_rate":
            lines.append(_DEFINITIONS)
            lines += _graded_earlier(summary)
    if summary.sampler in _ADAPTIVE:
        lines.append(
            f"The sampler ({summary.sampler}) tries more settings where earlier ones did well: averages over settings "
            "describe those tried, not the whole search space. Read effects from a grid, random or qmc sweep."
        )
    if len(set(summary.ranked["networks"])) > 1:
        lines.append(
            "Settings have different numbers of networks: shares of all networks describe those that were trained, "
            "of which the better settings may have more."
        )
    if summary.missing:
        more = f" and {len(summary.missing) - 10} more" if len(summary.missing) > 10 else ""
        lines.append(f"Missing and left out: {', '.join(summary.missing[:10])}{more}.")
    return tuple(lines)


def _graded_earlier(summary: Summary) -> list[str]:
    """Runs of nnexp 0.1.0, which did not log ``needed_rate``."""
    ranked = summary.ranked
    earlier = ranked["needed_rate"].isna() if "needed_rate" in ranked else np.ones(len(ranked), dtype=bool)
    count = int(earlier.sum())
    if not count:
        return []
    which = (
        "all trials"
        if count == len(ranked)
        else f"{count:,} of the {len(ranked):,} trials, not comparable with the others,"
    )
    return [_EARLIER_RULE.format(which=which)]


def _stopping(summary: Summary) -> str:
    epochs = " or ".join(f"{count:,}" for count in sorted(summary.ranked["epochs"].unique()))
    stops = sorted(summary.ranked["stop"].unique())
    text = f"Within {epochs} epochs; stop = {', '.join(stops)}"
    if stops == ["none"]:
        return f"{text}."
    return f"{text}: networks that stop early are not saturated yet, and their logic shows later than their answers."
