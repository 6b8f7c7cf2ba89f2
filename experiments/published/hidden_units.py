"""How often 2-2-1 networks get stuck, and how hidden units shorten training: the counts of 1986.

Source: D. E. Rumelhart, G. E. Hinton and R. J. Williams, "Learning internal representations by error propagation", in *Parallel
Distributed Processing* I, MIT Press 1986, pp. 330-334. Seen in a stored, page-numbered paraphrase, not in the book itself:
momentum is about 0.9 in most simulations (p. 330); hundreds of XOR runs met a local minimum only twice, both with two hidden units,
one of them after 6,587 presentations at a learning rate of 0.25, and rates of 0.5 and more escape it (pp. 331-332); Chauvin found
P = 280 - 33 log2 H presentations for H hidden units at 0.25, about 245 at 2 and 120 at 32 (p. 333).
(The 558 sweeps that later texts ascribe to this network belong to one with a single hidden unit and direct connections, p. 331.)

Not stated there: the range of the starting weights, and when a network counts as done. Weights and biases uniform in ±½ are what
the authors' own program draws (BP.C: wrange 1), ±1 is taken beside it; done is every output on the right side of 0.5.
A rate on summed gradients is four times as much on our means.
"""

from __future__ import annotations

import numpy as np

import nnexp
from nnexp import Parameters, Settings, intervals

PATTERNS = 4
MOMENTUM = 0.9
PRESENTATIONS = 6587
HIDDEN = (2, 4, 8, 16, 32)


def chauvin(hidden: int) -> float:
    """The published number of presentations."""
    return 280 - 33 * float(np.log2(hidden))


def start(hidden: int, width: float, networks: int, seed: int = 0) -> Parameters:
    """Weights and biases uniform in ±width."""
    rng = np.random.default_rng([seed, hidden])
    shapes = {"W1": (networks, hidden, 2), "b1": (networks, hidden), "W2": (networks, hidden), "b2": (networks,)}
    return Parameters(**{name: rng.uniform(-width, width, shape) for name, shape in shapes.items()})


def epochs_to_correct(hidden: int, rate: float, width: float, networks: int = 1000) -> np.ndarray:
    """Sweeps over the four patterns until each network is correct; inf where it is not within 6,587."""
    settings = Settings(
        task="xor",
        hidden_size=hidden,
        activation="sigmoid",
        loss="mse",
        learning_rate=PATTERNS * rate,
        momentum=MOMENTUM,
        epochs=PRESENTATIONS,
        stop="correct",
        seeds=networks,
    )
    epochs = nnexp.train(settings, initial=start(hidden, width, networks)).epochs_to_correct
    return np.where(np.isnan(epochs), np.inf, epochs)


def stuck(rate: float, width: float, networks: int = 1000) -> tuple[int, float, float]:
    """How many 2-2-1 networks are not correct within 6,587 sweeps, and Wilson's interval of their share."""
    count = int(np.isinf(epochs_to_correct(2, rate, width, networks)).sum())
    low, high = intervals.wilson(count, networks)
    return count, float(low), float(high)


def repeat(networks: int = 1000) -> list[tuple[str, str, str, str]]:
    """Rows of: what is compared, the published figure, ours, the verdict."""
    rows = []
    for width in (0.5, 1.0):
        for rate in (0.25, 0.5):
            count, low, high = stuck(rate, width, networks)
            rows.append(
                (
                    f"stuck, 2 hidden units, rate {rate}, weights in ±{width}",
                    "2 of hundreds" if rate < 0.5 else "none",
                    f"{count / networks:.1%} ({low:.1%} to {high:.1%})",
                    "DIFFERS: more" if low > 0.02 else "agrees",
                )
            )
        medians = [float(np.median(epochs_to_correct(hidden, 0.25, width, networks))) for hidden in HIDDEN]
        slope = np.polyfit(np.log2(HIDDEN), medians, 1)[0]
        rows += [
            (f"median sweeps, {hidden} hidden units, weights in ±{width}", f"{chauvin(hidden):.0f}", f"{median:.0f}", near(median, hidden))
            for hidden, median in zip(HIDDEN, medians, strict=True)
        ]
        rows.append(
            (f"sweeps saved by each doubling, weights in ±{width}", "33", f"{-slope:.0f}", "agrees: fewer" if slope < 0 else "DIFFERS")
        )
    return rows


def near(median: float, hidden: int) -> str:
    """Whether a median is within a fifth of Chauvin's line."""
    ratio = median / chauvin(hidden)
    return "agrees" if 0.8 < ratio < 1.25 else f"DIFFERS: {ratio:.1f} times"
