"""One epoch of gradient descent for a tile of networks, in as few passes over memory as the algebra allows (floor 2).

Axes: m samples (M), k inputs and the bias (K = N + 1), h hidden units (H), r replicas, the networks of a tile.

Replicas come last, so that every pass runs along contiguous memory, in place where it can. The passes, with s = ±1 the
sign of each target and p the probability of the right answer:

    A = tanh(X^T W1)                        `hidden_layer`; the bias is the last row of W1, its input is 1
    Z = s log2(e) (sum_h W2 A + b2)
    E = 2^Z = p/(1-p)
    Q = 1/(1 + E) = 1-p                     a network is correct where Z > 0 at every sample
    D = s lr/M Q                            minus the step's residual; no cancellation when p is near 1
    dW2 = sum_m D A    db2 = sum_m D
    A = 1 - A²         dW1 = W2 (sum_m D A X)    W2 multiplies after the sum over samples

Where one network fills the cache (M*H >= 16384) tiles have one lane. Sigmoid hidden units are ½+½tanh(z/2), with the
halves of W2 kept in the tile: scaling by powers of two is exact.

**The same bits in any company.** A lane's arithmetic never meets another lane's. Widths are multiples of `LANES`, so
that no lane falls into the tail of a vector loop. Where BLAS multiplies, all widths of one shape take the same path
through it (`Problem.one_width`), and what its path gives a column does not depend on the column's place.
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import threadpoolctl
from numpy.typing import NDArray

from nnexp.network.settings import Activation, DType, Loss, Stop
from nnexp.training.hidden_layer import LANES, Products, TruthTable, is_truth_table

Array = NDArray[Any]

CONFIDENT = math.log2(9)
"""max abs(a2 - y) < 0.1 is p > 0.9 at every sample: logits beyond log(9), here to base 2."""
SOLVED = math.exp(-1.2)
"""Mean cross-entropy < 1.2/M is a product of p above this."""

_CACHE = {"float64": 49152, "float32": 65536}
_ALONE = 16384
_SMALL_PRODUCT = 1_000_000


Weights = tuple[Array, Array, Array, Array]
"""W1 (n, H, N), b1 (n, H), W2 (n, H), b2 (n,)."""


@dataclass(frozen=True, eq=False)
class Problem:
    """What the networks of a tile have in common.

    Attributes:
        X: (N, M) inputs as the network sees them. Y: (M,) targets, 0 or 1.
        has_momentum: whether velocities are kept; networks without momentum never share a tile with those that have it.
    """

    X: Array
    Y: Array
    hidden_size: int
    activation: Activation
    loss: Loss
    dtype: DType
    stop: Stop
    has_momentum: bool

    @property
    def n_inputs(self) -> int:
        """N."""
        return int(self.X.shape[0])

    @property
    def n_samples(self) -> int:
        """M."""
        return int(self.X.shape[1])

    @functools.cached_property
    def is_table(self) -> bool:
        """Whether tiles double and fold a truth table, and do not multiply matrices."""
        return self.max_width > 1 and is_truth_table(self.X)

    @property
    def max_width(self) -> int:
        """Networks in a full tile: what keeps M*H*r numbers in the second-level cache, or one if it fills it alone."""
        numbers = self.n_samples * self.hidden_size
        if numbers >= _ALONE:
            return 1
        return max(_CACHE[self.dtype] // numbers // LANES * LANES, LANES)

    @property
    def one_width(self) -> bool:
        """Whether all tiles have full width, because BLAS would take another path for narrower ones."""
        width = self.max_width
        if self.is_table:
            return False
        return width == 1 or (self.n_inputs + 1) * self.n_samples * self.hidden_size * width > _SMALL_PRODUCT


def _aligned(count: int, dtype: DType, place: list[int]) -> Array:
    """An uninitialized vector on a cache line's start; each next one is shifted, so that streams do not alias."""
    size = np.dtype(dtype).itemsize
    memory = np.empty(count * size + 8192, np.uint8)
    place[0] += 576
    start = -memory.ctypes.data % 4096 + place[0] % 4096
    return memory[start : start + count * size].view(dtype)


class Tile:
    """Up to ``max_width`` networks of one problem, a lane each; free lanes hold zeros and learn nothing.

    Attributes:
        width: lanes in use or free, a multiple of `LANES`.
        weights: (K*H + H + 1, width), one block of memory, of which these are views:
            W1 (K, H, width), the bias last; W2 (H, width), halved for sigmoid units; b2 (width,).
        velocity: the same block, used with momentum only.
        rate: (M, width) s lr/M, zero for a lane that stands still. momentum: (width,).
        frozen: (width,) bool, lanes that met their stop in `run` and have stood still since.
        Z: (M, width) s log2(e) times the logits of the last epoch's forward pass.
        worst: (steps, width) the least of Z over the samples, above 0 where the network is correct.
        product: (steps, width) the product of p over the samples.
    """

    def __init__(self, problem: Problem, width: int, steps: int) -> None:
        self.problem, self.sigmoid = problem, problem.activation == "sigmoid"
        M, K, H = problem.n_samples, problem.n_inputs + 1, problem.hidden_size
        dtype = problem.dtype
        self.signs = np.where(problem.Y > 0.5, 1.0, -1.0).astype(dtype)[:, None]
        self._to_margin = (math.log2(math.e) * self.signs).astype(dtype)
        block = (K * H + H + 1,)
        self._shapes: dict[str, tuple[int, ...]] = {"weights": block, "change": block, "velocity": block, "A": (M, H)}
        self._shapes |= {"Z": (M,), "E": (M,), "Q": (M,), "rate": (M,), "worst": (steps,), "product": (steps,)}
        self._shapes |= {"momentum": (), "threshold": (), "spare": ()}
        self._lasting = ["weights", "rate", "momentum", "threshold", *(["velocity"] if problem.has_momentum else [])]
        place = [0]
        self._memory = {name: _aligned(math.prod(shape) * width, dtype, place) for name, shape in self._shapes.items()}
        self._view(width)
        self.clear(slice(None))

    def _view(self, width: int) -> None:
        self.width = width
        self.views = {
            name: self._memory[name][: math.prod(shape) * width].reshape(*shape, width)
            for name, shape in self._shapes.items()
        }
        self.weights, self.velocity, self.Z = (self.views[name] for name in ("weights", "velocity", "Z"))
        self.rate, self.momentum, self.threshold = (self.views[name] for name in ("rate", "momentum", "threshold"))
        self.worst, self.product = self.views["worst"], self.views["product"]
        self._hit_bytes = bytearray(width)
        self._hit = np.frombuffer(self._hit_bytes, bool)
        self.frozen = np.zeros(width, bool)
        self._hidden = self._hidden_layer()

    def _layers(self, block: Array) -> tuple[Array, Array, Array]:
        """W1 (K, H, r), W2 (H, r) and b2 (r,) in a block like ``weights``; views, where the block is contiguous."""
        K, H = self.problem.n_inputs + 1, self.problem.hidden_size
        return block[: K * H].reshape(K, H, -1), block[K * H : -1], block[-1]

    def clear(self, lanes: slice | NDArray[np.intp]) -> None:
        """Make lanes free: all zero, and no stop."""
        for name in self._lasting:
            self.views[name][..., lanes] = np.inf if name == "threshold" else 0

    def narrow(self, keep: NDArray[np.intp], width: int) -> None:
        """Keep the lanes ``keep``, in that order, in a tile of ``width`` lanes."""
        kept = {name: self.views[name][..., keep] for name in self._lasting}
        self._view(width)
        self.clear(slice(len(keep), None))
        for name, values in kept.items():
            self.views[name][..., : len(keep)] = values

    def load(
        self, lanes: NDArray[np.intp], weights: Weights, velocities: Weights | None, rate: Array, momentum: Array
    ) -> None:
        """Put networks into lanes; a learning rate of 0 makes a lane that is only looked at."""
        self._put(lanes, weights, self.weights)
        if velocities is not None:
            self._put(lanes, velocities, self.velocity)
        per_sample = (rate / (self.problem.n_samples * (4 if self.sigmoid else 1))).astype(self.rate.dtype)
        self.rate[:, lanes] = self.signs * per_sample
        self.momentum[lanes] = momentum
        limits = {"none": np.inf, "correct": 0, "solved": SOLVED, "confident": CONFIDENT}
        self.threshold[lanes] = limits[self.problem.stop]
        self.frozen[lanes] = False

    def unload(self, lanes: NDArray[np.intp]) -> tuple[Weights, Weights | None]:
        """The weights and velocities of the networks in ``lanes``."""
        weights = self._take(lanes, self.weights)
        return weights, self._take(lanes, self.velocity) if self.problem.has_momentum else None

    def _put(self, lanes: NDArray[np.intp], values: Weights, block: Array) -> None:
        W1, b1, W2, b2 = values
        in_W1, in_W2, in_b2 = self._layers(block)
        in_W1[:-1, :, lanes] = W1.transpose(2, 1, 0)
        in_W1[-1][:, lanes] = b1.T
        in_W2[:, lanes] = W2.T * block.dtype.type(0.5 if self.sigmoid else 1.0)
        in_b2[lanes] = b2

    def _take(self, lanes: NDArray[np.intp], block: Array) -> Weights:
        """Adding zero makes -0 into 0: a lane that stood still has added zeros of either sign to its weights."""
        W1, W2, b2 = self._layers(block[:, lanes] + 0)
        return W1[:-1].transpose(2, 1, 0), W1[-1].T, W2.T * block.dtype.type(2.0 if self.sigmoid else 1.0), b2

    def run(self, steps: int, watches: Mapping[int, Callable[[], None]]) -> None:
        """Take ``steps`` updates; call ``watches[step]`` after that step's forward pass, before its update."""
        forward, update = self._forward(self._hidden), self._update(self._hidden)
        meets_stop = None if self.problem.stop == "none" else self._freeze_those_that_stop
        for step, (worst, product) in enumerate(zip(self.worst[:steps], self.product[:steps], strict=True)):
            forward(worst, product)
            if meets_stop is not None:
                meets_stop(worst, product)
            if step in watches:
                watches[step]()
            update()

    def _hidden_layer(self) -> TruthTable | Products:
        X, A = self.problem.X, self.views["A"]
        W1, dW1 = self._layers(self.weights)[0], self._layers(self.views["change"])[0]
        if self.problem.is_table:
            return TruthTable(self.sigmoid, bool((X < 0).any()), W1, A, dW1)
        return Products(np.vstack([X, np.ones(X.shape[1])]), self.sigmoid, W1, A, dW1)

    def _forward(self, hidden: TruthTable | Products) -> Callable[[Array, Array], None]:
        """A function that computes A, Z, E = p and Q, and from them what ``worst`` and ``product`` hold."""
        matmul, einsum, add, subtract, multiply = np.matmul, np.einsum, np.add, np.subtract, np.multiply
        exp2, reciprocal, minimum, total = np.exp2, np.reciprocal, np.minimum, np.add.reduce
        least, product_of = np.minimum.reduce, np.multiply.reduce
        A, E, Q, Z, spare = (self.views[name] for name in ("A", "E", "Q", "Z", "spare"))
        _, W2, b2 = self._layers(self.weights)
        A_rows, to_margin, one = A.reshape(len(A), -1), self._to_margin, np.ones((), A.dtype)
        sigmoid, mse, alone = self.sigmoid, self.problem.loss == "mse", self.width == 1
        bias, largest = (spare if sigmoid else b2), np.finfo(A.dtype).max

        def forward(worst: Array, product: Array) -> None:
            hidden.forward()
            if alone:
                matmul(A_rows, W2, out=Z)
            else:
                einsum("mhr,hr->mr", A, W2, out=Z)
            if sigmoid:  # sum_h W2 (½+½A) = sum_h ½W2 A + sum_h ½W2
                total(W2, axis=0, out=spare)
                add(spare, b2, out=spare)
            add(Z, bias, out=Z)
            multiply(Z, to_margin, out=Z)
            least(Z, axis=0, out=worst)
            exp2(Z, out=E)
            add(E, one, out=Q)
            reciprocal(Q, out=Q)
            if mse:  # the step needs a p that is precise where it is small
                minimum(E, largest, out=E)
                multiply(E, Q, out=E)
            else:
                subtract(one, Q, out=E)
            product_of(E, axis=0, out=product)

        return forward

    def _update(self, hidden: TruthTable | Products) -> Callable[[], None]:
        """A function that takes one step of gradient descent from what the forward pass left in A, E and Q."""
        matmul, add, multiply, subtract = np.matmul, np.add, np.multiply, np.subtract
        einsum, total = np.einsum, np.add.reduce
        names = ("A", "E", "Q", "weights", "change", "velocity", "rate", "momentum")
        A, E, Q, weights, change, velocity, rate, momentum = (self.views[name] for name in names)
        dW1, dW2, db2 = self._layers(change)
        W2 = self._layers(weights)[1]
        A_rows, D, one = A.reshape(len(A), -1), Q, np.ones((), A.dtype)
        sigmoid, alone, mse = self.sigmoid, self.width == 1, self.problem.loss == "mse"
        has_momentum = self.problem.has_momentum

        def update() -> None:
            if mse:  # (a2-y) a2 (1-a2) is, but for the sign, (1-p)² p
                multiply(Q, Q, out=Q)
                multiply(Q, E, out=Q)
            multiply(Q, rate, out=D)
            if alone:
                matmul(D.T, A_rows, out=dW2.T)
            else:
                einsum("mhr,mr->hr", A, D, out=dW2)
            total(D, axis=0, out=db2)
            multiply(A, A, out=A)
            subtract(one, A, out=A)
            hidden.backward(D)
            multiply(dW1, W2, out=dW1)
            if sigmoid:  # D holds a quarter of the step, and W2 a half
                add(dW1, dW1, out=dW1)
                add(dW2, db2, out=dW2)
                multiply(db2, 4, out=db2)
            if has_momentum:
                multiply(velocity, momentum, out=velocity)
                add(velocity, change, out=velocity)
                add(weights, velocity, out=weights)
            else:
                add(weights, change, out=weights)

        return update

    def _freeze_those_that_stop(self, worst: Array, product: Array) -> None:
        """A lane that meets its stop learns no more: it leaves, later, with the weights of this very epoch."""
        hit = self._hit
        if self.problem.stop == "solved":
            np.greater(product, self.threshold, out=hit)
            np.logical_and(hit, worst > 0, out=hit)
        else:
            np.greater(worst, self.threshold, out=hit)
        if self._hit_bytes.find(1) >= 0:  # a scan of bytes takes less than any()
            self.rate[:, hit] = 0
            self.momentum[hit] = 0
            self.threshold[hit] = np.inf
            self.frozen |= hit

    def losses(self) -> tuple[Array, Array]:
        """Each lane's loss and accuracy (width,) at the last forward pass, in float64."""
        Z = self.Z
        power = np.exp2(-np.abs(Z))
        if self.problem.loss == "mse":
            wrong = np.where(Z < 0, 1, power) / (1 + power)
            each = 0.5 * wrong * wrong
        else:
            each = math.log(2) * np.maximum(-Z, 0) + np.log1p(power)
        return (each.sum(axis=0) / len(Z)).astype(np.float64), (Z > 0).sum(axis=0) / len(Z)

    def finite(self) -> NDArray[np.bool_]:
        """Which lanes have finite weights and logits (width,)."""
        extremes = [reduce(values, axis=0) for values in (self.weights, self.Z) for reduce in (np.max, np.min)]
        finite: NDArray[np.bool_] = np.logical_and.reduce(np.isfinite(extremes), axis=0)
        return finite


@functools.lru_cache(maxsize=1)
def _libraries() -> threadpoolctl.ThreadpoolController:
    return threadpoolctl.ThreadpoolController()


@contextlib.contextmanager
def numeric_mode() -> Iterator[None]:
    """What tiles run in: overflow is silent (it counts as divergence), BLAS has one thread, NumPy small buffers.

    The small buffer keeps NumPy from copying broadcast operands into larger pieces, which doubles such a pass's time.
    """
    before = np.getbufsize()
    with np.errstate(all="ignore"), _libraries().limit(limits=1, user_api="blas"):
        np.setbufsize(LANES)
        try:
            yield
        finally:
            np.setbufsize(before)
