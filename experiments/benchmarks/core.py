"""Nanoseconds for one epoch of one network, `nnexp` beside its peers: one core, one process, in alternation.

    python experiments/benchmarks/core.py [--repeats 7] [--hidden 2 4 8] [--dtype float64 float32] [--wide]

Needs the extra: pip install '.[bench]'. Writes results/core.md and results/core.json beside this file. Times are the
process's own (all its threads'), so that other programs on the machine cost little; they still share its caches.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import sys
import time
from pathlib import Path
from typing import Any

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[_name] = "1"
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["JAX_ENABLE_X64"] = "1"
if hasattr(os, "sched_setaffinity"):  # before any library counts the cores
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

import numpy as np  # noqa: E402  after the threads are set
import peers  # noqa: E402

HERE = Path(__file__).parent
RATE, CHECKED_EPOCHS, SECONDS = 0.5, 100, 1.0
TOLERANCE = {"float64": 1e-9, "float32": 2e-3}
PACKAGES = ("numpy", "torch", "jax", "jaxlib", "scikit-learn", "numba")


def initial(R: int, H: int, N: int, dtype: str) -> peers.Weights:
    """R Glorot-uniform networks of N inputs and H hidden units."""
    rng = np.random.default_rng(0)
    W1 = rng.uniform(-1, 1, (R, H, N)) * np.sqrt(6 / (N + H))
    W2 = rng.uniform(-1, 1, (R, H)) * np.sqrt(6 / (H + 1))
    return W1.astype(dtype), np.zeros((R, H), dtype), W2.astype(dtype), np.zeros(R, dtype)


def data(wide: bool, dtype: str) -> tuple[Any, Any]:
    """XNOR: X (2, 4), Y (4,); or, wide, the parity of 1,000 different rows of 16 bits: X (16, 1000), Y (1000,)."""
    if not wide:
        return np.array([[0, 0, 1, 1], [0, 1, 0, 1]], dtype), np.array([1, 0, 0, 1], dtype)
    rows = np.random.default_rng(0).choice(2**16, 1000, replace=False)
    X = rows[None] >> np.arange(16)[:, None] & 1
    return X.astype(dtype), (X.sum(axis=0) % 2).astype(dtype)


def check(peer: peers.Peer, wide: bool, dtype: str, H: int) -> float:
    """The largest difference of a peer's weights from the NumPy loop's after some epochs from one start.

    Of a batch the first, the middle and the last network are compared.

    Raises:
        SystemExit: it is more than rounding explains.
    """
    X, Y = data(wide, dtype)
    start = initial(4 if wide else 64, H, len(X), dtype)
    trainer = peer(start, X, Y, RATE)
    trainer.run(CHECKED_EPOCHS)
    found = [np.asarray(part) for part in trainer.weights()]
    R = len(found[0])  # 1 for a peer of one network
    exact_data = data(wide, "float64")
    differences = []
    for i in {0, R // 2, R - 1}:
        alone = tuple(part[i : i + 1].astype("float64") for part in start)
        exact = peers.numpy_loop(alone, *exact_data, RATE)
        exact.run(CHECKED_EPOCHS)
        pairs = zip(found, exact.weights(), strict=True)
        differences += [np.abs(part[i] - wanted[0]).max() for part, wanted in pairs]
    difference = float(np.max(differences))
    if not difference < TOLERANCE[dtype]:
        raise SystemExit(f"{peer.__name__} {dtype} H={H}: weights differ by {difference:.2g}")
    return difference


class Contest:
    """One peer at one batch size, H and dtype: calibrated, then timed again and again."""

    def __init__(self, name: str, peer: peers.Peer, R: int, wide: bool, H: int, dtype: str) -> None:
        self.key = {"name": name, "batch": R, "hidden": H, "dtype": dtype}
        X, Y = data(wide, dtype)
        self.trainer = peer(initial(R, H, len(X), dtype), X, Y, RATE)
        self.networks, self.times = R, []
        epochs = 2
        self.trainer.run(epochs)  # compiles
        while (seconds := self._seconds(epochs)) < SECONDS / 8 and epochs < 1_000_000:
            epochs *= 4
        self.epochs = max(round(epochs * SECONDS / seconds), 1)

    def _seconds(self, epochs: int) -> float:
        began = time.process_time()
        self.trainer.run(epochs)
        return time.process_time() - began

    def measure(self) -> None:
        """One more time."""
        self.times.append(self._seconds(self.epochs) / self.epochs / self.networks * 1e9)

    def result(self) -> dict[str, Any]:
        """The median of the times, and their range."""
        return {**self.key, "ns": statistics.median(self.times), "low": min(self.times), "high": max(self.times)}


def measure(wide: bool, H: int, dtype: str, repeats: int) -> list[dict[str, Any]]:
    """All peers at one H and dtype."""
    entered = [(name, peer, broad if wide else narrow) for name, peer, narrow, broad in peers.ALL]
    differences = {
        name: check(peer, wide, dtype, H) for name, peer, sizes in entered if sizes and peer is not peers.tanh_floor
    }
    contests = [Contest(name, peer, R, wide, H, dtype) for name, peer, sizes in entered for R in sizes]
    for _ in range(repeats):
        for contest in contests:
            contest.measure()
    results = [{**contest.result(), "difference": differences.get(contest.key["name"])} for contest in contests]
    for result in results:
        print(f"{dtype} H={H} {result['name']} R={result['batch']}: {result['ns']:.1f} ns", file=sys.stderr, flush=True)
    return results


def machine() -> dict[str, str]:
    """What the times were taken on; no host name."""
    model = platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        models = [line.split(":")[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
        model = models[0] if models else model
    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    cores = f"{os.cpu_count()} cores, one used"
    return {"cpu": model, "cores": cores, "system": platform.system(), "python": platform.python_version(), **versions}


def best(results: list[dict[str, Any]], H: int, dtype: str) -> dict[str, dict[str, Any]]:
    """Each peer's best batch size."""
    chosen: dict[str, dict[str, Any]] = {}
    for result in results:
        if (result["hidden"], result["dtype"]) == (H, dtype):
            name = result["name"]
            if name not in chosen or result["ns"] < chosen[name]["ns"]:
                chosen[name] = result
    return chosen


def aims(results: list[dict[str, Any]]) -> list[str]:
    """The ratios of nnexp to its peers at 4 hidden units, beside the aims."""
    lines = ["| ratio at 4 hidden units | float64 | float32 | aim |", "|---|---|---|---|"]
    groups = {
        "nnexp / best JAX, vmap or replicas last": (
            ("JAX jit, vmap", "JAX jit, replicas last"),
            "at most 0.65 (float64), 0.85 (float32); 0.5 at best",
        ),
        "nnexp / JAX with gradients by hand, unrolled": (("JAX jit, gradients",), ""),
        "nnexp / PyTorch batched (baddbmm, autograd)": (("PyTorch batched",), "at most 0.25"),
        "nnexp / PyTorch with gradients by hand": (("PyTorch with",), ""),
        "PyTorch modules / nnexp": (("PyTorch modules",), "at least 1,500"),
        "scikit-learn / nnexp": (("scikit-learn",), "at least 1,500"),
        "NumPy loop / nnexp": (("NumPy loop",), "at least 100"),
        "nnexp / tanh evaluations alone": (("tanh",), ""),
    }
    for title, (prefixes, aim) in groups.items():
        cells = []
        for dtype in ("float64", "float32"):
            chosen = best(results, 4, dtype)
            others = [r["ns"] for name, r in chosen.items() if name.startswith(prefixes)]
            if not others:
                cells.append("")
                continue
            ratio = chosen["nnexp"]["ns"] / min(others)
            cells.append(f"{1 / ratio:,.0f}" if title.endswith("/ nnexp") else f"{ratio:.2f}")
        lines.append(f"| {title} | {' | '.join(cells)} | {aim} |")
    return lines


def markdown(results: list[dict[str, Any]], facts: dict[str, str], wide: bool) -> str:
    """The tables: each peer at its best batch size, then all."""
    columns = sorted({(r["dtype"], r["hidden"]) for r in results}, key=lambda c: (c[0] != "float64", c[1]))
    heads = " | ".join(f"{dtype}, H = {H}" for dtype, H in columns)
    rule = "---|" * len(columns)
    table = "1,000 samples, 16-64-1" if wide else "XNOR, 2-H-1"
    versions = ", ".join(f"{name} {facts[name]}" for name in PACKAGES)
    command = " ".join(["python experiments/benchmarks/core.py", *sys.argv[1:]])
    lines = ["# Core: ns for one epoch of one network", "", f"`{command}`", ""]
    lines += [f"{table}, tanh, cross-entropy. {facts['cpu']}, {facts['cores']}. Python {facts['python']}, {versions}."]
    lines += ["Medians; first the best batch size R of each.", "", f"| | {heads} |", f"|---|{rule}"]
    names = list(dict.fromkeys(r["name"] for r in results))
    for name in names:
        chosen = [best(results, H, dtype)[name] for dtype, H in columns]
        lines.append(f"| {name} | " + " | ".join(f"{r['ns']:,.1f} (R {r['batch']})" for r in chosen) + " |")
    if not wide:
        lines += ["", *aims(results)]
    lines += ["", f"| | R | {heads} |", f"|---|---|{rule}"]
    for name, R in dict.fromkeys((r["name"], r["batch"]) for r in results):
        found = {(r["dtype"], r["hidden"]): r for r in results if (r["name"], r["batch"]) == (name, R)}
        cells = [f"{found[c]['ns']:,.1f} ({found[c]['low']:,.1f} to {found[c]['high']:,.1f})" for c in columns]
        lines.append(f"| {name} | {R} | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def main() -> None:
    """Measure, and write the tables."""
    parser = argparse.ArgumentParser(description="Nanoseconds for one epoch of one network, beside the peers.")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--hidden", type=int, nargs="+", default=[2, 4, 8])
    parser.add_argument("--dtype", nargs="+", default=["float64", "float32"], choices=["float64", "float32"])
    parser.add_argument("--wide", action="store_true", help="16 inputs, 64 hidden units, 1,000 samples instead")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    options = parser.parse_args()
    hidden = [64] if options.wide else options.hidden
    results = [r for dtype in options.dtype for H in hidden for r in measure(options.wide, H, dtype, options.repeats)]
    facts = machine()
    options.out.mkdir(exist_ok=True)
    name = "core-wide" if options.wide else "core"
    (options.out / f"{name}.json").write_text(json.dumps({"machine": facts, "results": results}, indent=1) + "\n")
    text = markdown(results, facts, options.wide)
    (options.out / f"{name}.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
