"""The results of a sweep, read back from MLflow: summary, report, networks, explanation and export."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from nnexp import _atomic
from nnexp.analysis import contenders, trials
from nnexp.analysis.compare import Comparison, compare_runs, compare_sweeps
from nnexp.analysis.contenders import Results
from nnexp.analysis.outcomes import COLUMNS, SweepOutcomes, collect
from nnexp.analysis.report import build_report
from nnexp.analysis.summarize import summarize_records
from nnexp.analysis.summary import Summary
from nnexp.errors import NotFoundError, UsageError
from nnexp.recovery import gates, networks_table
from nnexp.recovery.alignment import AlignedNetwork, align_best
from nnexp.search import sweep_file
from nnexp.search.sweep_file import Sweep
from nnexp.stores import Stores
from nnexp.tracking.runs import valid_runs
from nnexp.tracking.schema import REPORT, SWEEP_FILE, RunRecord, SweepRun
from nnexp.tracking.store import Tracking

#: The parent run's artifact with the importance of the factors.
IMPORTANCE = "importance.json"
CURVES = ("loss_median", "loss_p10", "loss_p90")


class SweepResults:
    """One sweep's runs, read once.

    Attributes:
        records: the run of each trial.
        importance: the importance of the factors, by metric; None to read the artifact `IMPORTANCE`.
    """

    def __init__(self, tracking: Tracking, run: SweepRun, sweep: Sweep, records: Sequence[RunRecord]) -> None:
        self.tracking, self.run, self.sweep, self.records = tracking, run, sweep, list(records)
        self.name = run.name
        self.importance: Mapping[str, Mapping[str, float]] | None = None
        self._play_off: Results | None = None
        self._runs = {record.trial: record.run_id for record in self.records}

    @classmethod
    def read(cls, tracking: Tracking, name: str) -> SweepResults:
        """The runs of the sweep ``name``.

        Raises:
            NotFoundError: there is no such sweep.
        """
        run = tracking.sweep(name)
        sweep = sweep_file.parse(tracking.text(run.run_id, SWEEP_FILE), f"sweep {name!r}")
        return cls(tracking, run, sweep, valid_runs(tracking.trial_runs(run)))

    def add_metrics(self, run_id: str, metrics: Mapping[str, float]) -> None:
        """Add metrics that were logged after reading to one of the runs."""
        self.records = [
            dataclasses.replace(record, metrics={**record.metrics, **metrics}) if record.run_id == run_id else record
            for record in self.records
        ]

    def play_off(self) -> Results | None:
        """The results of the play-off; None before it, where they are damaged, or if the sweep was extended since."""
        if self._play_off is None:
            try:
                self._play_off = Results.parse(self.tracking.text(self.run.run_id, contenders.FILE))
            except (NotFoundError, ValueError):
                return None
        return self._play_off if self._play_off.planned == self.sweep.trials else None

    def add_play_off(self, results: Results) -> None:
        """Add the results of the play-off, stored just now."""
        self._play_off = results

    def best_network(self, trial: int) -> AlignedNetwork | None:
        """A trial's best network, aligned with the hand-designed one; None if all its networks diverged.

        Raises:
            NotFoundError: its file is missing or damaged.
        """
        content = self.tracking.best_network(self._runs[trial])
        return align_best(content, f"network {content['index']} of trial {trial}")

    def curves_of(self, trial: int) -> dict[str, list[tuple[int, float]]]:
        """A trial's curves that the report draws."""
        return {key: self.tracking.curve(self._runs[trial], key) for key in CURVES}

    def outcomes(self) -> SweepOutcomes:
        """The results of the single networks; reads the table of networks of every trial."""
        return collect(self.records, lambda trial: self.tracking.networks(self._runs[trial], COLUMNS))

    def summary(self, outcomes: SweepOutcomes | None = None) -> Summary:
        """The summary. With ``outcomes`` the first setting is tested against each of the others.

        Raises:
            NotFoundError: the sweep has no runs.
        """
        return summarize_records(
            self.name,
            self.records,
            outcomes=outcomes.by_rate if outcomes else None,
            importance=self._importance(),
            objective=self.sweep.objective,
            directions=self.sweep.directions,
            sampler=self.sweep.sampler,
            planned=self.sweep.trials,
            play_off=self.play_off(),
            space=self.sweep.space,
            missing=outcomes.missing if outcomes else (),
        )

    def report(self, summary: Summary, outcomes: SweepOutcomes) -> str:
        """The report as an HTML page."""
        return build_report(summary, outcomes, self.best_network, self.curves_of)

    def _importance(self) -> Mapping[str, Mapping[str, float]]:
        """`importance`, or that stored at the end of the sweep; empty before."""
        if self.importance is not None:
            return self.importance
        try:
            found: dict[str, dict[str, float]] = json.loads(self.tracking.text(self.run.run_id, IMPORTANCE))
        except (NotFoundError, ValueError):  # not there yet, or damaged, which `nnexp doctor` repairs
            return {}
        return found


def summarize(name: str, stores: Stores | None = None) -> Summary:
    """The summary of a sweep, finished or not.

    Args:
        name: the sweep's name.
        stores: where its runs are; by default MLFLOW_TRACKING_URI, or ``mlflow.db`` in the working directory.

    Raises:
        NotFoundError: there is no such sweep, or it has no runs.
    """
    results = SweepResults.read(_open(stores), name)
    return results.summary(results.outcomes())


def networks(name: str, stores: Stores | None = None) -> pd.DataFrame:
    """All networks of a sweep's finished trials, one row per network: trial, settings, grades and weights.

    Args:
        name: the sweep's name.
        stores: where its runs are; by default MLFLOW_TRACKING_URI, or ``mlflow.db`` in the working directory.

    Raises:
        NotFoundError: there is no such sweep, or none of its runs has a table of networks.
    """
    tracking = _open(stores)
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


def report(name: str, stores: Stores, output: Path, *, log: bool = True) -> None:
    """Write the report of a sweep as one HTML file.

    Args:
        name: the sweep's name.
        stores: where its runs are.
        output: the HTML file.
        log: whether to log the report to the sweep's parent run too.

    Raises:
        NotFoundError: there is no such sweep, or it has no runs.
    """
    tracking = _open(stores)
    results = SweepResults.read(tracking, name)
    outcomes = results.outcomes()
    page = results.report(results.summary(outcomes), outcomes)
    _atomic.write_text(output, page)
    if log:
        tracking.log_text(results.run.run_id, page, REPORT)


def compare(first: str, second: str, stores: Stores) -> Comparison:
    """Compare two sweeps, or two runs (``NAME#12`` or a run's id).

    Raises:
        UsageError: one is a sweep and the other a run.
        NotFoundError: there is none of that name.
    """
    tracking = _open(stores)
    runs = [_run_of(tracking, name) for name in (first, second)]
    if all(run is not None for run in runs):
        left, right = (tracking.networks(run.run_id).to_pandas() for run in runs if run is not None)
        return Comparison((first, second), compare_runs(left, right), pd.DataFrame())
    if any(run is not None for run in runs):
        raise UsageError(f"compare {first} {second}: expected two sweeps or two runs, not one of each")
    sides = [SweepResults.read(tracking, name) for name in (first, second)]
    outcomes = [side.outcomes() for side in sides]
    summaries = [side.summary(of_side) for side, of_side in zip(sides, outcomes, strict=True)]
    return compare_sweeps(*summaries, left_outcomes=outcomes[0].by_rate, right_outcomes=outcomes[1].by_rate)


def _run_of(tracking: Tracking, name: str) -> RunRecord | None:
    if "#" not in name and tracking.find_sweep(name) is not None:
        return None
    return tracking.run(name)


def explain(run: str, stores: Stores, network: int | None = None) -> dict[str, Any]:
    """How one network of a run solves its task.

    Args:
        run: ``NAME#12`` or a run's id.
        stores: where it is.
        network: the network's index; by default the run's best network.

    Raises:
        NotFoundError: there is no such run or network, or the run has no networks.
    """
    tracking = _open(stores)
    record = tracking.run(run)
    settings = record.settings
    table = tracking.networks(record.run_id)
    rows = table.column("index").to_pylist()
    if network is None:
        network = int(tracking.best_network(record.run_id)["index"])
    if network not in rows:
        raise NotFoundError(f"run {run} has no network {network}; it has {min(rows)} to {max(rows)}")
    chosen = networks_table.read_network(table.slice(rows.index(network), 1), settings)
    facts = gates.explain_network(chosen, settings.truth_table)
    return {"title": f"{record.name}, network {network}", "run": record.run_id, "network": network, **facts}


def export(name: str, stores: Stores, output: Path) -> Path:
    """Write all networks of a sweep as one table, Parquet or CSV by the ending of ``output``; returns the path.

    Raises:
        UsageError: another ending.
        NotFoundError: there is no such sweep, or none of its runs has a table of networks.
    """
    if output.suffix not in (".parquet", ".csv"):
        raise UsageError(f"--output {output}: expected a name that ends in .parquet or .csv")
    table = networks(name, stores)
    write = table.to_parquet if output.suffix == ".parquet" else table.to_csv
    _atomic.write_with(output, lambda temporary: write(temporary, index=False))
    return output


def _open(stores: Stores | None) -> Tracking:
    return Tracking((stores or Stores.choose()).tracking_uri)
