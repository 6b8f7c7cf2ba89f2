"""The size of the starting weights decides how long XOR takes, and close starts end apart.

Source: J. F. Kolen and J. B. Pollack, "Back propagation is sensitive to initial conditions", *Complex Systems* 4 (1990) 269-280.
Seen: its abstract, and Kolen's summary on the Connectionists list (18 March 1993). They say that the magnitude of the initial
weights is a very significant parameter of the variability of convergence time for 2-2-1 networks, and that the border between
starts that converge within t epochs and those that do not is not smooth: small differences decide. Neither gives a figure, so the
repeat measures both statements: learning rate 2 on means, momentum 0.9, weights and biases uniform in ±width.
"""

from __future__ import annotations

import numpy as np

import nnexp
from nnexp import Parameters, Settings, intervals

WIDTHS = (0.1, 0.5, 1.0, 2.0, 4.0, 8.0)
STEPS = (1.0, 0.1, 0.01, 0.001)
LIMIT = 2000
SETTINGS = Settings(
    task="xor",
    hidden_size=2,
    activation="sigmoid",
    loss="mse",
    learning_rate=2.0,
    momentum=0.9,
    epochs=LIMIT,
    stop="correct",
)


def start(width: float, networks: int, seed: int = 0) -> Parameters:
    """Weights and biases uniform in ±width; the same directions for every width."""
    rng = np.random.default_rng(seed)
    shapes = {"W1": (networks, 2, 2), "b1": (networks, 2), "W2": (networks, 2), "b2": (networks,)}
    return Parameters(**{name: width * rng.uniform(-1, 1, shape) for name, shape in shapes.items()})


def epochs(initial: Parameters) -> np.ndarray:
    """Epochs until correct, inf where it is not within the limit."""
    found = nnexp.train(SETTINGS.replace(seeds=len(initial)), initial=initial).epochs_to_correct
    return np.where(np.isnan(found), np.inf, found)


def spread(width: float, networks: int = 1000) -> tuple[int, float, float, float]:
    """How many never converge, and the quartiles of the epochs over all networks."""
    found = np.sort(epochs(start(width, networks)))
    quarters = [float(found[len(found) * k // 4]) for k in (1, 2, 3)]
    return int(np.isinf(found).sum()), quarters[0], quarters[1], quarters[2]


def split_pairs(step: float, width: float = 4.0, networks: int = 1000) -> int:
    """Pairs of starts, each weight apart by up to ``step``, of which just one converges within the limit."""
    first, move = start(width, networks), start(step, networks, seed=1)
    second = Parameters(first.W1 + move.W1, first.b1 + move.b1, first.W2 + move.W2, first.b2 + move.b2)
    return int((np.isinf(epochs(first)) != np.isinf(epochs(second))).sum())


def repeat(networks: int = 1000) -> list[tuple[str, str, str, str]]:
    """Rows of: what is compared, the published figure, ours, the verdict."""
    rows = []
    for width in WIDTHS:
        never, low, middle, high = spread(width, networks)
        bottom, top = intervals.wilson(never, networks)
        text = f"quartiles {low:.0f}, {middle:.0f}, {high:.0f} epochs; never {never / networks:.1%} ({float(bottom):.1%} to {float(top):.1%})"
        rows.append((f"epochs from weights in ±{width}", "depends much on the size", text, ""))
    for step in STEPS:
        count = split_pairs(step, networks=networks)
        low, high = (float(value) for value in intervals.wilson(count, networks))
        rows.append(
            (f"pairs up to {step} apart that part", "some, however close", f"{count / networks:.1%} ({low:.1%} to {high:.1%})", "")
        )
    return rows
