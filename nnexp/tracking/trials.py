"""Trials in MLflow: each delivered as one child run of its sweep, and read back (floor 3; imports MLflow)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from nnexp.tracking.client import translated  # first: it settles MLflow's environment

# isort: split
from mlflow.entities import Metric, Param, Run

from nnexp.errors import NotFoundError
from nnexp.tracking.outbox import Entry, Evidence
from nnexp.tracking.schema import (
    ENDED,
    NOTE,
    PAGE,
    PARAM_LIMIT,
    ROLE,
    STATUS,
    SWEEP,
    TAG_LIMIT,
    TRIAL,
    RunRecord,
    SweepRun,
    pages,
    precedence,
    quoted,
    record,
    source_tags,
)
from nnexp.tracking.sweeps import SweepTracking


class TrialTracking(SweepTracking):
    """The sweeps of a tracking store with their trials."""

    def deliver(self, entry: Entry, sweep: SweepRun, *, fresh: bool = False) -> str:
        """Make the run of one finished trial, in full and exactly once; the entry stays in the spool.

        Args:
            entry: the evidence.
            sweep: the parent.
            fresh: whether this trial was surely never sent before; False looks for its run first, and completes it.

        Returns:
            The run's id.

        Raises:
            UnreachableError: call again later, with ``fresh=False``.
            StoreError: the store refuses it.
        """
        evidence = entry.evidence()
        with translated(self.uri):
            run_id = None if fresh else self._adopt(evidence, sweep)
            if run_id is None:
                run_id = self._create_run(evidence, sweep)
            elif self.client.get_run(run_id).info.status in ENDED:
                return run_id
            self._fill(run_id, evidence, entry.files)
            if not fresh:
                run_id = self._settle(evidence, sweep)
        return run_id

    def _adopt(self, evidence: Evidence, sweep: SweepRun) -> str | None:
        """The trial's run, if it is complete or an unfinished delivery of this very evidence; others are deleted."""
        for run in self._trial_runs(sweep, evidence.trial):
            if run.info.status in ENDED or run.info.start_time == evidence.started_ms:
                return str(run.info.run_id)
            self.client.delete_run(run.info.run_id)
        return None

    def _settle(self, evidence: Evidence, sweep: SweepRun) -> str:
        """Delete all but one of the trial's runs: an earlier request may have come through after it was given up."""
        first, *others = self._trial_runs(sweep, evidence.trial)
        for run in others:
            self.client.delete_run(run.info.run_id)
        return str(first.info.run_id)

    def _trial_runs(self, sweep: SweepRun, trial: int) -> list[Run]:
        """The trial's runs, the one that counts first."""
        filter_string = f"tags.`{SWEEP}` = '{quoted(sweep.name)}' and tags.`{TRIAL}` = '{trial}'"
        runs: list[Run] = list(pages(self.client.search_runs, [sweep.experiment_id], filter_string=filter_string))
        return sorted(runs, key=precedence)

    def _create_run(self, evidence: Evidence, sweep: SweepRun) -> str:
        own = {SWEEP: sweep.name, TRIAL: str(evidence.trial), ROLE: "trial", "mlflow.parentRunId": sweep.run_id}
        tags = source_tags() | dict(evidence.tags) | own | {NOTE: evidence.note[:TAG_LIMIT]}
        run = self.client.create_run(
            sweep.experiment_id, start_time=evidence.started_ms, run_name=evidence.name, tags=tags
        )
        return str(run.info.run_id)

    def _fill(self, run_id: str, evidence: Evidence, files: Path) -> None:
        self.client.log_batch(
            run_id,
            metrics=_timed(evidence),
            params=[Param(key, str(value)[:PARAM_LIMIT]) for key, value in evidence.params.items()],
        )
        if any(files.iterdir()):
            self.client.log_artifacts(run_id, str(files))
        self.client.set_terminated(run_id, STATUS[evidence.state], end_time=evidence.ended_ms)

    def runs(self, name: str) -> list[RunRecord]:
        """The one run of each trial that counts, by trial number, without those still being delivered."""
        return counting(self.trial_runs(self.sweep(name)))

    def trial_runs(self, sweep: SweepRun) -> list[RunRecord]:
        """Every run of the sweep's trials, duplicates and unfinished ones too; of a trial's runs the first counts."""
        runs = sorted(self._children(sweep), key=precedence)
        self._homes |= {run.info.run_id: run.info.artifact_uri for run in runs}
        return [record(int(run.data.tags[TRIAL]), run) for run in runs]

    def delivered_trials(self, name: str) -> dict[int, list[tuple[str, str]]]:
        """For each trial its runs' ids and statuses, the one that counts first; more than one is a duplicate."""
        trials: dict[int, list[tuple[str, str]]] = {}
        for run in sorted(self._children(self.sweep(name)), key=precedence):
            trials.setdefault(int(run.data.tags[TRIAL]), []).append((run.info.run_id, run.info.status))
        return trials

    def _children(self, sweep: SweepRun) -> list[Run]:
        with translated(self.uri):
            runs = pages(self.client.search_runs, [sweep.experiment_id], max_results=PAGE)
            return [run for run in runs if run.data.tags.get(SWEEP) == sweep.name and TRIAL in run.data.tags]

    def run(self, run_id: str) -> RunRecord:
        """One run by its id, or by a sweep and a trial as ``NAME#12`` (``NAME`` alone is not a run).

        Raises:
            NotFoundError: there is none, or it is not a trial's run.
        """
        sweep, mark, trial = run_id.rpartition("#")
        with translated(self.uri):
            if mark and trial.isdecimal():
                found = self._trial_runs(self.sweep(sweep), int(trial))
                if not found:
                    raise NotFoundError(f"sweep {sweep!r} has no trial {trial} in the tracking store")
                return record(int(trial), found[0])
            run = self.client.get_run(run_id)
        if TRIAL not in run.data.tags:
            raise NotFoundError(f"run {run_id} is not a trial's run (it has no tag {TRIAL})")
        return record(int(run.data.tags[TRIAL]), run)


def counting(runs: Iterable[RunRecord]) -> list[RunRecord]:
    """Of the runs of `TrialTracking.trial_runs` those that count, one per trial, by trial number; ended ones alone."""
    first: dict[int, RunRecord] = {}
    for run in runs:
        if run.status in ENDED:
            first.setdefault(run.trial, run)
    return [first[trial] for trial in sorted(first)]


def _timed(evidence: Evidence) -> list[Metric]:
    """The evidence's points, spread over the run's time by their epochs, which all take equally long.

    The UI's charts open on relative time. Nothing but the evidence has a say, so that a second logging finds its rows.
    """
    last = max((step for _, step, _ in evidence.metrics), default=0)
    duration = evidence.ended_ms - evidence.started_ms
    return [
        Metric(key, value, evidence.started_ms + duration * step // last if last else evidence.ended_ms, step)
        for key, step, value in evidence.metrics
    ]
