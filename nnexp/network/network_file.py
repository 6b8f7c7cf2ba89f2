"""Networks as JSON: `best_network.json`, a model's `network.json`, and the files that people write by hand.

Each is an object with the keys W1, b1, W2 and b2, and optionally activation, encoding and task. These keys may also be
in nested objects ``weights`` and ``settings``. A weight that is not finite is null.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nnexp.errors import UsageError
from nnexp.network import tasks
from nnexp.network.model import WEIGHTS, Array, Network
from nnexp.network.settings import Settings

SCHEMA_VERSION = 1


def read_network(
    path: str | Path, activation: str | None = None, encoding: str | None = None, *, default: str | None = None
) -> tuple[Network, str | None]:
    """Read a JSON file whose arrays hold one network, or R networks along an additional first axis.

    Args:
        path: the file.
        activation: overrides that of the file.
        encoding: overrides that of the file, which is "binary" if the file has none.
        default: the activation if neither the caller nor the file has one.

    Returns:
        The networks, and the task named in the file or None.

    Raises:
        UsageError: no readable JSON, keys missing, numbers that are not finite, shapes that do not fit together, or no
            activation.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise UsageError(f"{path}: not JSON: {error.msg} (at line {error.lineno}, column {error.colno})") from None
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from None
    try:
        flat = _flat(content)
        names = _names(flat)
        activation = activation or names.get("activation") or default
        if activation is None:
            raise UsageError("activation: missing; expected tanh or sigmoid, here or as --activation")
        found = _network(flat, activation, encoding or names.get("encoding", "binary"))
        for name, array in zip(WEIGHTS, found.weights, strict=True):
            if not np.isfinite(array).all():
                raise UsageError(f"{name}: expected finite numbers")
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None
    return found, names.get("task")


def stored_content(text: str) -> dict[str, Any]:
    """The content of a ``best_network.json`` that nnexp wrote, with everything in it that other code relies on checked.

    Raises:
        UsageError: no JSON, another schema, or keys, shapes or settings that do not fit; one line says what.
    """
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        raise UsageError("not JSON") from None
    network_of(content)
    version, index, settings = (content.get(key) for key in ("schema_version", "index", "settings"))
    if not isinstance(version, int) or not 1 <= version <= SCHEMA_VERSION:
        raise UsageError(f"schema_version {str(version)[:40]!r}: this nnexp reads up to {SCHEMA_VERSION}; update nnexp")
    if not isinstance(index, int) or not isinstance(settings, Mapping) or not isinstance(settings.get("task"), str):
        raise UsageError("index or settings.task: missing, or of another type")
    tasks.get(settings["task"])
    return dict(content)


def network_of(content: Mapping[str, Any]) -> Network:
    """The networks in the content of a file written by nnexp; null becomes nan.

    Raises:
        UsageError: keys are missing, or shapes do not fit together.
    """
    flat = _flat(content)
    names = _names(flat)
    if missing := [key for key in ("activation", "encoding") if key not in names]:
        raise UsageError(f"{missing[0]}: missing")
    return _network(flat, names["activation"], names["encoding"])


def content_of(network: Network, settings: Mapping[str, Any], **facts: Any) -> dict[str, Any]:
    """The content of `best_network.json`.

    Args:
        network: R = 1.
        settings: its settings, which include activation and encoding.
        facts: other entries, such as its loss and its grades; NumPy values are converted.
    """
    weights = {name: plain(array[0]) for name, array in zip(WEIGHTS, network.weights, strict=True)}
    return {"schema_version": SCHEMA_VERSION, **plain(facts), "weights": weights, "settings": dict(settings)}


def write(path: Path, content: Mapping[str, Any]) -> None:
    """Write the content of a network file as indented JSON."""
    text = json.dumps(content, indent=2, allow_nan=False) + "\n"
    path.write_text(text, encoding="utf-8", newline="\n")


def plain(value: Any) -> Any:
    """NumPy values as lists, numbers, Booleans and strings of JSON; numbers that are not finite become null."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _flat(content: Any) -> dict[str, Any]:
    """The content with the keys of its ``settings`` and ``weights`` moved to the top level."""
    for part in ("settings", "weights"):
        if isinstance(content, Mapping) and isinstance(content.get(part), Mapping):
            content = {**content, **content[part]}
    if not isinstance(content, Mapping):
        raise UsageError("expected an object with the keys W1, b1, W2 and b2")
    for key in WEIGHTS:
        if key not in content:
            raise UsageError(f"{key}: missing; a network needs W1, b1, W2 and b2")
    return dict(content)


def _names(flat: Mapping[str, Any]) -> dict[str, str]:
    """The activation, encoding and task in the content, validated."""
    keys = [key for key in ("activation", "encoding", "task") if flat.get(key) is not None]
    return {key: getattr(Settings(**{key: flat[key]}), key) for key in keys}


def _network(flat: Mapping[str, Any], activation: Any, encoding: Any) -> Network:
    arrays = {key: _array(key, flat[key]) for key in WEIGHTS}
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
    return Network(**arrays, activation=activation, encoding=encoding)


def _array(key: str, values: Any) -> Array:
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise UsageError(f"{key}: expected numbers in rows of equal length") from None
