"""The files of a trial: `networks.parquet` with one row per network, and `best_network.json`.

Axes: R networks, H hidden units, N inputs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from nnexp.errors import NnexpError
from nnexp.network import network_file
from nnexp.network.model import WEIGHTS, Network

if TYPE_CHECKING:
    from nnexp.network.settings import Settings
    from nnexp.recovery.grades import Grades
    from nnexp.training.result import TrainingResult

SCHEMA_VERSION = 2  # 2 adds design_share, needed and saturation, and changes the rule of recovered
NETWORKS = "networks.parquet"
BEST_NETWORK = "best_network.json"

#: A file that takes more bytes in memory than this, and this many times its size, is not read: weights do not compress.
MAX_UNPACKED, MAX_RATIO = 1 << 28, 50

#: How many fixed-size lists are nested in each column of weights.
_DEPTHS = dict(zip(WEIGHTS, (2, 1, 1, 0), strict=True))
_VERSION_KEY = b"nnexp.schema_version"
# Nearly all the time is pyarrow's fixed cost per column. Dictionaries would double it, since weights do not repeat.
# Statistics are of no use in a file that is read as a whole. zstd would save 6% of the bytes and take 50% more time.
_WRITE_OPTIONS: dict[str, Any] = {
    "compression": "lz4",
    "write_statistics": False,
    "use_dictionary": False,
    "write_page_checksum": True,
}


def write_networks(path: Path, result: TrainingResult, grades: Grades) -> None:
    """Write one row per network: index, loss, accuracy, epochs, all grades, and the weights W1, b1, W2 and b2.

    Undefined values (such as the loss of a diverged network) are null. A kill can leave an incomplete file, unless
    `nnexp._atomic.write_with` calls this function.

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
    columns |= {name: _nested(getattr(result.network, name)) for name in WEIGHTS}
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
    """Read the table that `write_networks` wrote, or those of its columns that are in ``columns``.

    Raises:
        NnexpError: the file is not a networks.parquet, or of a newer schema.
    """
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            _check(path, file.schema_arrow, file.metadata.num_rows)
            names = file.schema_arrow.names
            return file.read(None if columns is None else [name for name in columns if name in names])
    except (pa.ArrowException, OSError) as error:
        raise NnexpError(f"{path}: not a readable networks.parquet ({str(error).splitlines()[0]})") from None


def _check(path: Path, schema: pa.Schema, rows: int) -> None:
    """Check a file's schema, version and number of rows before anything is read into memory.

    Raises:
        NnexpError: it is not a networks.parquet, it is of a newer schema, or it would not fit into memory.
    """
    version = (schema.metadata or {}).get(_VERSION_KEY)
    if version is None:
        raise NnexpError(f"{path}: not written by nnexp (its metadata has no {_VERSION_KEY.decode()})")
    if not version.isdigit():
        raise NnexpError(f"{path}: damaged (its {_VERSION_KEY.decode()} is {version.decode(errors='replace')[:40]!r})")
    if int(version) > SCHEMA_VERSION:
        raise NnexpError(f"{path}: schema {int(version)}, this nnexp reads up to {SCHEMA_VERSION}; update nnexp")
    for name, depth in {"index": 0, **_DEPTHS}.items():
        if name not in schema.names or _depth(schema.field(name).type) != depth:
            raise NnexpError(f"{path}: not a networks.parquet (column {name} is missing, or of another type)")
    size = rows * sum(_width(field.type) for field in schema)
    if size > MAX_UNPACKED and size > MAX_RATIO * path.stat().st_size:
        raise NnexpError(
            f"{path}: not read, since its {path.stat().st_size:,} bytes would take {size:,} bytes in memory; it is "
            "damaged, or nnexp has not written it"
        )


def _depth(kind: pa.DataType) -> int | None:
    """How many fixed-size lists are nested around a number; None for another type."""
    depth = 0
    while pa.types.is_fixed_size_list(kind):
        kind, depth = kind.value_type, depth + 1
    return depth if pa.types.is_integer(kind) or pa.types.is_floating(kind) else None


def _width(kind: pa.DataType) -> int:
    """About how many bytes a value takes in memory."""
    if pa.types.is_fixed_size_list(kind):
        return int(kind.list_size) * _width(kind.value_type)
    return 8


def read_network(table: pa.Table, settings: Settings) -> Network:
    """The networks of a table, with the same bits as they were trained.

    Args:
        table: the run's networks.parquet, or some of its rows.
        settings: the run's settings, for activation and encoding.

    Raises:
        NnexpError: weights are missing.
    """
    if damaged := [name for name in WEIGHTS if table.column(name).null_count]:
        raise NnexpError(f"networks.parquet: damaged (column {damaged[0]} lacks values)")
    arrays = {name: _unnested(table.column(name)) for name in WEIGHTS}
    return Network(**arrays, activation=settings.activation, encoding=settings.encoding)


def _unnested(column: pa.ChunkedArray) -> NDArray[Any]:
    array = column.combine_chunks()
    shape = [len(array)]
    while pa.types.is_fixed_size_list(array.type):
        shape.append(array.type.list_size)
        array = array.flatten()
    return cast("NDArray[Any]", array.to_numpy(zero_copy_only=False).reshape(shape))


def best_index(result: TrainingResult, grades: Mapping[str, NDArray[Any]]) -> tuple[int, str]:
    """The position of the lowest loss among the recovered networks, else the solved, else all; and which of these."""
    loss = np.where(np.isfinite(result.loss), result.loss, np.inf)
    for name in ("recovered", "solved"):
        mask = np.asarray(grades.get(name, np.zeros(len(loss))), dtype=bool)
        if mask.any():
            return int(np.argmin(np.where(mask, loss, np.inf))), name
    return int(np.argmin(loss)), "all"


def write_best_network(path: Path, result: TrainingResult, grades: Grades) -> None:
    """Write the best network (`best_index`) with its settings and grades as indented JSON."""
    from nnexp.recovery.grades import columns

    network_file.write(path, best_network(result, columns(grades)))


def best_network(result: TrainingResult, grades: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    """The content of best_network.json."""
    position, among = best_index(result, grades)
    return network_file.content_of(
        result.network.select([position]),
        result.settings.model_dump(),
        chosen=f"lowest loss among {among} networks",
        index=result.index[position],
        loss=result.loss[position],
        accuracy=result.accuracy[position],
        grades={name: values[position] for name, values in grades.items()},
    )
