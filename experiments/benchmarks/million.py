"""A million tracked trainings: the whole command, and where its time goes.

    python experiments/benchmarks/million.py [--set trials=100 ...]

Runs `nnexp sweep experiments/million.toml` in this process, in an empty directory with the embedded stores, with a
clock around the steps that touch the stores; the training pool's time is that of its processes. Then counts the
networks in the runs' Parquet files. Takes minutes. Needs psutil (the extra `dev`). Writes results/million.md and
results/million.json beside this file.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import importlib.metadata
import json
import os
import platform
import resource
import sys
import tempfile
import threading
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import psutil

HERE = Path(__file__).parent
FILE = HERE.parent / "million.toml"
EVERY = 2.0

BEGAN = time.perf_counter()


class Clock:
    """Seconds of wall time and of the calling thread's processor time, by what is done."""

    def __init__(self) -> None:
        self.wall: dict[str, float] = defaultdict(float)
        self.cpu: dict[str, float] = defaultdict(float)

    def watch(self, owner: Any, name: str, what: str) -> None:
        """Time every call of ``owner.name`` as ``what``."""
        original = getattr(owner, name)

        @functools.wraps(original)
        def timed(*args: Any, **kwargs: Any) -> Any:
            began, used = time.perf_counter(), time.thread_time()
            try:
                return original(*args, **kwargs)
            finally:
                self.wall[what] += time.perf_counter() - began
                self.cpu[what] += time.thread_time() - used

        setattr(owner, name, timed)


class Watcher(threading.Thread):
    """Looks at this process and its descendants until told to end.

    Attributes:
        peak: the largest sum of their own memory, in MB. pool: processor seconds by descendant, as last seen.
    """

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak, self.pool = 0.0, dict[int, float]()
        self._ended = threading.Event()

    def run(self) -> None:
        """Look every two seconds: a look takes some milliseconds."""
        me = psutil.Process()
        while not self._ended.wait(EVERY):
            memory = 0
            for process in [me, *me.children(recursive=True)]:
                with contextlib.suppress(psutil.Error):  # it has just ended
                    memory += process.memory_full_info().pss
                    if process != me:
                        used = process.cpu_times()
                        self.pool[process.pid] = used.user + used.system
            self.peak = max(self.peak, memory / 2**20)

    def end(self) -> None:
        """Look no more."""
        self._ended.set()
        self.join()


def grading_ms() -> float:
    """Processor time of grading 1,000 networks, the mean over the sweep's hidden sizes."""
    import numpy as np

    from nnexp.network.settings import Settings
    from nnexp.runner import jobs
    from nnexp.training import trainer

    times = []
    for hidden_size in range(2, 9):
        result = trainer.train(Settings(hidden_size=hidden_size, epochs=500, learning_rate=2.0, seeds=1000))
        jobs.grade(result)
        began = time.process_time()
        for _ in range(5):
            jobs.grade(result)
        times.append((time.process_time() - began) / 5)
    return 1000 * float(np.mean(times))


def networks_in_parquet() -> int:
    """Rows of all networks.parquet under the artifacts' directory."""
    import pyarrow.parquet as pq

    return sum(pq.read_metadata(path).num_rows for path in Path("mlruns").rglob("networks.parquet"))


def run(arguments: list[str]) -> dict[str, Any]:
    """The whole command, watched."""
    from nnexp.cli import run as command

    clock, watcher = Clock(), Watcher()
    watcher.start()

    from nnexp.runner import finalize, trial_loop
    from nnexp.study import Worker
    from nnexp.tracking import child_run

    clock.watch(Worker, "claim", "sampling (claims in the study)")
    clock.watch(Worker, "finish", "results told to the study")
    clock.watch(trial_loop, "write_trained", "spool: metrics, Parquet, files")
    clock.watch(child_run, "deliver", "logging to MLflow, in a thread beside")
    clock.watch(finalize.Finalization, "write", "finalization: re-test, summary, report, figures")
    status = command(["sweep", str(FILE), *arguments])
    seconds = time.perf_counter() - BEGAN
    watcher.end()
    if status:
        raise SystemExit(status)
    own = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "seconds": round(seconds, 1),
        "peak_mb": round(watcher.peak),
        "cpu_this_process": round(own.ru_utime + own.ru_stime, 1),
        "cpu_pool": round(sum(watcher.pool.values()), 1),
        "steps": {what: {"wall": round(clock.wall[what], 1), "cpu": round(clock.cpu[what], 1)} for what in clock.wall},
        "networks": networks_in_parquet(),
        "grading_ms_per_1000": round(grading_ms(), 2),
    }


def main() -> None:
    """Measures, and writes the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="as of nnexp sweep")
    parser.add_argument("--note", default="", help="what the table says beside its figures")
    options = parser.parse_args()
    arguments = [part for value in options.set for part in ("--set", value)]
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as directory:
        os.chdir(directory)
        try:
            found = run(arguments)
        finally:
            os.chdir(before)
    packages = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("numpy", "mlflow", "optuna"))
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {packages}"
    grading = found["grading_ms_per_1000"] * found["networks"] / 1e6
    lines = [
        "# A million tracked trainings",
        "",
        f"`python experiments/benchmarks/million.py{''.join(' --set ' + value for value in options.set)}`; {machine}."
        f"{' ' + options.note if options.note else ''}",
        "",
        f"The whole command: **{found['seconds']} s**, {found['networks']:,} networks in Parquet, at most "
        f"{found['peak_mb']:,} MB in all its processes.",
        "",
        "| | seconds | processor seconds |",
        "|---|---|---|",
        f"| training and grading, in the pool | | {found['cpu_pool']} |",
        f"| of it grading (by 1,000 networks graded alone) | | {grading:.1f} |",
        f"| everything else, in the command's process | | {found['cpu_this_process']} |",
        *(f"| of it {what} | {one['wall']} | {one['cpu']} |" for what, one in sorted(found["steps"].items())),
        "",
    ]
    results = HERE / "results"
    results.mkdir(exist_ok=True)
    (results / "million.md").write_text("\n".join(lines))
    (results / "million.json").write_text(json.dumps({"machine": machine, **found}, indent=2) + "\n")
    sys.stdout.write("\n".join(lines))


if __name__ == "__main__":
    main()
