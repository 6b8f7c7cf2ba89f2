"""Training as a sweep does it, graded, through the pool: networks a second by cores; time and memory by seeds a trial.

    python experiments/benchmarks/training.py [--repeats 5] [--cores 1 2] [--seeds 1 10 100 1000 10000 100000]

The settings are drawn as million.toml draws them. All numbers of cores train the same batch, in alternation; what is
measured is from the first task given to the last result received, in pools that are up. Each number of seeds is a trial
of its own process, on one core (Linux). Writes results/training.md and results/training.json beside this file.
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
import time
from pathlib import Path

import numpy as np

from nnexp.network.settings import Settings
from nnexp.runner import jobs as batches
from nnexp.runner import pool as execution
from nnexp.runner.jobs import Job

HERE = Path(__file__).parent
TRIALS, SEEDS, EPOCHS = 64, 1000, 5000


def batch() -> list[Job]:
    """A batch of the sweep experiments/million.toml, or one like it: the sampler's draws are not its own."""
    rng = np.random.default_rng(0)
    sizes, rates = rng.integers(2, 9, TRIALS), 10 ** rng.uniform(-1, 1, TRIALS)
    return [
        Job(
            trial,
            Settings(hidden_size=int(H), learning_rate=float(rate), epochs=EPOCHS, stop="confident", seeds=SEEDS),
            np.arange(SEEDS),
            EPOCHS,
        )
        for trial, (H, rate) in enumerate(zip(sizes, rates, strict=True))
    ]


def by_cores(cores: list[int], repeats: int) -> list[dict[str, float]]:
    """Seconds of the batch for each number of cores, and how many times the speed of the first that is."""
    jobs = batch()
    pools = {count: execution.open_pool(f"processes:{count}") for count in cores}
    for count, pool in pools.items():  # its processes start with their first task
        list(pool.map(time.sleep, [0.5] * 2 * count))
    times: dict[int, list[float]] = {count: [] for count in cores}
    for _ in range(repeats):
        for count, pool in pools.items():
            began = time.perf_counter()
            for future in batches.submit(pool, jobs, count):
                future.result()
            times[count].append(time.perf_counter() - began)
    for pool in pools.values():
        pool.shutdown()
    medians = {count: statistics.median(each) for count, each in times.items()}
    return [
        {
            "cores": count,
            "seconds": round(medians[count], 2),
            "low": round(min(times[count]), 2),
            "high": round(max(times[count]), 2),
            "networks_per_second": round(TRIALS * SEEDS / medians[count]),
            "speedup": round(medians[cores[0]] / medians[count], 2),
        }
        for count in cores
    ]


def one_trial(seeds: int) -> dict[str, float]:
    """A trial of 4 hidden units in this process: seconds, and the process's peak memory."""
    settings = Settings(hidden_size=4, learning_rate=1.0, epochs=EPOCHS, stop="confident", seeds=seeds)
    with execution.InlineExecutor() as pool:
        began = time.perf_counter()
        result, _, _ = batches.train(pool, settings, np.arange(seeds), 1)
        seconds = time.perf_counter() - began
    status = Path("/proc/self/status").read_text()  # ru_maxrss would be the parent's, where that is larger
    peak = int(status.partition("VmHWM:")[2].split()[0]) / 1024
    return {
        "seeds": seeds,
        "seconds": round(seconds, 3),
        "us_per_network": round(1e6 * seconds / seeds, 1),
        "ns_per_epoch": round(1e9 * seconds / int(result.epochs_trained.sum()), 1),
        "peak_mb": round(peak),
    }


def by_seeds(seeds: list[int]) -> list[dict[str, float]]:
    """`one_trial` for each number, in processes of their own, so that no peak hides another."""
    command = [sys.executable, __file__, "--one-trial"]
    runs = [subprocess.run([*command, str(count)], check=True, capture_output=True, text=True) for count in seeds]
    return [json.loads(run.stdout) for run in runs]


def main() -> None:
    """Measures, and writes the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--cores", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 10, 100, 1000, 10_000, 100_000])
    parser.add_argument("--note", default="", help="what the table says beside its figures")
    parser.add_argument("--one-trial", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one_trial:
        print(json.dumps(one_trial(options.one_trial)))
        return
    cores, seeds = by_cores(options.cores, options.repeats), by_seeds(options.seeds)
    versions = f"Python {platform.python_version()}, NumPy {importlib.metadata.version('numpy')}"
    machine = f"{platform.machine()}, {os.cpu_count()} cores, {versions}"
    lines = [
        "# Training by cores, and by seeds a trial",
        "",
        f"`python experiments/benchmarks/training.py`; {machine}.{' ' + options.note if options.note else ''}",
        "",
        f"{TRIALS} settings of {SEEDS:,} networks, 2 to 8 hidden units, up to {EPOCHS:,} epochs, `stop = confident`; "
        f"medians of {options.repeats}:",
        "",
        "| cores | seconds | lowest to highest | networks a second | times the first |",
        "|---|---|---|---|---|",
        *(
            f"| {row['cores']} | {row['seconds']} | {row['low']} to {row['high']} | {row['networks_per_second']:,} "
            f"| {row['speedup']} |"
            for row in cores
        ),
        "",
        "One trial of 4 hidden units on one core, the same epochs and stop:",
        "",
        "| seeds | seconds | µs a network | ns for one epoch of one network | peak MB |",
        "|---|---|---|---|---|",
        *(
            f"| {row['seeds']:,} | {row['seconds']} | {row['us_per_network']:,} | {row['ns_per_epoch']:,} "
            f"| {row['peak_mb']:,} |"
            for row in seeds
        ),
        "",
    ]
    results = HERE / "results"
    results.mkdir(exist_ok=True)
    (results / "training.md").write_text("\n".join(lines))
    facts = {"machine": machine, "note": options.note, "cores": cores, "seeds": seeds}
    (results / "training.json").write_text(json.dumps(facts, indent=2) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
