"""Training: settings in, trained networks out, by batched full-batch gradient descent.

Axes: R networks, H hidden, N inputs, M samples, T recorded epochs.

`start` and `advance` are pure: a result goes in, another comes out. A training that is interrupted at any epoch and
continued ends with the same bits. A network's result depends on its settings and its index alone, regardless of the
networks beside which it is trained.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnexp.errors import UsageError
from nnexp.network import initializers
from nnexp.network.model import WEIGHTS, Network, encode
from nnexp.network.settings import Settings
from nnexp.training import lanes
from nnexp.training.lanes import Networks
from nnexp.training.tile import Array, Problem, Weights

HISTORY_POINTS = 24
"""Recorded epochs of a training, log-spaced; each is a row of metrics in the tracking store, which takes at most 64."""

#: The fields of a `TrainingResult` with one value per network.
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
        loss, accuracy: (T, R). A network that stopped keeps its last value; nan after divergence, and where training
            has not arrived yet.
    """

    epochs: NDArray[np.int64]
    loss: Array
    accuracy: Array


@dataclass(frozen=True, eq=False)
class TrainingResult:
    """R networks of one setting, trained to an epoch; plain arrays, so that it can be sent between processes.

    Attributes:
        settings: what they are trained with. index: (R,) the networks' numbers.
        epoch: to which all networks are trained that neither stopped nor diverged.
        network: the weights at that epoch, or where a network stopped.
        velocities: momentum's, in the shapes of the weights; None without momentum, and after the last epoch.
        stopped: (R,) met the setting's ``stop``. diverged: (R,) had a weight or logit that is not finite.
        epochs_to_correct, epochs_to_solve: (R,) updates after which it first held, nan while it never did.
        epochs_trained: (R,) updates taken.
        loss, accuracy: (R,) at these weights, nan for the diverged, and before the first epoch.
        history: what was recorded on the way.
    """

    settings: Settings
    index: NDArray[np.int64]
    epoch: int
    network: Network
    velocities: Weights | None
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

    @property
    def is_complete(self) -> bool:
        """Whether the last epoch is reached."""
        return self.epoch >= self.settings.epochs


def recorded_epochs(epochs: int) -> NDArray[np.int64]:
    """The epochs at which a training of ``epochs`` updates is recorded: 0, then log-spaced to the last (T,)."""
    return np.unique(np.concatenate([[0], np.geomspace(1, epochs, HISTORY_POINTS - 1).round()])).astype(np.int64)


def train(
    settings: Settings, initial: Network | None = None, *, index: Sequence[int] | NDArray[np.integer] | None = None
) -> TrainingResult:
    """Train a setting's networks to the end.

    Args:
        settings: what to train.
        initial: start from these R networks instead of drawing; the result's settings have ``seeds`` = R.
        index: the networks' numbers; by default 0 to ``seeds`` - 1.

    Raises:
        UsageError: ``initial`` does not have the settings' shape, activation or encoding, or as many networks as
            ``index``.
    """
    return advance([start(settings, index, initial)], settings.epochs)[0]


def start(
    settings: Settings, index: Sequence[int] | NDArray[np.integer] | None = None, initial: Network | None = None
) -> TrainingResult:
    """The untrained networks, at epoch 0; see `train` for the arguments."""
    if initial is not None:
        settings = settings.replace(seeds=len(initial))
    numbers = np.array(range(settings.seeds) if index is None else index, np.int64)
    network = initializers.draw(settings, numbers) if initial is None else _given(settings, initial)
    R = len(numbers)
    if len(network) != R:
        raise UsageError(f"initial: {len(network)} networks, expected {R}, one for each number in index")
    epochs = recorded_epochs(settings.epochs)

    def unknown(*shape: int) -> Array:
        return np.full(shape, np.nan)

    W1, b1, W2, b2 = map(np.zeros_like, network.weights)
    return TrainingResult(
        settings=settings,
        index=numbers,
        epoch=0,
        network=network,
        velocities=(W1, b1, W2, b2) if settings.momentum else None,
        stopped=np.zeros(R, bool),
        diverged=np.zeros(R, bool),
        epochs_to_correct=unknown(R),
        epochs_to_solve=unknown(R),
        epochs_trained=np.zeros(R, np.int64),
        loss=unknown(R),
        accuracy=unknown(R),
        history=History(epochs, unknown(len(epochs), R), unknown(len(epochs), R)),
    )


def advance(trainings: Sequence[TrainingResult], until: int) -> list[TrainingResult]:
    """Train networks of several settings to epoch ``until``, or to their last epoch, each network to its stop at most.

    Settings of one shape (task, encoding, hidden size, activation, loss, dtype, stop, epochs, with or without momentum)
    at one epoch are trained side by side; learning rates, momenta and initial weights are each network's own.

    Args:
        trainings: where each begins; they are not changed.
        until: updates after which to end.

    Returns:
        The new results, in the order of ``trainings``.
    """
    results = list(trainings)
    groups: dict[tuple[object, ...], list[int]] = {}
    for i, training in enumerate(trainings):
        end = min(until, training.settings.epochs)
        if end > training.epoch or np.isnan(training.loss[~training.diverged]).any():
            groups.setdefault(_shape(training), []).append(i)
    for members in groups.values():
        parts = [results[i] for i in members]
        settings, epoch = parts[0].settings, parts[0].epoch
        end = max(min(until, settings.epochs), epoch)
        networks = _join(parts)
        lanes.advance(_problem(settings), networks, epoch, end, settings.epochs)
        for i, part in zip(members, _split(parts, networks, end), strict=True):
            results[i] = part
    return results


def concatenate(results: Sequence[TrainingResult]) -> TrainingResult:
    """Results of one setting's networks that were trained in parts to one epoch, joined in the order given."""
    first = results[0]
    velocities = [part.velocities for part in results if part.velocities is not None]
    joined: dict[str, Any] = {name: np.concatenate([getattr(part, name) for part in results]) for name in _PER_NETWORK}
    return replace(
        first,
        network=first.network.with_weights(*_concatenate([part.network.weights for part in results])),
        velocities=_concatenate(velocities) if velocities else None,
        history=_join_histories(results),
        **joined,
    )


def _shape(training: TrainingResult) -> tuple[object, ...]:
    """What networks that are trained side by side have in common."""
    s = training.settings
    return (
        *(s.task, s.encoding, s.hidden_size, s.activation, s.loss, s.dtype, s.stop, s.epochs, s.momentum > 0),
        training.epoch,
    )


def _problem(settings: Settings) -> Problem:
    X, Y = encode(settings.truth_table, settings.encoding)
    s = settings
    return Problem(X, Y, s.hidden_size, s.activation, s.loss, s.dtype, s.stop, s.momentum > 0)


def _given(settings: Settings, initial: Network) -> Network:
    """``initial`` in the settings' dtype, after a check that it has their shapes, activation and encoding."""
    for name in ("activation", "encoding"):
        found, expected = getattr(initial, name), getattr(settings, name)
        if found != expected:
            raise UsageError(f"initial.{name} = {found!r}: expected {expected!r}, as the settings have it")
    R, H, N = len(initial), settings.hidden_size, settings.truth_table.n_inputs
    for name, array, shape in zip(WEIGHTS, initial.weights, ((R, H, N), (R, H), (R, H), (R,)), strict=True):
        if array.shape != shape:
            raise UsageError(
                f"initial.{name}: shape {array.shape}, expected {shape} for task {settings.task} with {H} hidden"
            )
    with np.errstate(over="ignore", under="ignore"):
        return initial.astype(settings.dtype)


def _concatenate(parts: Sequence[Weights]) -> Weights:
    W1, b1, W2, b2 = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return W1, b1, W2, b2


def _join_histories(parts: Sequence[TrainingResult]) -> History:
    loss, accuracy = (
        np.concatenate([getattr(part.history, name) for part in parts], axis=1) for name in ("loss", "accuracy")
    )
    return History(parts[0].history.epochs, loss, accuracy)


def _join(parts: Sequence[TrainingResult]) -> Networks:
    """All networks of some trainings of one shape, copied, one after the other."""
    sizes = [len(part) for part in parts]

    def joined(name: str) -> Array:
        return np.concatenate([getattr(part, name) for part in parts])

    def each(name: str) -> Array:
        return np.repeat([getattr(part.settings, name) for part in parts], sizes).astype(np.float64)

    velocities = [part.velocities for part in parts if part.velocities is not None]
    history = _join_histories(parts)
    return Networks(
        weights=_concatenate([part.network.weights for part in parts]),
        velocities=_concatenate(velocities) if velocities else None,
        rate=each("learning_rate"),
        momentum=each("momentum"),
        stopped=joined("stopped"),
        diverged=joined("diverged"),
        to_correct=joined("epochs_to_correct"),
        to_solve=joined("epochs_to_solve"),
        trained=joined("epochs_trained"),
        loss=joined("loss"),
        accuracy=joined("accuracy"),
        recorded=history.epochs,
        loss_history=history.loss,
        accuracy_history=history.accuracy,
    )


def _split(parts: Sequence[TrainingResult], networks: Networks, epoch: int) -> Iterator[TrainingResult]:
    """The results after ``networks``, which joined them, were trained to ``epoch``."""
    ended = (networks.recorded[:, None] > networks.trained) & networks.stopped
    loss = np.where(ended, networks.loss, networks.loss_history)
    accuracy = np.where(ended, networks.accuracy, networks.accuracy_history)
    begin = 0
    for part in parts:
        at = slice(begin, begin + len(part))
        begin = at.stop
        is_last = epoch >= part.settings.epochs
        yield replace(
            part,
            epoch=epoch,
            network=part.network.with_weights(*_cut(networks.weights, at)),
            velocities=None if networks.velocities is None or is_last else _cut(networks.velocities, at),
            stopped=networks.stopped[at],
            diverged=networks.diverged[at],
            epochs_to_correct=networks.to_correct[at],
            epochs_to_solve=networks.to_solve[at],
            epochs_trained=networks.trained[at],
            loss=networks.loss[at],
            accuracy=networks.accuracy[at],
            history=History(networks.recorded, loss[:, at], accuracy[:, at]),
        )


def _cut(weights: Weights, at: slice) -> Weights:
    W1, b1, W2, b2 = (array[at] for array in weights)
    return W1, b1, W2, b2
