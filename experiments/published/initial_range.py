"""The size of the starting weights decides how long XOR takes, and close starts end apart.

Source: J. F. Kolen and J. B. Pollack, "Back propagation is sensitive to initial conditions", *Complex Systems* 4 (1990)
269-280. Seen: its abstract, and Kolen's summary on the Connectionists list (18 March 1993). They say that the magnitude
of the initial weights is a very significant parameter of the variability of convergence time for 2-2-1 networks, and
that the border between starts that converge within t epochs and those that do not is not smooth: small differences
decide. Neither gives a figure, so the repeat measures both statements with settings of our own: momentum 0.9, weights
and biases uniform in ±width.

For the second: of pairs of starts a step s apart, the share that ends apart goes like s^a. A smooth border has a = 1, a
rough one less (its dimension is the space's less a; Grebogi, McDonald, Ott and Yorke 1983), so that a close look helps
less than one thinks.
"""

from __future__ import annotations

import numpy as np

import nnexp
from nnexp import Parameters, Settings, intervals

WIDTHS = (0.1, 0.5, 1.0, 2.0, 4.0, 8.0)
STEPS = (0.1, 0.01, 0.001, 0.0001)
RATES = (2.0, 20.0)
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


def epochs(initial: Parameters, rate: float = 2.0) -> np.ndarray:
    """Epochs until correct, inf where it is not within the limit."""
    settings = SETTINGS.replace(seeds=len(initial), learning_rate=rate)
    found = nnexp.train(settings, initial=initial).epochs_to_correct
    return np.where(np.isnan(found), np.inf, found)


def spread(width: float, networks: int = 1000) -> tuple[int, float, float, float]:
    """How many never converge, and the quartiles of the epochs over all networks."""
    found = np.sort(epochs(start(width, networks)))
    quarters = [float(found[len(found) * k // 4]) for k in (1, 2, 3)]
    return int(np.isinf(found).sum()), quarters[0], quarters[1], quarters[2]


def parted(step: float, rate: float, width: float = 4.0, networks: int = 1000) -> int:
    """How many pairs of starts, each weight up to ``step`` apart, have just one that converges within the limit."""
    first, move = start(width, networks), start(step, networks, seed=1)
    second = Parameters(first.W1 + move.W1, first.b1 + move.b1, first.W2 + move.W2, first.b2 + move.b2)
    return int((np.isinf(epochs(first, rate)) != np.isinf(epochs(second, rate))).sum())


def exponent(counts: list[int], networks: int, resamples: int = 2000) -> tuple[float, float, float]:
    """The slope a of log share against log step, with an interval from redrawn binomial counts."""

    def slope(counted: np.ndarray) -> float:
        return float(np.polyfit(np.log(STEPS), np.log((counted + 0.5) / (networks + 1)), 1)[0])

    rng = np.random.default_rng(0)
    redrawn = rng.binomial(networks, np.array(counts) / networks, (resamples, len(counts)))
    low, high = np.quantile([slope(row) for row in redrawn], [0.025, 0.975])
    return slope(np.array(counts)), float(low), float(high)


def repeat(networks: int = 1000, pairs: int = 10_000) -> list[tuple[str, str, str, str]]:
    """Rows of: what is compared, the published figure, ours, the verdict."""
    rows = []
    for width in WIDTHS:
        never, *quarters = spread(width, networks)
        low, high = (float(end) for end in intervals.wilson(never, networks))
        times = ", ".join(f"{epoch:.0f}" if np.isfinite(epoch) else "never" for epoch in quarters)
        ours = f"{times}; {never / networks:.1%} ({low:.1%} to {high:.1%})"
        rows.append(
            (f"quartiles of epochs, and never within {LIMIT:,}, from ±{width}", "size matters much", ours, "agrees")
        )
    for rate in RATES:
        counts = [parted(step, rate, networks=pairs) for step in STEPS]
        parts = "agrees" if counts[-1] else "not at the closest"
        shares = ", ".join(f"{count / pairs:.2%}" for count in counts)
        rows.append((f"pairs that part, 0.1 to 0.0001 apart, rate {rate:g}", "some, however close", shares, parts))
        slope, low, high = exponent(counts, pairs)
        verdict = "agrees: rough" if high < 0.95 else "no sign of roughness"
        rows.append((f"its exponent, rate {rate:g}", "below 1", f"{slope:.2f} ({low:.2f} to {high:.2f})", verdict))
    return rows
