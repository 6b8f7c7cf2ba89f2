"""What the tracking store holds of a sweep, read back: summary, report, comparison, networks (floor 4)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnexp import _atomic
from nnexp.analysis import compare as comparison
from nnexp.analysis.outcomes import COLUMNS, Population, collect
from nnexp.analysis.report import Report, build_report, settings_of
from nnexp.analysis.summary import Summary, summarize_records
from nnexp.errors import NotFoundError, UsageError
from nnexp.recovery import gates, networks_table
from nnexp.search import sweep_file
from nnexp.stores import Stores
from nnexp.tracking.schema import RunRecord
from nnexp.tracking.store import Tracking

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

#: The parent's artifact that keeps what the study says of the factors.
IMPORTANCE = "importance.json"
CURVES = ("loss_median", "loss_p10", "loss_p90", "solved_rate")


class SweepResults:
    """One sweep's runs, read once.

    Raises:
        NotFoundError: no such sweep.
    """

    def __init__(self, tracking: Tracking, name: str) -> None:
        self.tracking, self.name = tracking, name
        self.sweep = sweep_file.parse(tracking.sweep_text(name), f"sweep {name!r}")
        self.records = tracking.runs(name)
        self._runs = {record.trial: record.run_id for record in self.records}

    def networks_of(self, trial: int) -> pa.Table:
        """A trial's networks' table.

        Raises:
            NotFoundError: it has none.
        """
        return self.tracking.networks(self._runs[trial])

    def curves_of(self, trial: int) -> dict[str, list[tuple[int, float]]]:
        """A trial's curves that the report draws."""
        return {key: self.tracking.curve(self._runs[trial], key) for key in CURVES}

    def population(self) -> Population:
        """What every finished trial's networks add to the metrics."""
        return collect(self.records, lambda trial: self.tracking.networks(self._runs[trial], COLUMNS))

    def summary(self, population: Population | None = None) -> Summary:
        """The summary; with the networks' ``population`` the best is tested against each of the rest.

        Raises:
            NotFoundError: it has no runs.
        """
        return summarize_records(
            self.name,
            self.records,
            outcomes=population.outcomes if population else None,
            importance=self._importance(),
            objective=self.sweep.objective,
            directions=self.sweep.directions,
            sampler=self.sweep.sampler,
            planned=self.sweep.trials,
            missing=population.missing if population else (),
        )

    def report(self, population: Population | None = None) -> Report:
        """The report; ``population`` saves reading every network's table once more."""
        population = population or self.population()
        return build_report(
            self.summary(population),
            self.records,
            self.networks_of,
            curves_of=self.curves_of,
            population=population,
            pictures=True,
        )

    def _importance(self) -> Mapping[str, Mapping[str, float]]:
        """What the study said when the sweep was concluded; nothing before."""
        try:
            found: dict[str, dict[str, float]] = json.loads(
                self.tracking.text(self.tracking.sweep(self.name).run_id, IMPORTANCE)
            )
        except (NotFoundError, ValueError):  # not there yet, or torn; `doctor` finds and mends the latter
            return {}
        return found


def summary(name: str, stores: Stores) -> Summary:
    """The summary of a sweep, finished or not.

    Raises:
        NotFoundError: no such sweep, or it has no runs.
    """
    return SweepResults(Tracking(stores.tracking_uri), name).summary()


def report(name: str, stores: Stores, output: Path, *, log: bool = True) -> list[Path]:
    """Writes the report as one HTML file, its Markdown twin and the twin's pictures beside it; gives both paths.

    Args:
        name: the sweep.
        stores: where its runs are.
        output: the HTML file.
        log: whether to give it to the sweep's parent run too.

    Raises:
        NotFoundError: no such sweep, or it has no runs.
    """
    tracking = Tracking(stores.tracking_uri)
    made = SweepResults(tracking, name).report()
    written = made.write(output)
    if log:
        log_report(tracking, tracking.sweep(name).run_id, made)
    return written


def log_report(tracking: Tracking, run_id: str, made: Report) -> None:
    """Gives a report to the parent run."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="nnexp-") as directory:
        made.write(Path(directory) / "report.html")
        tracking.log_files(run_id, Path(directory))


@dataclass(frozen=True)
class Comparison:
    """Two sweeps or runs side by side.

    Attributes:
        answer: in plain words; empty for runs, whose table says it.
        tables: title and table: the overview first, then setting by setting where both sweeps tried the same.
    """

    answer: tuple[str, ...]
    tables: tuple[tuple[str, pd.DataFrame], ...]

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        return {"answer": self.answer, **{title: table.to_dict(orient="records") for title, table in self.tables}}


def compare(first: str, second: str, stores: Stores) -> Comparison:
    """Two sweeps or two runs (``NAME#12`` or a run's id) side by side.

    Raises:
        UsageError: one of each. NotFoundError: there is none of that name.
    """
    tracking = Tracking(stores.tracking_uri)
    runs = [_run_of(tracking, name) for name in (first, second)]
    if all(run is not None for run in runs):
        left, right = (tracking.networks(run.run_id).to_pandas() for run in runs if run is not None)
        return Comparison((), ((f"{first} against {second}", comparison.compare_runs(left, right)),))
    if any(run is not None for run in runs):
        raise UsageError(f"compare {first} {second}: expected two sweeps or two runs, not one of each")
    one, other = (SweepResults(tracking, name) for name in (first, second))
    left_networks, right_networks = one.population(), other.population()
    found = comparison.compare_sweeps(
        one.summary(left_networks),
        other.summary(right_networks),
        left_outcomes=left_networks.outcomes,
        right_outcomes=right_networks.outcomes,
    )
    tables = [(f"{first} against {second}", found.overview)]
    if len(found.matched):
        tables.append(("The same settings", found.matched))
    return Comparison(found.answer, tuple(tables))


def _run_of(tracking: Tracking, name: str) -> RunRecord | None:
    if "#" not in name and tracking.find_sweep(name) is not None:
        return None
    return tracking.run(name)


def explain(run: str, stores: Stores, network: int | None = None) -> dict[str, Any]:
    """How a run's network solves its task: the one with that index, or its best.

    Raises:
        NotFoundError: no such run or network, or the run has no networks.
    """
    tracking = Tracking(stores.tracking_uri)
    record = tracking.run(run)
    settings = settings_of(record)
    table = tracking.networks(record.run_id)
    rows = table.column("index").to_pylist()
    if network is None:
        network = int(json.loads(tracking.text(record.run_id, networks_table.BEST_NETWORK))["index"])
    if network not in rows:
        raise NotFoundError(f"run {run} has no network {network}; it has {min(rows)} to {max(rows)}")
    position = rows.index(network)
    parameters = networks_table.read_parameters(table.slice(position, 1))
    facts = gates.explain_network(
        parameters, settings.truth_table, activation=settings.activation, encoding=settings.encoding
    )
    return {"title": f"{record.name}, network {network}", "run": record.run_id, "network": network, **facts}


def export(name: str, stores: Stores, output: Path) -> Path:
    """Every network of a sweep as one table, Parquet or CSV by the ending of ``output``.

    Raises:
        UsageError: another ending. NotFoundError: no such sweep, or none of its runs has networks.
    """
    from nnexp.analysis.summary import networks

    if output.suffix not in (".parquet", ".csv"):
        raise UsageError(f"--output {output}: expected a name that ends in .parquet or .csv")
    table = networks(name, stores.tracking_uri)
    write = table.to_parquet if output.suffix == ".parquet" else table.to_csv
    _atomic.write_with(output, lambda temporary: write(temporary, index=False))
    return output
