"""How long `nnexp summarize` and `nnexp status` take on a sweep of 10,000 runs.

    python experiments/benchmarks/scale_runs.py [--runs 10000] [--delivered 500] [--keep DIRECTORY]

The study's trials are all claimed and finished by a worker, as in a sweep, without training. Of the runs the first
``--delivered`` are delivered by `Tracking.deliver`, with the rows of a real trial (its params and tags, 6 curves at the
recorded epochs, 11 final metrics; no artifacts, which neither command reads). The rest are these runs' rows copied
within the database, each with its own id, trial, learning rate and last values: to deliver 10,000 takes ten minutes and
makes the same tables. Both commands are then started as a user does, three times each; the slowest counts. Writes
results/scale_runs.md and results/scale_runs.json beside this file.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

from nnexp.network.settings import Settings
from nnexp.recovery import intervals
from nnexp.search import sweep_file
from nnexp.study import SweepStudy, Worker, open_storage
from nnexp.tracking import provenance
from nnexp.tracking.child_run import deliver
from nnexp.tracking.schema import TrialRun
from nnexp.tracking.spool import Spool
from nnexp.tracking.store import Tracking
from nnexp.tracking.trial_run import run_name
from nnexp.training import trainer

HERE = Path(__file__).parent
NAME = "scale"
NETWORKS = 256
EPOCHS = 5000
CURVES = ("loss", "loss_median", "loss_p10", "loss_p90", "xnor_accuracy", "solved_rate")
POINTS = trainer.recorded_epochs(EPOCHS).tolist()
AIMS = {"summarize": 30.0, "status": 3.0}


def file(trials: int) -> str:
    """The sweep, random over four keys."""
    return (
        f'name = "{NAME}"\nsampler = "random"\ntrials = {trials}\nbatch = 8\nseeds = {NETWORKS}\nepochs = {EPOCHS}\n'
        "[space]\nhidden_size = { low = 2, high = 8 }\nlearning_rate = { low = 0.001, high = 10.0, log = true }\n"
        'init = ["glorot_uniform", "he_normal", "normal", "orthogonal"]\n'
        "init_scale = { low = 0.01, high = 5.0, log = true }\n"
    )


def finals(trial: int) -> dict[str, float]:
    """A trial's last values, plausible and different from the others'."""
    recovered, solved = trial * 7919 % NETWORKS // 3, trial * 104729 % NETWORKS
    low, high = (float(end) for end in intervals.wilson(recovered, NETWORKS))
    return {
        "recovery_rate": recovered / NETWORKS,
        "recovery_rate_low": low,
        "recovery_rate_high": high,
        "contains_rate": recovered / NETWORKS,
        "correct_rate": solved / NETWORKS,
        "confident_rate": solved / NETWORKS,
        "mirror_rate": 0.1,
        "diverged_rate": 0.0,
        "reference_distance_median": 0.5,
        "epochs_to_solve_median": 900.0,
        "train_seconds": 1.5,
    }


def trial_run(trial: int, settings: Settings) -> TrialRun:
    """A trial's rows, as many as a real one has."""
    curves = [(key, step, 0.7 / (step + 1)) for key in CURVES for step in POINTS]
    return TrialRun(
        sweep=NAME,
        trial=trial,
        state="COMPLETE",
        params={"trial": str(trial), **{key: str(value) for key, value in settings.model_dump().items()}},
        tags={**provenance.tags(), "nnexp.objective": "recovery_rate"},
        name=run_name(trial, settings),
        note="x% of 256 networks recover the hand-designed logic",
        started_ms=10**12 + trial,
        ended_ms=10**12 + 5000 + trial,
        metrics=(*curves, *((key, POINTS[-1], value) for key, value in finals(trial).items())),
    )


def fill(directory: Path, runs: int, delivered: int) -> None:
    """Make both stores."""
    tracking = Tracking(f"sqlite:///{directory}/mlflow.db")
    plan = sweep_file.parse(file(runs))
    sweep = tracking.ensure_sweep(NAME, text=plan.text, note="")
    spool = Spool(directory / "spool")
    rates: dict[int, float] = {}
    with open_storage(str(directory / "nnexp.journal")) as store:
        study = SweepStudy.create(store, plan)
        worker = Worker.join(study)
        while len(rates) < runs:
            for claim in worker.claim(plan.batch):
                metrics, settings = finals(claim.number), plan.settings(claim.params)
                worker.finish(claim, "COMPLETE", [metrics["recovery_rate"]], {**metrics, "solved_rate": 0.5})
                rates[claim.number] = float(settings.learning_rate)
                if claim.number < delivered:
                    entry = spool.write(trial_run(claim.number, settings), {})
                    deliver(tracking, sweep, entry, fresh=True)
                    entry.remove()
        worker.leave()
    copy(directory / "mlflow.db", rates, delivered)


def copy(database: Path, rates: dict[int, float], delivered: int) -> None:
    """The runs from ``delivered`` on, each a copy of an earlier one's rows."""
    with contextlib.closing(sqlite3.connect(database)) as opened, opened:
        query = "SELECT value, run_uuid FROM tags WHERE key = 'nnexp.trial'"
        known = {int(trial): run for trial, run in opened.execute(query)}
        columns = {
            table: [row[1] for row in opened.execute(f"PRAGMA table_info({table})")]
            for table in ("runs", "params", "tags", "metrics", "latest_metrics")
        }
        for trial in range(delivered, len(rates)):
            run = uuid.uuid4().hex
            for table, names in columns.items():
                listed = ", ".join(names)
                taken = ", ".join("?" if name == "run_uuid" else name for name in names)
                opened.execute(
                    f"INSERT INTO {table} ({listed}) SELECT {taken} FROM {table} WHERE run_uuid = ?",  # noqa: S608
                    (run, known[trial % delivered]),
                )
            opened.execute("UPDATE tags SET value = ? WHERE run_uuid = ? AND key = 'nnexp.trial'", (str(trial), run))
            for key, value in (("trial", str(trial)), ("learning_rate", str(rates[trial]))):
                opened.execute("UPDATE params SET value = ? WHERE run_uuid = ? AND key = ?", (value, run, key))
            for key, value in finals(trial).items():
                opened.execute("UPDATE latest_metrics SET value = ? WHERE run_uuid = ? AND key = ?", (value, run, key))


def seconds(directory: Path, command: str, times: int = 3) -> list[float]:
    """Wall times of a command, from its start to its end."""
    found = []
    for _ in range(times):
        began = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "nnexp", command, NAME, "--json"], cwd=directory, capture_output=True, check=True
        )
        found.append(time.perf_counter() - began)
        assert json.loads(done.stdout)  # noqa: S101  it did say something
    return found


@contextlib.contextmanager
def place(keep: Path | None) -> Iterator[Path]:
    """The directory of the stores."""
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        yield keep
        return
    with tempfile.TemporaryDirectory() as directory:
        yield Path(directory)


def main() -> None:
    """Measures and writes the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--delivered", type=int, default=500)
    parser.add_argument("--keep", type=Path, help="make the stores here, or measure those that are here")
    options = parser.parse_args()
    with place(options.keep) as directory:
        if not (directory / "mlflow.db").exists():
            fill(directory, options.runs, min(options.delivered, options.runs))
        megabytes = (directory / "mlflow.db").stat().st_size / 1e6
        rows = [
            {"command": f"nnexp {command}", "seconds, slowest of 3": round(max(found), 2), "aim": aim}
            for command, aim in AIMS.items()
            if (found := seconds(directory, command))
        ]
    facts = {
        "runs": options.runs,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        "database_mb": round(megabytes),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024),
        "rows": rows,
    }
    results = HERE / "results"
    results.mkdir(exist_ok=True)
    (results / "scale_runs.json").write_text(json.dumps(facts, indent=2) + "\n")
    text = f"# A store of {options.runs:,} runs\n\n| " + " | ".join(rows[0]) + " |\n|" + "---|" * len(rows[0]) + "\n"
    text += "".join("| " + " | ".join(str(value) for value in row.values()) + " |\n" for row in rows)
    text += (
        f"\nAn SQLite file of {facts['database_mb']} MB; at most {facts['peak_mb']} MB of memory; {facts['machine']}.\n"
    )
    (results / "scale_runs.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
