"""Which trial is the best one."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnexp.study import Trial
from nnexp.study.trials import best, replace_undefined

VALUES = st.sampled_from([-math.inf, 0.0, 0.25, 0.5, 1.0, math.inf])
TRIALS = st.lists(st.tuples(VALUES, VALUES, st.sampled_from([0.0, 0.5])), max_size=12).map(
    lambda rows: [Trial(i, i, "COMPLETE", {}, (a, b), {"solved_rate": c}) for i, (a, b, c) in enumerate(rows)]
)


@given(TRIALS, st.sampled_from(["minimize", "maximize"]))
def test_best_is_first(trials: list[Trial], direction: str) -> None:
    """The best trial is first by its value, then by the solved rate, then by the lower number."""
    sign = 1 if direction == "maximize" else -1
    found = best([*trials, Trial(99, 99, "PRUNED", {}, (9.0,))], direction)
    keys = {t.number: (sign * t.values[0], t.attrs["solved_rate"], -t.number) for t in trials if t.values}
    assert (None if found is None else found.number) == max(keys, key=lambda number: keys[number], default=None)


def test_undefined_values() -> None:
    """An undefined objective counts as the worst possible value in its direction."""
    assert replace_undefined([None, math.nan, 0.5], ["maximize", "minimize", "minimize"]) == [-math.inf, math.inf, 0.5]
    with pytest.raises(ValueError, match="argument"):
        replace_undefined([0.5], ["maximize", "minimize"])
