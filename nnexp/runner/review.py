"""What a person who reviews a finished sweep in MLflow's UI looks for (floor 4).

The answer as the description of experiment and parent run, the ten best runs marked and pictured, the best network as
a model under the registry's alias.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, Future
from pathlib import Path

from nnexp.analysis.figures import network as figures_network
from nnexp.analysis.summary import Summary
from nnexp.errors import NotFoundError
from nnexp.recovery import alignment, networks_table
from nnexp.tracking import registry
from nnexp.tracking.schema import RunRecord, SweepRun
from nnexp.tracking.store import Tracking

BEST = "best"
PICTURE = "best_network.png"
PICTURED = 10


def draw(tracking: Tracking, summary: Summary, pool: Executor) -> dict[str, Future[bytes]]:
    """Begin to draw the best networks of the ten best runs beside the hand-designed one, in the pool.

    Returns:
        By run what becomes a PNG file's content; a run whose best network is lost or has diverged has none.
    """
    pictures = {}
    for rank, run_id in enumerate(_top(summary), 1):
        drawn = _best_network(tracking, run_id, f"{summary.name}, {rank}. of {len(summary.ranked)}")
        if drawn is not None:
            pictures[run_id] = pool.submit(figures_network.best_network_png, drawn)
    return pictures


def prepare(
    tracking: Tracking,
    run: SweepRun,
    summary: Summary,
    records: Sequence[RunRecord],
    pictures: Mapping[str, Future[bytes]],
) -> registry.Standing | None:
    """Mark and picture the ten best runs, and register the best network; again: nothing is doubled.

    Args:
        tracking: the store.
        run: the sweep's parent.
        summary: its summary, the best re-tested or not.
        records: its runs.
        pictures: what `draw` gave.

    Returns:
        What became of the best network in the registry; None while it is not re-tested.

    Raises:
        StoreError: the store cannot be written.
        BrokenExecutor: the pool ended before the pictures were drawn.
    """
    top = _top(summary)
    for record in records:
        if BEST in record.tags and record.run_id not in top:
            tracking.delete_tag(record.run_id, BEST)
    for rank, run_id in enumerate(top, 1):
        tracking.set_tags(run_id, {BEST: f"{rank:02d}"})  # so written, the column sorts
        if run_id in pictures:
            _log_picture(tracking, run_id, pictures[run_id].result())
    best = summary.best
    if best is None or best.retest is None:
        return None
    network = json.loads(tracking.text(best.run_id, networks_table.BEST_NETWORK))
    retest = best.retest
    return registry.crown(
        tracking,
        run,
        registry.Candidate(summary.task, best.trial, best.run_id, network, retest.successes, retest.networks),
    )


def _top(summary: Summary) -> list[str]:
    """The ten best runs."""
    return list(summary.ranked["run_id"].head(PICTURED)) if len(summary.ranked) else []


def _best_network(tracking: Tracking, run_id: str, title: str) -> alignment.AlignedNetwork | None:
    """The run's best network beside the hand-designed one."""
    try:
        network = json.loads(tracking.text(run_id, networks_table.BEST_NETWORK))
    except (NotFoundError, ValueError):
        return None  # `doctor` makes a lost artifact again
    return alignment.align_best(network, title)


def _log_picture(tracking: Tracking, run_id: str, content: bytes) -> None:
    with tempfile.TemporaryDirectory(prefix="nnexp-") as directory:
        (Path(directory) / PICTURE).write_bytes(content)
        tracking.log_files(run_id, Path(directory))


def description(summary: Summary, standing: registry.Standing | None, run: SweepRun) -> str:
    """The parent's description: the answer in words, and where to look on."""
    here = f"#/experiments/{run.experiment_id}/runs/{run.run_id}"
    lines = [*summary.answer, ""]
    lines.append(f"- [the report]({here}/artifacts/report.html), with pictures and every table")
    lines.append("- the settings, best first: *Views* above the table of runs")
    lines.append("- the ten best runs carry the tag `best` and a picture of their best network")
    if standing is not None:
        lines.append(f"- {standing.line}")
    return "\n".join(lines)
