"""What a trial leaves behind as files: every network's row, and its best network to look at (floor 3; pyarrow).

Axes: R networks, H hidden units, N inputs.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from nnexp.errors import NnexpError

if TYPE_CHECKING:
    from nnexp.network.model import Parameters
    from nnexp.recovery.grades import Grades
    from nnexp.training.trainer import TrainingResult

SCHEMA_VERSION = 1
NETWORKS = "networks.parquet"
BEST_NETWORK = "best_network.json"
WEIGHTS = ("W1", "b1", "W2", "b2")

_VERSION_KEY = b"nnexp.schema_version"
# Nearly all the time is pyarrow's fixed cost per column. Dictionaries double it, weights not repeating; statistics are
# of no use in a file that is read whole; zstd saves a further 6% of the bytes for half as much time again.
_WRITE_OPTIONS: dict[str, Any] = {"compression": "lz4", "write_statistics": False, "use_dictionary": False}


def write_networks(path: Path, result: TrainingResult, grades: Grades) -> None:
    """Write a row a network: index, loss, accuracy, epochs, every grade, and the weights W1 b1 W2 b2.

    What is undefined (an epoch that never came, a diverged network's loss) is null. A kill leaves a part of the file:
    `durable.write_with` keeps that from a path that counts.

    Raises:
        OSError: the file cannot be written.
    """
    from nnexp.recovery.grades import columns

    pq.write_table(networks_table(result, columns(grades)), path, **_WRITE_OPTIONS)


def networks_table(result: TrainingResult, grades: Mapping[str, NDArray[Any]]) -> pa.Table:
    """The table of `write_networks`, from grades as flat columns of length R."""
    columns: dict[str, pa.Array] = {"index": pa.array(np.asarray(result.index, dtype=np.int64))}
    for name in ("loss", "accuracy", "epochs_to_correct", "epochs_to_solve", "epochs_trained", "diverged"):
        columns[name] = _flat(getattr(result, name))
    columns |= {name: _flat(values) for name, values in grades.items()}
    columns |= {name: _nested(getattr(result.parameters, name)) for name in WEIGHTS}
    return pa.table(columns).replace_schema_metadata({_VERSION_KEY: str(SCHEMA_VERSION).encode()})


def _flat(values: NDArray[Any]) -> pa.Array:
    return pa.array(np.asarray(values), from_pandas=True)


def _nested(values: NDArray[Any]) -> pa.Array:
    """An (R, ...) array as R fixed-size lists, without a loop over networks."""
    array = pa.array(np.ascontiguousarray(values).reshape(-1))
    for size in reversed(values.shape[1:]):
        array = pa.FixedSizeListArray.from_arrays(array, size)
    return array


def read_networks(path: Path, columns: Iterable[str] | None = None) -> pa.Table:
    """The table that `write_networks` wrote, or those of ``columns`` that it has.

    Raises:
        NnexpError: the file is not a networks.parquet, or of a newer schema.
    """
    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            table = file.read(None if columns is None else [name for name in columns if name in names])
    except (pa.ArrowInvalid, OSError) as error:
        raise NnexpError(f"{path}: not a readable networks.parquet ({str(error).splitlines()[0]})") from None
    version = (table.schema.metadata or {}).get(_VERSION_KEY)
    if version is None:
        raise NnexpError(f"{path}: not written by nnexp (its metadata has no {_VERSION_KEY.decode()})")
    if int(version) > SCHEMA_VERSION:
        raise NnexpError(f"{path}: schema {int(version)}, this nnexp reads up to {SCHEMA_VERSION}; update nnexp")
    return table


def read_parameters(table: pa.Table) -> Parameters:
    """The weights of a networks table as arrays again, to the bit."""
    from nnexp.network.model import Parameters

    return Parameters(**{name: _unnested(table.column(name)) for name in WEIGHTS})


def _unnested(column: pa.ChunkedArray) -> NDArray[Any]:
    array = column.combine_chunks()
    shape = [len(array)]
    while pa.types.is_fixed_size_list(array.type):
        shape.append(array.type.list_size)
        array = array.flatten()
    return cast("NDArray[Any]", array.to_numpy(zero_copy_only=False).reshape(shape))


def best_index(result: TrainingResult, grades: Mapping[str, NDArray[Any]]) -> tuple[int, str]:
    """The position of the lowest loss among the recovered networks, else the solved, else all; and among which."""
    loss = np.where(np.isfinite(result.loss), result.loss, np.inf)
    for name in ("recovered", "solved"):
        mask = np.asarray(grades.get(name, np.zeros(len(loss))), dtype=bool)
        if mask.any():
            return int(np.argmin(np.where(mask, loss, np.inf))), name
    return int(np.argmin(loss)), "all"


def write_best_network(path: Path, result: TrainingResult, grades: Grades) -> None:
    """Write the best network (`best_index`) as JSON that a person can read: settings, grades and weights."""
    from nnexp.recovery.grades import columns

    text = json.dumps(best_network(result, columns(grades)), indent=2, allow_nan=False) + "\n"
    path.write_text(text, encoding="utf-8", newline="\n")


def best_network(result: TrainingResult, grades: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    """The content of best_network.json."""
    position, among = best_index(result, grades)
    return {
        "schema_version": SCHEMA_VERSION,
        "chosen": f"lowest loss among {among} networks",
        "index": int(result.index[position]),
        "loss": plain(result.loss[position]),
        "accuracy": plain(result.accuracy[position]),
        "grades": {name: plain(values[position]) for name, values in grades.items()},
        "weights": {name: plain(getattr(result.parameters, name)[position]) for name in WEIGHTS},
        "settings": result.settings.model_dump(),
    }


def parameters_of(network: Mapping[str, Any]) -> Parameters:
    """The weights in the content of a best_network.json, as one network (R = 1); what is null becomes nan."""
    from nnexp.network.model import Parameters

    return Parameters(**{name: np.asarray(network["weights"][name], dtype=np.float64)[None] for name in WEIGHTS})


def plain(value: Any) -> Any:
    """A NumPy value as what JSON knows: lists, numbers, Booleans, strings; what is not finite as null."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, list):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
