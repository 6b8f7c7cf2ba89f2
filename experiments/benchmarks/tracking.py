"""What one tracked run costs, beside the bare client, logging metric by metric, and Optuna's own MLflow callback.

    python experiments/benchmarks/tracking.py --runs 30

All ways write the same rows (those of a trial of 5,000 epochs: 15 params, 15 tags, 6 curves, 11 final metrics) into one
embedded store, in turns, so that a busy machine slows all alike. The medians are shown in milliseconds, once without
and once with the two artifacts of a trial. Last comes a real sweep: the share of its time in which training waited for
the store.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

from nnexp.runner import sweeps
from nnexp.search import sweep_file
from nnexp.stores import Stores
from nnexp.tracking.child_run import deliver
from nnexp.tracking.delivery import Delivery
from nnexp.tracking.schema import STATUS, SweepRun, TrialRun
from nnexp.tracking.spool import Entry, Spool
from nnexp.tracking.store import Tracking
from nnexp.training import trainer

# isort: split
import mlflow
from mlflow.entities import Metric, Param

HAS_CALLBACK = importlib.util.find_spec("optuna_integration") is not None
CURVES = ("loss", "loss_median", "loss_p10", "loss_p90", "xnor_accuracy", "solved_rate")
FINALS = 11
POINTS = trainer.recorded_epochs(5000).tolist()
SWEEP = """
name = "waiting"
task = "xnor"
trials = 64
seeds = 256
epochs = 2000
sampler = "random"
[space]
hidden_size = { low = 2, high = 8 }
learning_rate = { low = 1e-2, high = 10.0, log = true }
"""


def trial_run(trial: int) -> TrialRun:
    """A trial's rows, as many as a real one has."""
    curves = tuple((key, step, 0.7 / (step + 1)) for key in CURVES for step in POINTS)
    return TrialRun(
        sweep="benchmark",
        trial=trial,
        state="COMPLETE",
        params={"trial": str(trial), **{f"setting_{i}": str(i / 7) for i in range(14)}},
        tags={f"nnexp.tag_{i}": "v" * 20 for i in range(8)},
        name=f"#{trial} h=4 lr=0.5 glorot_uniform×1",
        note="**31.0%** recover the hand-designed logic",
        started_ms=10**12 + trial,
        ended_ms=10**12 + 5000 + trial,
        metrics=(*curves, *((f"final_{i}", 5000, i / 10) for i in range(FINALS))),
    )


def bare(tracking: Tracking, sweep: SweepRun, entry: Entry) -> None:
    """The fewest calls of the public client that write these rows: create_run, log_batch, set_terminated."""
    told, client = entry.read(), tracking.client
    own = {"nnexp.sweep": told.sweep, "nnexp.trial": str(told.trial), "nnexp.role": "trial"}
    own |= {"mlflow.parentRunId": sweep.run_id, "mlflow.note.content": told.note}
    own |= {"mlflow.user": "u", "mlflow.source.name": "nnexp", "mlflow.source.type": "LOCAL"}
    run = client.create_run(
        sweep.experiment_id, start_time=told.started_ms, run_name=told.name, tags=dict(told.tags) | own
    )
    metrics = [Metric(key, value, told.ended_ms, step) for key, step, value in told.metrics]
    client.log_batch(run.info.run_id, metrics, [Param(key, value) for key, value in told.params.items()])
    if any(entry.files.iterdir()):
        client.log_artifacts(run.info.run_id, str(entry.files))
    client.set_terminated(run.info.run_id, STATUS[told.state], told.ended_ms)


def ours(tracking: Tracking, sweep: SweepRun, entry: Entry) -> None:
    """What nnexp's writer does."""
    deliver(tracking, sweep, entry, fresh=True)


def one_by_one(tracking: Tracking, sweep: SweepRun, entry: Entry) -> None:
    """A call for each metric and param, as scripts often do."""
    told, client = entry.read(), tracking.client
    run = client.create_run(sweep.experiment_id, run_name=told.name, tags=dict(told.tags))
    for key, value in told.params.items():
        client.log_param(run.info.run_id, key, value)
    for key, step, number in told.metrics:
        client.log_metric(run.info.run_id, key, number, told.ended_ms, step)
    if any(entry.files.iterdir()):
        client.log_artifacts(run.info.run_id, str(entry.files))
    client.set_terminated(run.info.run_id)


def callback(uri: str) -> Callable[[Tracking, SweepRun, Entry], None]:
    """Optuna's MLflowCallback, given the same content: the objective logs the curves step by step inside its run."""
    import optuna
    from optuna_integration import MLflowCallback

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.simplefilter("ignore", FutureWarning)  # it is deprecated, and experimental
    made = MLflowCallback(tracking_uri=uri, metric_name="recovery_rate", mlflow_kwargs={"nested": True})
    study = optuna.create_study(study_name="callback")

    def run(_tracking: Tracking, _sweep: SweepRun, entry: Entry) -> None:
        told = entry.read()

        @made.track_in_mlflow()  # type: ignore[untyped-decorator]
        def objective(_trial: Any) -> float:
            mlflow.log_params(dict(told.params))
            mlflow.set_tags(dict(told.tags))
            for step in sorted({step for _, step, _ in told.metrics}):
                mlflow.log_metrics({key: value for key, at, value in told.metrics if at == step}, step=step)
            if any(entry.files.iterdir()):
                mlflow.log_artifacts(str(entry.files))
            return 0.31

        study.optimize(objective, n_trials=1, callbacks=[made])

    return run


def measure(runs: int, artifacts: bool) -> dict[str, float]:
    """The median milliseconds of each way, taken in turns."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        tracking = Tracking(f"sqlite:///{folder}/mlflow.db")  # a store is kept open by its address
        sweep = tracking.ensure_sweep("benchmark", text="", note="")
        ways: dict[str, Callable[[Tracking, SweepRun, Entry], None]] = {
            "bare client": bare,
            "nnexp": ours,
            "metric by metric": one_by_one,
        }
        if HAS_CALLBACK:
            ways["Optuna's MLflowCallback"] = callback(tracking.uri)
        files: dict[str, Callable[[Path], None]] = {}
        if artifacts:
            files["networks.parquet"] = lambda path: path.write_bytes(os.urandom(60_000)) and None
            files["best_network.json"] = lambda path: path.write_text("{}" * 500) and None
        times: dict[str, list[float]] = {name: [] for name in ways}
        spool = Spool(Path("spool"))
        for turn in range(runs + 1):
            for name, way in ways.items():
                if turn > max(3, runs // 5) and way not in (bare, ours):
                    continue  # the slow ways need fewer turns
                entry = spool.write(trial_run(turn), files)
                before = time.perf_counter()
                way(tracking, sweep, entry)
                times[name].append(1000 * (time.perf_counter() - before))
        return {name: statistics.median(values[1:]) for name, values in times.items()}


def waiting() -> dict[str, float]:
    """A real sweep's wall time, and the seconds of it that training waited for the tracking store."""
    kept: list[Delivery] = []

    class Kept(Delivery):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            kept.append(self)

    sweeps.Delivery = Kept  # type: ignore[misc]
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        before = time.perf_counter()
        sweeps.sweep(sweep_file.parse(SWEEP, "benchmark"), stores=Stores(f"sqlite:///{folder}/mlflow.db"))
        seconds = time.perf_counter() - before
    waited = sum(writer.waited for writer in kept)
    return {"sweep_seconds": seconds, "waited_seconds": waited, "waited_share": waited / seconds}


def main() -> None:
    """Measures and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=30, help="runs for each way")
    options = parser.parse_args()
    tables = {"alone": measure(options.runs, False), "with its two artifacts": measure(options.runs, True)}
    sweep = waiting()
    versions = {name: importlib.metadata.version(name) for name in ("mlflow", "optuna", "sqlalchemy")}
    facts = {
        "command": f"python experiments/benchmarks/tracking.py --runs {options.runs}",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        **versions,
        "milliseconds": tables,
        "sweep": sweep,
    }
    results = Path(__file__).parent / "results"
    (results / "tracking.json").write_text(json.dumps(facts, indent=2) + "\n")
    text = f"# One tracked run on an embedded store\n\n| median milliseconds | {' | '.join(tables)} |\n|---|---|---|\n"
    for name in tables["alone"]:
        text += f"| {name} | " + " | ".join(f"{table[name]:,.1f}" for table in tables.values()) + " |\n"
    ratios = [f"{table['nnexp'] / table['bare client']:.2f}" for table in tables.values()]
    text += f"| nnexp / bare client (aim: at most 1.25) | {' | '.join(ratios)} |\n\n"
    text += (
        f"A sweep of 64 settings, 256 networks and 2,000 epochs took {sweep['sweep_seconds']:.0f} s, of which training "
        f"waited for the store {sweep['waited_seconds']:.1f} s ({sweep['waited_share']:.1%}).\n\n"
        f"`{facts['command']}`; {facts['machine']}; Python {facts['python']}, "
        f"{', '.join(' '.join(pair) for pair in versions.items())}.\n"
    )
    (results / "tracking.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
