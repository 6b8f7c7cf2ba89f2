"""Networks as JSON: `best_network.json`, a model's `network.json`, and the files that people write by hand.

Each holds an object with the keys W1, b1, W2 and b2, and where it says so activation, encoding and task. These keys may
also be nested in objects ``weights`` and ``settings``. A weight that is not finite is null.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nnexp.errors import UsageError
from nnexp.network.model import WEIGHTS, Array, Network
from nnexp.network.settings import Settings

SCHEMA_VERSION = 1


def read_network(
    path: str | Path, activation: str | None = None, encoding: str | None = None, *, default: str | None = None
) -> tuple[Network, str | None]:
    """The networks of a JSON file, with arrays for one network or (an axis more) for R of them.

    Args:
        path: the file.
        activation: in place of the file's.
        encoding: in place of the file's, or of "binary" where it does not say.
        default: the activation where neither the caller nor the file says it.

    Returns:
        The networks, and the task that the file names, None where it names none.

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


def network_of(content: Mapping[str, Any]) -> Network:
    """The networks in the content of a file that nnexp wrote; null becomes nan.

    Raises:
        UsageError: keys are missing, or shapes do not fit together.
    """
    flat = _flat(content)
    names = _names(flat)
    return _network(flat, names["activation"], names["encoding"])


def content_of(network: Network, settings: Mapping[str, Any], **facts: Any) -> dict[str, Any]:
    """The content of `best_network.json`.

    Args:
        network: R = 1.
        settings: what it was trained with, its activation and encoding among them.
        facts: what else is known of it, such as its loss and its grades; NumPy values are converted.
    """
    weights = {name: plain(array[0]) for name, array in zip(WEIGHTS, network.weights, strict=True)}
    return {"schema_version": SCHEMA_VERSION, **plain(facts), "weights": weights, "settings": dict(settings)}


def write(path: Path, content: Mapping[str, Any]) -> None:
    """Write the content of a network file, laid out for people to read."""
    text = json.dumps(content, indent=2, allow_nan=False) + "\n"
    path.write_text(text, encoding="utf-8", newline="\n")


def plain(value: Any) -> Any:
    """NumPy values as JSON has them: lists, numbers, Booleans, strings; numbers that are not finite become null."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _flat(content: Any) -> dict[str, Any]:
    """The content with the keys of its nested ``settings`` and ``weights`` beside the others."""
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
    """What the content says of activation, encoding and task, checked."""
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
