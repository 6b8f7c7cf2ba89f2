"""Runs as plain values."""

from __future__ import annotations

import pytest

from nnexp.errors import UsageError
from nnexp.network.settings import Settings
from nnexp.tracking.schema import RunRecord


def record(**params: str) -> RunRecord:
    """The run of trial 3 with these params."""
    return RunRecord(3, "run3", "", "FINISHED", {"trial": "3", **params}, {}, {}, 0, 1)


def test_settings_are_read_from_the_params() -> None:
    """Every field of a setting survives being stored as text; a param that is not there has its default."""
    one = Settings(hidden_size=5, learning_rate=0.1234567890123, loss="mse", momentum=0.5, stop="solved", seed=2**62)
    assert record(**{name: str(value) for name, value in one.model_dump().items()}).settings == one
    assert record(hidden_size="3").settings == Settings(hidden_size=3)


@pytest.mark.parametrize(("key", "value"), [("hidden_size", "many"), ("init", "mine"), ("task", "nonsense")])
def test_wrong_params_are_a_usage_error(key: str, value: str) -> None:
    """The message shows the value."""
    with pytest.raises(UsageError, match=value):
        _ = record(**{key: value}).settings
