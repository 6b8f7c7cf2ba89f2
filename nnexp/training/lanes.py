"""The scheduler of a tile: networks enter it as lanes become free, and leave it when they stop.

Axes: R networks, T recorded epochs.

When a network is recorded, and when it is checked for divergence, depends only on its own epoch. So training proceeds
in blocks that end at multiples of `CHECK_INTERVAL`: every network is at such an epoch at the end of a block, regardless
of the other networks.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from nnexp.training.hidden_layer import LANE_MULTIPLE, Array
from nnexp.training.result import TrainingResult
from nnexp.training.tile import CONFIDENT_MARGIN, SOLVED_PRODUCT, Problem, Tile, numeric_mode

CHECK_INTERVAL = 32
"""Epochs between two checks for networks that met the stop, were first correct or solved, or diverged."""

_REFILL = 8
"""Waiting networks enter a tile when at least one of this many lanes is free."""
_NARROW = 0.95
"""A tile becomes narrower when its last networks fit into this share of its width."""


def advance(problem: Problem, networks: TrainingResult, rate: Array, momentum: Array, until: int) -> None:
    """Train networks from their common epoch to ``until``, each to its stop at most, and evaluate them there.

    Args:
        problem: what the networks have in common; they may belong to several settings.
        networks: their arrays are changed in place, except the history after a stop.
        rate: (R,) learning rates.
        momentum: (R,).
        until: the epoch at which to end. Divergence is checked at the last epoch of the settings and at multiples of
            `CHECK_INTERVAL`.
    """
    epoch = networks.epoch
    aligned = min(-(-epoch // CHECK_INTERVAL) * CHECK_INTERVAL, until)
    body = max(until // CHECK_INTERVAL * CHECK_INTERVAL, aligned)
    with numeric_mode():
        for begin, end in ((epoch, aligned), (aligned, body), (body, until)):
            if end > begin:
                _Scheduler(problem, networks, rate, momentum, begin, end).run(end % CHECK_INTERVAL == 0)
        _Scheduler(problem, networks, rate, momentum, until, until).run(until == networks.settings.epochs)


class _Scheduler:
    """Trains all active networks from epoch ``begin`` to ``end``, in blocks of equal length, in one tile.

    If the two are equal, it evaluates them: one forward pass sets loss, accuracy, and the epochs of first success.

    Attributes:
        waiting: the positions of the networks that have not entered the tile yet.
        occupant: (width,) the position of the network in each lane, -1 in a free lane.
        epoch: (width,) the epoch of each lane's network.
    """

    def __init__(
        self, problem: Problem, networks: TrainingResult, rate: Array, momentum: Array, begin: int, end: int
    ) -> None:
        self.networks, self.rate, self.momentum, self.stop = networks, rate, momentum, problem.stop
        self.begin, self.end, self.evaluates = begin, end, begin == end
        self.steps = max(min(CHECK_INTERVAL, end - begin), 1)
        self.waiting = np.flatnonzero(~(networks.stopped | networks.diverged))
        self.one_width = problem.one_width
        width = problem.max_width
        if not self.one_width:
            # tiles of equal width, since a last tile that is nearly empty costs as much as a full one
            count = max(len(self.waiting), 1)
            width = _whole_width(-(-count // -(-count // width)))
        self.tile = Tile(problem, width, self.steps)
        self.occupant = np.full(width, -1)
        self.epoch = np.zeros(width, np.int64)

    def run(self, checks_divergence: bool) -> None:
        """Work until no network waits and all lanes are free."""
        self._fill()
        while (self.occupant >= 0).any():
            self.tile.run(self.steps, {} if self.evaluates else self._recordings())
            self._note_first_epochs()
            self._remove_finished(checks_divergence)
            if len(self.waiting):
                if np.count_nonzero(self.occupant < 0) * _REFILL >= self.tile.width:
                    self._fill()
            elif not self.one_width:
                self._narrow()

    def _fill(self) -> None:
        """Put waiting networks into the free lanes."""
        free = np.flatnonzero(self.occupant < 0)
        entering, self.waiting = self.waiting[: len(free)], self.waiting[len(free) :]
        lanes = free[: len(entering)]
        self.tile.load(lanes, self.networks.network, self.networks.velocities, entering)
        if not self.evaluates:
            self.tile.set_rates(lanes, self.rate[entering], self.momentum[entering])
        self.occupant[lanes], self.epoch[lanes] = entering, self.begin

    def _narrow(self) -> None:
        """Close the gaps between the lanes in use, where that makes the tile narrower."""
        used = np.flatnonzero(self.occupant >= 0)
        width = _whole_width(len(used))
        if 0 < width <= _NARROW * self.tile.width:
            self.tile.narrow(used, width)
            occupant, epoch = self.occupant[used], self.epoch[used]
            self.occupant, self.epoch = np.full(width, -1), np.zeros(width, np.int64)
            self.occupant[: len(used)], self.epoch[: len(used)] = occupant, epoch

    def _recordings(self) -> dict[int, Callable[[], None]]:
        """For each step of this block that is a recorded epoch of some lanes: a function that records them."""
        due: dict[int, list[tuple[int, NDArray[np.intp]]]] = {}
        recorded, used = self.networks.history.epochs, self.occupant >= 0
        for epoch in np.unique(self.epoch[used]):
            first, after = np.searchsorted(recorded, (epoch, epoch + self.steps))
            for t in range(first, after):
                lanes = np.flatnonzero(used & (self.epoch == epoch))
                due.setdefault(int(recorded[t] - epoch), []).append((t, lanes))
        return {step: partial(self._record, at) for step, at in due.items()}

    def _record(self, at: list[tuple[int, NDArray[np.intp]]]) -> None:
        loss, accuracy = self.tile.losses()
        history = self.networks.history
        for t, lanes in at:
            history.loss[t, self.occupant[lanes]] = loss[lanes]
            history.accuracy[t, self.occupant[lanes]] = accuracy[lanes]

    def _note_first_epochs(self) -> None:
        """Find the first steps of this block at which networks were correct and solved for the first time."""
        margin, product = self.tile.least_margin[: self.steps], self.tile.product[: self.steps]
        to_correct, to_solve = self.networks.epochs_to_correct, self.networks.epochs_to_solve
        lanes = np.flatnonzero((self.occupant >= 0) & (margin.max(axis=0) > 0))
        lanes = lanes[np.isnan(to_solve[self.occupant[lanes]])]
        if len(lanes) == 0:
            return
        occupant, epoch = self.occupant[lanes], self.epoch[lanes]
        correct = margin[:, lanes] > 0
        new = np.isnan(to_correct[occupant])
        to_correct[occupant[new]] = (epoch + correct.argmax(axis=0))[new]
        solved = correct & (product[:, lanes] > SOLVED_PRODUCT)
        new = solved.any(axis=0)
        to_solve[occupant[new]] = (epoch + solved.argmax(axis=0))[new]

    def _remove_finished(self, checks_divergence: bool) -> None:
        """Free the lanes whose networks met the stop, diverged or reached the last epoch of this scheduler."""
        tile, networks, used = self.tile, self.networks, self.occupant >= 0
        frozen = tile.frozen & used
        diverged = used & ~tile.finite() if checks_divergence else np.zeros_like(used)
        stop_epoch = self.epoch + self._stop_step() if frozen.any() else self.epoch
        if not self.evaluates:
            self.epoch[used] += self.steps
        lanes = np.flatnonzero(frozen | diverged | (used & (self.epoch >= self.end)))
        if len(lanes) == 0:
            return
        leaving = self.occupant[lanes]
        if not self.evaluates:
            tile.unload(lanes, networks.network, networks.velocities, leaving)
        networks.epochs_trained[leaving] = np.where(frozen, stop_epoch, self.epoch)[lanes]
        networks.stopped[leaving], networks.diverged[leaving] = frozen[lanes], diverged[lanes]
        if self.evaluates or frozen.any():
            self._set_losses(np.flatnonzero(used if self.evaluates else frozen))
        lost = self.occupant[diverged]
        networks.loss[lost] = networks.accuracy[lost] = np.nan
        tile.clear(lanes)
        self.occupant[lanes] = -1

    def _set_losses(self, lanes: NDArray[np.intp]) -> None:
        """Set the loss and accuracy of networks, in the history too where they are evaluated at a recorded epoch."""
        loss, accuracy = (values[lanes] for values in self.tile.losses())
        networks, occupant = self.networks, self.occupant[lanes]
        networks.loss[occupant], networks.accuracy[occupant] = loss, accuracy
        for t in np.flatnonzero(networks.history.epochs == self.end) if self.evaluates else ():
            networks.history.loss[t, occupant], networks.history.accuracy[t, occupant] = loss, accuracy

    def _stop_step(self) -> Array:
        """The step of this block at which each lane first met the stop; meaningless for lanes that are not frozen."""
        margin: Array = self.tile.least_margin[: self.steps]
        met: Array = margin > (margin.dtype.type(CONFIDENT_MARGIN) if self.stop == "confident" else 0)
        if self.stop == "solved":
            met &= self.tile.product[: self.steps] > SOLVED_PRODUCT
        first: Array = met.argmax(axis=0)
        return first


def _whole_width(count: int) -> int:
    """The least width of a tile with ``count`` lanes."""
    return -(-count // LANE_MULTIPLE) * LANE_MULTIPLE
