"""The body of `nnexp predict`: reading inputs, loading a network from a file or a store, computing its outputs."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from nnexp.cli.output import print_table
from nnexp.errors import UsageError
from nnexp.network.model import Network
from nnexp.network.model import predict as probabilities
from nnexp.network.network_file import read_network
from nnexp.network.settings import Activation, Encoding
from nnexp.stores import Stores


def read_inputs(points: Sequence[str], table: Path | None) -> list[list[float]]:
    """The inputs of ``--x`` and ``--csv``, M rows of N numbers.

    Raises:
        UsageError: no input, a value that is not a finite number, or rows of unequal length.
    """
    rows = [_row(f"--x {point}", point.split(",")) for point in points]
    if table is not None:
        rows += _csv(table)
    if not rows:
        raise UsageError("--x: missing; give inputs, such as --x 0,1, or a file with --csv")
    for row in rows:
        if len(row) != len(rows[0]):
            raise UsageError(f"--x: {len(row)} values after {len(rows[0])}; all inputs need the same number")
    return rows


def _csv(path: Path) -> list[list[float]]:
    dash = str(path) == "-"
    name = "stdin" if dash else str(path)
    try:
        if dash:
            return _csv_rows(name, sys.stdin)
        with path.open(newline="", encoding="utf-8-sig") as file:
            return _csv_rows(name, file)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"--csv {name}: cannot be read ({getattr(error, 'strerror', None) or error})") from None


def _csv_rows(name: str, lines: Iterable[str]) -> list[list[float]]:
    rows = []
    for number, cells in enumerate(csv.reader(lines), 1):
        header = number == 1 and not any(_is_number(cell) for cell in cells)
        if cells and not header:
            rows.append(_row(f"--csv {name}, line {number}", cells))
    if not rows:
        raise UsageError(f"--csv {name}: expected at least one row of numbers")
    return rows


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _row(where: str, cells: Sequence[str]) -> list[float]:
    try:
        row = [float(cell) for cell in cells]
    except ValueError:
        row = []
    if not row or not np.isfinite(row).all():
        raise UsageError(f"{where}: expected numbers with commas between, such as 0,1")
    return row


def load_network(source: str, stores: Stores, activation: Activation | None, encoding: Encoding | None) -> Network:
    """The network that ``source`` names: a JSON file, or else a run or a model in MLflow's store.

    Raises:
        UsageError: the file does not contain exactly one network, or neither it nor the option names the activation.
        NotFoundError: there is no such run or model.
    """
    if source.endswith(".json") or Path(source).is_file():
        found, _ = read_network(source, activation, encoding)
        if len(found) != 1:
            raise UsageError(f"--model {source}: holds {len(found)} networks, expected one")
        return found
    from nnexp.tracking import load_model

    found = load_model.load_network(source, stores)
    return replace(found, activation=activation or found.activation, encoding=encoding or found.encoding)


def predictions(net: Network, rows: list[list[float]]) -> dict[str, Any]:
    """Inputs, probabilities of a 1 and answers, as ``--json`` prints them."""
    X = np.array(rows, dtype=np.float64).T
    if len(X) != net.n_inputs:
        raise UsageError(f"--x: {len(X)} values, expected {net.n_inputs}, the network's inputs")
    probability = probabilities(net, 2 * X - 1 if net.encoding == "bipolar" else X)
    return {
        "activation": net.activation,
        "encoding": net.encoding,
        "predictions": [
            {"x": row, "probability": float(p), "answer": int(p > 0.5)}
            for row, p in zip(rows, probability[0], strict=True)
        ],
    }


def print_predictions(facts: dict[str, Any]) -> None:
    """Print `predictions` as a table."""
    rows = facts["predictions"]
    names = [f"x{i + 1}" for i in range(len(rows[0]["x"]))]
    print_table(
        [*names, "probability of 1", "answer"],
        [[*(f"{x:g}" for x in row["x"]), row["probability"], row["answer"]] for row in rows],
    )
