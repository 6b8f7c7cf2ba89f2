"""The size of the starting weights decides how long XOR takes, and close starts end apart.

Source: J. F. Kolen and J. B. Pollack, "Back propagation is sensitive to initial conditions", *Complex Systems* 4 (1990)
269-280. Seen: its abstract, and Kolen's summary on the Connectionists list (18 March 1993). They say that the magnitude
of the initial weights is a very significant parameter of the variability of convergence time for 2-2-1 networks, and
that the border between starts that converge within t epochs and those that do not is not smooth: small differences
decide. Neither gives a figure, so the repeat measures both statements with settings of our own: momentum 0.9, weights
and biases uniform in ±width.

For the first: a width agrees where it differs from ±1, either in the share that never converges (the intervals do not
touch) or in the median by a factor of 2 or more.

For the second: of pairs of starts a step s apart, the share that ends apart goes like s^a. A smooth border has a = 1, a
rough one less (its dimension is the space's less a; Grebogi, McDonald, Ott and Yorke 1983), so that a close look helps
less than one thinks. The exponent is fitted to the steps at which ten pairs or more part. Its interval is from pairs
drawn again, each with all its steps, since these share their start and direction.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

import nnexp
from nnexp import Network, Settings
from nnexp.recovery import intervals

WIDTHS = (0.1, 0.5, 1.0, 2.0, 4.0, 8.0)
REFERENCE = 1.0
#: The ratio of two medians that counts as a difference.
FACTOR = 2.0
STEPS = (0.1, 0.01, 0.001, 0.0001)
RATES = (2.0, 20.0)
#: A step at which fewer pairs part says too little of a share to be fitted.
ENOUGH = 10
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

#: How many never converge, and the quartiles of the epochs (inf: never).
Spread = tuple[int, float, float, float]


def start(width: float, networks: int, seed: int = 0) -> Network:
    """Weights and biases uniform in ±width; the same directions for every width."""
    rng = np.random.default_rng(seed)
    shapes = {"W1": (networks, 2, 2), "b1": (networks, 2), "W2": (networks, 2), "b2": (networks,)}
    return Network(**{name: width * rng.uniform(-1, 1, shape) for name, shape in shapes.items()}, activation="sigmoid")


def epochs(initial: Network, rate: float = 2.0) -> np.ndarray:
    """Epochs until correct, inf where it is not within the limit."""
    settings = SETTINGS.replace(seeds=len(initial), learning_rate=rate)
    found = nnexp.train(settings, initial=initial).epochs_to_correct
    return np.where(np.isnan(found), np.inf, found)


def spread(width: float, networks: int = 1000) -> Spread:
    """How many never converge, and the quartiles of the epochs over all networks."""
    found = np.sort(epochs(start(width, networks)))
    quarters = [float(found[len(found) * k // 4]) for k in (1, 2, 3)]
    return int(np.isinf(found).sum()), quarters[0], quarters[1], quarters[2]


def difference(found: Spread, reference: Spread, networks: int) -> str:
    """The verdict on one width: in what its networks differ from those of the reference width."""
    low, high = intervals.wilson(found[0], networks)
    reference_low, reference_high = intervals.wilson(reference[0], networks)
    share = low > reference_high or high < reference_low
    quicker, slower = sorted(min(median, LIMIT) for median in (found[2], reference[2]))  # never: at least the limit
    median = slower >= FACTOR * quicker
    parts = [name for name, differs in (("share", share), ("median", median)) if differs]
    return f"agrees: another {' and '.join(parts)}" if parts else "no difference seen"


def parted(steps: Sequence[float], rate: float, width: float = 4.0, networks: int = 1000) -> np.ndarray:
    """Which pairs of starts, each weight up to a step apart, have just one that converges within the limit (S, P)."""
    first = start(width, networks)
    converged = np.isfinite(epochs(first, rate))
    found = []
    for step in steps:
        move = start(step, networks, seed=1)
        second = first.with_weights(first.W1 + move.W1, first.b1 + move.b1, first.W2 + move.W2, first.b2 + move.b2)
        found.append(converged != np.isfinite(epochs(second, rate)))
    return np.array(found)


def exponent(parts: np.ndarray, resamples: int = 2000) -> tuple[float, float, float]:
    """The slope a of log share against log step, with an interval from pairs drawn again.

    Args:
        parts: which of P pairs part at each of `STEPS` (S, P).
        resamples: how often they are drawn again.

    Returns:
        The slope and its interval's ends; not numbers where fewer than two steps have enough pairs that part.
    """
    used = parts.sum(axis=1) >= ENOUGH
    if used.sum() < 2:
        return np.nan, np.nan, np.nan
    pairs = parts.shape[1]
    logs = np.log(STEPS)[used]

    def slope(counted: np.ndarray) -> float:
        return float(np.polyfit(logs, np.log((counted + 0.5) / (pairs + 1)), 1)[0])

    # To draw P pairs is to draw how many have each pattern of parting.
    patterns, counts = np.unique(parts[used], axis=1, return_counts=True)
    redrawn = np.random.default_rng(0).multinomial(pairs, counts / pairs, resamples) @ patterns.T
    low, high = np.quantile([slope(counted) for counted in redrawn], [0.025, 0.975])
    return slope(parts[used].sum(axis=1)), float(low), float(high)


def roughness(counts: Sequence[int], high: float) -> str:
    """The verdict on the upper end of an exponent; it speaks of the steps that were fitted, and of no closer ones."""
    fitted = [step for step, count in zip(STEPS, counts, strict=True) if count >= ENOUGH]
    if len(fitted) < 2:
        return "too few pairs part to say"
    return f"{'agrees: rough' if high < 0.95 else 'no sign of roughness'} down to {min(fitted):g}"


def repeat(networks: int = 1000, pairs: int = 10_000) -> list[tuple[str, str, str, str]]:
    """Rows of: what is compared, the published figure, ours, the verdict."""
    rows = []
    spreads = {width: spread(width, networks) for width in WIDTHS}
    for width, found in spreads.items():
        never, *quarters = found
        low, high = (float(end) for end in intervals.wilson(never, networks))
        times = ", ".join(f"{epoch:.0f}" if np.isfinite(epoch) else "never" for epoch in quarters)
        ours = f"{times}; {never / networks:.1%} ({low:.1%} to {high:.1%})"
        verdict = (
            "the others are compared with it" if width == REFERENCE else difference(found, spreads[REFERENCE], networks)
        )
        title = f"quartiles of epochs, and never within {LIMIT:,}, from ±{width}"
        rows.append((title, "size matters much", ours, verdict))
    for rate in RATES:
        parts = parted(STEPS, rate, networks=pairs)
        counts = [int(count) for count in parts.sum(axis=1)]
        seen = "agrees" if counts[-1] else "none seen at the closest"
        shares = ", ".join(f"{count / pairs:.2%}" for count in counts)
        rows.append((f"pairs that part, 0.1 to 0.0001 apart, rate {rate:g}", "some, however close", shares, seen))
        slope, low, high = exponent(parts)
        ours = f"{slope:.2f} ({low:.2f} to {high:.2f})"
        rows.append((f"its exponent, rate {rate:g}", "below 1", ours, roughness(counts, high)))
    return rows
