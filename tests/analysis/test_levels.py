"""Factors cut into levels and cells."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from nnexp.analysis.levels import Cells, levels


@pytest.mark.parametrize("settings", [7, 60, 200, 2000])
def test_learning_rates_are_binned_by_decade_fractions(settings: int) -> None:
    """Each value lies in its range, ranges are the same powers of ten for any sweep, finer for more settings."""
    values = pd.Series(10 ** np.random.default_rng(0).uniform(-3, 1, settings))
    labels, order = levels(values, "learning_rate")
    assert set(labels) == set(order)
    if settings == 7:
        assert len(order) == 7
        return
    for value, label in zip(values, labels, strict=True):
        low, high = map(float, label.split("–"))
        assert low * 0.99 <= value <= high * 1.01
    assert "0.01–" in " ".join(order)


def test_a_grids_values_are_its_levels() -> None:
    """Few values are not binned, and values that would print alike stay apart."""
    assert levels(pd.Series([0.1, 1.0, 0.1]), "learning_rate")[1] == ["0.1", "1"]
    assert len(levels(pd.Series([0.10001, 0.10002]), "learning_rate")[1]) == 2


def test_cells_put_each_value_into_the_cell_of_its_range() -> None:
    """Ranges are powers of ten; the largest value is in the last cell even where it is that cell's end."""
    values = pd.Series(np.geomspace(0.001, 10, 41))
    cut = Cells(values, "learning_rate", cells=4)
    assert cut.edges == ["0.001", "0.01", "0.1", "1", "10"]
    assert cut.index.max() == len(cut) - 1
    for value, cell in zip(values, cut.index, strict=True):
        assert float(cut.edges[cell]) * 0.999 <= value <= float(cut.edges[cell + 1]) * 1.001
    grouped = Cells(pd.Series(range(2, 40)), "hidden_size", cells=8)
    assert len(grouped) == 8
    assert grouped.names[0] == "2–6"
