"""Tracked trainings a second, whole command: `nnexp sweep` beside what a user would write instead, in alternation.

    python experiments/benchmarks/sweep.py [--repeats 3]

Needs the extra: pip install '.[bench]'. All run the same space and epochs, each with the embedded stores
that it would use: `nnexp` keeps its study in a journal, the loops (`tracked_loop.py`) in SQLite, and all have MLflow's
SQLite. `nnexp` trains on every core, and once more on one, as the loops do. The loops train fewer networks, since they
are slow: what is compared is networks a second, start-up included, and beside it the cost of one more network, from two
sizes of each. Writes results/sweep.md and results/sweep.json beside this file.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
EPOCHS = 500
FILE = """\
name = "sweep"
trials = 4
seeds = 8
epochs = 500
sampler = "random"
batch = 64
[space]
hidden_size = { low = 2, high = 8 }
learning_rate = { low = 0.1, high = 10.0, log = true }
"""
#: Trials and seeds of each program's small and large run.
SIZES = {
    "nnexp sweep": ((4, 8), (64, 1000)),
    "nnexp sweep --jobs 1": ((4, 8), (64, 1000)),
    "Optuna + NumPy loop + MLflow": ((4, 8), (16, 16)),
    "Optuna + PyTorch + MLflow": ((4, 8), (16, 16)),
}


def command(name: str, trials: int, seeds: int) -> list[str]:
    """The program's command line."""
    if name.startswith("nnexp"):
        (Path.cwd() / "sweep.toml").write_text(FILE)
        sizes = ["--set", f"trials={trials}", "--set", f"seeds={seeds}"]
        return [sys.executable, "-m", *name.split(), "sweep.toml", *sizes]
    trainer = "torch" if "PyTorch" in name else "numpy"
    sizes = ["--trials", str(trials), "--seeds", str(seeds), "--epochs", str(EPOCHS)]
    return [sys.executable, str(HERE / "tracked_loop.py"), trainer, *sizes]


def seconds(name: str, trials: int, seeds: int) -> float:
    """One run of the whole command in an empty directory."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as directory:
        os.chdir(directory)
        try:
            began = time.perf_counter()
            subprocess.run(
                command(name, trials, seeds),
                check=True,
                capture_output=True,
                env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"},
            )
            return time.perf_counter() - began
        finally:
            os.chdir(before)


def main() -> None:
    """Measures, in alternation, and writes the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=3)
    repeats = parser.parse_args().repeats
    times: dict[tuple[str, int], list[float]] = {}
    for _ in range(repeats):
        for name, sizes in SIZES.items():
            for i, (trials, seeds) in enumerate(sizes):
                times.setdefault((name, i), []).append(seconds(name, trials, seeds))
    rows = []
    for name, sizes in SIZES.items():
        small, large = (statistics.median(times[name, i]) for i in (0, 1))
        networks = [trials * seeds for trials, seeds in sizes]
        rows.append(
            {
                "program": name,
                "networks": networks[1],
                "seconds": round(large, 2),
                "networks a second": round(networks[1] / large, 1),
                "ms for one more network": round(1000 * (large - small) / (networks[1] - networks[0]), 3),
            }
        )
    facts = {
        "command": "python experiments/benchmarks/sweep.py",
        "epochs": EPOCHS,
        "repeats": repeats,
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "versions": {p: importlib.metadata.version(p) for p in ("nnexp", "numpy", "torch", "optuna", "mlflow")},
    }
    results = HERE / "results"
    results.mkdir(exist_ok=True)
    (results / "sweep.json").write_text(json.dumps({**facts, "rows": rows}, indent=2) + "\n")
    head = "| " + " | ".join(rows[0]) + " |\n|" + "---|" * len(rows[0]) + "\n"
    body = "".join("| " + " | ".join(str(value) for value in row.values()) + " |\n" for row in rows)
    notes = ", ".join(f"{key} {value}" for key, value in facts["versions"].items())  # type: ignore[attr-defined]
    text = f"# Tracked trainings a second, {EPOCHS} epochs each\n\n{head}{body}\n"
    text += f"Medians of {repeats}; {facts['machine']}; {notes}.\n"
    (results / "sweep.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
