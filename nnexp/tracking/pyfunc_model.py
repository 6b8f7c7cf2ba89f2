"""The code of a registered network, as MLflow loads it: copied into the model, which is stored without a pickle.

It repeats the forward pass of `nnexp.network`, so that a model is served with NumPy, pandas and MLflow, without nnexp.
Axes: M rows, N inputs, H hidden units.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel


class TwoLayerNetwork(PythonModel):
    """Returns the probability that a row's output is 1."""

    def load_context(self, context: Any) -> None:
        """Read the weights."""
        self.network = json.loads(Path(context.artifacts["network"]).read_text(encoding="utf-8"))

    # MLflow reads the annotation. It converts every input to a DataFrame, and warns about any other annotation.
    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> Any:  # noqa: ARG002
        """M probabilities from (M, N) inputs of 0 and 1, given as a table or as rows."""
        X = np.asarray(model_input, dtype=np.float64).T
        if self.network["encoding"] == "bipolar":
            X = 2 * X - 1
        W1, b1, W2, b2 = (np.asarray(self.network["weights"][name]) for name in ("W1", "b1", "W2", "b2"))
        Z1 = W1 @ X + b1[:, None]
        A1 = np.tanh(Z1) if self.network["activation"] == "tanh" else 0.5 + 0.5 * np.tanh(Z1 / 2)
        return 0.5 + 0.5 * np.tanh((W2 @ A1 + b2) / 2)  # sigmoid, which cannot overflow in this form


set_model(TwoLayerNetwork())
