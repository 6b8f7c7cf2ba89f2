"""Training: settings and seeds in, networks out; batched full-batch gradient descent (floor 2).

Axes: R networks, H hidden, N inputs, M samples, T recorded epochs.

`start`, `advance` and `result` are pure: a state goes in, another comes out; a training cut at any epoch and gone on
with gives the same bits. A network's result depends on its settings and its own number alone, whatever its company.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnexp.errors import UsageError
from nnexp.network import initializers
from nnexp.network.model import Parameters, encode
from nnexp.network.settings import Settings
from nnexp.training import lanes
from nnexp.training.lanes import Networks
from nnexp.training.tile import Array, Problem

HISTORY_POINTS = 24
"""Recorded epochs of a training, log-spaced; each is a row of metrics in the tracking store, which takes at most 64."""


_EACH_NETWORK = ("index", "loss", "accuracy", "epochs_to_correct", "epochs_to_solve", "epochs_trained", "diverged")


@dataclass(frozen=True, eq=False)
class History:
    """What was recorded on the way.

    Attributes:
        epochs: (T,) updates taken, from 0 to the last epoch.
        loss, accuracy: (T, R). A network that stopped keeps its last value; nan after divergence, and not yet reached.
    """

    epochs: NDArray[np.int64]
    loss: Array
    accuracy: Array


@dataclass(frozen=True, eq=False)
class State:
    """R networks of one setting in the middle of their training; plain arrays, so that it travels between processes.

    Attributes:
        index: (R,) the networks' numbers. epoch: up to which the living are trained.
        parameters: the weights. velocity: the same shapes, None without momentum.
        stopped: (R,) met the setting's ``stop``. diverged: (R,) had a weight or logit that is not finite.
        epochs_to_correct, epochs_to_solve: (R,) updates, nan while it never was. epochs_trained: (R,) updates taken.
        loss, accuracy: (R,) at the last epoch trained. history: recorded so far, nan where not reached.
    """

    index: NDArray[np.int64]
    epoch: int
    parameters: Parameters
    velocity: Parameters | None
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


@dataclass(frozen=True, eq=False)
class TrainingResult:
    """R trained networks; every array has a value a network.

    Attributes:
        settings: what they were trained with. index: (R,) the networks' numbers. parameters: the last weights.
        loss, accuracy: (R,) at the last weights, nan for the diverged.
        epochs_to_correct, epochs_to_solve: (R,) updates after which it first held, nan when it never did.
        epochs_trained: (R,) updates taken. diverged: (R,) bool. history: what was recorded on the way.
    """

    settings: Settings
    index: NDArray[np.int64]
    parameters: Parameters
    loss: Array
    accuracy: Array
    epochs_to_correct: Array
    epochs_to_solve: Array
    epochs_trained: NDArray[np.int64]
    diverged: NDArray[np.bool_]
    history: History

    def __len__(self) -> int:
        return len(self.index)


def recorded_epochs(epochs: int) -> NDArray[np.int64]:
    """The epochs at which a training of ``epochs`` updates is recorded: 0, then log-spaced to the last (T,)."""
    return np.unique(np.concatenate([[0], np.geomspace(1, epochs, HISTORY_POINTS - 1).round()])).astype(np.int64)


def train(
    settings: Settings, initial: Parameters | None = None, *, index: Sequence[int] | NDArray[np.integer] | None = None
) -> TrainingResult:
    """Train a setting's networks to the end.

    Args:
        settings: what to train.
        initial: start from these R networks instead of drawing.
        index: the networks' numbers; by default 0 to ``seeds`` - 1, or to R - 1 with ``initial``.

    Raises:
        UsageError: ``initial`` has other shapes than the settings, or than ``index``.
    """
    state = start(settings, index, initial)
    return result(settings, advance([(settings, state)], settings.epochs)[0])


def start(
    settings: Settings, index: Sequence[int] | NDArray[np.integer] | None = None, initial: Parameters | None = None
) -> State:
    """The state at epoch 0; see `train` for the arguments."""
    if index is None:
        index = range(settings.seeds if initial is None else len(initial))
    numbers = np.array(index, np.int64)
    parameters = initializers.draw(settings, numbers) if initial is None else _given(settings, initial)
    R = len(numbers)
    if len(parameters) != R:
        raise UsageError(f"initial: {len(parameters)} networks, expected {R}, one for each number in index")
    epochs = recorded_epochs(settings.epochs)

    def unknown(*shape: int) -> Array:
        return np.full(shape, np.nan)

    return State(
        index=numbers,
        epoch=0,
        parameters=parameters,
        velocity=_zeros_like(parameters) if settings.momentum else None,
        stopped=np.zeros(R, bool),
        diverged=np.zeros(R, bool),
        epochs_to_correct=unknown(R),
        epochs_to_solve=unknown(R),
        epochs_trained=np.zeros(R, np.int64),
        loss=unknown(R),
        accuracy=unknown(R),
        history=History(epochs, unknown(len(epochs), R), unknown(len(epochs), R)),
    )


def advance(jobs: Sequence[tuple[Settings, State]], until: int) -> list[State]:
    """Train several settings to epoch ``until``, or to their last epoch, each network to its stop at most.

    Settings of one shape (task, encoding, hidden size, activation, loss, dtype, stop, epochs, with or without momentum)
    at one epoch are trained side by side; learning rates, momenta and initial weights are each network's own.

    Args:
        jobs: settings with their states, which stay as they are.
        until: updates after which to end.

    Returns:
        The new states, in the order of ``jobs``.
    """
    states = [state for _, state in jobs]
    groups: dict[tuple[object, ...], list[int]] = {}
    for i, (settings, state) in enumerate(jobs):
        end = min(until, settings.epochs)
        if end > state.epoch or np.isnan(state.loss[~state.diverged]).any():
            groups.setdefault(_shape(settings, state), []).append(i)
    for members in groups.values():
        settings, first = jobs[members[0]]
        end = max(min(until, settings.epochs), first.epoch)
        networks = _join([jobs[i] for i in members])
        lanes.advance(_problem(settings), networks, first.epoch, end, settings.epochs)
        for i, state in zip(members, _split([states[i] for i in members], networks, end), strict=True):
            states[i] = state
    return states


def result(settings: Settings, state: State) -> TrainingResult:
    """What a training has come to, at its end or at the epoch that it was advanced to."""
    history, trained, ended = state.history, state.epochs_trained, state.stopped
    after = (history.epochs[:, None] > trained) & ended
    return TrainingResult(
        settings=settings,
        index=state.index,
        parameters=state.parameters,
        loss=state.loss,
        accuracy=state.accuracy,
        epochs_to_correct=state.epochs_to_correct,
        epochs_to_solve=state.epochs_to_solve,
        epochs_trained=trained,
        diverged=state.diverged,
        history=History(
            history.epochs,
            np.where(after, state.loss, history.loss),
            np.where(after, state.accuracy, history.accuracy),
        ),
    )


def concatenate(results: Sequence[TrainingResult]) -> TrainingResult:
    """Results of one setting's networks that were trained in parts, put together in the order given."""
    first = results[0]
    joined = {name: np.concatenate([getattr(part, name) for part in results]) for name in _EACH_NETWORK}
    return TrainingResult(
        settings=first.settings,
        parameters=_concatenate([part.parameters for part in results]),
        history=History(
            first.history.epochs,
            np.concatenate([part.history.loss for part in results], axis=1),
            np.concatenate([part.history.accuracy for part in results], axis=1),
        ),
        **joined,
    )


def _shape(settings: Settings, state: State) -> tuple[object, ...]:
    """What networks that are trained side by side have in common."""
    s = settings
    return (
        *(s.task, s.encoding, s.hidden_size, s.activation, s.loss, s.dtype, s.stop, s.epochs, s.momentum > 0),
        state.epoch,
    )


def _problem(settings: Settings) -> Problem:
    X, Y = encode(settings.truth_table, settings.encoding)
    s = settings
    return Problem(X, Y, s.hidden_size, s.activation, s.loss, s.dtype, s.stop, s.momentum > 0)


def _given(settings: Settings, initial: Parameters) -> Parameters:
    """``initial`` in the settings' dtype, if its shapes are theirs."""
    R, H, N = len(initial), settings.hidden_size, settings.truth_table.n_inputs
    wanted = {"W1": (R, H, N), "b1": (R, H), "W2": (R, H), "b2": (R,)}
    for name, shape in wanted.items():
        found = getattr(initial, name).shape
        if found != shape:
            raise UsageError(
                f"initial.{name}: shape {found}, expected {shape} for task {settings.task} with {H} hidden"
            )
    with np.errstate(over="ignore", under="ignore"):
        return Parameters(**{name: getattr(initial, name).astype(settings.dtype) for name in wanted})


def _concatenate(parameters: Sequence[Parameters]) -> Parameters:
    """All networks of some parameters, one after the other."""
    return Parameters(*(np.concatenate(parts) for parts in zip(*map(_parts, parameters), strict=True)))


def _zeros_like(parameters: Parameters) -> Parameters:
    return Parameters(*map(np.zeros_like, _parts(parameters)))


def _parts(parameters: Parameters) -> tuple[Array, Array, Array, Array]:
    return parameters.W1, parameters.b1, parameters.W2, parameters.b2


def _join(jobs: Sequence[tuple[Settings, State]]) -> Networks:
    """All networks of some jobs of one shape, copied, one after the other."""
    states = [state for _, state in jobs]
    sizes = [len(state) for state in states]

    def joined(name: str) -> Array:
        return np.concatenate([getattr(state, name) for state in states])

    def each(name: str) -> Array:
        return np.repeat([getattr(settings, name) for settings, _ in jobs], sizes).astype(np.float64)

    velocities = [state.velocity for state in states if state.velocity is not None]
    return Networks(
        weights=_parts(_concatenate([state.parameters for state in states])),
        velocities=_parts(_concatenate(velocities)) if velocities else None,
        rate=each("learning_rate"),
        momentum=each("momentum"),
        stopped=joined("stopped"),
        diverged=joined("diverged"),
        to_correct=joined("epochs_to_correct"),
        to_solve=joined("epochs_to_solve"),
        trained=joined("epochs_trained"),
        loss=joined("loss"),
        accuracy=joined("accuracy"),
        recorded=states[0].history.epochs,
        loss_history=np.concatenate([state.history.loss for state in states], axis=1),
        accuracy_history=np.concatenate([state.history.accuracy for state in states], axis=1),
    )


def _split(states: Sequence[State], networks: Networks, epoch: int) -> Iterator[State]:
    """The states after ``networks``, which joined them, were trained to ``epoch``."""
    parameters = Parameters(*networks.weights)
    velocity = None if networks.velocities is None else Parameters(*networks.velocities)
    begin = 0
    for state in states:
        at = slice(begin, begin + len(state))
        begin = at.stop
        yield State(
            index=state.index,
            epoch=epoch,
            parameters=parameters.select(at),
            velocity=None if velocity is None else velocity.select(at),
            stopped=networks.stopped[at],
            diverged=networks.diverged[at],
            epochs_to_correct=networks.to_correct[at],
            epochs_to_solve=networks.to_solve[at],
            epochs_trained=networks.trained[at],
            loss=networks.loss[at],
            accuracy=networks.accuracy[at],
            history=History(networks.recorded, networks.loss_history[:, at], networks.accuracy_history[:, at]),
        )
