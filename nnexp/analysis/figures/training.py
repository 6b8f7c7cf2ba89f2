"""Figures of training: bands of the loss, and when networks solve the task.

Axes: R networks of a setting.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from nnexp.analysis.figures.style import BLUE, DASHES, GREY, KINDS, new_figure, percent_axis, styled
from nnexp.recovery.grades import PLATEAUS

Points = Sequence[tuple[int, float]]


def loss_bands(curves: Mapping[str, Mapping[str, Points]], *, plateaus: bool) -> Figure | None:
    """The median and the band from the 10th to the 90th percentile of the networks' losses, one panel per setting.

    Args:
        curves: title of a setting -> its curves ``loss_median``, ``loss_p10`` and ``loss_p90``, each (epoch, value); at
            most six settings are drawn.
        plateaus: whether to mark the plateaus of a 2-input truth table.

    Returns:
        The figure; None where no setting has these curves.
    """
    usable = {
        title: {key: _after_start(keyed[key]) for key in ("loss_median", "loss_p10", "loss_p90")}
        for title, keyed in curves.items()
        if all(len(_after_start(keyed.get(key, ()))) for key in ("loss_median", "loss_p10", "loss_p90"))
    }
    if not usable:
        return None
    shown = list(usable.items())[:6]
    columns = min(3, len(shown))
    rows = -(-len(shown) // columns)
    with styled():
        figure = new_figure(2.45 * rows + 0.75)
        whole = figure.get_figheight()
        grid = figure.subplots(
            rows, columns, sharex=True, sharey=True, squeeze=False,
            gridspec_kw={"left": 0.07, "right": 0.985, "top": 1 - 0.6 / whole, "bottom": 0.55 / whole, "wspace": 0.06,
                         "hspace": 0.2},
        )  # fmt: skip
        for axes in grid.flat[len(shown) :]:
            axes.set_visible(False)
        for axes, (title, keyed) in zip(grid.flat, shown, strict=False):
            _band(axes, title, keyed, plateaus=plateaus)
        for axes in grid[:, 0]:
            axes.set_ylabel("cross-entropy" if plateaus else "loss")
        for axes in grid[-1]:
            axes.set_xlabel("epoch")
        handles, labels = grid[0][0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="upper left", bbox_to_anchor=(0.06, 1.0), ncols=len(labels))
    return figure


def _after_start(points: Points) -> NDArray[np.float64]:
    """(T, 2) points that a logarithmic figure can show: after epoch 0, finite and positive."""
    array = np.array([point for point in points if point[0] > 0 and np.isfinite(point[1])], dtype=np.float64)
    return np.maximum(array.reshape(-1, 2), [1, 1e-12])


def _band(axes: Axes, title: str, keyed: Mapping[str, NDArray[np.float64]], *, plateaus: bool) -> None:
    low, high, middle = (keyed[key] for key in ("loss_p10", "loss_p90", "loss_median"))
    epochs = np.intersect1d(low[:, 0], high[:, 0])
    bounds = [side[np.isin(side[:, 0], epochs), 1] for side in (low, high)]
    axes.fill_between(epochs, *bounds, color=BLUE, alpha=0.22, linewidth=0, label="10th to 90th percentile")
    axes.plot(middle[:, 0], middle[:, 1], color=BLUE, linewidth=1.6, label="median network")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_title(title, fontsize=9)
    if plateaus:
        for name, value in PLATEAUS.items():
            label = "plateaus: ln 2, ¾(ln 3 − ⅔ ln 2), ½ ln 2" if name == "constant" else None
            axes.axhline(value, color=GREY, linewidth=0.7, linestyle=":", label=label)


def solving_curves(
    settings: Mapping[str, NDArray[np.float64]], pooled: Mapping[str, NDArray[np.float64]], epochs: int
) -> Figure | None:
    """The share of networks that have solved the task by each epoch, for some settings and by hidden size.

    Args:
        settings: title of a setting -> (R,) epochs to solve, infinite if never; at most six are drawn.
        pooled: hidden size -> the same of all networks of that size.
        epochs: the last epoch of the curves.

    Returns:
        The figure; None where there is nothing to draw.
    """
    panels = [(title, group) for title, group in (("settings", settings), ("hidden units", pooled)) if group]
    if not panels:
        return None
    with styled():
        figure = new_figure(4.2)
        grid = figure.subplots(
            1, len(panels), sharey=True, squeeze=False,
            gridspec_kw={"left": 0.07, "right": 0.985, "top": 0.92, "bottom": 0.29, "wspace": 0.06},
        )[0]  # fmt: skip
        for axes, (kind, group) in zip(grid, panels, strict=True):
            names = list(group)[:6] if kind == "settings" else list(group)
            first = min(float(group[name].min(initial=epochs)) for name in names)
            at = np.geomspace(max(min(10 ** np.floor(np.log10(max(first, 1.0))), epochs / 10), 1), epochs, 160)
            for i, name in enumerate(names):
                reached = np.searchsorted(np.sort(group[name]), at, side="right") / len(group[name])
                color = KINDS[i % len(KINDS)] if kind == "settings" else _shade(i, len(names))
                style = DASHES[i % len(DASHES)]
                axes.plot(at, reached, color=color, linestyle=style, linewidth=1.6, label=name, drawstyle="steps-post")
            axes.set_xscale("log")
            axes.set_xlim(at[0], epochs)
            axes.set_ylim(0, 1)
            axes.grid(axis="y", color="#e5e5e5", linewidth=0.6)
            axes.set_xlabel("epoch")
            axes.set_title(
                "the first settings of the ranking" if kind == "settings" else "all settings, by hidden units"
            )
            title, wide = (None, 3) if kind == "settings" else ("hidden units", 7)
            axes.legend(
                title=title, loc="upper left", bbox_to_anchor=(-0.02, -0.16), ncols=wide, fontsize=8, columnspacing=1.2
            )
        grid[0].set_ylabel("networks that solved the task")
        percent_axis(grid[0])
    return figure


def _shade(i: int, count: int) -> tuple[float, float, float, float]:
    """The i-th of ``count`` ordered colours, from dark to light, none too light for white paper."""
    red, green, blue, alpha = mpl.colormaps["viridis"](0.85 * i / max(count - 1, 1))
    return red, green, blue, alpha
