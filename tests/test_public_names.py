"""What `import nnexp` offers."""

from __future__ import annotations

import pytest

import nnexp


@pytest.mark.parametrize("name", nnexp.__all__)
def test_every_public_name_is_there_and_documented(name: str) -> None:
    """Each is loaded on first use, is listed by `dir`, and has a docstring."""
    assert getattr(nnexp, name).__doc__
    assert name in dir(nnexp)


def test_the_public_names_are_the_documented_ones() -> None:
    """The classes, the functions and the errors; other names are an AttributeError."""
    assert set(nnexp.__all__) >= {
        *("Network", "Settings", "Sweep", "Stores", "TrainingResult", "Summary", "Task"),
        *("train", "grade", "predict", "reference", "loss_and_gradients", "sweep", "summarize", "networks"),
        *("NnexpError", "UsageError", "StoreError", "NotFoundError"),
    }
    with pytest.raises(AttributeError, match="no attribute 'Parameters'"):
        nnexp.Parameters  # noqa: B018
