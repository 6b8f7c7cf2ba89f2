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
