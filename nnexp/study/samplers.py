"""The samplers: which parameters trial k of a sweep tries.

``random``, ``qmc`` and ``grid`` are pure: trial k is a function of the sweep file and k alone, independent of the
worker and of the order of the trials. ``tpe`` and ``nsga2`` are Optuna's and use the trials so far. The trial's number
seeds them, so that workers draw different suggestions, and a single worker draws the same ones in every run.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, NSGAIISampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial

from nnexp.search.space import Choice, FloatRange, IntRange
from nnexp.search.sweep_file import Sweep

Searched = Mapping[str, IntRange | FloatRange | Choice]
Params = dict[str, Any]

#: The independent random streams of a sweep; a stream is seeded by (the sweep's seed, stream, …).
_RANDOM, _QMC, _GRID, _HISTORY = range(4)


def pure(sweep: Sweep) -> Random | Sobol | Grid | None:
    """The sampler of a sweep whose trials depend on their number alone; None for ``tpe`` and ``nsga2``."""
    samplers: dict[str, type[Random | Sobol | Grid]] = {"random": Random, "qmc": Sobol, "grid": Grid}
    sampler = samplers.get(sweep.sampler)
    return None if sampler is None else sampler(sweep.searched, sweep.seed)


class Random:
    """Independent uniform draws; each trial has a random stream of its own."""

    def __init__(self, space: Searched, seed: int) -> None:
        self._space, self._seed = space, seed

    def params(self, number: int) -> Params:
        """The parameters of trial ``number``."""
        return _from_cube(self._space, _stream(self._seed, _RANDOM, number).random(len(self._space)))


class Sobol:
    """Trial k is point k of a scrambled Sobol sequence over all dimensions, lists included."""

    def __init__(self, space: Searched, seed: int) -> None:
        from scipy.stats import qmc  # slow to load, and few sweeps need it

        self._space = space
        # SciPy 1.15 renamed this argument to rng, and accepts both; the scrambled sequence is the same.
        self._points = qmc.Sobol(max(len(space), 1), scramble=True, seed=_stream(seed, _QMC))

    def params(self, number: int) -> Params:
        """The parameters of trial ``number``."""
        if number < self._points.num_generated:
            self._points.reset()
        if number > self._points.num_generated:
            self._points.fast_forward(number - self._points.num_generated)
        return _from_cube(self._space, self._points.random(1)[0])


class Grid:
    """Every combination of the lists once, in random order, so that a part of the grid is a sample of all of it."""

    def __init__(self, space: Searched, seed: int) -> None:
        self._lists: dict[str, Sequence[Any]] = {
            key: dim.values for key, dim in space.items() if isinstance(dim, Choice)
        }
        self._order = _stream(seed, _GRID).permutation(math.prod(map(len, self._lists.values())))

    def params(self, number: int) -> Params:
        """The parameters of trial ``number``."""
        rest = int(self._order[number])
        params: Params = {}
        for key, values in reversed(self._lists.items()):  # the last list varies fastest
            rest, i = divmod(rest, len(values))
            params[key] = values[i]
        return {key: params[key] for key in self._lists}


def suggest(sweep: Sweep, study: Study, trial: FrozenTrial) -> Params:
    """The parameters that Optuna's ``tpe`` or ``nsga2`` suggests for a running trial, given the trials so far.

    The sampler receives the declared search space; Optuna would otherwise infer it from the earlier trials.
    """
    space = distributions(sweep.searched)
    sampler = _optuna_sampler(sweep, trial.number)
    searched = {key: dist for key, dist in space.items() if not dist.single()}
    params = sampler.sample_relative(study, trial, searched)
    for key, dist in space.items():
        if key not in params:
            params[key] = sampler.sample_independent(study, trial, key, dist)
    return {key: _to_python(params[key]) for key in space}


def distributions(space: Searched) -> dict[str, BaseDistribution]:
    """The search space as Optuna's distributions."""
    return {key: _distribution(dim) for key, dim in space.items()}


def _optuna_sampler(sweep: Sweep, number: int) -> BaseSampler:
    seed = int(np.random.SeedSequence((sweep.seed, _HISTORY, number)).generate_state(1)[0])
    if sweep.sampler == "nsga2":
        return NSGAIISampler(seed=seed)
    # The constant liar treats running trials as poor ones, so that the trials of one batch differ from each other.
    return TPESampler(seed=seed, constant_liar=True)


def _distribution(dim: IntRange | FloatRange | Choice) -> BaseDistribution:
    if isinstance(dim, Choice):
        return CategoricalDistribution(dim.values)
    if isinstance(dim, IntRange):
        return IntDistribution(dim.low, dim.high, log=dim.log)
    return FloatDistribution(dim.low, dim.high, log=dim.log)


def _stream(seed: int, *key: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence((seed, *key)))


def _from_cube(space: Searched, point: np.ndarray[Any, np.dtype[np.float64]]) -> Params:
    """The parameters at a point (d,) of the unit cube [0, 1)^d, one coordinate per dimension of the space."""
    return {key: _at(dim, float(u)) for (key, dim), u in zip(space.items(), point, strict=False)}


def _at(dim: IntRange | FloatRange | Choice, u: float) -> Any:
    if isinstance(dim, Choice):
        return dim.values[min(int(u * len(dim.values)), len(dim.values) - 1)]
    if isinstance(dim, IntRange):
        # Each integer is drawn from the interval of width 1 around it.
        integer = round(_between(dim.low - 0.5, dim.high + 0.5, u, dim.log))
        return min(max(integer, dim.low), dim.high)
    return min(max(_between(dim.low, dim.high, u, dim.log), dim.low), dim.high)


def _between(low: float, high: float, u: float, log: bool) -> float:
    if log:
        return math.exp(_between(math.log(low), math.log(high), u, False))
    return low * (1 - u) + high * u  # low + (high - low) * u could overflow


def _to_python(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
