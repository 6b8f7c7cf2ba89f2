"""The figure of one network beside the hand-designed one: decision surface, lines of the hidden units, and weights.

Axes: N inputs, H hidden units.
"""

from __future__ import annotations

from typing import Any

import matplotlib.patheffects as effects
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from nnexp.analysis.figures.style import DASHES, KINDS, new_figure, png, styled
from nnexp.network.model import Network, encode, predict
from nnexp.recovery.alignment import AlignedNetwork

_UNITS = (KINDS[1], KINDS[5], KINDS[2], KINDS[3])
_MOST_ROWS = 12
_DIVERGING = "PuOr"


def network_figure(aligned: AlignedNetwork) -> Figure:
    """The network beside the hand-designed one: decision surfaces, and the weights after matching as numbers.

    Without a reference the figure shows the network alone. Surfaces are shown only for networks with two inputs.
    """
    pairs = [(f"learned: {aligned.title}".rstrip(": "), aligned.network)]
    if aligned.reference is not None:
        pairs.append(("hand-designed", aligned.reference))
    surfaces = aligned.task.n_inputs == 2
    rows = min(aligned.network.hidden_size, _MOST_ROWS) + 1
    rows += 0 if aligned.reference is None else aligned.reference.hidden_size + 1
    with styled():
        height = max(4.5 if surfaces else 0.0, 0.27 * rows + 1.6)
        figure = new_figure(height)
        right = 0.0
        for i, (title, network) in enumerate(pairs if surfaces else []):
            axes = figure.add_axes((0.05 + 0.33 * i, 0.85 / height, 0.285, 3.3 / height))
            _surface(axes, aligned, network, title, numbered=i == 0)
            right = 0.05 + 0.33 * i + 0.285
        left = right + 0.11 if surfaces else 0.12
        _weights(figure, aligned, pairs, left=left, width=min(0.98 - left, 0.5))
    return figure


def best_network_png(aligned: AlignedNetwork) -> bytes:
    """The figure of `network_figure` as the content of a PNG file."""
    return png(network_figure(aligned))


def _surface(axes: Axes, aligned: AlignedNetwork, network: Network, title: str, *, numbered: bool) -> None:
    X, Y = encode(aligned.task, network.encoding)
    low, high = float(X.min()), float(X.max())
    margin = 0.5 * (high - low)
    ends = np.linspace(low - margin, high + margin, 121)
    points = np.array([axis.ravel() for axis in np.meshgrid(ends, ends)])
    surface = predict(network, points).reshape(len(ends), len(ends))
    box = (ends[0], ends[-1], ends[0], ends[-1])
    axes.imshow(surface, extent=box, origin="lower", cmap="cividis", vmin=0, vmax=1, interpolation="bilinear")
    axes.contour(ends, ends, surface, levels=[0.5], colors="white", linewidths=1.2, linestyles=":")
    handles = []
    for k in range(min(network.hidden_size, 8)):
        matched = k < aligned.matched or (aligned.reference is None and k < len(_UNITS))
        color = _UNITS[k % len(_UNITS)] if matched else "#bbbbbb"
        style: Any = DASHES[k % 2] if matched else ":"
        _line(axes, network, k, ends, color=color, style=style, width=2.4 if matched else 1.0)
        if matched:
            explained = aligned.explained if numbered else aligned.designed or aligned.explained
            label = f"a{k + 1} = 0: {explained['hidden'][k]['gate']}"
            handles.append(Line2D([], [], color=color, linestyle=style, linewidth=2.4, label=label))
    for x, y, target in zip(X[0], X[1], Y, strict=True):
        axes.plot(x, y, "o", color="white" if target else "black", markeredgecolor="black", markersize=15, zorder=5)
        axes.plot(x, y, "o", fillstyle="none", color="white", markersize=17, zorder=4)
        shade = "black" if target else "white"
        axes.text(x, y, f"{target:.0f}", color=shade, ha="center", va="center", zorder=6, fontweight="bold")
    axes.set(xlim=(ends[0], ends[-1]), ylim=(ends[0], ends[-1]), xlabel="input x1", ylabel="input x2")
    axes.set_xticks([low, high])
    axes.set_yticks([low, high])
    axes.set_title(title)
    axes.set_aspect("equal")
    if handles:
        axes.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=2, fontsize=8.5)


def _line(axes: Axes, p: Network, k: int, ends: NDArray[np.float64], *, color: str, style: Any, width: float) -> None:
    """Draw the line on which w·x + b of a hidden unit is 0."""
    (w1, w2), b = p.W1[0, k].astype(float), float(p.b1[0, k])
    if not np.isfinite([w1, w2, b]).all() or max(abs(w1), abs(w2)) == 0:
        return
    if abs(w2) >= abs(w1):
        x, y = ends, -(w1 * ends + b) / w2
    else:
        x, y = -(w2 * ends + b) / w1, ends
    halo = [effects.withStroke(linewidth=width + 1.8, foreground="white")]
    axes.plot(x, y, color=color, linestyle=style, linewidth=width, path_effects=halo if width > 1.5 else [])


def _weights(
    figure: Figure, aligned: AlignedNetwork, pairs: list[tuple[str, Network]], *, left: float, width: float
) -> None:
    """Draw the weights of each network as coloured numbers, one row per hidden unit, matched units in equal order."""
    height = figure.get_figheight()
    top = height - 0.32
    for i, (_, p) in enumerate(pairs):
        shown = min(p.hidden_size, _MOST_ROWS)
        rows = np.concatenate([p.W1[0, :shown], p.b1[0, :shown, None], p.W2[0, :shown, None]], axis=1).astype(float)
        more = "" if shown == p.hidden_size else f" (the first {shown} of {p.hidden_size} units)"
        box = 0.27 * (shown + 1)
        axes = figure.add_axes((left, (top - 0.25 - box) / height, width, box / height))
        bias = np.full((1, rows.shape[1]), np.nan)
        bias[0, -1] = float(p.b2[0])
        values = np.concatenate([rows, bias])
        reach = max(float(np.nanmax(np.abs(np.where(np.isfinite(values), values, np.nan)))), 1e-9)
        masked = np.ma.masked_invalid(values)
        axes.pcolormesh(masked, cmap=_DIVERGING, vmin=-1.6 * reach, vmax=1.6 * reach, edgecolors="white", linewidth=0.8)
        for (r, c), value in np.ndenumerate(values):
            if np.isfinite(value):
                axes.text(c + 0.5, r + 0.5, f"{value:.3g}", ha="center", va="center", fontsize=8.5)
        axes.set_ylim(len(values), 0)
        columns = [*(f"w{j + 1}" for j in range(p.n_inputs)), "bias b", "out v"]
        axes.set_xticks(np.arange(len(columns)) + 0.5, columns)
        explained = aligned.explained if i == 0 else aligned.designed
        units = explained["hidden"] if explained else []
        names = [f"a{k + 1} {units[k]['gate'][:18]}" if k < len(units) else f"a{k + 1}" for k in range(shown)]
        axes.set_yticks(np.arange(shown + 1) + 0.5, [*names, "output bias"])
        axes.tick_params(length=0, top=False, labeltop=False)
        for side in ("left", "bottom"):
            axes.spines[side].set_visible(False)
        form = f" ({p.activation})" if i else ""
        axes.set_title(("weights, learned" if i == 0 else f"hand-designed{form}") + more)
        top -= box + 0.25 + 0.55
