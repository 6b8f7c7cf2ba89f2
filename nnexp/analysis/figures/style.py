"""What all figures share: a style for screen and print, and their export as SVG or PNG.

Figures are made with Matplotlib's objects alone, without its global state, so that any thread can draw them. Readers
with any colour vision can distinguish the colours: cividis for amounts, those of Okabe and Ito for kinds. Kinds also
differ in hatching or dashes.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

#: The colours of Okabe and Ito.
BLUE, ORANGE, GREEN, SKY, VERMILION, PURPLE, YELLOW = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#56B4E9",
    "#D55E00",
    "#CC79A7",
    "#F0E442",
)
GREY = "#8a8a8a"
KINDS = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY)
DASHES: tuple[Any, ...] = ("-", "--", "-.", ":", (0, (6, 1, 1, 1, 1, 1)), (0, (1, 1)))
AMOUNTS = "cividis"
WIDTH = 11.6  # inches
DPI = 110

STYLE: Any = {
    "axes.edgecolor": "#555555",
    "axes.grid": False,
    "axes.labelsize": 10,
    "axes.linewidth": 0.7,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "figure.facecolor": "white",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9.5,
    "hatch.linewidth": 0.5,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "savefig.facecolor": "white",
    "svg.fonttype": "none",
    "svg.hashsalt": "nnexp",
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
}


def styled() -> AbstractContextManager[None]:
    """A context in which everything drawn has the style `STYLE`."""
    return mpl.rc_context(STYLE)


def new_figure(height: float) -> Figure:
    """An empty figure of `WIDTH` by ``height`` inches; draw on it under `styled`."""
    figure = Figure(figsize=(WIDTH, height))
    FigureCanvasAgg(figure)
    return figure


def svg(figure: Figure, prefix: str) -> str:
    """A figure as an SVG element for a page; ``prefix`` makes its identifiers differ from those of other figures."""
    buffer = io.StringIO()
    with styled():
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    text = re.sub(r'\bid="', f'id="{prefix}-', text)
    text = re.sub(r'(xlink:href="|href="|url\()#', rf"\1#{prefix}-", text)
    text = re.sub(r"\n\s*", "\n", text)
    return re.sub(r'<svg [^>]*?(viewBox="[^"]*")[^>]*>', _opening, text, count=1)


def _opening(match: re.Match[str]) -> str:
    """The opening tag of the SVG without a fixed size: it takes the width of the page."""
    links = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    return f'<svg {links} {match.group(1)} width="100%" aria-hidden="true">'


def png(figure: Figure) -> bytes:
    """A figure as the content of a PNG file."""
    buffer = io.BytesIO()
    with styled():
        figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return buffer.getvalue()


def percent_axis(axes: Axes, which: str = "y") -> None:
    """Label an axis of rates from 0 to 1 in percent."""
    axis = axes.yaxis if which == "y" else axes.xaxis
    axis.set_major_formatter(lambda value, _: f"{100 * value:.3g}%")


def heat_cells(
    axes: Axes,
    values: NDArray[np.float64],
    texts: Sequence[Sequence[str]],
    *,
    top: float,
    fontsize: float = 8,
    at: tuple[float, float] = (0.0, 0.0),
) -> None:
    """Draw a grid of coloured cells with a text in each; cells with nan stay empty.

    Args:
        axes: where to draw; one unit is one cell, row 0 at the bottom.
        values: (rows, columns) amounts from 0 to ``top``.
        texts: (rows, columns) the text of each cell.
        top: the amount with the lightest colour.
        fontsize: of the texts, in points.
        at: the lower left corner.
    """
    rows, columns = values.shape
    left, low = at
    axes.add_patch(Rectangle(at, columns, rows, facecolor="#f1f1f1", edgecolor="none", zorder=0))
    axes.pcolormesh(
        left + np.arange(columns + 1), low + np.arange(rows + 1), np.ma.masked_invalid(values),
        cmap=AMOUNTS, vmin=0.0, vmax=top, edgecolors="white", linewidth=0.6,
    )  # fmt: skip
    for row, column in zip(*np.nonzero(~np.isnan(values)), strict=True):
        shade = "white" if values[row, column] < 0.55 * top else "black"
        middle = (left + column + 0.5, low + row + 0.5)
        axes.text(*middle, texts[row][column], ha="center", va="center", color=shade, fontsize=fontsize)
    axes.tick_params(length=0)
    for side in ("top", "right", "left", "bottom"):
        axes.spines[side].set_visible(False)
