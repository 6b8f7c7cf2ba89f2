"""Training the networks of settings by full-batch gradient descent.

Axes: R networks, H hidden units, N inputs, T recorded epochs.

`start` and `advance` do not change their arguments. Training that is interrupted at any epoch and continued ends with
the same bits. The result of a network depends only on its settings and its number, not on the networks trained with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from nnexp.errors import UsageError
from nnexp.network import initializers
from nnexp.network.model import WEIGHTS, Array, Network, encode
from nnexp.network.settings import Settings
from nnexp.training import lanes
from nnexp.training.result import History, TrainingResult, concatenate
from nnexp.training.tile import Problem

HISTORY_POINTS = 24
"""At most this many epochs of a training are recorded, since each adds rows to the tracking store."""


def recorded_epochs(epochs: int) -> NDArray[np.int64]:
    """(T,) the epochs at which a training of ``epochs`` updates is recorded: 0, then log-spaced up to the last."""
    return np.unique(np.concatenate([[0], np.geomspace(1, epochs, HISTORY_POINTS - 1).round()])).astype(np.int64)


def train(
    settings: Settings, initial: Network | None = None, *, index: Sequence[int] | NDArray[np.integer] | None = None
) -> TrainingResult:
    """Train the networks of a setting to the end.

    Args:
        settings: what to train.
        initial: start from these R networks instead of drawn ones; the result's settings have ``seeds`` = R.
        index: the networks' numbers; by default 0 to ``seeds`` - 1.

    Raises:
        UsageError: ``initial`` does not have the shape, activation and encoding of the settings, or not as many
            networks as ``index``.
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
    R, epochs = len(numbers), recorded_epochs(settings.epochs)
    if len(network) != R:
        raise UsageError(f"initial: {len(network)} networks, expected {R}, one for each number in index")

    def unknown(*shape: int) -> Array:
        return np.full(shape, np.nan)

    return TrainingResult(
        settings=settings,
        index=numbers,
        epoch=0,
        network=network,
        velocities=network.with_weights(*map(np.zeros_like, network.weights)) if settings.momentum else None,
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
    """Train the networks of several settings to epoch ``until``, or to their last epoch, each to its stop at most.

    Settings that agree in task, encoding, hidden size, activation, loss, dtype, stop, epochs and the use of momentum,
    and are at the same epoch, are trained together. Learning rate, momentum and initial weights may differ.

    Args:
        trainings: the results to continue; they are not changed.
        until: the number of updates after which to end.

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
        for i, result in zip(members, _advance_together([trainings[i] for i in members], until), strict=True):
            results[i] = result
    return results


def _shape(training: TrainingResult) -> tuple[object, ...]:
    """What networks that are trained together have in common."""
    s = training.settings
    return (
        *(s.task, s.encoding, s.hidden_size, s.activation, s.loss, s.dtype, s.stop, s.epochs, s.momentum > 0),
        training.epoch,
    )


def _advance_together(trainings: Sequence[TrainingResult], until: int) -> list[TrainingResult]:
    """Advance trainings of equal `_shape`."""
    s, sizes = trainings[0].settings, [len(training) for training in trainings]
    networks = concatenate(trainings)
    rate, momentum = (
        np.repeat([getattr(training.settings, name) for training in trainings], sizes).astype(np.float64)
        for name in ("learning_rate", "momentum")
    )
    X, Y = encode(s.truth_table, s.encoding)
    problem = Problem(X, Y, s.hidden_size, s.activation, s.loss, s.dtype, s.stop, s.momentum > 0)
    end = max(min(until, s.epochs), networks.epoch)
    lanes.advance(problem, networks, rate, momentum, end)
    _keep_last_values(networks)
    networks = replace(networks, epoch=end, velocities=None if end == s.epochs else networks.velocities)
    results, begin = [], 0
    for training in trainings:
        results.append(replace(networks.select(slice(begin, begin + len(training))), settings=training.settings))
        begin += len(training)
    return results


def _keep_last_values(networks: TrainingResult) -> None:
    """Fill the history of stopped networks, from their stop on, with their last loss and accuracy."""
    history = networks.history
    after = networks.stopped & (history.epochs[:, None] > networks.epochs_trained)
    np.copyto(history.loss, networks.loss, where=after)
    np.copyto(history.accuracy, networks.accuracy, where=after)


def _given(settings: Settings, initial: Network) -> Network:
    """``initial`` in the settings' dtype, after a check that it has their shape, activation and encoding."""
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
