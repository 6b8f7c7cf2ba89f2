"""The types of a sweep's summary. `nnexp.analysis.summarize` computes it."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from nnexp.analysis import trials
from nnexp.analysis.playoff import Span
from nnexp.recovery.intervals import wilson

_SHOWN = 10  # rows of the ranked table in a notebook


@dataclass(frozen=True)
class Estimate:
    """A rate, ``successes`` of ``networks``, with its 95% Wilson interval from ``low`` to ``high``."""

    networks: int
    successes: int
    rate: float
    low: float
    high: float

    @classmethod
    def of(cls, successes: int, networks: int) -> Estimate:
        """The estimate from ``successes`` among ``networks`` (at least one)."""
        low, high = wilson(successes, networks)
        return cls(networks, successes, successes / networks, float(low), float(high))


@dataclass(frozen=True)
class Best:
    """The first setting of the ranking: after a play-off the one that came first in it.

    Attributes:
        trial: its number.
        run_id: its run in MLflow.
        setting: its settings in words.
        estimate: its rate in the sweep, by which it was selected.
        retest: the rate of the same setting on fresh networks; None before the re-test.
    """

    trial: int
    run_id: str
    setting: str
    estimate: Estimate
    retest: Estimate | None = None


@dataclass(frozen=True)
class Contender:
    """A setting that took part in the play-off.

    Attributes:
        trial: its number.
        run_id: its run in MLflow.
        setting: its settings in words.
        fresh: its rate on fresh networks, with an interval that is valid for all contenders and rounds together.
        left: whether it may still be the best.
    """

    trial: int
    run_id: str
    setting: str
    fresh: Estimate
    left: bool


@dataclass(frozen=True)
class PlayOff:
    """The outcome of a play-off.

    Attributes:
        contenders: those that may still be the best, then the others; each group by the rate on fresh networks.
        confidence: the probability that the best setting is among those that are left.
        whole: whether this is the best of all the sweep's settings, not only of the contenders.
        cut: how many more settings might be the best, but did not take part.
        region: factor -> what the settings that are left span of the searched space.
    """

    contenders: tuple[Contender, ...]
    confidence: float
    whole: bool
    cut: int
    region: Mapping[str, Span]

    @property
    def left(self) -> tuple[Contender, ...]:
        """The contenders that may still be the best, the highest rate on fresh networks first."""
        return tuple(each for each in self.contenders if each.left)


@dataclass(frozen=True, eq=False, repr=False)
class Summary:
    """All results of a sweep that its tables and its report show.

    Attributes:
        name: the sweep's name.
        task: its task, as in `Settings`.
        measure: the rate that settings are ranked by: ``recovery_rate``, or ``solved_rate`` for a task without a
            reference.
        ranked: one row per finished trial, the best first; ``note`` says whether the first was re-tested.
        marginals: the mean rates at each level of each factor, see `nnexp.analysis.effects.marginals`.
        effects: each factor's adjusted p-value, see `nnexp.analysis.effects.factor_tests`.
        families: shares of networks by hidden size.
        best: the first setting of the ranking; None where the ranking is empty.
        play_off: the settings that may be the best on fresh networks; None before the play-off.
        rivals: tests of the first setting against each other one, see `nnexp.analysis.significance.against_rest`; None
            without the tables of networks.
        importance: metric -> factor -> share, computed by the study.
        pareto: the Pareto front; None for a sweep with one objective.
        counts: how many trials are in each state.
        planned: how many trials the sweep has; None where unknown.
        sampler: the sweep's sampler; "" where unknown.
        missing: artifacts that could not be read, in words.
        factors: the columns of ``ranked`` that tables show as settings.
        answer: the answer in words, one or two sentences each.
        notes: the limits of the answer, one or two sentences each.
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
    play_off: PlayOff | None = None
    planned: int | None = None
    sampler: str = ""
    missing: tuple[str, ...] = ()
    factors: tuple[str, ...] = trials.ALWAYS
    answer: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def done(self) -> int:
        """How many trials have ended, in any state."""
        return sum(count for state, count in self.counts.items() if state != "RUNNING")

    @property
    def running(self) -> bool:
        """Whether trials are not finished yet."""
        return "RUNNING" in self.counts or (self.planned is not None and self.done < self.planned)

    def __repr__(self) -> str:
        return "\n".join((f"<Summary of the sweep {self.name!r}>", *self.answer))

    def _repr_html_(self) -> str:
        """The answer, the first rows of the ranking and the notes, for a notebook."""
        paragraphs = [f"<p>{html.escape(line)}</p>" for line in self.answer]
        notes = [f"<li>{html.escape(line)}</li>" for line in self.notes]
        table = self.ranked.head(_SHOWN).to_html(index=False, na_rep="–", float_format="{:.4g}".format)
        return "\n".join([*paragraphs, table, "<ul>", *notes, "</ul>"])
