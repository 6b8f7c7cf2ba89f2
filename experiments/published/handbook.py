"""The XOR run of the PDP handbook's program, from its own weight file, epoch for epoch.

Source: J. L. McClelland and D. E. Rumelhart, *Explorations in Parallel Distributed Processing*, MIT Press 1988, chapter
5; the files XOR.NET, XOR.PAT, XOR.WTS and XOR.STR of its disk (kept in the repository dagfinndybvig/renewedPDP). The
program presents four patterns, adds their gradients of ½ (t-a)² up, and then makes one step: lrate 0.5, momentum 0.9.
It stops after the first epoch whose tss, the summed (t-a)², is below ecrit = 0.04. The figures below were read from the
screen of that program, run on those files.

Its step takes the gradient's sum over the patterns where ours takes the mean: lrate 0.5 is a learning rate of 2 here.
An epoch shows the tss before its step, so epoch e belongs to e - 1 updates. The program computes in single precision
and shows weights times 100, cut off.
"""

from __future__ import annotations

import numpy as np

import nnexp
from nnexp import Network, Settings, TrainingResult
from nnexp.network import model, tasks

PATTERNS = 4
START = Network(
    W1=np.array([[[0.432171, 0.448781], [-0.038413, 0.036489]]]),
    b1=np.array([[-0.276589, -0.402498]]),
    W2=np.array([[0.272080, 0.081714]]),
    b2=np.array([0.279299]),
    activation="sigmoid",
)
#: Epoch to tss, as the program shows it.
TSS = {
    1: 1.0507,
    30: 1.0024,
    60: 1.0001,
    90: 0.9999,
    120: 0.9997,
    150: 0.9987,
    180: 0.9896,
    210: 0.9030,
    240: 0.6579,
    270: 0.1605,
    289: 0.0398,
}
STOPPED_AT = 289
#: The weights that it shows after its last step, times 100: W1, b1, W2, b2.
SHOWN = ((571, 572), (317, 318)), (-216, -482), (640, -696), -282

SETTINGS = Settings(
    task="xor", hidden_size=2, activation="sigmoid", loss="mse", learning_rate=0.5 * PATTERNS, momentum=0.9, seeds=1
)


def after(updates: int) -> TrainingResult:
    """The handbook's network after that many updates."""
    return nnexp.train(SETTINGS.replace(epochs=updates), initial=START)


def tss(loss: float) -> float:
    """The summed squared error of a mean of halves."""
    return 2 * PATTERNS * loss


def stopped_at(limit: float = 0.04, longest: int = 400) -> int:
    """The epoch after which the program's rule ends training, found by bisection (tss falls from epoch 60 on)."""
    low, high = 60, longest
    while low < high:
        middle = (low + high) // 2
        if tss(float(after(middle).loss[0])) < limit:
            high = middle
        else:
            low = middle + 1
    return low + 1


def shown(network: Network) -> tuple[object, ...]:
    """The weights of a network as the program shows them: times 100, cut off."""
    W1, b1, W2, b2 = (np.trunc(100 * part[0]) for part in network.weights)
    rows = tuple(tuple(int(w) for w in row) for row in W1)
    return rows, tuple(int(b) for b in b1), tuple(int(w) for w in W2), int(b2)


def trajectory() -> dict[int, float]:
    """Our tss at the epochs of `TSS`, and at epoch 1."""
    X, Y = model.encode(tasks.get("xor"), "binary")
    first = nnexp.loss_and_gradients(START, X, Y, loss="mse")[0]
    return {1: tss(float(first[0]))} | {epoch: tss(float(after(epoch - 1).loss[0])) for epoch in list(TSS)[1:]}


def repeat() -> list[tuple[str, str, str, str]]:
    """Rows of: what is compared, the published figure, ours, the verdict."""
    rows = [(f"tss at epoch {epoch}", f"{TSS[epoch]:.4f}", f"{ours:.4f}") for epoch, ours in trajectory().items()]
    rows += [
        ("stops after epoch", str(STOPPED_AT), str(stopped_at())),
        ("its weights then, times 100", str(SHOWN), str(shown(after(STOPPED_AT).network))),
    ]
    return [(*row, "agrees" if row[1] == row[2] else "DIFFERS") for row in rows]
