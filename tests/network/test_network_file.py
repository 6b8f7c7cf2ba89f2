"""Networks as JSON: what nnexp wrote and what people write is read by one function, in all its forms."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nnexp.errors import UsageError
from nnexp.network import network_file
from nnexp.network.model import Network
from nnexp.network.reference import reference
from nnexp.network.settings import Settings

WEIGHTS = {"W1": [[20, 20], [-20, -20]], "b1": [-30, 10], "W2": [20, 20], "b2": -10}
SETTINGS = Settings(hidden_size=2, activation="sigmoid", encoding="bipolar", task="xor")
#: A best_network.json of 0.1.0, in the keys that matter.
BEST_NETWORK = {"schema_version": 1, "index": 3, "weights": WEIGHTS, "settings": SETTINGS.model_dump()}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where to write."""
    return tmp_path / "network.json"


def read(file: Path, content: Any, **options: Any) -> tuple[Network, str | None]:
    """The content as a file, read."""
    file.write_text(json.dumps(content))
    return network_file.read_network(file, **options)


@pytest.mark.parametrize(
    "content",
    [
        {**WEIGHTS, "activation": "sigmoid", "encoding": "bipolar", "task": "xor"},
        {"weights": WEIGHTS, "activation": "sigmoid", "encoding": "bipolar", "task": "xor"},
        BEST_NETWORK,
        {**BEST_NETWORK, "weights": {**WEIGHTS, "W2": [[20, 20]], "b2": [-10]}},
        {**BEST_NETWORK, "weights": {key: [value] for key, value in WEIGHTS.items()}},
    ],
    ids=["flat", "nested weights", "best_network.json", "matrices of the equations", "R = 1"],
)
def test_all_forms_of_a_file_are_the_same_network(file: Path, content: dict[str, Any]) -> None:
    """Weights and names may be nested; one network may be written without the axis of networks."""
    found, task = read(file, content)
    assert [array.tolist() for array in found.weights] == [[value] for value in WEIGHTS.values()]
    assert (found.activation, found.encoding, task) == ("sigmoid", "bipolar", "xor")


def test_the_caller_may_name_activation_and_encoding(file: Path) -> None:
    """In place of the file's; the default is used where neither says an activation."""
    found, _ = read(file, BEST_NETWORK, activation="tanh", encoding="binary")
    assert (found.activation, found.encoding) == ("tanh", "binary")
    found, task = read(file, WEIGHTS, default="tanh")
    assert (found.activation, found.encoding, task) == ("tanh", "binary", None)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (WEIGHTS, "activation: missing; expected tanh or sigmoid"),
        ({**WEIGHTS, "activation": "relu"}, "activation = 'relu'"),
        ([1], "expected an object with the keys W1, b1, W2 and b2"),
        ({"W1": [[1]]}, "b1: missing"),
        (
            {**BEST_NETWORK, "weights": {**WEIGHTS, "b1": [1]}},
            r"b1: shape \[1\], expected \[2\] to go with W1's 2 rows",
        ),
        ({**BEST_NETWORK, "weights": {**WEIGHTS, "W1": [[1, 2], [3]]}}, "W1: expected numbers in rows of equal length"),
        ({**BEST_NETWORK, "weights": {**WEIGHTS, "W2": [1, None]}}, "W2: expected finite numbers"),
        ({**BEST_NETWORK, "weights": {**WEIGHTS, "W1": 3}}, "W1: expected a row of numbers for each hidden unit"),
    ],
)
def test_a_wrong_file_is_named_with_its_fault(file: Path, content: Any, words: str) -> None:
    """One line says the file, the key and what was expected."""
    with pytest.raises(UsageError, match=f"network.json: {words}"):
        read(file, content)


def test_files_that_are_not_json_are_refused(file: Path) -> None:
    """With the line of the fault, or the reason why the file cannot be read."""
    with pytest.raises(UsageError, match=r"network.json: cannot be read \(No such file"):
        network_file.read_network(file)
    file.write_text("{")
    with pytest.raises(UsageError, match=r"network.json: not JSON: .* \(at line 1, column 2\)"):
        network_file.read_network(file)


def test_what_is_written_is_read_again(file: Path) -> None:
    """To the bit; facts that are not finite numbers are null."""
    network = reference("xor", "sigmoid", "bipolar")
    content = network_file.content_of(network, SETTINGS.model_dump(), index=np.int64(3), loss=np.float64(np.nan))
    network_file.write(file, content)
    assert json.loads(file.read_text()) == content
    assert (content["index"], content["loss"]) == (3, None)
    found, task = network_file.read_network(file)
    for ours, theirs in zip(found.weights, network.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert (found.activation, found.encoding, task) == ("sigmoid", "bipolar", "xor")


def test_a_stored_network_that_diverged_has_nan_where_the_file_has_null() -> None:
    """A run's best network is read even if all its networks diverged."""
    found = network_file.network_of({**BEST_NETWORK, "weights": {**WEIGHTS, "b2": None}})
    assert found.finite().tolist() == [False]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[1]", "expected an object"),
        (json.dumps({**BEST_NETWORK, "schema_version": "abc"}), "schema_version 'abc': this nnexp reads up to 1"),
        (json.dumps({**BEST_NETWORK, "schema_version": 9}), "schema_version '9'"),
        (json.dumps({**BEST_NETWORK, "index": None}), "index or settings.task"),
        (json.dumps({**BEST_NETWORK, "settings": {"activation": "sigmoid"}}), "encoding: missing"),
        (json.dumps({**BEST_NETWORK, "settings": {**SETTINGS.model_dump(), "task": "nothing"}}), "unknown task"),
        (json.dumps({**BEST_NETWORK, "weights": {"W1": [[1, 1]], "b1": [1, 2], "W2": [1], "b2": 0}}), "b1: shape"),
    ],
)
def test_stored_content_is_checked(text: str, message: str) -> None:
    """Each fault of a damaged or foreign best_network.json has an error of one line."""
    with pytest.raises(UsageError, match=re.escape(message)):
        network_file.stored_content(text)
    assert network_file.stored_content(json.dumps(BEST_NETWORK)) == BEST_NETWORK
