"""A truth table as an MLflow dataset."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pandas as pd
from mlflow.data.code_dataset_source import CodeDatasetSource
from mlflow.data.pandas_dataset import PandasDataset
from mlflow.entities import Dataset, DatasetInput, InputTag


def truth_table(name: str, inputs: Any, targets: Any) -> DatasetInput:
    """The dataset with the Boolean columns x1, x2, … and y; its digest depends on its content.

    Args:
        name: the task's name.
        inputs: (M, N) bits.
        targets: (M,) bits.
    """
    columns = {f"x{i + 1}": column.astype(bool) for i, column in enumerate(np.asarray(inputs).T)}
    frame = pd.DataFrame(columns | {"y": np.asarray(targets).astype(bool)})
    source = CodeDatasetSource(tags={"mlflow.source.name": "nnexp"})
    digest = hashlib.sha256(frame.to_csv(index=False).encode()).hexdigest()[:8]  # MLflow's own ignores Boolean columns
    table = PandasDataset(frame, source, targets="y", name=f"{name} truth table", digest=digest)
    plain = table.to_dict()
    entity = Dataset(
        plain["name"], plain["digest"], plain["source_type"], plain["source"], plain["schema"], plain["profile"]
    )
    return DatasetInput(entity, tags=[InputTag("mlflow.data.context", "training")])
