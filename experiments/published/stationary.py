"""The error surface of the 2-2-1 XOR network: where gradients vanish, and that none of those points is a minimum.

Sources, each seen in its abstract:
- L. G. C. Hamey, "Analysis of the error surface of the XOR network with two hidden nodes", Macquarie University
  computing report 95/167C (1995), and "XOR has no local minima", *Neural Networks* 11 (1998) 669-681: the finite
  stationary points form connected manifolds, arbitrarily close to points of lower error, so none is a relative minimum.
- I. G. Sprinkhuizen-Kuyper and E. J. W. Boers, "The local minima of the error surface of the 2-2-1 XOR network": local
  minima need saturated hidden units; from every finite point a path leads strictly down to error zero; which explains
  why experiments with higher numerical precision find fewer "local minima".
- D. Mehta, X. Zhao, E. A. Bernal and D. J. Wales, "The loss surface of XOR artificial neural networks" (2018),
  arXiv:1804.02411: a stationary point for H hidden units is one for H + 1 when all weights of the additional unit are
  zero.

Which gradients are exactly zero depends on the order of a program's operations, so the counts of frozen networks are of
this program; their comparison is not.

The stationary points used here follow from the gradient itself: with output weights 0 and all outputs ½ it vanishes
where each hidden unit has h(00) + h(11) = h(01) + h(10). A unit has that if it ignores an input, or if its line passes
through the square's centre.
"""

from __future__ import annotations

import numpy as np

import nnexp
from nnexp import Network, Settings
from nnexp.network import initializers, model, tasks
from nnexp.recovery import intervals

KINDS = ("ignores x1", "ignores x2", "through the centre")


def unit(kind: str, rng: np.random.Generator) -> tuple[float, float, float]:
    """Weights and bias of a hidden unit of that kind."""
    w1, w2, bias = rng.normal(0, 2, 3)
    if kind == "ignores x1":
        return 0.0, w2, bias
    if kind == "ignores x2":
        return w1, 0.0, bias
    return w1, w2, -(w1 + w2) / 2


def stationary_points(each: int, seed: int = 0) -> Network:
    """``each`` networks for each of the nine pairs of kinds, at stationary points."""
    rng = np.random.default_rng(seed)
    units = np.array([[unit(a, rng), unit(b, rng)] for a in KINDS for b in KINDS for _ in range(each)])
    networks = len(units)
    return Network(units[:, :, :2], units[:, :, 2], np.zeros((networks, 2)), np.zeros(networks), activation="sigmoid")


def flat(network: Network) -> np.ndarray:
    """All weights of each network in one row, (R, 3H + H + 1 for N = 2)."""
    return np.concatenate([part.reshape(len(network), -1) for part in network.weights], axis=1)


def unflat(rows: np.ndarray, hidden: int = 2) -> Network:
    """The inverse of `flat`."""
    W1, b1, W2, b2 = np.split(rows, np.cumsum([2 * hidden, hidden, hidden]), axis=1)
    return Network(W1.reshape(-1, hidden, 2), b1, W2, b2[:, 0], activation="sigmoid")


def loss_and_gradient(rows: np.ndarray, loss: str = "mse") -> tuple[np.ndarray, np.ndarray]:
    """The loss and its gradient for flat weights, on XOR with sigmoid hidden units."""
    X, Y = model.encode(tasks.get("xor"), "binary")
    values, gradients = nnexp.loss_and_gradients(unflat(rows), X, Y, loss=loss)
    return values, flat(gradients)


def lowest_curvature(rows: np.ndarray, loss: str = "mse") -> tuple[np.ndarray, np.ndarray]:
    """The smallest eigenvalue of each Hessian, by central differences of the gradient, and its direction."""
    size, step = rows.shape[1], 1e-5
    columns = [
        (loss_and_gradient(rows + step * axis, loss)[1] - loss_and_gradient(rows - step * axis, loss)[1]) / (2 * step)
        for axis in np.eye(size)
    ]
    hessian = np.stack(columns, axis=2)
    values, vectors = np.linalg.eigh((hessian + hessian.transpose(0, 2, 1)) / 2)
    return values[:, 0], vectors[:, :, 0]


def way_down(each: int = 50, loss: str = "mse", distance: float = 0.01) -> dict[str, float]:
    """At the stationary points: the largest gradient, the shares with negative curvature and with lower loss near."""
    rows = flat(stationary_points(each))
    value, gradient = loss_and_gradient(rows, loss)
    curvature, direction = lowest_curvature(rows, loss)
    ahead = loss_and_gradient(rows + distance * direction, loss)[0]
    behind = loss_and_gradient(rows - distance * direction, loss)[0]
    return {
        "points": len(rows),
        "largest gradient": float(np.abs(gradient).max()),
        "negative curvature": float((curvature < 0).mean()),
        "lower close by": float((np.minimum(ahead, behind) < value).mean()),
    }


def embedded(epochs: int = 2000) -> float:
    """By how much a third unit of zero weights changes the loss of trained networks of two units, at most."""
    settings = Settings(task="xor", hidden_size=2, learning_rate=0.5, epochs=epochs, seeds=100)
    small = initializers.draw(settings, range(settings.seeds))
    large = small.with_weights(
        np.pad(small.W1, ((0, 0), (0, 1), (0, 0))),
        np.pad(small.b1, ((0, 0), (0, 1))),
        np.pad(small.W2, ((0, 0), (0, 1))),
        small.b2,
    )
    wide = nnexp.train(settings.replace(hidden_size=3), initial=large)
    return float(np.abs(wide.loss - nnexp.train(settings, initial=small).loss).max())


def frozen(width: float, networks: int = 1000, epochs: int = 2000) -> dict[str, int]:
    """Networks from weights in ±width that are unsolved with an hidden-layer gradient of exactly zero, by precision."""
    counts = {}
    rng = np.random.default_rng(0)
    shapes = ((networks, 2, 2), (networks, 2), (networks, 2), (networks,))
    initial = Network(*(rng.uniform(-width, width, shape) for shape in shapes), activation="sigmoid")
    X, Y = model.encode(tasks.get("xor"), "binary")
    for dtype in ("float32", "float64"):
        settings = Settings(
            task="xor",
            hidden_size=2,
            activation="sigmoid",
            loss="mse",
            learning_rate=2.0,
            momentum=0.9,
            epochs=epochs,
            stop="correct",
            dtype=dtype,
            seeds=networks,
        )
        result = nnexp.train(settings, initial=initial)
        gradients = nnexp.loss_and_gradients(result.network, X, Y, loss="mse")[1]
        still = (gradients.W1 == 0).all(axis=(1, 2)) & (gradients.b1 == 0).all(axis=1)
        counts[dtype] = int((still & np.isnan(result.epochs_to_correct)).sum())
    return counts


def repeat() -> list[tuple[str, str, str, str]]:
    """Rows of: what is compared, the published figure, ours, the verdict."""
    rows = []
    for loss in ("mse", "cross_entropy"):
        found = way_down(loss=loss)
        text = f"{found['lower close by']:.1%} of {found['points']:.0f} points"
        good = found["lower close by"] == 1.0 and found["largest gradient"] < 1e-12
        rows.append(
            (
                f"stationary points with lower loss within 0.01, {loss}",
                "all (mse)",
                text,
                "agrees" if good else "DIFFERS",
            )
        )
    difference = embedded()
    rows.append(
        (
            "a third unit of zero weights changes the loss by",
            "0",
            f"{difference:g}",
            "agrees" if difference == 0 else "DIFFERS",
        )
    )
    for width in (20.0, 100.0):
        counts = frozen(width)
        low, high = (f"{float(end):.1%}" for end in intervals.wilson(counts["float64"], 1000))
        rows.append(
            (
                f"frozen networks of 1,000 from weights in ±{width:g}",
                "fewer with more precision",
                f"{counts['float32']} in float32, {counts['float64']} ({low} to {high}) in float64",
                "agrees" if counts["float64"] < counts["float32"] else "DIFFERS",
            )
        )
    return rows
