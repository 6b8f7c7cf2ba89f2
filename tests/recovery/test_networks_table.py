"""Files of a trial: written whole, read back to the bit."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nnexp.errors import NnexpError
from nnexp.network import network_file
from nnexp.network.model import WEIGHTS, Network
from nnexp.network.settings import Settings
from nnexp.recovery import networks_table


def trained(r: int = 7, h: int = 3, n: int = 2, dtype: str = "float64") -> Any:
    """R networks' result, as training gives it, with one diverged and some that never solved."""
    draw = np.random.default_rng(0)
    loss = draw.random(r).astype(dtype)
    loss[-1] = np.nan
    solve = np.where(loss < 0.5, 100.0, np.nan)
    shapes = ((r, h, n), (r, h), (r, h), (r,))
    network = Network(*(draw.normal(size=shape).astype(dtype) for shape in shapes), activation="tanh")
    return SimpleNamespace(
        settings=Settings(hidden_size=h, seeds=r),
        index=np.arange(100, 100 + r),
        network=network,
        loss=loss,
        accuracy=np.where(loss < 0.5, 1.0, 0.75),
        epochs_to_correct=solve / 2,
        epochs_to_solve=solve,
        epochs_trained=np.full(r, 5000),
        diverged=np.isnan(loss),
    )


def grades(result: Any) -> dict[str, Any]:
    """Flat grade columns of each kind: Booleans, strings, floats."""
    solved = result.loss < 0.5
    return {
        "solved": solved,
        "recovered": solved & (np.arange(len(solved)) % 2 == 0),
        "family": np.where(solved, "hand-designed", "none"),
        "reference_distance": result.loss * 2,
    }


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("shape", [(1, 1, 1), (7, 3, 2), (5, 1, 3)])
def test_networks_are_read_back_with_the_same_bits(tmp_path: Path, shape: tuple[int, int, int], dtype: str) -> None:
    """Weights of any shape and precision, and every column."""
    result = trained(*shape, dtype=dtype)
    table = networks_table.networks_table(result, grades(result))
    pq.write_table(table, tmp_path / "networks.parquet")
    found = networks_table.read_networks(tmp_path / "networks.parquet")
    read = networks_table.read_network(found, result.settings)
    for name in WEIGHTS:
        assert getattr(read, name).dtype == dtype
        np.testing.assert_array_equal(getattr(read, name), getattr(result.network, name))
    frame = found.to_pandas()
    assert list(frame["index"]) == list(result.index)
    np.testing.assert_array_equal(frame["loss"], result.loss)
    np.testing.assert_array_equal(frame["diverged"], result.diverged)
    np.testing.assert_array_equal(frame["family"], grades(result)["family"])
    assert list(frame.columns[-4:]) == ["W1", "b1", "W2", "b2"]


def test_undefined_values_are_null(tmp_path: Path) -> None:
    """An epoch that never came and a diverged network's loss are null, which every reader knows."""
    result = trained()
    table = networks_table.networks_table(result, grades(result))
    assert table.column("loss").null_count == 1
    assert table.column("epochs_to_solve").null_count == np.isnan(result.epochs_to_solve).sum() > 0


def test_foreign_newer_and_damaged_files_are_refused(tmp_path: Path) -> None:
    """Each with the file's name and the reason."""
    path = tmp_path / "networks.parquet"
    path.write_text("no parquet")
    with pytest.raises(NnexpError, match=r"networks\.parquet: not a readable"):
        networks_table.read_networks(path)
    pq.write_table(pa.table({"index": [1]}), path)
    with pytest.raises(NnexpError, match="not written by nnexp"):
        networks_table.read_networks(path)
    pq.write_table(pa.table({"index": [1]}).replace_schema_metadata({"nnexp.schema_version": "99"}), path)
    with pytest.raises(NnexpError, match="schema 99, this nnexp reads up to 2; update nnexp"):
        networks_table.read_networks(path)


@pytest.mark.parametrize(
    ("recovered", "solved", "expected", "among"),
    [
        ([False, False, True, False], [True, True, True, False], 2, "recovered"),
        ([False] * 4, [True, True, False, False], 1, "solved"),
        ([False] * 4, [False] * 4, 3, "all"),
    ],
)
def test_best_network_is_the_lowest_loss_among_the_best_grade(
    recovered: list[bool], solved: list[bool], expected: int, among: str
) -> None:
    """Recovered first, then solved, then any; never a diverged one while another is left."""
    result = SimpleNamespace(loss=np.array([0.4, 0.3, 0.35, 0.01]))
    columns = {"recovered": np.array(recovered), "solved": np.array(solved)}
    assert networks_table.best_index(result, columns) == (expected, among)  # type: ignore[arg-type]
    result.loss[3] = np.inf
    assert networks_table.best_index(result, columns)[0] != 3  # type: ignore[arg-type]


def test_best_network_is_plain_json() -> None:
    """It holds settings, grades and weights, without NaN."""
    result = trained()
    content = networks_table.best_network(result, grades(result))
    text = json.dumps(content, allow_nan=False)
    assert json.loads(text) == content
    position = content["index"] - 100
    assert content["weights"]["W1"] == result.network.W1[position].tolist()
    assert content["settings"]["hidden_size"] == 3
    assert content["chosen"] == "lowest loss among recovered networks"
    assert network_file.plain(np.array([1.0, np.nan, np.inf])) == [1.0, None, None]


def written(path: Path, r: int = 7) -> Path:
    """A networks.parquet as a trial writes it."""
    result = trained(r)
    table = networks_table.networks_table(result, grades(result))
    pq.write_table(table, path, **networks_table._WRITE_OPTIONS)
    return path


def flipped(content: bytes, position: int, bit: int) -> bytes:
    """The content with one bit changed."""
    return content[:position] + bytes([content[position] ^ 1 << bit]) + content[position + 1 :]


def test_flipped_bits_are_found(tmp_path: Path) -> None:
    """Pages have checksums, which the reader verifies. A bit of the footer gives an error of one line, or a table."""
    path = written(tmp_path / "networks.parquet", 50)
    content, sound = path.read_bytes(), networks_table.read_networks(path)
    footer = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    draw = np.random.default_rng(1)
    found = 0
    for position in [*draw.integers(4, footer, size=60), *draw.integers(footer, len(content), size=60)]:
        path.write_bytes(flipped(content, position, int(draw.integers(8))))
        try:
            same = networks_table.read_networks(path).equals(sound)
        except NnexpError:
            found += 1
        else:
            assert same or position >= footer
    assert found > 60


def test_files_without_checksums_are_read(tmp_path: Path) -> None:
    """Those that 0.1.0 wrote."""
    result = trained()
    table = networks_table.networks_table(result, grades(result))
    pq.write_table(table, tmp_path / "networks.parquet")
    assert networks_table.read_networks(tmp_path / "networks.parquet").equals(table)


def test_other_schemas_and_versions_are_refused_before_they_are_read(tmp_path: Path) -> None:
    """A version that is no number, columns that are missing, weights of another type, weights that are null."""
    path = tmp_path / "networks.parquet"
    table = pq.read_table(written(path))
    pq.write_table(table.replace_schema_metadata({"nnexp.schema_version": "abc"}), path)
    with pytest.raises(NnexpError, match=r"damaged \(its nnexp\.schema_version is 'abc'"):
        networks_table.read_networks(path)
    for other in table.drop_columns(["W2"]), table.set_column(0, "index", pa.array(["x"] * len(table))):
        pq.write_table(other, path)
        with pytest.raises(NnexpError, match=r"column (W2|index) is missing, or of another type"):
            networks_table.read_networks(path)
    pq.write_table(table.set_column(table.column_names.index("b2"), "b2", pa.nulls(len(table), pa.float64())), path)
    with pytest.raises(NnexpError, match="column b2 lacks values"):
        networks_table.read_network(networks_table.read_networks(path), Settings())


def test_a_small_file_that_expands_to_gigabytes_is_not_read(tmp_path: Path) -> None:
    """Its rows are counted first."""
    path = tmp_path / "networks.parquet"
    table = pq.read_table(written(path, 1)).take(pa.array(np.zeros(1_000_000, np.int64)))
    with pq.ParquetWriter(path, table.schema) as writer:
        for _ in range(5):
            writer.write_table(table)
    assert path.stat().st_size < 10_000_000
    with pytest.raises(NnexpError, match=r"not read, since its .* bytes would take .* bytes in memory"):
        networks_table.read_networks(path)
