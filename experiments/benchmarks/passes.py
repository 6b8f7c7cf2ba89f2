"""Where the nanoseconds of an epoch go: every NumPy call of the trainer's inner loop, timed where it stands.

    python experiments/benchmarks/passes.py [--hidden 4] [--task xnor] [--epochs 300]

The trainer itself runs, on a full tile, on one core; its calls go through a clock. What the clock costs, and what lies
between the calls, is shown as such. Needs no extra. Writes results/passes.md and results/passes.json beside this file.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import time
from pathlib import Path
from typing import Any

if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

import numpy as np

from nnexp.network import tasks
from nnexp.network.model import Network, encode
from nnexp.training import hidden_layer
from nnexp.training import tile as kernel
from nnexp.training.tile import Problem, Tile

HERE = Path(__file__).parent
BLOCK = 32  # epochs between two looks at who stopped, as in a sweep


class Timed:
    """A NumPy function, and its ``reduce``, that notes how long each call takes."""

    def __init__(self, function: Any, name: str, calls: list[tuple[str, float]]) -> None:
        self._function, self._name, self._calls = function, name, calls

    @property
    def reduce(self) -> Timed:
        """The ufunc's reduction."""
        return Timed(self._function.reduce, f"{self._name}.reduce", self._calls)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The function's result."""
        began = time.perf_counter()
        result = self._function(*args, **kwargs)
        took = time.perf_counter() - began
        out = kwargs.get("out", result)
        self._calls.append((f"{self._name} → {out.shape[:-1]}", took))
        return result


class TimedNumPy:
    """NumPy whose ufuncs, matmul and einsum are `Timed`."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, float]] = []

    def __getattr__(self, name: str) -> Any:
        found = getattr(np, name)
        is_pass = isinstance(found, np.ufunc) or name == "einsum"
        return Timed(found, name, self.calls) if is_pass else found


def full_tile(task: str, hidden: int, dtype: Any) -> Tile:
    """A tile of random networks, as wide as they get."""
    X, Y = encode(tasks.get(task), "binary")
    problem = Problem(X, Y, hidden, "tanh", "cross_entropy", dtype, "none", has_momentum=False)
    R = problem.max_width
    tile, rng = Tile(problem, R, BLOCK), np.random.default_rng(0)
    W1, W2 = rng.normal(size=(R, hidden, len(X))), rng.normal(size=(R, hidden))
    network = Network(W1, np.zeros((R, hidden)), W2, np.zeros(R), activation="tanh")
    tile.load(np.arange(R), network, None, np.arange(R))
    tile.set_rates(np.arange(R), np.full(R, 0.5), np.zeros(R))
    return tile


def measure(task: str, hidden: int, dtype: str, epochs: int) -> dict[str, Any]:
    """Medians of each call, in the order of an epoch, and of the epoch without the clock; ns a network."""
    tile = full_tile(task, hidden, dtype)
    with kernel.numeric_mode():
        tile.run(BLOCK, {})
        plain = []
        for _ in range(max(epochs // BLOCK, 3)):
            began = time.perf_counter()
            tile.run(BLOCK, {})
            plain.append((time.perf_counter() - began) / BLOCK)
        clock = TimedNumPy()
        kernel.np = hidden_layer.np = clock  # type: ignore[assignment, attr-defined]
        try:
            for _ in range(max(epochs // BLOCK, 3)):
                tile.run(BLOCK, {})
        finally:
            kernel.np = hidden_layer.np = np  # type: ignore[attr-defined]
    per_epoch = len(clock.calls) // (max(epochs // BLOCK, 3) * BLOCK)
    columns = [clock.calls[at::per_epoch] for at in range(per_epoch)]
    scale = 1e9 / tile.width
    passes = [(column[0][0], round(scale * statistics.median(took for _, took in column), 2)) for column in columns]
    total = round(scale * statistics.median(plain), 1)
    return {"dtype": dtype, "width": tile.width, "epoch": total, "passes": passes}


def main() -> None:
    """Measures, and writes the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--hidden", type=int, default=4)
    parser.add_argument("--task", default="xnor")
    parser.add_argument("--epochs", type=int, default=300)
    options = parser.parse_args()
    found = [measure(options.task, options.hidden, dtype, options.epochs) for dtype in ("float64", "float32")]
    versions = f"Python {platform.python_version()}, NumPy {importlib.metadata.version('numpy')}"
    machine = f"{platform.machine()}, one core, {versions}"
    lines = [
        "# Where an epoch's time goes",
        "",
        f"`python experiments/benchmarks/passes.py --hidden {options.hidden} --task {options.task}`; {machine}.",
        "",
        "ns for one network's epoch, medians, in the order of an epoch; beside each call the shape of its result,",
        "with a number for each network at every place.",
    ]
    for one in found:
        calls = sum(took for _, took in one["passes"])
        lines += ["", f"{one['dtype']}, {one['width']:,} networks a tile:", "", "| call | ns |", "|---|---|"]
        lines += [f"| {name} | {took} |" for name, took in one["passes"]]
        lines += [
            f"| all calls, and the clock | {calls:.1f} |",
            f"| **an epoch without the clock** | **{one['epoch']}** |",
        ]
    results = HERE / "results"
    results.mkdir(exist_ok=True)
    (results / "passes.md").write_text("\n".join(lines) + "\n")
    (results / "passes.json").write_text(json.dumps({"machine": machine, "tables": found}, indent=2) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
