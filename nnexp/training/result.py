"""What training returns: R networks of one setting with their history, at any epoch.

Axes: R networks, H hidden units, N inputs, T recorded epochs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnexp.network.model import Array, Network
from nnexp.network.settings import Settings

#: The fields of a `TrainingResult` that hold one value per network.
_PER_NETWORK = (
    "index",
    "stopped",
    "diverged",
    "epochs_to_correct",
    "epochs_to_solve",
    "epochs_trained",
    "loss",
    "accuracy",
)


@dataclass(frozen=True, eq=False)
class History:
    """Each network's loss and accuracy at the recorded epochs.

    Attributes:
        epochs: (T,) updates taken, from 0 to the last epoch.
        loss, accuracy: (T, R). A network that stopped keeps its last value; nan after divergence, and at epochs that
            training has not reached yet.
    """

    epochs: NDArray[np.int64]
    loss: Array
    accuracy: Array


@dataclass(frozen=True, eq=False)
class TrainingResult:
    """R networks of one setting, trained up to an epoch; plain arrays, which processes can exchange.

    Attributes:
        settings: the settings of the networks.
        index: (R,) the networks' numbers.
        epoch: the epoch that all networks have reached that have neither stopped nor diverged.
        network: the weights at that epoch, or where a network stopped.
        velocities: of each weight, in the shape of ``network``; None without momentum, and after the last epoch.
        stopped: (R,) whether a network met the setting's ``stop``.
        diverged: (R,) whether a network had a weight or logit that is not finite.
        epochs_to_correct: (R,) updates after which `correct` first held, nan while it never did.
        epochs_to_solve: (R,) updates after which `solved` first held, nan while it never did.
        epochs_trained: (R,) updates taken.
        loss, accuracy: (R,) with these weights; nan for diverged networks, and before training.
        history: loss and accuracy at the recorded epochs.
    """

    settings: Settings
    index: NDArray[np.int64]
    epoch: int
    network: Network
    velocities: Network | None
    stopped: NDArray[np.bool_]
    diverged: NDArray[np.bool_]
    epochs_to_correct: Array
    epochs_to_solve: Array
    epochs_trained: NDArray[np.int64]
    loss: Array
    accuracy: Array
    history: History

    def __len__(self) -> int:
        return len(self.index)

    def __repr__(self) -> str:
        return f"<TrainingResult: {', '.join(f'{name} {value}' for name, value in self._facts().items())}>"

    def _repr_html_(self) -> str:
        """The counts of `repr` as a table, for a notebook."""
        rows = "".join(f"<tr><td>{name}</td><td>{value}</td></tr>" for name, value in self._facts().items())
        return f"<table>{rows}</table>"

    def _facts(self) -> dict[str, str]:
        alive = self.loss[~self.diverged]
        return {
            "networks": f"{len(self):,}",
            "epoch": f"{self.epoch:,} of {self.settings.epochs:,}",
            "correct once": f"{np.isfinite(self.epochs_to_correct).sum():,}",
            "solved once": f"{np.isfinite(self.epochs_to_solve).sum():,}",
            "diverged": f"{self.diverged.sum():,}",
            "median loss": f"{np.median(alive):.4g}" if alive.size else "–",
        }

    @property
    def is_complete(self) -> bool:
        """Whether the last epoch of the setting is reached."""
        return self.epoch >= self.settings.epochs

    def select(self, at: slice) -> TrainingResult:
        """The networks at the positions ``at``; the arrays are views."""
        history = self.history
        parts: dict[str, Any] = {name: getattr(self, name)[at] for name in _PER_NETWORK}
        return replace(
            self,
            network=self.network.select(at),
            velocities=None if self.velocities is None else self.velocities.select(at),
            history=History(history.epochs, history.loss[:, at], history.accuracy[:, at]),
            **parts,
        )


def concatenate(results: Sequence[TrainingResult]) -> TrainingResult:
    """Join results at the same epoch, in the given order; the arrays are copies, the settings those of the first."""
    velocities = [result.velocities for result in results if result.velocities is not None]
    histories = [result.history for result in results]
    joined: dict[str, Any] = {name: np.concatenate([getattr(r, name) for r in results]) for name in _PER_NETWORK}
    return replace(
        results[0],
        network=_joined([result.network for result in results]),
        velocities=_joined(velocities) if velocities else None,
        history=History(
            histories[0].epochs,
            np.concatenate([history.loss for history in histories], axis=1),
            np.concatenate([history.accuracy for history in histories], axis=1),
        ),
        **joined,
    )


def _joined(networks: Sequence[Network]) -> Network:
    return networks[0].with_weights(*map(np.concatenate, zip(*(part.weights for part in networks), strict=True)))
