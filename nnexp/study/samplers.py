"""What a sweep tries next: the parameters of trial k.

``random``, ``qmc`` and ``grid`` are pure: trial k is a function of the sweep file and k alone, whoever asks, in
whatever order. ``tpe`` and ``nsga2`` are Optuna's and look at the trials so far; the trial's number seeds them, so
that workers draw different suggestions and one worker alone draws the same ones again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, NSGAIISampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial

from nnexp.search.space import Choice, FloatRange, IntRange
from nnexp.search.sweep_file import Sweep

Searched = Mapping[str, IntRange | FloatRange | Choice]
Params = dict[str, Any]

#: Which of a sweep's independent random streams is meant; a stream is named by (stream, …) under the sweep's seed.
_RANDOM, _QMC, _GRID, _HISTORY = range(4)


class PureSampler(Protocol):
    """Parameters as a function of the trial's number."""

    def params(self, number: int) -> Params:
        """The parameters of trial ``number``."""


def pure(sweep: Sweep) -> PureSampler | None:
    """The sampler of a sweep whose trials depend on their number alone; None for those that learn."""
    kinds: dict[str, type[Random | Sobol | Grid]] = {"random": Random, "qmc": Sobol, "grid": Grid}
    kind = kinds.get(sweep.sampler)
    return None if kind is None else kind(sweep.searched, sweep.seed)


class Random:
    """Independent draws: trial k from its own stream."""

    def __init__(self, space: Searched, seed: int) -> None:
        self._space, self._seed = space, seed

    def params(self, number: int) -> Params:
        """The parameters of trial ``number``."""
        return _from_cube(self._space, _stream(self._seed, _RANDOM, number).random(len(self._space)))


class Sobol:
    """Point k of a scrambled Sobol sequence over all dimensions, those of lists included."""

    def __init__(self, space: Searched, seed: int) -> None:
        from scipy.stats import qmc  # scipy.stats is slow to load, and few sweeps need it

        self._space = space
        # scipy named the argument seed before 1.15 and rng since; the scrambled sequence is the same.
        self._points = qmc.Sobol(max(len(space), 1), scramble=True, seed=_stream(seed, _QMC))

    def params(self, number: int) -> Params:
        """The parameters of trial ``number``."""
        if number < self._points.num_generated:
            self._points.reset()
        if number > self._points.num_generated:
            self._points.fast_forward(number - self._points.num_generated)
        return _from_cube(self._space, self._points.random(1)[0])


class Grid:
    """Every combination of the lists once, in an order shuffled by the seed: a grid cut short is still even."""

    def __init__(self, space: Searched, seed: int) -> None:
        self._lists: dict[str, Sequence[Any]] = {
            key: dim.values for key, dim in space.items() if isinstance(dim, Choice)
        }
        self._order = _stream(seed, _GRID).permutation(math.prod(map(len, self._lists.values())))

    def params(self, number: int) -> Params:
        """The parameters of trial ``number``."""
        rest = int(self._order[number])
        params: Params = {}
        for key, values in reversed(self._lists.items()):  # the last list turns fastest
            rest, i = divmod(rest, len(values))
            params[key] = values[i]
        return {key: params[key] for key in self._lists}


def suggest(sweep: Sweep, study: Study, trial: FrozenTrial) -> Params:
    """What Optuna's ``tpe`` or ``nsga2`` suggests for a running trial, given the trials so far.

    The whole space is given to the sampler, rather than the part that it infers from earlier trials: it is known.
    """
    space = distributions(sweep.searched)
    sampler = _learning(sweep, trial.number)
    searched = {key: dist for key, dist in space.items() if not dist.single()}
    params = sampler.sample_relative(study, trial, searched)
    for key, dist in space.items():
        if key not in params:
            params[key] = sampler.sample_independent(study, trial, key, dist)
    return {key: _plain(params[key]) for key in space}


def distributions(space: Searched) -> dict[str, BaseDistribution]:
    """The search space in Optuna's terms."""
    return {key: _distribution(dim) for key, dim in space.items()}


def _learning(sweep: Sweep, number: int) -> BaseSampler:
    seed = int(np.random.SeedSequence((sweep.seed, _HISTORY, number)).generate_state(1)[0])
    if sweep.sampler == "nsga2":
        return NSGAIISampler(seed=seed)
    # The liar takes running trials for bad ones, so that a batch asked at once spreads.
    return TPESampler(seed=seed, constant_liar=True)


def _distribution(dim: IntRange | FloatRange | Choice) -> BaseDistribution:
    if isinstance(dim, Choice):
        return CategoricalDistribution(dim.values)
    if isinstance(dim, IntRange):
        return IntDistribution(dim.low, dim.high, log=dim.log)
    return FloatDistribution(dim.low, dim.high, log=dim.log)


def _stream(seed: int, *name: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence((seed, *name)))


def _from_cube(space: Searched, point: np.ndarray[Any, np.dtype[np.float64]]) -> Params:
    """The parameters at a point of the unit cube [0, 1)^d, a dimension a coordinate."""
    return {key: _at(dim, float(u)) for (key, dim), u in zip(space.items(), point, strict=False)}


def _at(dim: IntRange | FloatRange | Choice, u: float) -> Any:
    if isinstance(dim, Choice):
        return dim.values[min(int(u * len(dim.values)), len(dim.values) - 1)]
    if isinstance(dim, IntRange):
        # Each whole number owns the interval of width 1 around it.
        whole = round(_between(dim.low - 0.5, dim.high + 0.5, u, dim.log))
        return min(max(whole, dim.low), dim.high)
    return min(max(_between(dim.low, dim.high, u, dim.log), dim.low), dim.high)


def _between(low: float, high: float, u: float, log: bool) -> float:
    if log:
        return math.exp(_between(math.log(low), math.log(high), u, False))
    return low * (1 - u) + high * u  # never overflows, whatever the ends


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
