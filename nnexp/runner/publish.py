"""A sweep's answer, written where a reviewer looks: the parent run's artifacts, description and end (floor 4)."""

from __future__ import annotations

import json
import tempfile
from concurrent.futures import Executor
from pathlib import Path

from nnexp.analysis import formats, results
from nnexp.runner import review
from nnexp.study import SweepStudy
from nnexp.tracking.schema import SweepRun
from nnexp.tracking.store import Tracking


def publish(study: SweepStudy, tracking: Tracking, run: SweepRun, pool: Executor) -> None:
    """Gives the parent run the summary, the report, the answer as its description, and its end; again replaces them.

    Args:
        study: the finished study.
        tracking: where its runs are.
        run: the parent run.
        pool: draws the best networks while the report is made here.

    Raises:
        StoreError: the tracking store cannot be written.
        BrokenExecutor: the pool ended.
    """
    tracking.log_text(run.run_id, json.dumps(study.importances(), indent=2), results.IMPORTANCE)
    read = results.SweepResults(tracking, study.name)
    outcomes = read.outcomes()
    summary = read.summary(outcomes)
    pictures = review.draw(tracking, summary, pool)
    with tempfile.TemporaryDirectory(prefix="nnexp-") as directory:
        files = Path(directory)
        for ending in ("txt", "md", "csv", "json", "parquet"):
            formats.write(summary, files / f"summary.{ending}")
        (files / results.REPORT).write_text(read.report(summary, outcomes), encoding="utf-8")
        standing = review.prepare(tracking, run, summary, read.records, pictures)
        tracking.finish_sweep(run.run_id, files, review.description(summary, standing, run))
