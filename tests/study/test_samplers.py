"""The samplers: every value of the search space can be drawn, evenly, and the same way in every order."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnexp.search.space import Choice, FloatRange, IntRange
from nnexp.search.sweep_file import Sweep
from nnexp.study import samplers
from tests.helpers.small_study import SPACE, make

FINITE = st.floats(-1e300, 1e300)
UNIT = st.floats(0, 1, exclude_max=True)


@given(st.tuples(FINITE, FINITE).map(sorted), UNIT)
def test_float_range(ends: list[float], u: float) -> None:
    """Every point of the unit interval maps into the range, whose ends are included."""
    dim = FloatRange(*ends)
    assert dim.low <= samplers._at(dim, u) <= dim.high
    assert samplers._at(dim, 0.0) == dim.low


@given(st.tuples(st.floats(1e-300, 1e300), st.floats(1e-300, 1e300)).map(sorted), UNIT)
def test_log_range(ends: list[float], u: float) -> None:
    """The same holds for a logarithmic range, and half of the points map below its geometric mean."""
    dim = FloatRange(*ends, log=True)
    value = samplers._at(dim, u)
    assert dim.low <= value <= dim.high
    middle = math.exp((math.log(dim.low) + math.log(dim.high)) / 2)
    assert (value <= middle * (1 + 1e-9)) if u < 0.5 else (value >= middle * (1 - 1e-9))


@given(st.integers(1, 50), st.integers(0, 6), st.booleans())
def test_int_range(low: int, more: int, log: bool) -> None:
    """Every integer of a range is drawn; without a logarithm equally often."""
    dim = IntRange(low, low + more, log)
    drawn = Counter(samplers._at(dim, (i + 0.5) / 700) for i in range(700))
    assert sorted(drawn) == list(range(low, low + more + 1))
    if not log:
        assert max(drawn.values()) - min(drawn.values()) <= 2


def test_choice() -> None:
    """Every value of a list is drawn equally often."""
    drawn = Counter(samplers._at(Choice(("a", "b", "c")), (i + 0.5) / 300) for i in range(300))
    assert drawn == {"a": 100, "b": 100, "c": 100}


def test_qmc_is_balanced_in_every_dimension() -> None:
    """64 points of the Sobol sequence divide evenly over the values of every dimension, lists included."""
    space = {**SPACE, "hidden_size": {"low": 1, "high": 8}, "init": ["uniform", "normal"], "momentum": [0.0, 0.9]}
    points = [sampled(make(sampler="qmc", space=space), k) for k in range(64)]
    assert Counter(p["init"] for p in points) == {"uniform": 32, "normal": 32}
    assert Counter((p["init"], p["momentum"]) for p in points) == dict.fromkeys(
        [(i, m) for i in ("uniform", "normal") for m in (0.0, 0.9)], 16
    )
    assert Counter(p["hidden_size"] for p in points) == dict.fromkeys(range(1, 9), 8)


def test_grid_has_every_combination_once() -> None:
    """A grid is the product of its lists; the seed determines the order."""
    space: dict[str, Any] = {"hidden_size": [2, 3, 4], "init": ["uniform", "normal"], "momentum": [0.0, 0.5]}
    orders = []
    for seed in (0, 1):
        sweep = make(sampler="grid", trials=12, space=space, seed=seed)
        points = [tuple(sampled(sweep, k).values()) for k in range(12)]
        assert len(set(points)) == 12
        orders.append(points)
    assert sorted(orders[0]) == sorted(orders[1])
    assert orders[0] != orders[1]


@pytest.mark.parametrize("sampler", ["random", "qmc"])
def test_order_of_the_trials_does_not_matter(sampler: str) -> None:
    """The parameters of trial k do not depend on which were drawn before, only on k and the seed."""
    sweep = make(sampler=sampler)
    pure = samplers.pure(sweep)
    assert pure is not None
    forward = [pure.params(k) for k in range(40)]
    assert [pure.params(k) for k in reversed(range(40))] == forward[::-1]
    assert sampled(sweep, 17) == forward[17]
    assert sampled(make(sampler=sampler, seed=1), 17) != forward[17]


def sampled(sweep: Sweep, number: int) -> dict[str, Any]:
    """The parameters of trial ``number``, by a new sampler."""
    pure = samplers.pure(sweep)
    assert pure is not None
    return pure.params(number)
