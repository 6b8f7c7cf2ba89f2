"""Train a grid of experiments/ and write its recorded table: `python experiments/record.py grid`.

The table is a pure function of the sweep file and of NumPy: it holds counts, rates and medians, never a time, and the
vector instructions are held to those that any x86-64 processor of the last ten years has (`PORTABLE`). `--check` trains
again and compares with the recorded table byte for byte. Wilson's intervals belong to one cell, whose networks are
independent. Cells share their seeds, so the interval of a mean over cells is taken over the seeds: each seed gives one
mean over the cells, and those are independent. It is an interval for these cells, not for others of the search space.
"""

from __future__ import annotations

import argparse
import csv
import difflib
import io
import itertools
import os
import platform
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import special

import nnexp
from nnexp.network.settings import Settings
from nnexp.recovery import intervals
from nnexp.recovery.grades import PLATEAUS, assess
from nnexp.search import sweep_file
from nnexp.search.sweep_file import Sweep
from nnexp.training import trainer

HERE = Path(__file__).parent
RESULTS = HERE / "results"

#: The environment in which NumPy and its BLAS round alike on every x86-64 processor with AVX2 (x86-64-v3).
PORTABLE = {"NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR", "OPENBLAS_CORETYPE": "Haswell"}
#: What a run of an experiment changes in its file, one entry per run: `stop` and `epochs` cannot be searched.
VARIANTS: dict[str, list[dict[str, Any]]] = {
    "grid": [{}],
    "xor": [{}],
    "encoding": [{}],
    "parity3": [{}],
    "small": [{"epochs": epochs} for epochs in (2000, 10000, 40000)],
    "stopping": [
        *({"stop": "none", "epochs": epochs} for epochs in (500, 1000, 5000, 20000)),
        *({"stop": stop, "epochs": 20000} for stop in ("correct", "solved", "confident")),
    ],
}
#: The best cells are chosen among many, so their rates flatter them: this many are trained again on fresh networks.
RETESTED = 5
FRESH = 4000

RATES = ("solved", "recovered", "mirror")
"""Grades whose rates and intervals the tables show; every grade's count is there."""


def cells(sweep: Sweep) -> Iterator[dict[str, Any]]:
    """Every point of the grid, the last key varying fastest."""
    searched = sweep.searched
    for values in itertools.product(*(dim.values for dim in searched.values())):  # type: ignore[union-attr]
        yield dict(zip(searched, values, strict=True))


def verdicts(settings: Settings, index: Sequence[int] | None = None) -> dict[str, np.ndarray]:
    """Train the networks of ``settings`` and grade them.

    Returns:
        Each grade as (R,) booleans, and ``epochs``, those to solve (inf: never).
    """
    result = trainer.train(settings, index=index)
    grades = assess(result.network, settings.truth_table, settings.loss)
    found: dict[str, np.ndarray] = {name: getattr(grades, name) for name in ("correct", "solved", "confident")}
    for name in ("contains", "recovered", "needed"):
        if getattr(grades, name) is not None:
            found[name] = getattr(grades, name)
    if grades.family is not None:
        for name in ("hand-designed", "mirror", "both", "other"):
            found[name.replace("-", "_")] = grades.family == name
    found["diverged"] = result.diverged
    if grades.plateau is not None:
        for name in (*PLATEAUS, "not converged"):
            found[name.replace(" ", "_")] = grades.plateau == name
    found["epochs"] = np.where(np.isnan(result.epochs_to_solve), np.inf, result.epochs_to_solve)
    return found


def row(found: dict[str, np.ndarray]) -> dict[str, Any]:
    """One line of the table: counts, then rates with their intervals to four digits, and the median epochs to solve."""
    n = len(found["solved"])
    line: dict[str, Any] = {"networks": n}
    line |= {name: int(values.sum()) for name, values in found.items() if name != "epochs"}
    for name in RATES:
        if name in found:
            low, high = intervals.wilson(line[name], n)
            line |= {
                f"{name}_rate": f"{line[name] / n:.4f}",
                f"{name}_low": f"{float(low):.4f}",
                f"{name}_high": f"{float(high):.4f}",
            }
    median = float(np.sort(found["epochs"])[n // 2])
    line["epochs_to_solve_median"] = int(median) if np.isfinite(median) else "unsolved"
    return line


def marginals(keys: Sequence[str], points: list[dict[str, Any]], rates: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    """The mean rate over all cells with one value of one key, with the interval over seeds.

    Args:
        keys: the searched keys.
        points: the C cells.
        rates: for each grade (C, R) booleans, the column being the seed.
    """
    lines = []
    for key in keys:
        for value in dict.fromkeys(point[key] for point in points):
            chosen = [i for i, point in enumerate(points) if point[key] == value]
            line: dict[str, Any] = {"key": key, "value": value, "cells": len(chosen)}
            for name, table in rates.items():
                by_seed = table[chosen].mean(axis=0)
                low, high = interval_over_seeds(by_seed)
                line |= {
                    f"{name}_rate": f"{by_seed.mean():.4f}",
                    f"{name}_low": f"{low:.4f}",
                    f"{name}_high": f"{high:.4f}",
                }
            lines.append(line)
    return lines


def interval_over_seeds(rates: np.ndarray) -> tuple[float, float]:
    """A 95% interval for the mean of the rates (R,) of independent seeds.

    That of Korn and Graubard (Survey Methodology 24, 1998, 193-201): Clopper and Pearson's for p n* successes of n*,
    where n* = p (1 - p) R / s² is the effective sample size. Where all seeds have the same rate, n* = R.
    """
    mean, variance = float(rates.mean()), float(rates.var(ddof=1))
    size = mean * (1 - mean) * len(rates) / variance if variance > 0 else len(rates)
    low = special.betaincinv(mean * size, (1 - mean) * size + 1, 0.025) if mean > 0 else 0.0
    high = special.betaincinv(mean * size + 1, (1 - mean) * size, 0.975) if mean < 1 else 1.0
    return float(low), float(high)


def record(name: str, overrides: Sequence[str] = (), out: Any = sys.stderr) -> dict[str, str]:
    """Train the experiment ``name``: its tables as CSV text, by the file name that they have in results/."""
    lines, points, kept = [], [], []
    sweep = sweep_file.load(HERE / f"{name}.toml", overrides)
    for change in VARIANTS[name]:
        run = sweep.replace(**change)
        for point in cells(run):
            found = verdicts(run.settings(point))
            lines.append({**change, **point, **row(found)})
            points.append({**change, **point})
            kept.append({grade: found[grade] for grade in RATES if grade in found})
            print(f"{name}: {len(lines)} cells", end="\r", file=out, flush=True)
    print(file=out)
    tables = {f"{name}.csv": as_csv(lines)}
    if len(sweep.searched) > 1 and not VARIANTS[name][0]:
        rates = {grade: np.array([cell[grade] for cell in kept]) for grade in kept[0]}
        tables[f"{name}-marginals.csv"] = as_csv(marginals(list(sweep.searched), points, rates))
        tables[f"{name}-best.csv"] = as_csv(retest(sweep, points, lines))
    return tables


def retest(sweep: Sweep, points: list[dict[str, Any]], lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The cells of the highest recovery, trained again on networks that had no part in the choice."""
    order = sorted(range(len(lines)), key=lambda i: (-lines[i]["recovered"], -lines[i]["solved"], i))
    found = []
    for i in order[:RETESTED]:
        settings = sweep.settings(points[i])
        fresh = verdicts(settings, range(settings.seeds, settings.seeds + FRESH))
        found.append({**points[i], "chosen_at": lines[i]["recovered_rate"], **row(fresh)})
    return found


def as_csv(lines: list[dict[str, Any]]) -> str:
    """The rows as CSV with a header."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


def differing(recorded: str, found: str) -> list[str]:
    """The lines of a table that are not as recorded, each with what was found."""
    return [line.rstrip() for line in difflib.ndiff(recorded.splitlines(), found.splitlines()) if line[0] in "-+"]


def machine() -> str:
    """What the last digits depend on: the processor's kind, and the versions."""
    found: list[str] = np.show_config(mode="dicts")["SIMD Extensions"].get("found", [])  # type: ignore[call-overload, index]
    return (
        f"nnexp {nnexp.__version__}, NumPy {np.__version__}, Python {platform.python_version()}, "
        f"{platform.machine()} with {found[-1] if found else 'baseline'}"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Record or check the experiments named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="+", choices=[*VARIANTS, "all"])
    parser.add_argument("--check", action="store_true", help="train again and compare with the recorded tables")
    options = parser.parse_args(argv)
    wrong = 0
    print(machine())
    for name in VARIANTS if "all" in options.names else options.names:
        for file, text in record(name).items():
            path = RESULTS / file
            if options.check:
                lines = differing(path.read_text(encoding="utf-8"), text)
                wrong += bool(lines)
                print(f"{file}: {'DIFFERS' if lines else 'the same'}", *lines, sep="\n  ")
            else:
                path.write_text(text, encoding="utf-8")
                print(f"{file}: written")
    return 1 if wrong else 0


if __name__ == "__main__":
    if platform.machine() in ("x86_64", "AMD64") and not PORTABLE.items() <= os.environ.items():
        # They count when NumPy is loaded, so this program starts again.
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **PORTABLE})  # noqa: S606
    sys.exit(main())
