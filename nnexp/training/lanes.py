"""Only the living are trained: networks enter a tile as lanes fall free, and leave it as they stop (floor 2).

Axes: R networks, H hidden, N inputs, T recorded epochs.

A network's own epoch decides everything that happens to it: where it is recorded, and when it is looked at for
divergence. So a training is cut at multiples of `STEPS`, which every network meets at block ends in any company.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from nnexp.training.hidden_layer import LANES
from nnexp.training.tile import CONFIDENT, SOLVED, Array, Problem, Tile, Weights, numeric_mode

STEPS = 32
"""Updates between two looks at who met the stop, first was correct or solved, or diverged."""

_REFILL = 8
"""Waiting networks enter when one lane in so many is free."""
_NARROW = 0.95
"""A tile is narrowed when this part of it holds all that are left."""


@dataclass(eq=False)
class Networks:
    """R networks of one problem at one epoch, from one or many settings, trained in place.

    Attributes:
        weights, velocities: W1 (R, H, N), b1 (R, H), W2 (R, H), b2 (R,).
        rate, momentum: (R,) each network's own.
        stopped, diverged: (R,) bool. to_correct, to_solve: (R,) epochs, nan while it never was.
        trained: (R,) updates taken. loss, accuracy: (R,) at the last look.
        recorded: (T,) epochs. loss_history, accuracy_history: (T, R), nan where not reached.
    """

    weights: Weights
    velocities: Weights | None
    rate: Array
    momentum: Array
    stopped: NDArray[np.bool_]
    diverged: NDArray[np.bool_]
    to_correct: Array
    to_solve: Array
    trained: NDArray[np.int64]
    loss: Array
    accuracy: Array
    recorded: NDArray[np.int64]
    loss_history: Array
    accuracy_history: Array


def advance(problem: Problem, networks: Networks, epoch: int, until: int, last: int) -> None:
    """Train ``networks`` in place from ``epoch`` to ``until``, each to its stop at most, and look at them there.

    Args:
        problem: what the networks have in common.
        networks: all at ``epoch``.
        epoch: the common epoch.
        until: where to end.
        last: the last epoch of the whole training: divergence is looked for there, and at multiples of `STEPS`.
    """
    aligned = min(-(-epoch // STEPS) * STEPS, until)
    body = max(until // STEPS * STEPS, aligned)
    with numeric_mode():
        for begin, end in ((epoch, aligned), (aligned, body), (body, until)):
            if end > begin:
                _Pass(problem, networks, begin, end, judges=end % STEPS == 0).run()
        _Pass(problem, networks, until, until, judges=until == last).run()


class _Pass:
    """All living networks taken from one epoch to another, in blocks of equal length, through one tile.

    With equal epochs it is a look: one forward pass that fills in loss, accuracy and what was reached.
    """

    def __init__(self, problem: Problem, networks: Networks, begin: int, end: int, judges: bool) -> None:
        self.networks, self.stop = networks, problem.stop
        self.begin, self.end, self.is_look, self.judges = begin, end, begin == end, judges
        self.steps = max(min(STEPS, end - begin), 1)
        self.waiting = np.flatnonzero(~(networks.stopped | networks.diverged))
        self.one_width = problem.one_width
        width = problem.max_width
        if not self.one_width:  # tiles of equal width: a last one that is nearly empty costs as much as the others
            count = max(len(self.waiting), 1)
            width = _lanes(-(-count // -(-count // width)))
        self.tile = Tile(problem, width, self.steps)
        self.who = np.full(width, -1)
        self.epoch = np.zeros(width, np.int64)

    def run(self) -> None:
        """Train until nobody waits and nobody is left."""
        self._fill()
        while (self.who >= 0).any():
            self.tile.run(self.steps, {} if self.is_look else self._watches())
            self._note_firsts()
            self._leave()
            if len(self.waiting):
                if np.count_nonzero(self.who < 0) * _REFILL >= self.tile.width:
                    self._fill()
            elif not self.one_width:
                self._narrow()

    def _fill(self) -> None:
        free = np.flatnonzero(self.who < 0)
        entering, self.waiting = self.waiting[: len(free)], self.waiting[len(free) :]
        lanes, nets = free[: len(entering)], self.networks
        weights = _rows(nets.weights, entering)
        velocities = None if nets.velocities is None else _rows(nets.velocities, entering)
        rate, momentum = (np.zeros(len(entering)) if self.is_look else x[entering] for x in (nets.rate, nets.momentum))
        self.tile.load(lanes, weights, velocities, rate, momentum)
        self.who[lanes], self.epoch[lanes] = entering, self.begin

    def _narrow(self) -> None:
        alive = np.flatnonzero(self.who >= 0)
        width = _lanes(len(alive))
        if 0 < width <= _NARROW * self.tile.width:
            self.tile.narrow(alive, width)
            who, epoch = self.who[alive], self.epoch[alive]
            self.who, self.epoch = np.full(width, -1), np.zeros(width, np.int64)
            self.who[: len(alive)], self.epoch[: len(alive)] = who, epoch

    def _watches(self) -> dict[int, Callable[[], None]]:
        """For each step at which some lanes' own epoch is a recorded one: what to do there."""
        due: dict[int, list[tuple[int, NDArray[np.intp]]]] = {}
        recorded, used = self.networks.recorded, self.who >= 0
        for epoch in np.unique(self.epoch[used]):
            first, after = np.searchsorted(recorded, (epoch, epoch + self.steps))
            for t in range(first, after):
                lanes = np.flatnonzero(used & (self.epoch == epoch))
                due.setdefault(int(recorded[t] - epoch), []).append((t, lanes))
        return {step: partial(self._record, at) for step, at in due.items()}

    def _record(self, at: list[tuple[int, NDArray[np.intp]]]) -> None:
        loss, accuracy = self.tile.losses()
        for t, lanes in at:
            self.networks.loss_history[t, self.who[lanes]] = loss[lanes]
            self.networks.accuracy_history[t, self.who[lanes]] = accuracy[lanes]

    def _note_firsts(self) -> None:
        """Find the first steps of this block at which networks were correct and solved for the first time."""
        worst, product, nets = self.tile.worst[: self.steps], self.tile.product[: self.steps], self.networks
        hopeful = np.flatnonzero((self.who >= 0) & (worst.max(axis=0) > 0))
        hopeful = hopeful[np.isnan(nets.to_solve[self.who[hopeful]])]
        if len(hopeful) == 0:
            return
        who, epoch = self.who[hopeful], self.epoch[hopeful]
        correct = worst[:, hopeful] > 0
        new = np.isnan(nets.to_correct[who])
        nets.to_correct[who[new]] = (epoch + correct.argmax(axis=0))[new]
        solved = correct & (product[:, hopeful] > SOLVED)
        new = solved.any(axis=0)
        nets.to_solve[who[new]] = (epoch + solved.argmax(axis=0))[new]

    def _leave(self) -> None:
        """Send away who met the stop, diverged or arrived."""
        tile, nets, used = self.tile, self.networks, self.who >= 0
        frozen = tile.frozen & used
        bad = used & ~tile.finite() if self.judges else np.zeros_like(used)
        stop_epoch = self.epoch + self._stop_step() if frozen.any() else self.epoch
        if not self.is_look:
            self.epoch[used] += self.steps
        arrived = used & (self.epoch >= self.end)
        lanes = np.flatnonzero(frozen | bad | arrived)
        if len(lanes) == 0:
            return
        who = self.who[lanes]
        if not self.is_look:
            weights, velocities = tile.unload(lanes)
            _put(nets.weights, who, weights)
            if nets.velocities is not None and velocities is not None:
                _put(nets.velocities, who, velocities)
        nets.trained[who] = np.where(frozen, stop_epoch, self.epoch)[lanes]
        nets.stopped[who], nets.diverged[who] = frozen[lanes], bad[lanes]
        if self.is_look or frozen.any():
            known = np.flatnonzero(used if self.is_look else frozen)
            loss, accuracy = (each[known] for each in tile.losses())
            nets.loss[self.who[known]], nets.accuracy[self.who[known]] = loss, accuracy
            for t in np.flatnonzero(nets.recorded == self.end) if self.is_look else ():
                nets.loss_history[t, self.who[known]], nets.accuracy_history[t, self.who[known]] = loss, accuracy
        lost = self.who[bad]
        nets.loss[lost] = nets.accuracy[lost] = np.nan
        tile.clear(lanes)
        tile.frozen[lanes] = False
        self.who[lanes] = -1

    def _stop_step(self) -> Array:
        """The step at which each lane first met its stop; of meaning where it is frozen."""
        worst: Array = self.tile.worst[: self.steps]
        met: Array = worst > (worst.dtype.type(CONFIDENT) if self.stop == "confident" else 0)
        if self.stop == "solved":
            met &= self.tile.product[: self.steps] > SOLVED
        first: Array = met.argmax(axis=0)
        return first


def _lanes(count: int) -> int:
    return -(-count // LANES) * LANES


def _rows(values: Weights, index: NDArray[np.intp]) -> Weights:
    W1, b1, W2, b2 = (part[index] for part in values)
    return W1, b1, W2, b2


def _put(place: Weights, index: NDArray[np.intp], values: Weights) -> None:
    for part, new in zip(place, values, strict=True):
        part[index] = new
