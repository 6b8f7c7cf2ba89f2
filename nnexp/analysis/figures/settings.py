"""Figures of a sweep's settings: phase diagrams, averages by factor, families, importance and interactions."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axis import Axis
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from nnexp.analysis import format as fmt
from nnexp.analysis import trials
from nnexp.analysis.figures.style import (
    AMOUNTS,
    BLUE,
    GREEN,
    GREY,
    KINDS,
    ORANGE,
    PURPLE,
    heat_cells,
    new_figure,
    percent_axis,
    styled,
)
from nnexp.analysis.levels import Cells

#: The families in the order of the bars; those with an underscore are computed from the runs' metrics.
_SHADES = {
    "hand-designed": (BLUE, ""),
    "hand_designed": (BLUE, ""),
    "both": (GREEN, "//"),
    "mirror": (ORANGE, ".."),
    "solved": (BLUE, ""),
    "other": (PURPLE, "xx"),
    "none": ("#dddddd", ""),
    "not_solved": ("#dddddd", ""),
}
#: Between panels, in cells.
_GAP = 0.35
_FAMILY_LABEL = {"hand_designed": "hand-designed (or both)", "none": "not solved", "not_solved": "not solved"}


def _label_cells(axis: Axis, cells: Cells, *, starts: Sequence[float] = (0.0,), step: int = 1) -> None:
    """Write the names of cells, or the ends of ranges between the cells, along an axis, once for each start.

    The last end of the ranges is written only for the last start; elsewhere it would touch the first end of the next.
    Only every ``step``-th text is written.
    """
    ticks: list[tuple[float, str]] = []
    for start in starts:
        if cells.edges is None:
            ticks += [(start + i + 0.5, name) for i, name in enumerate(cells.names)][::step]
        else:
            shown = cells.edges if start == starts[-1] else cells.edges[:-1]
            ticks += [(start + i, edge) for i, edge in enumerate(shown)][::step]
    axis.set_ticks([at for at, _ in ticks], [name for _, name in ticks])


def _grid(frame: pd.DataFrame, rate: str, y: Cells, x: Cells, at: NDArray[np.bool_]) -> tuple[NDArray[np.float64], Any]:
    """Mean rate and number of settings in each cell, (rows, columns)."""
    total, count = np.zeros((len(y), len(x))), np.zeros((len(y), len(x)), dtype=np.int64)
    values = frame[rate].to_numpy(dtype=np.float64)
    known = at & ~np.isnan(values)
    np.add.at(total, (y.index[known], x.index[known]), values[known])
    np.add.at(count, (y.index[known], x.index[known]), 1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan), count


def _top(values: float) -> float:
    """The end of a colour scale: the next of 2%, 5%, 10%, 20%, 40%, 60%, 80%, 100%."""
    return next((top for top in (0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8) if values <= top), 1.0)


def _texts(values: NDArray[np.float64], count: NDArray[np.int64], *, rates: bool) -> list[list[str]]:
    if not rates:
        return [[str(n) for n in row] for row in count]
    return [[f"{100 * v:.0f}" if not np.isnan(v) else "" for v in row] for row in values]


def phase_axes(frame: pd.DataFrame) -> tuple[str, str]:
    """The two factors of a phase diagram's axes: learning rate and initial scale, if the sweep varies them."""
    candidates = ("learning_rate", "init_scale", "hidden_size")
    varied = trials.varied(frame)
    first, second, *_ = sorted(candidates, key=lambda factor: factor not in varied)
    return first, second


def phase_diagram(frame: pd.DataFrame, rate: str) -> Figure:
    """Mean rate over learning rate and initial scale, one panel per hidden size and initializer.

    If the sweep does not vary the learning rate or the initial scale, hidden size replaces it. Each cell shows its
    number of settings, or the rate in percent if no cell of the figure has two settings.

    Args:
        frame: finished trials.
        rate: the column to show.
    """
    axes_of = phase_axes(frame)
    panels = len(frame.groupby(["hidden_size", "init"])) if "hidden_size" not in axes_of else frame["init"].nunique()
    per_panel = max(len(frame) / max(panels, 1), 1)
    cells = 12 if per_panel >= 60 else 8 if per_panel >= 30 else 5
    column = Cells(frame["hidden_size"], "hidden_size", cells=8) if "hidden_size" not in axes_of else None
    across = len(column) if column is not None else 1
    x = Cells(frame[axes_of[0]], axes_of[0], cells=cells, single=min(12, 72 // across))
    y = Cells(frame[axes_of[1]], axes_of[1], cells=cells, single=8)
    row = Cells(frame["init"], "init", cells=8)
    values = {}
    for r, c in itertools.product(range(len(row)), range(across)):
        at = (row.index == r) if column is None else (row.index == r) & (column.index == c)
        values[r, c] = _grid(frame, rate, y, x, at)
    single = max(int(count.max()) for _, count in values.values()) <= 1
    top = _top(float(np.nanmax([np.nanmax(v, initial=0.0) for v, _ in values.values()])))
    return _draw_phases(rate, values, (row, column), (y, x), top=top, single=single)


def _draw_phases(
    rate: str,
    values: Mapping[tuple[int, int], tuple[NDArray[np.float64], NDArray[np.int64]]],
    panels: tuple[Cells, Cells | None],
    cuts: tuple[Cells, Cells],
    *,
    top: float,
    single: bool,
) -> Figure:
    """Draw all panels on one pair of axes, whose units are cells: a pair of axes per panel takes ten times as long."""
    (row, column), (y, x) = panels, cuts
    columns = len(column) if column is not None else 1
    wide, tall = len(x) + _GAP, len(y) + _GAP
    with styled():
        height = min(max(0.3 * len(y), 0.95), 2.6) * len(row)
        figure = new_figure(height + 1.25)
        whole = figure.get_figheight()
        right = 0.075 + 0.735 * (min(1.0, 0.25 + 0.11 * columns) if column is not None else 0.6)
        axes = figure.add_axes((0.075, 0.75 / whole, right - 0.075, height / whole))
        for (r, c), (cell_values, count) in values.items():
            texts = _texts(cell_values, count, rates=single)
            small = 7.5 if len(x) * columns > 40 else 8.5
            heat_cells(axes, cell_values, texts, top=top, fontsize=small, at=(c * wide, (len(row) - 1 - r) * tall))
        axes.set_xlim(0, columns * wide - _GAP)
        axes.set_ylim(0, len(row) * tall - _GAP)
        axes.set_facecolor("white")
        _label_cells(axes.xaxis, x, starts=[c * wide for c in range(columns)], step=2 if len(x) * columns > 45 else 1)
        _label_cells(axes.yaxis, y, starts=[r * tall for r in range(len(row))])
        axes.tick_params(axis="x", rotation=45 if len(x) * columns > 20 else 0, labelsize=8)
        axes.tick_params(axis="y", labelsize=8)
        for c in range(columns) if column is not None else ():
            middle = c * wide + len(x) / 2
            name = column.names[c] if column else ""
            title = f"{name} hidden units" if len(name) < 3 else f"{name} hidden"
            axes.text(middle, axes.get_ylim()[1] + 0.15, title, ha="center", va="bottom", fontsize=9.5)
        for r in range(len(row)):
            middle = (len(row) - 1 - r) * tall + len(y) / 2
            axes.text(axes.get_xlim()[1] + 0.2, middle, row.names[r], va="center", fontsize=9.5)
        axes.set_xlabel(fmt.label(x.factor))
        axes.set_ylabel(fmt.label(y.factor))
        scale = figure.add_axes((right + 0.115, 0.75 / whole, 0.012, min(0.6, 2.2 / whole)))
        bar = figure.colorbar(ScalarMappable(Normalize(0, top), AMOUNTS), cax=scale)
        bar.outline.set_visible(False)
        percent_axis(scale)
        scale.set_ylabel(f"mean {fmt.label(rate)}" + ("\ncells: percent" if single else "\ncells: settings"))
    return figure


def marginal_points(marginals: pd.DataFrame, measure: str, factors: Sequence[str]) -> Figure:
    """Mean rate at each level of each factor with its interval over settings; the best single setting as a cross."""
    shown = [factor for factor in factors if (marginals["factor"] == factor).sum() > 1] or list(factors[:1])
    with styled():
        figure = new_figure(3.3)
        grid = figure.subplots(
            1, len(shown), sharey=True, squeeze=False,
            gridspec_kw={"left": 0.065, "right": 0.99, "top": 0.82, "bottom": 0.31, "wspace": 0.06},
        )  # fmt: skip
        for axes, factor in zip(grid[0], shown, strict=True):
            part = marginals[marginals["factor"] == factor]
            at = np.arange(len(part))
            rate, low, high = (part[f"{measure}{end}"].to_numpy(dtype=np.float64) for end in ("", "_low", "_high"))
            spread = np.nan_to_num(np.clip([rate - low, high - rate], 0, None))
            axes.errorbar(at, rate, yerr=spread, fmt="o", color=BLUE, capsize=3, label="mean, 95% interval")
            best = part["best_rate"].to_numpy(dtype=np.float64)
            axes.plot(at, best, "x", color=GREY, markersize=5, label="best setting")
            step = -(-len(part) // 14)  # beyond that many, labels would run into each other
            names = part["level"].tolist()[::step]
            axes.set_xticks(at[::step], names, rotation=40, ha="right", rotation_mode="anchor")
            axes.set_xlim(-0.6, len(part) - 0.4)
            axes.set_title(fmt.label(factor))
            axes.grid(axis="y", color="#e5e5e5", linewidth=0.6)
        grid[0][0].set_ylim(bottom=0)
        grid[0][0].set_ylabel(fmt.label(measure))
        handles, labels = grid[0][0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="upper left", bbox_to_anchor=(0.055, 1.0), ncols=2)
        percent_axis(grid[0][0])
    return figure


def family_bars(shares: pd.DataFrame) -> Figure:
    """Which solutions are found at each hidden size, as stacked bars with their shares."""
    kinds = [kind for kind in _SHADES if kind in shares]
    with styled():
        figure = new_figure(0.36 * len(shares) + 1.3)
        whole = figure.get_figheight()
        box = {"left": 0.1, "right": 0.985, "top": 1 - 0.42 / whole, "bottom": 0.55 / whole}
        axes = figure.subplots(gridspec_kw=box)
        at, left = np.arange(len(shares)), np.zeros(len(shares))
        for kind in kinds:
            values = shares[kind].to_numpy(dtype=np.float64)
            color, hatch = _SHADES[str(kind)]
            name = _FAMILY_LABEL.get(str(kind), str(kind))
            axes.barh(
                at, values, left=left, height=0.8, color=color, hatch=hatch, edgecolor="white", lw=0.5, label=name
            )
            for i, value in enumerate(values):
                if value >= 0.045:
                    plate = {"facecolor": "white", "edgecolor": "none", "pad": 1.2, "alpha": 0.85}
                    text = fmt.percent(float(value))
                    axes.text(left[i] + value / 2, i, text, ha="center", va="center", fontsize=8.5, bbox=plate)
            left += values
        axes.set_yticks(at, [f"{size}" for size in shares["hidden_size"]])
        axes.invert_yaxis()
        axes.set_xlim(0, 1)
        axes.set_ylabel("hidden units")
        axes.set_xlabel("share of networks")
        percent_axis(axes, "x")
        figure.legend(loc="upper left", bbox_to_anchor=(0.09, 1.0), ncols=len(kinds), columnspacing=1.6)
    return figure


def importance_bars(importance: Mapping[str, Mapping[str, float]]) -> Figure:
    """How much of the variation between settings each factor explains, one panel per metric."""
    factors = list(dict.fromkeys(factor for shares in importance.values() for factor in shares))
    reach = max([value for shares in importance.values() for value in shares.values() if np.isfinite(value)], default=1)
    with styled():
        figure = new_figure(0.3 * len(factors) + 1.05)
        whole = figure.get_figheight()
        grid = figure.subplots(
            1, len(importance), sharey=True, squeeze=False,
            gridspec_kw={"left": 0.12, "right": 0.985, "top": 1 - 0.35 / whole, "bottom": 0.5 / whole, "wspace": 0.06},
        )  # fmt: skip
        for axes, (measure, shares), color in zip(grid[0], importance.items(), itertools.cycle(KINDS)):
            values = [shares.get(factor, np.nan) for factor in factors]
            bars = axes.barh(range(len(factors)), values, color=color, height=0.7)
            axes.bar_label(bars, [f"{v:.2f}" if np.isfinite(v) else "–" for v in values], padding=3, fontsize=8.5)
            axes.set_title(fmt.label(measure))
            axes.set_xlim(0, 1.12 * reach if reach > 0 else 1)
            axes.set_xlabel("importance (share)")
        grid[0][0].set_yticks(range(len(factors)), [fmt.label(factor) for factor in factors])
        grid[0][0].invert_yaxis()
    return figure


def interaction_maps(frame: pd.DataFrame, rate: str, factors: Sequence[str]) -> Figure | None:
    """Mean rate for each pair of factors, with each cell's number of settings; None for fewer than two factors."""
    varied = [factor for factor in factors if trials.is_varied(frame[factor])][:4]
    pairs = list(itertools.combinations(varied, 2))
    if not pairs:
        return None
    cuts = {factor: Cells(frame[factor], factor, cells=8) for factor in varied}
    everywhere = np.ones(len(frame), dtype=bool)
    maps = [_grid(frame, rate, cuts[b], cuts[a], everywhere) for a, b in pairs]
    top = _top(max(float(np.nanmax(values, initial=0.0)) for values, _ in maps))
    columns = min(3, len(pairs))
    rows = -(-len(pairs) // columns)
    with styled():
        figure = new_figure(2.95 * rows + 0.4)
        whole = figure.get_figheight()
        grid = figure.subplots(
            rows, columns, squeeze=False,
            gridspec_kw={"left": 0.115, "right": 0.905, "top": 1 - 0.1 / whole, "bottom": 1.05 / whole, "wspace": 0.62,
                         "hspace": 0.45},
        )  # fmt: skip
        for axes in grid.flat[len(pairs) :]:
            axes.set_visible(False)
        for axes, (a, b), (values, count) in zip(grid.flat, pairs, maps, strict=False):
            heat_cells(axes, values, _texts(values, count, rates=False), top=top, fontsize=8)
            axes.set_xlim(0, len(cuts[a]))
            axes.set_ylim(0, len(cuts[b]))
            _label_cells(axes.xaxis, cuts[a])
            _label_cells(axes.yaxis, cuts[b])
            axes.tick_params(axis="x", rotation=0 if a == "hidden_size" or len(cuts[a]) <= 3 else 40)
            axes.set_xlabel(fmt.label(a))
            axes.set_ylabel(fmt.label(b))
        scale = figure.add_axes((0.93, 1.05 / whole, 0.012, min(0.7, 2.0 / whole)))
        bar = figure.colorbar(ScalarMappable(Normalize(0, top), AMOUNTS), cax=scale)
        bar.outline.set_visible(False)
        percent_axis(scale)
        scale.set_ylabel(f"mean {fmt.label(rate)}; cells: settings")
    return figure
