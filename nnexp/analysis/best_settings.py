"""What a play-off found, in words: the set that contains the best setting, the region that it spans, and its edges."""

from __future__ import annotations

from nnexp.analysis.format import label
from nnexp.analysis.playoff import Span
from nnexp.analysis.summary import PlayOff

#: Trials that the sentence names; more are in the table.
_NAMED = 10


def sentences(play_off: PlayOff) -> list[str]:
    """The headline, then the region where the set has several settings, then the edge where the first is at one."""
    parts = [_headline(play_off)]
    if len(play_off.left) > 1:
        parts.append(_region(play_off))
    return [part for part in (*parts, _edge(play_off)) if part]


def _headline(held: PlayOff) -> str:
    left, sure = held.left, f"{100 * held.confidence:.4g}% sure"
    whole = "The best setting" if held.whole else f"The best of the {len(held.contenders)} settings trained again"
    if len(left) == 1:
        text = f"{whole} is trial {left[0].trial} ({left[0].setting}), {sure}."
    elif len(left) == len(held.contenders) and not held.whole:
        text = (
            f"Fresh networks do not tell which of the {len(left)} settings trained again is the best: "
            f"{_trials([each.trial for each in left])}."
        )
    else:
        text = f"{whole} is among these {len(left)}, {sure}: {_trials([each.trial for each in left])}."
    if held.cut:
        text += (
            f" By the networks of the sweep {held.cut:,} more may be the best, but only the {len(held.contenders)} "
            "with the highest rates were trained again."
        )
    return text


def _trials(numbers: list[int]) -> str:
    named = [str(number) for number in numbers[:_NAMED]]
    if len(numbers) > _NAMED:
        return f"trials {', '.join(named)} and {len(numbers) - _NAMED} more"
    return f"trials {', '.join(named[:-1])} and {named[-1]}"


def _region(held: PlayOff) -> str:
    numbers_first = sorted(held.region.items(), key=lambda item: item[1].low is None)
    spans = ", ".join(_span(factor, span) for factor, span in numbers_first)
    return f"They span {spans}." if spans else ""


def _span(factor: str, span: Span) -> str:
    if span.low is None or span.high is None:
        return _most(span)
    low, high = f"{span.low:.3g}", f"{span.high:.3g}"
    values = low if low == high else f"{low} to {high}"
    return f"{values} hidden units" if factor == "hidden_size" else f"{label(factor)} {values}"


def _most(span: Span) -> str:
    """The fewest values that more than half of the settings have; all of them where no fewer do."""
    total = sum(count for _, count in span.counts)
    names: list[str] = []
    covered = 0
    for value, count in span.counts:
        names.append(str(value))
        covered += count
        if 2 * covered > total:
            break
    mostly = "mostly " if covered < total else ""
    return mostly + (names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}")


def _edge(held: PlayOff) -> str:
    ends = {"low": "lower", "high": "upper"}
    at = [f"the {ends[span.edge]} end of {label(factor)}" for factor, span in held.region.items() if span.edge]
    if not at:
        return ""
    trial = held.left[0].trial
    return f"Trial {trial} is at the edge of the searched space ({', '.join(at)}): better settings may be beyond it."
