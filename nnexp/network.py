"""The two-layer network: forward, cost and every gradient, as pure functions on arrays (floor 1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnexp.tasks import Task

Array = NDArray[np.floating]


@dataclass(frozen=True, eq=False)
class Parameters:
    """Weights of R networks of N inputs and H hidden units.

    Attributes:
        W1: (R, H, N). b1: (R, H). W2: (R, H). b2: (R,).
    """

    W1: Array
    b1: Array
    W2: Array
    b2: Array

    def __len__(self) -> int:
        return len(self.b2)

    @property
    def hidden_size(self) -> int:
        """H."""
        return self.W2.shape[1]

    @property
    def n_inputs(self) -> int:
        """N."""
        return self.W1.shape[2]

    def select(self, index: slice | Sequence[int] | NDArray[np.integer] | NDArray[np.bool_]) -> Parameters:
        """The networks at ``index`` (positions, a slice or a mask), in that order."""
        return Parameters(self.W1[index], self.b1[index], self.W2[index], self.b2[index])


def encode(task: Task, encoding: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """X (N, M), 0/1 for ``binary`` and -1/+1 for ``bipolar``, and Y (M,), always 0/1."""
    X = np.array(task.inputs, np.float64).T
    return (2 * X - 1 if encoding == "bipolar" else X), np.array(task.targets, np.float64)
