"""Publishing the results of a finished sweep in MLflow.

The parent run gets the tables of the summary, the report, and the best network as a registered model. The answer
becomes the description of the parent run and of the experiment. The ten best runs get a tag and a figure.
"""

from __future__ import annotations

import json
import tempfile
from concurrent.futures import Executor, Future
from pathlib import Path

from nnexp.analysis import formats, results
from nnexp.analysis.figures import network as network_figure
from nnexp.analysis.results import SweepResults
from nnexp.analysis.summary import Summary
from nnexp.errors import NotFoundError
from nnexp.recovery import alignment
from nnexp.study import SweepStudy
from nnexp.tracking import registry, saved_view
from nnexp.tracking.schema import REPORT, SweepRun
from nnexp.tracking.store import Tracking

#: The tag of the best runs, and their number.
BEST, BEST_RUNS = "best", 10
FIGURE = "best_network.png"


def publish(study: SweepStudy, tracking: Tracking, run: SweepRun, found: SweepResults, executor: Executor) -> Summary:
    """Write the summary, the report, the description and the end of the parent run, and return the summary.

    A second call replaces them.

    Args:
        study: the finished study.
        tracking: where its runs are.
        run: the parent run.
        found: its trials' runs, with the play-off.
        executor: draws the figures of the best networks while this process makes the report.

    Raises:
        StoreError: the tracking store cannot be written.
        BrokenExecutor: the executor's processes ended.
    """
    found.importance = study.importances()
    tracking.log_text(run.run_id, json.dumps(found.importance, indent=2), results.IMPORTANCE)
    outcomes = found.outcomes()
    summary = found.summary(outcomes)
    figures = _draw(tracking, summary, executor)
    with tempfile.TemporaryDirectory(prefix="nnexp-") as directory:
        files = Path(directory)
        for ending in ("txt", "md", "csv", "json", "parquet"):
            formats.write(summary, files / f"summary.{ending}")
        (files / REPORT).write_text(found.report(summary, outcomes), encoding="utf-8")
        _mark_best(tracking, found, summary, figures)
        registration = _register(tracking, run, summary)
        tracking.finish_sweep(run, files, _description(summary, registration, run))
    return summary


def _best_runs(summary: Summary) -> list[str]:
    """The ids of the best runs, the best first."""
    return list(summary.ranked["run_id"].head(BEST_RUNS)) if len(summary.ranked) else []


def _draw(tracking: Tracking, summary: Summary, executor: Executor) -> dict[str, Future[bytes]]:
    """Start to draw the best network of each of the best runs beside the hand-designed one.

    Returns:
        Run -> the future content of a PNG file; without the runs whose best network is lost or has diverged.
    """
    figures = {}
    for rank, run_id in enumerate(_best_runs(summary), 1):
        network = _best_network(tracking, run_id, f"{summary.name}, {rank}. of {len(summary.ranked)}")
        if network is not None:
            figures[run_id] = executor.submit(network_figure.best_network_png, network)
    return figures


def _best_network(tracking: Tracking, run_id: str, title: str) -> alignment.AlignedNetwork | None:
    """The run's best network beside the hand-designed one; None if it is lost or has diverged."""
    try:
        network = tracking.best_network(run_id)
    except NotFoundError:
        return None  # `nnexp doctor --repair` restores a lost artifact
    return alignment.align_best(network, title)


def _mark_best(tracking: Tracking, found: SweepResults, summary: Summary, figures: dict[str, Future[bytes]]) -> None:
    """Tag the best runs with their rank and give them their figures; remove the tag from all others."""
    best = _best_runs(summary)
    for each in found.records:
        if BEST in each.tags and each.run_id not in best:
            tracking.delete_tag(each.run_id, BEST)
    for rank, run_id in enumerate(best, 1):
        tracking.set_tags(run_id, {BEST: f"{rank:02d}"})  # two digits, so that the column sorts
        if run_id in figures:
            with tempfile.TemporaryDirectory(prefix="nnexp-") as directory:
                (Path(directory) / FIGURE).write_bytes(figures[run_id].result())
                tracking.log_files(run_id, Path(directory))


def _register(tracking: Tracking, run: SweepRun, summary: Summary) -> registry.Registration | None:
    """Register the best network as a model; None if no network solved the task, or its setting is not re-tested."""
    best = summary.best
    if best is None or best.retest is None or not (summary.ranked["solved_rate"] > 0).any():
        return None
    network = tracking.best_network(best.run_id)
    retest = best.retest
    return registry.register(
        tracking,
        run,
        registry.Candidate(summary.task, best.trial, best.run_id, network, retest.successes, retest.networks),
    )


def _description(summary: Summary, registration: registry.Registration | None, run: SweepRun) -> str:
    """The description of the parent run: the answer in words, and where to find more."""
    best_first, charts = (saved_view.page(run.experiment_id, view) for view in (saved_view.RANKING, saved_view.CHARTS))
    first, *others = summary.answer
    lines = [f"[The report]({saved_view.run_page(run, REPORT)}), with figures and every table. {first}", *others, ""]
    lines.append(f"- the settings, [best first]({best_first}) and [as charts]({charts})")
    lines.append("- the ten best runs have the tag `best` and a figure of their best network")
    if registration is not None:
        lines.append(f"- {registration.line}")
    return "\n".join(lines)
