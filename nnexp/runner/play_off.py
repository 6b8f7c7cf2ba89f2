"""The play-off is held: the settings that may be the best are trained on fresh networks, and the results are stored.

The counts of every round are stored in the study, so that an interrupted play-off goes on with the round in which it
was. Which round comes next is a function of the counts alone, and so are the results.
"""

from __future__ import annotations

from concurrent.futures import Executor, wait
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnexp.analysis import contenders, playoff
from nnexp.analysis.results import SweepResults
from nnexp.network.settings import Settings
from nnexp.runner import jobs
from nnexp.runner.jobs import Job
from nnexp.runner.progress import Progress
from nnexp.runner.session import Session
from nnexp.study.race import Race
from nnexp.tracking.store import Tracking

#: The fresh networks have these numbers and higher ones, which the seeds of no sweep reach.
FRESH = 10_000_000
#: The fewest fresh networks of the setting that comes first: a 95% interval of about ±3 percentage points.
FIRST_NETWORKS = 1024
#: A play-off has at most as many networks as its sweep, or so many where the sweep has fewer.
LEAST_LIMIT = playoff.MOST * playoff.START
#: The study attribute that holds the successes after each rung: trial -> [after the first rung, after the second, …].
COUNTS = "playoff"
#: Seconds between two checks for signals.
TICK = 0.5

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Field:
    """The settings of a play-off, and what their fresh networks did so far.

    Attributes:
        trials: their numbers. settings: their settings. race: the rule.
        limit: the most networks of all of them together.
        counts: trial -> successes after each rung, as far as it was trained.
    """

    trials: list[int]
    settings: list[Settings]
    race: Race
    limit: int
    counts: dict[str, list[int]]

    def successes(self, networks: Ints) -> Ints:
        """(c,) of each setting's first ``networks`` fresh networks, each a rung or 0."""
        rungs = (0, *self.race.rungs)
        pairs = zip(self.trials, networks.tolist(), strict=True)
        return np.array([0 if n == 0 else self.counts[str(trial)][rungs.index(n) - 1] for trial, n in pairs])

    def next_total(self, networks: Ints) -> Ints:
        """(c,) the networks of each setting after the next round; the same as now when the play-off is over.

        It is also over where another round would exceed ``limit``. The first then gets `FIRST_NETWORKS`.
        """
        successes = self.successes(networks)
        total = networks + playoff.next_round(successes, networks, self.race)
        if total.sum() > max(self.limit, networks.sum()):
            total = networks
        if (total == networks).all():
            first = int(playoff.answer(successes, networks, self.race).index[0])
            rung = min(n for n in self.race.rungs if n >= min(FIRST_NETWORKS, self.race.seeds))
            total = networks.copy()
            total[first] = max(total[first], rung)
        return total


def hold(session: Session, tracking: Tracking, found: SweepResults, executor: Executor) -> None:
    """Hold the play-off of a finished sweep unless its results are stored, and add them to ``found``.

    Raises:
        StoreError: a store failed. BrokenExecutor: the pool's processes ended. Interrupted: a signal.
    """
    study = session.study
    sweep = study.sweep
    summary = found.summary()
    if found.play_off() is not None or not len(summary.ranked):
        return
    ranking = summary.ranked
    selection = contenders.selection(sweep)
    trials, cut = contenders.entrants(ranking, summary.measure, selection)
    params = {trial.number: trial.params for trial in study.trials()}
    field = Field(
        trials,
        [sweep.settings(params[trial]) for trial in trials],
        playoff.rule(len(trials), selection.confidence, selection.tolerance),
        max(int(ranking["networks"].sum()), LEAST_LIMIT),
        {str(trial): list(counts) for trial, counts in study.get(COUNTS, {}).items()},
    )
    networks = np.zeros(len(trials), dtype=np.int64)
    while (total := field.next_total(networks)).any() and (total > networks).any():
        _train_round(session, field, networks, total, executor)
        networks = total
    results = contenders.Results(
        planned=sweep.trials,
        confidence=selection.confidence,
        tolerance=selection.tolerance,
        cut=cut,
        trials=tuple(trials),
        networks=tuple(networks.tolist()),
        successes=tuple(field.successes(networks).tolist()),
    )
    _store(tracking, found, results)


def _train_round(session: Session, field: Field, networks: Ints, total: Ints, executor: Executor) -> None:
    """Train the networks of a round that are not counted yet, and store the counts of all their rungs."""
    rungs = field.race.rungs
    wanted: list[tuple[str, int, Job]] = []
    totals = zip(networks.tolist(), total.tolist(), strict=True)
    for number, settings, (has, gets) in zip(field.trials, field.settings, totals, strict=True):
        known = field.counts.setdefault(str(number), [])
        for i, rung in enumerate(rungs):
            if len(known) <= i and has < rung <= gets:
                index = np.arange(FRESH + (rungs[i - 1] if i else 0), FRESH + rung)
                wanted.append((str(number), i, Job(len(wanted), settings, index, settings.epochs)))
    if not wanted:
        return
    count, most = len({trial for trial, _, _ in wanted}), int(total.max())
    if session.options.progress is not None:
        trials = session.study.sweep.trials
        words = f"{count} setting{'s' * (count != 1)}, {most:,} networks each"
        session.options.progress(Progress(trials, trials, play_off=words))
    tasks = jobs.submit(executor, [job for _, _, job in wanted], session.workers)
    pending = set(tasks)
    while pending:
        session.check_signals()
        pending = wait(pending, timeout=TICK).not_done
    gained = [0] * len(wanted)
    for task in tasks:
        for part in task.result():
            grades = part.grades
            gained[part.trial] += int((grades.solved if grades.recovered is None else grades.recovered).sum())
    for (trial, i, _), successes in zip(wanted, gained, strict=True):
        known = field.counts[trial]
        known.append(successes + (known[i - 1] if i else 0))
    session.study.set(COUNTS, field.counts)


def _store(tracking: Tracking, found: SweepResults, results: contenders.Results) -> None:
    """Log the metrics of all settings that took part, then the results, whose presence says that it was held."""
    runs = {record.trial: record for record in found.records}
    for trial, networks, successes in zip(results.trials, results.networks, results.successes, strict=True):
        metrics: dict[str, Any] = {"retest_networks": float(networks), "retest_rate": successes / networks}
        if metrics.items() <= dict(runs[trial].metrics).items():
            continue
        tracking.log_progress(runs[trial].run_id, 0, metrics)
        found.add_metrics(runs[trial].run_id, metrics)
    tracking.log_text(found.run.run_id, results.text, contenders.FILE)
    found.add_play_off(results)
