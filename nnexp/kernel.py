"""One epoch of gradient descent for a tile of networks, in as few passes over memory as the algebra allows (floor 2).

Axes: m samples (M), k inputs and the bias (K = N + 1), h hidden units (H), r replicas, the networks of a tile.

Replicas come last, so that each layer is one matrix product of K or M rows with H*r columns, and every other pass runs
along contiguous memory, in place where it can. The passes, with s = ±1 the sign of each target and p the probability of
the right answer:

    A = tanh(X^T W1)                        the bias is the last row of W1, its input is 1; in float64, where NumPy's
                                            tanh is slow on most CPUs, 2/(1 + 2^U) - 1 with U = -2 log2(e) X^T W1
    Z = -s log2(e) (sum_h W2 A + b2)
    E = 2^Z    V = 1 + E = 1/p              a network is correct where Z < 0 at every sample
    D = s lr/M (1-p) = s lr/M E/V           minus the step's residual; no cancellation when p is near 1
    dW2 = sum_m D A    db2 = sum_m D
    A = (1 - A²) D     dW1 = W2 (X A)       W2 multiplies after the sum over samples

Where one network fills the cache (M*H >= 16384) tiles have one lane, and D goes to the inputs instead of to A.
Sigmoid hidden units are ½+½tanh(z/2), with the halves of W2 kept in the tile: scaling by powers of two is exact.

**The same bits in any company.** A lane's arithmetic never meets another lane's. Widths are multiples of `LANES`, so
that no lane falls into the tail of a vector loop, for one shape all widths take the same path through BLAS
(`Problem.one_width`), and what its path gives a column does not depend on the column's place (`_row_blocks`).
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

from nnexp.settings import Activation, DType, Loss, Stop

Array = NDArray[Any]

LANES = 64
"""Widths are multiples of this: whole vectors of any CPU, and of the unrolled loops over them."""

CONFIDENT = math.log2(9)
"""max abs(a2 - y) < 0.1 is p > 0.9 at every sample: logits beyond log(9), here to base 2."""
SOLVED = math.exp(1.2)
"""Mean cross-entropy < 1.2/M is a product of 1/p below this."""

_CACHE = {"float64": 32768, "float32": 65536}
_ALONE = 16384
_CAP = {"float64": 1000.0, "float32": 120.0}
"""2^Z stays finite; beyond it 1-p is 1 to the last bit anyway."""
_ARGUMENT = {"float64": -2 * math.log2(math.e), "float32": 1.0}
"""`_tanh` takes its argument times this; the layer's inputs are multiplied by it once, and not its products."""
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
        return width == 1 or (self.n_inputs + 1) * self.n_samples * self.hidden_size * width > _SMALL_PRODUCT


def _aligned(count: int, dtype: DType, place: list[int]) -> Array:
    """An uninitialized vector on a cache line's start; each next one is shifted, so that streams do not alias."""
    size = np.dtype(dtype).itemsize
    memory = np.empty(count * size + 8192, np.uint8)
    place[0] += 576
    start = -memory.ctypes.data % 4096 + place[0] % 4096
    return memory[start : start + count * size].view(dtype)


def _row_blocks(left: Array, out: Array) -> list[tuple[Array, Array]]:
    """The rows of ``left`` and of ``out`` in blocks of one product each, by which all columns get the same bits.

    In float32 OpenBLAS's kernel for AVX2 sums eight or more products in another order for the first eight columns than
    for the rest, where it makes eight or more rows at once.
    """
    rows, inner = left.shape
    size = 7 if left.dtype == np.float32 and inner >= 8 else rows
    return [(left[i : i + size], out[i : i + size]) for i in range(0, rows, size)]


def _tanh(dtype: DType) -> Callable[[Array], None]:
    """A function that puts tanh(z) in the place of `_ARGUMENT` z.

    float64: tanh(z) = 2/(1+e^-2z) - 1, to 4e-16 absolutely and exactly 0 at 0. It takes a third of the time of np.tanh
    where that looks up its coefficients by slow gathers (AVX2), and 0.7 of it with AVX-512. float32: np.tanh, whose
    small values are precise too: an absolute error of 1e-7 would be seen in networks that start near zero.
    """
    if dtype == "float32":

        def numpys_tanh(A: Array) -> None:
            np.tanh(A, out=A)

        return numpys_tanh
    one, two = np.ones((), dtype), np.full((), 2, dtype)
    exp2, add, divide, subtract = np.exp2, np.add, np.divide, np.subtract

    def tanh(A: Array) -> None:
        exp2(A, out=A)
        add(A, one, out=A)
        divide(two, A, out=A)
        subtract(A, one, out=A)

    return tanh


class Tile:
    """Up to ``max_width`` networks of one problem, a lane each; free lanes hold zeros and learn nothing.

    Attributes:
        width: lanes in use or free, a multiple of `LANES`.
        weights: (K*H + H + 1, width), one block of memory, of which these are views:
            W1 (K, H, width), the bias last; W2 (H, width), halved for sigmoid units; b2 (width,).
        velocity: the same block, used with momentum only.
        rate: (M, width) s lr/M, zero for a lane that stands still. momentum: (width,).
        frozen: (width,) bool, lanes that met their stop in `run` and have stood still since.
        Z: (M, width) -s log2(e) times the logits of the last epoch's forward pass.
        worst: (steps, width) the largest of Z over the samples, below 0 where the network is correct.
        product: (steps, width) the product of 1/p over the samples.
    """

    def __init__(self, problem: Problem, width: int, steps: int) -> None:
        self.problem, self.sigmoid = problem, problem.activation == "sigmoid"
        M, K, H = problem.n_samples, problem.n_inputs + 1, problem.hidden_size
        dtype = problem.dtype
        X = np.vstack([problem.X, np.ones(M)])
        self.signs = np.where(problem.Y > 0.5, 1.0, -1.0).astype(dtype)[:, None]
        scale = (0.5 if self.sigmoid else 1.0) * _ARGUMENT[dtype]
        self._inputs = np.ascontiguousarray(X.T * scale, dtype)
        self._back = np.ascontiguousarray(X * (2.0 if self.sigmoid else 1.0), dtype)
        self._to_margin = (-math.log2(math.e) * self.signs).astype(dtype)
        block = (K * H + H + 1,)
        self._shapes: dict[str, tuple[int, ...]] = {"weights": block, "change": block, "velocity": block, "A": (M, H)}
        self._shapes |= {"Z": (M,), "E": (M,), "V": (M,), "rate": (M,), "worst": (steps,), "product": (steps,)}
        self._shapes |= {"momentum": (), "threshold": (), "cap": (), "spare": ()}
        self._lasting = ["weights", "rate", "momentum", "threshold", *(["velocity"] if problem.has_momentum else [])]
        place = [0]
        self._memory = {name: _aligned(math.prod(shape) * width, dtype, place) for name, shape in self._shapes.items()}
        self._memory["cap"][:] = _CAP[dtype]
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

    def _layers(self, block: Array) -> tuple[Array, Array, Array]:
        """W1 (K, H, r), W2 (H, r) and b2 (r,) in a block like ``weights``; views, where the block is contiguous."""
        K, H = self.problem.n_inputs + 1, self.problem.hidden_size
        return block[: K * H].reshape(K, H, -1), block[K * H : -1], block[-1]

    def clear(self, lanes: slice | NDArray[np.intp]) -> None:
        """Make lanes free: all zero, and no stop."""
        for name in self._lasting:
            self.views[name][..., lanes] = -np.inf if name == "threshold" else 0

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
        limits = {"none": -np.inf, "correct": 0, "solved": SOLVED, "confident": -CONFIDENT}
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
        forward, update = self._forward(), self._update()
        meets_stop = None if self.problem.stop == "none" else self._freeze_those_that_stop
        for step, (worst, product) in enumerate(zip(self.worst[:steps], self.product[:steps], strict=True)):
            forward(worst, product)
            if meets_stop is not None:
                meets_stop(worst, product)
            if step in watches:
                watches[step]()
            update()

    def _forward(self) -> Callable[[Array, Array], None]:
        """A function that computes A, Z, E and V, and from them what ``worst`` and ``product`` hold."""
        matmul, tanh, einsum, add, multiply = np.matmul, _tanh(self.problem.dtype), np.einsum, np.add, np.multiply
        minimum, exp2, largest, product_of, total = (
            np.minimum, np.exp2, np.maximum.reduce, np.multiply.reduce, np.add.reduce,
        )  # fmt: skip
        A, E, V, Z, cap, spare = (self.views[name] for name in ("A", "E", "V", "Z", "cap", "spare"))
        W1, W2, b2 = self._layers(self.weights)
        A_rows, W1_rows = A.reshape(len(A), -1), W1.reshape(len(W1), -1)
        to_margin, sigmoid, one = self._to_margin, self.sigmoid, np.ones((), A.dtype)
        bias, alone = (spare if sigmoid else b2), self.width == 1
        products = _row_blocks(self._inputs, A_rows)

        def forward(worst: Array, product: Array) -> None:
            for inputs, rows in products:
                matmul(inputs, W1_rows, out=rows)
            tanh(A)
            if alone:
                matmul(A_rows, W2, out=Z)
            else:
                einsum("mhr,hr->mr", A, W2, out=Z)
            if sigmoid:  # sum_h W2 (½+½A) = sum_h ½W2 A + sum_h ½W2
                total(W2, axis=0, out=spare)
                add(spare, b2, out=spare)
            add(Z, bias, out=Z)
            multiply(Z, to_margin, out=Z)
            largest(Z, axis=0, out=worst)
            minimum(Z, cap, out=E)  # so that E/V is 1 and not inf/inf
            exp2(E, out=E)
            add(E, one, out=V)
            product_of(V, axis=0, out=product)

        return forward

    def _update(self) -> Callable[[], None]:
        """A function that takes one step of gradient descent from what the forward pass left in A, E and V."""
        matmul, add, multiply, divide, subtract = np.matmul, np.add, np.multiply, np.divide, np.subtract
        einsum, total = np.einsum, np.add.reduce
        names = ("A", "E", "V", "weights", "change", "velocity", "rate", "momentum")
        A, E, V, weights, change, velocity, rate, momentum = (self.views[name] for name in names)
        dW1, dW2, db2 = self._layers(change)
        W2 = self._layers(weights)[1]
        A_rows, dW1_rows, D, D_rows = A.reshape(len(A), -1), dW1.reshape(len(dW1), -1), E, E[:, None]
        back, sigmoid, one = self._back, self.sigmoid, np.ones((), A.dtype)
        mse, has_momentum = self.problem.loss == "mse", self.problem.has_momentum
        alone, scaled = self.width == 1, np.empty_like(back)
        products = _row_blocks(back, dW1_rows)

        def update() -> None:
            divide(E, V, out=E)
            if mse:  # (a2-y) a2 (1-a2) is, but for the sign, (1-p)² p
                multiply(E, E, out=E)
                divide(E, V, out=E)
            multiply(E, rate, out=D)
            if alone:
                matmul(D.T, A_rows, out=dW2.T)
            else:
                einsum("mhr,mr->hr", A, D, out=dW2)
            total(D, axis=0, out=db2)
            multiply(A, A, out=A)
            subtract(one, A, out=A)
            if alone:  # D(1-A²) X = (1-A²) DX, and there are fewer inputs than hidden units
                multiply(back, D.T, out=scaled)
                matmul(scaled, A_rows, out=dW1_rows)
            else:
                multiply(A, D_rows, out=A)
                for inputs, rows in products:
                    matmul(inputs, A_rows, out=rows)
            multiply(dW1, W2, out=dW1)
            if sigmoid:  # D holds a quarter of the step, `back` twice the inputs
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
            np.less(product, self.threshold, out=hit)
            np.logical_and(hit, worst < 0, out=hit)
        else:
            np.less(worst, self.threshold, out=hit)
        if self._hit_bytes.find(1) >= 0:  # a scan of bytes takes less than any()
            self.rate[:, hit] = 0
            self.momentum[hit] = 0
            self.threshold[hit] = -np.inf
            self.frozen |= hit

    def losses(self) -> tuple[Array, Array]:
        """Each lane's loss and accuracy (width,) at the last forward pass, in float64."""
        Z = self.Z
        power = np.exp2(-np.abs(Z))
        if self.problem.loss == "mse":
            wrong = np.where(Z > 0, 1, power) / (1 + power)
            each = 0.5 * wrong * wrong
        else:
            each = math.log(2) * np.maximum(Z, 0) + np.log1p(power)
        return (each.sum(axis=0) / len(Z)).astype(np.float64), (Z < 0).sum(axis=0) / len(Z)

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
