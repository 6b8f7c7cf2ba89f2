"""One epoch of gradient descent for a tile of networks, in as few passes over memory as the algebra allows.

Axes: m samples (M), k inputs and the bias (K = N + 1), h hidden units (H), r lanes, one network each.

Lanes are the last axis, so that every pass runs along contiguous memory, in place where it can. With s = ±1 the sign of
each target and p the probability of the right answer, the passes are:

    A = tanh(X^T W1)                        `hidden_layer`; the bias is the last row of W1, its input is 1
    Z = s log2(e) (sum_h W2 A + b2)
    E = 2^Z = p/(1-p)
    Q = 1/(1 + E) = 1-p                     a network is correct where Z > 0 at every sample
    D = s lr/M Q                            the step's residual, negated; no cancellation when p is near 1
    dW2 = sum_m D A    db2 = sum_m D
    A = 1 - A²         dW1 = W2 (sum_m D A X)    W2 multiplies after the sum over samples

Where one network fills the cache (M*H >= 16384), a tile has one lane. Sigmoid hidden units are ½ + ½ tanh(z/2), and the
tile holds W2/2 for them: scaling by powers of two is exact.

**A network gets the same bits regardless of the other lanes.** The arithmetic of a lane never uses a value of another
lane. Widths are multiples of `LANE_MULTIPLE`, so that no lane falls into the remainder of a vectorized loop. Where BLAS
multiplies, all widths of one shape take the same path through it (`Problem.one_width`), and what that path computes for
a column does not depend on the column's position.
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import threadpoolctl
from numpy.typing import NDArray

from nnexp.network.model import CONFIDENT, SOLVED, Network
from nnexp.network.settings import Activation, DType, Loss, Stop
from nnexp.training.hidden_layer import LANE_MULTIPLE, Array, Products, TruthTable, is_truth_table

CONFIDENT_MARGIN = math.log2((1 - CONFIDENT) / CONFIDENT)
"""abs(a2 - y) < 0.1 is p > 0.9, a margin Z above log2(9)."""
SOLVED_PRODUCT = math.exp(-SOLVED)
"""Mean cross-entropy < 1.2/M is a product of p over the samples above this."""

_CACHE = {"float64": 49152, "float32": 65536}
"""How many hidden values (M*H*r) a full tile has, so that it stays in the second-level cache."""
_ALONE = 16384
"""A network with this many hidden values (M*H) has a tile for itself."""
_SMALL_PRODUCT = 1_000_000
"""Up to this many multiplications OpenBLAS may multiply matrices on another path, made for small ones."""


@dataclass(frozen=True, eq=False)
class Problem:
    """What the networks of a tile have in common.

    Attributes:
        X: (N, M) inputs as the network sees them.
        Y: (M,) targets, 0 or 1.
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
        """Whether tiles use `TruthTable` and not `Products`."""
        return self.max_width > 1 and is_truth_table(self.X)

    @property
    def max_width(self) -> int:
        """The lanes of a full tile: as many as the second-level cache holds, or one where a network fills it alone."""
        numbers = self.n_samples * self.hidden_size
        if numbers >= _ALONE:
            return 1
        return max(_CACHE[self.dtype] // numbers // LANE_MULTIPLE * LANE_MULTIPLE, LANE_MULTIPLE)

    @property
    def one_width(self) -> bool:
        """Whether all tiles have full width, because BLAS would take another path for narrower ones."""
        width = self.max_width
        if self.is_table:
            return False
        return width == 1 or (self.n_inputs + 1) * self.n_samples * self.hidden_size * width > _SMALL_PRODUCT


def _aligned(count: int, dtype: DType, offset: int) -> Array:
    """An uninitialized vector that starts ``offset`` bytes after a page's start.

    Offsets are multiples of a cache line, and they differ between the vectors of a tile: vectors at equal offsets would
    compete for the same places in the cache.
    """
    size = np.dtype(dtype).itemsize
    memory = np.empty(count * size + 8192, np.uint8)
    start = -memory.ctypes.data % 4096 + offset % 4096
    return memory[start : start + count * size].view(dtype)


class Tile:
    """Up to ``max_width`` networks of one problem, one per lane; free lanes hold zeros and do not learn.

    Attributes:
        width: the number of lanes, used or free, a multiple of `LANE_MULTIPLE` (or 1).
        weights: (K*H + H + 1, width), one block of memory, of which these are views:
            W1 (K, H, width), the bias last; W2 (H, width), halved for sigmoid units; b2 (width,).
        velocity: a block of the same shape, used with momentum only.
        rate: (M, width) s lr/M, zero for a lane that does not learn.
        momentum: (width,).
        frozen: (width,) bool, lanes that met their stop in `run` and no longer learn.
        Z: (M, width) s log2(e) times the logits, from the last forward pass.
        least_margin: (steps, width) the least of Z over the samples, above 0 where the network is correct.
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
        self._shapes |= {"Z": (M,), "E": (M,), "Q": (M,), "rate": (M,), "least_margin": (steps,), "product": (steps,)}
        self._shapes |= {"momentum": (), "threshold": (), "spare": ()}
        self._lasting = ["weights", "rate", "momentum", "threshold", *(["velocity"] if problem.has_momentum else [])]
        self._memory = {
            name: _aligned(math.prod(shape) * width, dtype, 576 * (i + 1))
            for i, (name, shape) in enumerate(self._shapes.items())
        }
        self._view(width)
        self.clear(slice(None))

    def _view(self, width: int) -> None:
        """Lay arrays of ``width`` lanes over the tile's memory."""
        self.width = width
        self.views = {
            name: self._memory[name][: math.prod(shape) * width].reshape(*shape, width)
            for name, shape in self._shapes.items()
        }
        self.weights, self.velocity, self.Z = (self.views[name] for name in ("weights", "velocity", "Z"))
        self.rate, self.momentum, self.threshold = (self.views[name] for name in ("rate", "momentum", "threshold"))
        self.least_margin, self.product = self.views["least_margin"], self.views["product"]
        self._hit_bytes = bytearray(width)
        self._hit = np.frombuffer(self._hit_bytes, bool)
        self.frozen = np.zeros(width, bool)
        self._hidden = self._hidden_layer()

    def _layers(self, block: Array) -> tuple[Array, Array, Array]:
        """W1 (K, H, r), W2 (H, r) and b2 (r,) in a block like ``weights``; views, where the block is contiguous."""
        K, H = self.problem.n_inputs + 1, self.problem.hidden_size
        return block[: K * H].reshape(K, H, -1), block[K * H : -1], block[-1]

    def clear(self, lanes: slice | NDArray[np.intp]) -> None:
        """Make lanes free."""
        for name in self._lasting:
            self.views[name][..., lanes] = np.inf if name == "threshold" else 0
        self.frozen[lanes] = False

    def narrow(self, keep: NDArray[np.intp], width: int) -> None:
        """Keep the lanes ``keep``, in that order, in a tile of ``width`` lanes."""
        kept = {name: self.views[name][..., keep] for name in self._lasting}
        self._view(width)
        self.clear(slice(len(keep), None))
        for name, values in kept.items():
            self.views[name][..., : len(keep)] = values

    def load(
        self, lanes: NDArray[np.intp], weights: Network, velocities: Network | None, index: NDArray[np.intp]
    ) -> None:
        """Put the networks ``index`` into ``lanes``, where they do not learn until `set_rates`."""
        for source, block in ((weights, self.weights), (velocities, self.velocity)):
            if source is None:
                continue
            W1, W2, b2 = self._layers(block)
            W1[:-1, :, lanes] = source.W1[index].transpose(2, 1, 0)
            W1[-1][:, lanes] = source.b1[index].T
            W2[:, lanes] = source.W2[index].T * block.dtype.type(0.5 if self.sigmoid else 1.0)
            b2[lanes] = source.b2[index]
        limits = {"none": np.inf, "correct": 0, "solved": SOLVED_PRODUCT, "confident": CONFIDENT_MARGIN}
        self.threshold[lanes] = limits[self.problem.stop]

    def set_rates(self, lanes: NDArray[np.intp], rate: Array, momentum: Array) -> None:
        """Let the networks in ``lanes`` learn, each with its own learning rate and momentum."""
        per_sample = (rate / (self.problem.n_samples * (4 if self.sigmoid else 1))).astype(self.rate.dtype)
        self.rate[:, lanes] = self.signs * per_sample
        self.momentum[lanes] = momentum

    def unload(
        self, lanes: NDArray[np.intp], weights: Network, velocities: Network | None, index: NDArray[np.intp]
    ) -> None:
        """Write the networks in ``lanes`` to the positions ``index`` of ``weights`` and ``velocities``.

        Zero is added to every weight, which turns -0 into 0: a lane that did not learn has added zeros of either sign.
        """
        for target, block in ((weights, self.weights), (velocities, self.velocity)):
            if target is None:
                continue
            W1, W2, b2 = self._layers(block[:, lanes] + 0)
            target.W1[index] = W1[:-1].transpose(2, 1, 0)
            target.b1[index] = W1[-1].T
            target.W2[index] = W2.T * block.dtype.type(2.0 if self.sigmoid else 1.0)
            target.b2[index] = b2

    def run(self, steps: int, recordings: Mapping[int, Callable[[], None]]) -> None:
        """Take ``steps`` updates; call ``recordings[step]`` after that step's forward pass, before its update."""
        forward, update = self._forward(self._hidden), self._update(self._hidden)
        stops = self.problem.stop != "none"
        for step, (margin, product) in enumerate(zip(self.least_margin[:steps], self.product[:steps], strict=True)):
            forward(margin, product)
            if stops:
                self._freeze_stopped(margin, product)
            if step in recordings:
                recordings[step]()
            update()

    def _hidden_layer(self) -> TruthTable | Products:
        X, A = self.problem.X, self.views["A"]
        W1, dW1 = self._layers(self.weights)[0], self._layers(self.views["change"])[0]
        if self.problem.is_table:
            return TruthTable(self.sigmoid, bool((X < 0).any()), W1, A, dW1)
        return Products(np.vstack([X, np.ones(X.shape[1])]), self.sigmoid, W1, A, dW1)

    def _forward(self, hidden: TruthTable | Products) -> Callable[[Array, Array], None]:
        """A function that computes A, Z, E (overwritten by p) and Q, and from them ``least_margin`` and ``product``."""
        matmul, einsum, add, subtract, multiply = np.matmul, np.einsum, np.add, np.subtract, np.multiply
        exp2, reciprocal, minimum, total = np.exp2, np.reciprocal, np.minimum, np.add.reduce
        least, product_of = np.minimum.reduce, np.multiply.reduce
        A, E, Q, Z, spare = (self.views[name] for name in ("A", "E", "Q", "Z", "spare"))
        _, W2, b2 = self._layers(self.weights)
        A_rows, to_margin, one = A.reshape(len(A), -1), self._to_margin, np.ones((), A.dtype)
        sigmoid, mse, one_lane = self.sigmoid, self.problem.loss == "mse", self.width == 1
        bias, largest = (spare if sigmoid else b2), np.finfo(A.dtype).max

        def forward(margin: Array, product: Array) -> None:
            hidden.forward()
            if one_lane:
                matmul(A_rows, W2, out=Z)
            else:
                einsum("mhr,hr->mr", A, W2, out=Z)
            if sigmoid:  # sum_h W2 (½+½A) = sum_h ½W2 A + sum_h ½W2
                total(W2, axis=0, out=spare)
                add(spare, b2, out=spare)
            add(Z, bias, out=Z)
            multiply(Z, to_margin, out=Z)
            least(Z, axis=0, out=margin)
            exp2(Z, out=E)
            add(E, one, out=Q)
            reciprocal(Q, out=Q)
            if mse:  # the update needs p with full relative accuracy where it is small
                minimum(E, largest, out=E)
                multiply(E, Q, out=E)
            else:
                subtract(one, Q, out=E)
            product_of(E, axis=0, out=product)

        return forward

    def _update(self, hidden: TruthTable | Products) -> Callable[[], None]:
        """A function that takes one step of gradient descent from A, E and Q as the forward pass left them."""
        matmul, add, multiply, subtract = np.matmul, np.add, np.multiply, np.subtract
        einsum, total = np.einsum, np.add.reduce
        names = ("A", "E", "Q", "weights", "change", "velocity", "rate", "momentum")
        A, E, Q, weights, change, velocity, rate, momentum = (self.views[name] for name in names)
        dW1, dW2, db2 = self._layers(change)
        W2 = self._layers(weights)[1]
        A_rows, D, one = A.reshape(len(A), -1), Q, np.ones((), A.dtype)
        sigmoid, one_lane, mse = self.sigmoid, self.width == 1, self.problem.loss == "mse"
        has_momentum = self.problem.has_momentum

        def update() -> None:
            if mse:  # abs((a2-y) a2 (1-a2)) = (1-p)² p
                multiply(Q, Q, out=Q)
                multiply(Q, E, out=Q)
            multiply(Q, rate, out=D)
            if one_lane:
                matmul(D.T, A_rows, out=dW2.T)
            else:
                einsum("mhr,mr->hr", A, D, out=dW2)
            total(D, axis=0, out=db2)
            multiply(A, A, out=A)
            subtract(one, A, out=A)
            hidden.backward(D)
            multiply(dW1, W2, out=dW1)
            if sigmoid:  # D holds a quarter of the residual, and W2 a half of the weight
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

    def _freeze_stopped(self, margin: Array, product: Array) -> None:
        """Freeze lanes that meet their stop: they keep the weights of this epoch until they are unloaded."""
        hit = self._hit
        if self.problem.stop == "solved":
            np.greater(product, self.threshold, out=hit)
            np.logical_and(hit, margin > 0, out=hit)
        else:
            np.greater(margin, self.threshold, out=hit)
        if self._hit_bytes.find(1) >= 0:  # searching bytes takes less time than any()
            self.rate[:, hit] = 0
            self.momentum[hit] = 0
            self.threshold[hit] = np.inf
            self.frozen |= hit

    def losses(self) -> tuple[Array, Array]:
        """The loss and accuracy of each lane, (width,) each, at the last forward pass, in float64."""
        Z = self.Z
        power = np.exp2(-np.abs(Z))
        if self.problem.loss == "mse":
            wrong = np.where(Z < 0, 1, power) / (1 + power)
            each = 0.5 * wrong * wrong
        else:
            each = math.log(2) * np.maximum(-Z, 0) + np.log1p(power)
        return (each.sum(axis=0) / len(Z)).astype(np.float64), (Z > 0).sum(axis=0) / len(Z)

    def finite(self) -> NDArray[np.bool_]:
        """(width,) whether all weights and logits of a lane are finite."""
        extremes = [reduce(values, axis=0) for values in (self.weights, self.Z) for reduce in (np.max, np.min)]
        finite: NDArray[np.bool_] = np.logical_and.reduce(np.isfinite(extremes), axis=0)
        return finite


@functools.lru_cache(maxsize=1)
def _libraries() -> threadpoolctl.ThreadpoolController:
    return threadpoolctl.ThreadpoolController()


@contextlib.contextmanager
def numeric_mode() -> Iterator[None]:
    """The mode in which tiles run: no warnings (an overflow is divergence), one BLAS thread, a small NumPy buffer.

    With its default buffer NumPy copies broadcast operands into larger pieces, which doubles the time of such a pass.
    """
    before = np.getbufsize()
    with np.errstate(all="ignore"), _libraries().limit(limits=1, user_api="blas"):
        np.setbufsize(LANE_MULTIPLE)
        try:
            yield
        finally:
            np.setbufsize(before)
