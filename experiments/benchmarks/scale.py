"""What a trial costs in the study, from the 100th to the 10,000th, by sampler.

    python experiments/benchmarks/scale.py [--trials 10000] [--samplers random qmc grid tpe] [--storage nnexp.journal]

One worker claims and finishes trials, as in a sweep, without training them; what MLflow takes for a run is in
`tracking.py`. Writes results/scale.md and results/scale.json beside this file.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import tempfile
import time
from pathlib import Path

from nnexp.search import sweep_file
from nnexp.study import SweepStudy, Worker, open_storage

HERE = Path(__file__).parent
AROUND = 50  # trials on each side of the mark, whose median counts
MOST = {"tpe": 1000}  # it reads all earlier trials at each claim, and would take an hour


def file(sampler: str, trials: int) -> str:
    """A sweep of at least ``trials`` trials."""
    space = "learning_rate = { low = 0.1, high = 10.0, log = true }\ninit_scale = { low = 0.1, high = 3.0 }"
    count = f"trials = {trials}\n"
    if sampler == "grid":
        side = int(trials**0.5) + 1
        values = [0.1 + i * 0.01 for i in range(side)]
        space, count = f"learning_rate = {values}\ninit_scale = {values}", ""
    return f'name = "scale"\nsampler = "{sampler}"\n{count}batch = 8\nseeds = 1\nepochs = 1\n[space]\n{space}\n'


def costs(sampler: str, trials: int, storage: str) -> list[float]:
    """Milliseconds of every trial; a batch's claim is shared among its trials."""
    with tempfile.TemporaryDirectory() as directory:
        address = storage if "://" in storage else str(Path(directory) / storage)
        with open_storage(address) as store:
            study = SweepStudy.create(store, sweep_file.parse(file(sampler, trials)))
            worker = Worker.join(study)
            found: list[float] = []
            while len(found) < trials:
                began = time.perf_counter()
                claims = worker.claim(study.sweep.batch)
                share = (time.perf_counter() - began) / len(claims)
                for claim in claims:
                    start = time.perf_counter()
                    metrics = {"recovery_rate": (claim.number % 97) / 97, "solved_rate": 0.5}
                    worker.finish(claim, "COMPLETE", [metrics["recovery_rate"]], metrics)
                    found.append(1000 * (time.perf_counter() - start + share))
            worker.leave()
    return found


def main() -> None:
    """Measures and writes the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--samplers", nargs="+", default=["random", "qmc", "grid", "tpe"])
    parser.add_argument("--storage", default="nnexp.journal")
    options = parser.parse_args()
    marks = [mark for mark in (100, 1000, 10_000) if mark <= options.trials]
    rows = []
    for sampler in options.samplers:
        trials = min(options.trials, MOST.get(sampler, options.trials))
        found = costs(sampler, trials, options.storage)
        at = {m: statistics.median(found[max(0, m - AROUND) : m + AROUND]) for m in marks if m <= trials}
        ratio = at[max(at)] / at[min(at)]
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        rows.append(
            {
                "sampler": sampler,
                **{f"ms at {m:,}": round(at[m], 2) if m in at else "–" for m in marks},
                "ratio": round(ratio, 2),
                "peak MB": round(peak),
            }
        )
    facts = {
        "command": f"python experiments/benchmarks/scale.py --trials {options.trials}",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        "rows": rows,
    }
    results = HERE / "results"
    results.mkdir(exist_ok=True)
    (results / "scale.json").write_text(json.dumps(facts, indent=2) + "\n")
    head = "| " + " | ".join(rows[0]) + " |\n|" + "---|" * len(rows[0]) + "\n"
    text = "# What a trial costs beside its training\n\n" + head
    text += "".join("| " + " | ".join(str(value) for value in row.values()) + " |\n" for row in rows)
    text += (
        f"\nMedians over {2 * AROUND} trials around each mark; the ratio is of the last mark to the first. "
        f"`{facts['command']}`; {facts['machine']}, Python {facts['python']}.\n"
    )
    (results / "scale.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
