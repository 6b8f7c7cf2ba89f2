"""Why a trial's networks do not reach the goal, in one sentence from their grades and weights.

Axes: R networks, H hidden units, M samples.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nnexp.network.model import encode, hidden
from nnexp.recovery.grades import PLATEAUS, Grades

if TYPE_CHECKING:
    from nnexp.training.result import TrainingResult

#: Below this largest abs(h) a tanh unit is linear within 8%; above `_SATURATED` it changes little with its input.
_LINEAR, _SATURATED = 0.5, 0.95
#: The plateaus of a 2-input truth table, with the answers of a network there.
_PLATEAU = {
    "constant": "are on the plateau at loss ln 2, with the same answer for every input",
    "one half": "are on the plateau at loss ½ ln 2, with the same answer for two inputs of opposite targets",
    "two thirds": "are on the plateau at loss ¾(ln 3 − ⅔ ln 2), with the same answer for three of the four inputs",
}


def shortfall(result: TrainingResult, grades: Grades, epochs: int) -> str:
    """The most frequent reason why networks do not reach the goal: to recover the design, or without one, to solve.

    Args:
        result: the trained networks, R.
        grades: their grades.
        epochs: the epoch to which they were trained.

    Returns:
        One sentence without its full stop, such as ``212 of 256 networks are on the plateau at loss ln 2, with the same
        answer for every input: ...``; empty if all networks reach the goal. A cause is named only if the weights of
        most of these networks show it.
    """
    alive = ~result.diverged
    kinds: dict[str, NDArray[np.bool_]] = {"diverged": result.diverged}
    unsolved = alive & ~grades.solved
    if grades.plateau is None:
        kinds["not solved"] = unsolved
    else:
        kinds |= {name: unsolved & (grades.plateau == name) for name in (*PLATEAUS, "not converged")}
    if grades.recovered is not None and grades.contains is not None:
        mirror = np.zeros(len(grades), dtype=bool) if grades.family is None else grades.family == "mirror"
        kinds["redundant"] = alive & grades.contains & ~grades.recovered
        kinds["mirror"] = alive & mirror & ~grades.contains
        kinds["other"] = alive & grades.solved & ~grades.contains & ~mirror
    kind = max(kinds, key=lambda name: np.count_nonzero(kinds[name]))
    those = kinds[kind]
    count = np.count_nonzero(those)
    if not count:
        return ""
    return f"{count:,} of {len(those):,} networks {_in_words(kind, those, result, grades, epochs)}"


def _in_words(kind: str, those: NDArray[np.bool_], result: TrainingResult, grades: Grades, epochs: int) -> str:
    if kind == "constant":
        return _PLATEAU[kind] + _cause(result, those, epochs)
    if kind in _PLATEAU:
        return _PLATEAU[kind]
    if kind == "redundant":
        share = 0.0 if grades.design_share is None else float(np.median(grades.design_share[those]))
        return f"contain the design without relying on it: its units carry {share:.0%} of the logits (median)"
    if kind == "not converged":
        loss = float(np.median(result.loss[those]))
        return f"do not solve it within {epochs:,} epochs and are on no known plateau (median loss {loss:.2g})"
    return {
        "diverged": "diverged: a weight became infinite or undefined; try a lower learning rate or initial scale",
        "not solved": f"do not solve it within {epochs:,} epochs",
        "mirror": "contain the mirror of the design instead",
        "other": "solve it with other logic than the design or its mirror",
    }[kind]


def _cause(result: TrainingResult, those: NDArray[np.bool_], epochs: int) -> str:
    """The cause for most of the networks at loss ln 2, by their hidden values; empty if these show no single cause."""
    settings = result.settings
    X, _ = encode(settings.truth_table, settings.encoding)
    h = hidden(result.network.select(those), X)  # (R, H, M)
    if result.network.activation == "sigmoid":
        h = 2 * h - 1
    size = np.abs(h)
    if np.mean(size.max(axis=(1, 2)) < _LINEAR) > 0.5:
        return (
            f": the initial weights are too small for {epochs:,} epochs at this rate, since all hidden units are still"
            " linear"
        )
    constant = np.abs(h.min(axis=2) + h.max(axis=2)) >= 2 * _SATURATED  # saturated with one sign for all inputs
    if np.mean(constant.all(axis=1)) > 0.5:
        return ": every hidden unit is saturated with the same sign for every input, so that its gradient vanishes"
    return ""
