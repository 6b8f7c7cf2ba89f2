"""How often 2-2-1 networks get stuck, and how hidden units shorten training: the counts of 1986.

Source: D. E. Rumelhart, G. E. Hinton and R. J. Williams, "Learning internal representations by error propagation", in
*Parallel Distributed Processing* I, MIT Press 1986, pp. 330-334. Seen in a stored, page-numbered paraphrase, not in the
book itself: momentum is about 0.9 in most simulations (p. 330); hundreds of XOR runs met a local minimum only twice,
both with two hidden units, one of them after 6,587 presentations at a learning rate of 0.25, and rates of 0.5 and more
escape it (pp. 331-332); Chauvin found P = 280 - 33 log2 H presentations for H hidden units at 0.25, about 245 at 2 and
120 at 32 (p. 333). The 558 sweeps that later texts ascribe to this network belong to one with a single hidden unit and
direct connections (p. 331).

Not stated in what was seen: the range of the starting weights, and when a network counts as done. So both are varied:
weights and biases uniform in ±½, which is what the authors' later program draws (BP.C: wrange 1), or in ±1; done when
every output is on the right side of 0.5, or within 0.1 of its target. Where one of these comes close to the published
line, that is a fit, not a confirmation. A rate on summed gradients is four times as much on means, and a presentation
is taken as a sweep over the four patterns.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

import nnexp
from nnexp import Network, Settings
from nnexp.recovery import intervals

PATTERNS = 4
MOMENTUM = 0.9
PRESENTATIONS = 6587
HIDDEN = (2, 4, 8, 16, 32)

Done = Literal["correct", "confident"]


def chauvin(hidden: int) -> float:
    """The published number of presentations."""
    return 280 - 33 * float(np.log2(hidden))


def start(hidden: int, width: float, networks: int, seed: int = 0) -> Network:
    """Weights and biases uniform in ±width."""
    rng = np.random.default_rng([seed, hidden])
    shapes = {"W1": (networks, hidden, 2), "b1": (networks, hidden), "W2": (networks, hidden), "b2": (networks,)}
    return Network(**{name: rng.uniform(-width, width, shape) for name, shape in shapes.items()}, activation="sigmoid")


def sweeps(hidden: int, rate: float, width: float, networks: int = 1000, done: Done = "correct") -> np.ndarray:
    """Sweeps over the four patterns until each network is done; inf where it is not within 6,587."""
    settings = Settings(
        task="xor",
        hidden_size=hidden,
        activation="sigmoid",
        loss="mse",
        learning_rate=PATTERNS * rate,
        momentum=MOMENTUM,
        epochs=PRESENTATIONS,
        stop=done,
        seeds=networks,
    )
    trained = nnexp.train(settings, initial=start(hidden, width, networks)).epochs_trained
    return np.where(trained < PRESENTATIONS, trained, np.inf)


def stuck(rate: float, width: float, networks: int = 1000) -> tuple[int, float, float]:
    """How many 2-2-1 networks are not correct within 6,587 sweeps, and Wilson's interval of their share."""
    count = int(np.isinf(sweeps(2, rate, width, networks)).sum())
    low, high = intervals.wilson(count, networks)
    return count, float(low), float(high)


def repeat(networks: int = 1000) -> list[tuple[str, str, str, str]]:
    """Rows of: what is compared, the published figure, ours, the verdict."""
    rows = []
    for width in (0.5, 1.0):
        for rate in (0.25, 0.5):
            count, low, high = stuck(rate, width, networks)
            ours = f"{count / networks:.1%} ({low:.1%} to {high:.1%})"
            published = "2 of hundreds" if rate < 0.5 else "it escapes"
            rows.append(
                (
                    f"stuck, rate {rate}, weights in ±{width}",
                    published,
                    ours,
                    "differs: more" if low > 0.02 else "agrees",
                )
            )
    readings: tuple[tuple[float, Done, str], ...] = (
        (0.5, "correct", "±0.5, right side"),
        (1.0, "correct", "±1, right side"),
        (1.0, "confident", "±1, within 0.1"),
    )
    for width, done, reading in readings:
        medians = [float(np.median(sweeps(hidden, 0.25, width, networks, done))) for hidden in HIDDEN]
        published = ", ".join(f"{chauvin(hidden):.0f}" for hidden in HIDDEN)
        ratios = [median / chauvin(hidden) for hidden, median in zip(HIDDEN, medians, strict=True)]
        fits = all(0.75 < ratio < 1.33 for ratio in ratios)
        falls = medians == sorted(medians, reverse=True)
        verdict = ("agrees that units help" if falls else "differs") + (
            "; close" if fits else f"; {min(ratios):.1f} to {max(ratios):.1f} times"
        )
        rows.append(
            (
                f"median sweeps at 2, 4, 8, 16, 32 units, {reading}",
                published,
                ", ".join(f"{median:.0f}" for median in medians),
                verdict,
            )
        )
    return rows
