"""Networks as JSON files: the form of `best_network.json`, which people also write by hand (floor 2)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nnexp.errors import UsageError
from nnexp.network.model import Parameters
from nnexp.network.settings import Settings

_ARRAYS = {"W1": 3, "b1": 2, "W2": 2, "b2": 1}


@dataclass(frozen=True, eq=False)
class WeightsFile:
    """What a file of weights holds: R networks, and what is known of how to read them.

    Attributes:
        parameters: W1 (R, H, N), b1 (R, H), W2 (R, H), b2 (R,).
        activation, encoding, task: as in `Settings`; None where the file does not say.
    """

    parameters: Parameters
    activation: str | None = None
    encoding: str | None = None
    task: str | None = None


@dataclass(frozen=True, eq=False)
class StoredNetwork:
    """One network (R = 1), from a file or a store, with what it takes to use it."""

    parameters: Parameters
    activation: str
    encoding: str


def read_weights(path: str | Path) -> WeightsFile:
    """The networks of a JSON file with the keys W1, b1, W2 and b2, for one network or (an axis more) for R of them.

    Raises:
        UsageError: no readable JSON, keys missing, numbers that are not finite, or shapes that do not fit together.
    """
    try:
        given = json.loads(Path(path).read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise UsageError(f"{path}: not JSON: {error.msg} (at line {error.lineno}, column {error.colno})") from None
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from None
    try:
        return _weights(given)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None


def _weights(given: Any) -> WeightsFile:
    for part in ("settings", "weights"):  # best_network.json nests them
        if isinstance(given, dict) and isinstance(given.get(part), dict):
            given = {**given, **given[part]}
    if not isinstance(given, dict):
        raise UsageError("expected an object with the keys W1, b1, W2 and b2")
    for key in _ARRAYS:
        if key not in given:
            raise UsageError(f"{key}: missing; a network needs W1, b1, W2 and b2")
    arrays = {key: _array(key, given[key]) for key in _ARRAYS}
    if arrays["W1"].ndim == 2:  # one network
        arrays = {key: array[None] for key, array in arrays.items()}
    if arrays["W2"].ndim == 3 and arrays["W2"].shape[1] == 1:  # W2 as the 1 x H matrix of the equations
        arrays["W2"] = arrays["W2"][:, 0]
    if arrays["b2"].ndim == 2 and arrays["b2"].shape[1] == 1:
        arrays["b2"] = arrays["b2"][:, 0]
    count, hidden, inputs = arrays["W1"].shape if arrays["W1"].ndim == 3 else (1, 0, 0)
    if 0 in (count, hidden, inputs):
        raise UsageError("W1: expected a row of numbers for each hidden unit, such as [[20, 20], [-20, -20]]")
    for key, shape in {"b1": (count, hidden), "W2": (count, hidden), "b2": (count,)}.items():
        if arrays[key].shape != shape:
            found, wanted = list(arrays[key].shape[1:]), list(shape[1:])
            raise UsageError(f"{key}: shape {found}, expected {wanted} to go with W1's {hidden} rows")
    words = {key: _word(key, given.get(key)) for key in ("activation", "encoding", "task")}
    return WeightsFile(Parameters(**arrays), **words)


def _array(key: str, values: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise UsageError(f"{key}: expected numbers in rows of equal length") from None
    if not np.isfinite(array).all():
        raise UsageError(f"{key}: expected finite numbers")
    return array


def _word(key: str, value: Any) -> str | None:
    return None if value is None else str(getattr(Settings(**{key: value}), key))
