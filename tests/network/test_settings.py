"""One setting: what it takes and what it refuses (`typed_settings.py` has what a type checker sees)."""

from __future__ import annotations

import pickle

import pytest

from nnexp.errors import UsageError
from nnexp.network import tasks
from nnexp.network.settings import Settings

TABLE = {"inputs": [[0, 0], [0, 1], [1, 0], [1, 1]], "targets": [1, 0, 0, 1]}


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"hidden_sise": 3}, r"hidden_sise: unknown key \(did you mean 'hidden_size'\?\)"),
        ({"hidden_size": "4"}, "hidden_size = '4': expected a valid integer"),
        ({"hidden_size": 0}, "hidden_size = 0: expected greater than or equal to 1"),
        ({"learning_rate": float("nan")}, "learning_rate = nan: expected a finite number"),
        ({"activation": "relu"}, "activation = 'relu': expected one of tanh, sigmoid"),
        ({"task": "xnro"}, r"task = 'xnro': unknown task \(did you mean 'xnor'\?\)"),
        ({"task": 3}, "task = 3: expected a valid string"),
        ({"task": {"inputs": [[0], [1]], "targets": [0, 0]}}, "task.targets: all are 0"),
    ],
)
def test_wrong_values_are_named(values: dict[str, object], words: str) -> None:
    """The error names the key, its value and what was expected."""
    for make in (
        lambda: Settings(**values),
        lambda: Settings.model_validate(values),
        lambda: Settings().replace(**values),
    ):
        with pytest.raises(UsageError, match=words):
            make()


def test_a_table_may_be_given_as_one() -> None:
    """As a dict or as a Task it becomes the table's compact JSON, as which it is stored."""
    expected = tasks.from_table(TABLE).spec
    for task in (TABLE, tasks.from_table(TABLE), expected):
        assert Settings(task=task).task == expected
    assert Settings(task=TABLE).truth_table == tasks.from_table(TABLE)


def test_settings_are_frozen_and_can_be_sent_between_processes() -> None:
    """Equal settings are equal after pickling, too."""
    s = Settings(task="parity:3", hidden_size=3)
    with pytest.raises(ValueError, match="frozen"):
        s.hidden_size = 4
    assert pickle.loads(pickle.dumps(s)) == s  # noqa: S301  our own
    assert s.replace(hidden_size=4) == Settings(task="parity:3", hidden_size=4)
