"""The levels of a factor of a sweep: for averages over settings, and for the cells of a heat map.

If a factor has few values, these are its levels. A learning rate or an initial scale with more values is divided at
fixed fractions of a decade, so that the levels of two sweeps are the same ranges.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

#: The factors that are divided on a logarithmic scale.
LOGARITHMIC = ("learning_rate", "init_scale")
_MOST_VALUES = 12  # up to this many different values each value is a level
#: Levels per decade -> how many settings a level must then hold on average.
_SETTINGS_PER_LEVEL = {3: 20, 2: 8, 1: 0}


def levels(values: pd.Series, factor: str) -> tuple[pd.Series, list[str]]:
    """Each setting's level of a factor, and the levels in their order.

    A decade is one level, two or three: the most that leave enough settings per level.

    Args:
        values: (S,) the factor of each setting.
        factor: its name.

    Returns:
        (S,) labels such as ``4``, ``he_normal`` or ``0.316–1``, and the labels that occur, in the order of the values.
    """
    distinct = sorted(values.unique())
    if factor not in LOGARITHMIC or len(distinct) <= _MOST_VALUES:
        labels = dict(zip(distinct, _texts(distinct), strict=True))
        if len(set(labels.values())) < len(labels):
            labels = {value: repr(float(value)) for value in distinct}
        return values.map(labels).astype("str"), list(labels.values())
    for parts in _SETTINGS_PER_LEVEL:
        bins = _bins(values, parts)
        if len(values) / (bins.max() - bins.min() + 1) >= _SETTINGS_PER_LEVEL[parts]:
            break
    names = {int(b): f"{_edge(b, parts)}–{_edge(b + 1, parts)}" for b in np.unique(bins)}
    return pd.Series([names[b] for b in bins.tolist()], index=values.index, dtype="str"), list(names.values())


class Cells:
    """A factor divided into the cells of one axis of a heat map.

    Attributes:
        factor: its name.
        index: (S,) the cell of each setting, from 0.
        names: the cells' names.
        edges: the ends of the ranges, one more than cells; None where cells are single values.
    """

    index: NDArray[np.int64]
    names: list[str]
    edges: list[str] | None

    def __init__(self, values: pd.Series, factor: str, *, cells: int, single: int = 0) -> None:
        """Divide a factor.

        Args:
            values: (S,) the factor of each setting.
            factor: its name.
            cells: the most cells; a logarithmic factor has at least one cell per decade.
            single: up to this many different values have a cell each, even if they are more than ``cells``.
        """
        self.factor = factor
        self.edges = None
        distinct = sorted(values.unique())
        if len(distinct) <= max(cells, single, 1) or isinstance(distinct[0], str):
            self._group([[value] for value in distinct], values)
        elif factor in LOGARITHMIC:
            self._cut(values, cells)
        else:
            self._group([group.tolist() for group in np.array_split(np.array(distinct), cells)], values)

    def __len__(self) -> int:
        return len(self.names)

    def _group(self, groups: list[list[Any]], values: pd.Series) -> None:
        """One cell per group of values."""
        cell_of = {value: i for i, group in enumerate(groups) for value in group}
        self.index = np.array([cell_of[value] for value in values.tolist()], dtype=np.int64)
        self.names = ["–".join(_texts(group if len(group) == 1 else [group[0], group[-1]])) for group in groups]

    def _cut(self, values: pd.Series, cells: int) -> None:
        """One cell per fraction of a decade; the largest value is in the last cell, also where it is its upper end."""
        logs = np.log10(values.to_numpy(dtype=np.float64))
        decades = np.ceil(logs.max() - 1e-9) - np.floor(logs.min() + 1e-9)
        parts = next((parts for parts in (3, 2) if decades * parts <= cells), 1)
        bins = _bins(values, parts)
        last = (
            int(bins.max())
            if logs.max() * parts > bins.max() + 1e-9 or bins.max() == bins.min()
            else int(bins.max()) - 1
        )
        self.index = np.minimum(bins, last) - bins.min()
        self.edges = [_edge(b, parts) for b in range(bins.min(), last + 2)]
        self.names = [f"{low}–{high}" for low, high in itertools.pairwise(self.edges)]


def _bins(values: pd.Series, parts: int) -> NDArray[np.int64]:
    """(S,) the number b of the range from 10^(b/parts) to 10^((b+1)/parts) that holds each value."""
    bins: NDArray[np.int64] = np.floor(np.round(np.log10(values.to_numpy(dtype=np.float64)) * parts, 9)).astype(
        np.int64
    )
    return bins


def _edge(number: int, parts: int) -> str:
    return f"{10 ** (number / parts):.3g}"


def _texts(values: Iterable[object]) -> list[str]:
    return [f"{value:.3g}" if isinstance(value, float) else str(value) for value in values]
