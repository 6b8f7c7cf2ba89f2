"""A sweep's answer where a reviewer looks: its parent run, its ten best runs, and the champion model (floor 4)."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from nnexp import artifacts, rendering, results
from nnexp.champion import Candidate, crown
from nnexp.errors import NotFoundError
from nnexp.figures_network import best_network_png
from nnexp.portrait import best_portrait
from nnexp.report import settings_of
from nnexp.study import SweepStudy
from nnexp.summary import Summary
from nnexp.tracking import Tracking
from nnexp.tracking_records import SweepRun

#: Runs that get a picture of their best network.
DRAWN = 10
PICTURE = "best_network.png"


def publish(study: SweepStudy, tracking: Tracking, run: SweepRun) -> None:
    """Gives the parent run the summary, the report, the answer as its description, and its end; again replaces them.

    Raises:
        StoreError: the tracking store cannot be written.
    """
    tracking.log_text(run.run_id, json.dumps(study.importances(), indent=2), results.IMPORTANCE)
    read = results.SweepResults(tracking, study.name)
    population = read.population()
    summary = read.summary(population)
    _draw_best(tracking, read, summary)
    lines = list(summary.answer)
    if (standing := _crown(tracking, run, read, summary)) is not None:
        lines.append(standing)
    if summary.best is not None:
        tracking.set_tags(summary.best.run_id, {"nnexp.best": "true"})
    with tempfile.TemporaryDirectory(prefix="nnexp-") as directory:
        files = Path(directory)
        for ending in ("txt", "md", "csv", "json", "parquet"):
            rendering.write(summary, files / f"summary.{ending}")
        read.report(population).write(files)
        note = "\n\n".join([*lines, "The report is among this run's artifacts: `report.html`."])
        tracking.finish_sweep(run.run_id, files, note)


def _draw_best(tracking: Tracking, read: results.SweepResults, summary: Summary) -> None:
    """Draws the best network of each of the sweep's ten best runs, beside the hand-designed one."""
    records = {record.trial: record for record in read.records}
    for trial in summary.ranked["trial"].head(DRAWN):
        try:
            portrait = best_portrait(read.networks_of(int(trial)), settings_of(records[trial]), int(trial))
        except NotFoundError:
            continue  # the report names the missing table
        if portrait is not None:
            with tempfile.TemporaryDirectory(prefix="nnexp-") as directory:
                (Path(directory) / PICTURE).write_bytes(best_network_png(portrait))
                tracking.log_files(records[trial].run_id, Path(directory))


def _crown(tracking: Tracking, run: SweepRun, read: results.SweepResults, summary: Summary) -> str | None:
    """Registers the winner's best network as a model, champion if its re-test is the best so far; says so."""
    best = summary.best
    if best is None or best.retest is None or best.retest.successes == 0:
        return None
    network = json.loads(tracking.text(best.run_id, artifacts.BEST_NETWORK))
    candidate = Candidate(
        read.sweep.task, best.trial, best.run_id, network, best.retest.successes, best.retest.networks
    )
    return crown(tracking, run, candidate).line
