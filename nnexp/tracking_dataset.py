"""A truth table as an MLflow dataset (floor 3; imports MLflow)."""

from __future__ import annotations

from typing import Any

import numpy as np
from mlflow.data.numpy_dataset import from_numpy
from mlflow.entities import DatasetInput, InputTag


def truth_table(name: str, inputs: Any, targets: Any) -> DatasetInput:
    """The dataset, its digest taken from its content.

    Args:
        name: the task's.
        inputs: (M, N) bits.
        targets: (M,) bits.
    """
    features = {f"x{i + 1}": column for i, column in enumerate(np.asarray(inputs, dtype=np.int64).T)}
    dataset = from_numpy(features, targets=np.asarray(targets, dtype=np.int64), name=f"{name} truth table")
    return DatasetInput(dataset._to_mlflow_entity(), tags=[InputTag("mlflow.data.context", "training")])
