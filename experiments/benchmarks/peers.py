"""The peers of the core benchmark: plain full-batch gradient descent on tanh networks, each in its own library's way.

Axes: R networks, H hidden, N inputs, M samples. A peer is a function of the start (W1 (R, H, N), b1 (R, H), W2 (R, H),
b2 (R,)), X (N, M), Y (M,) and the learning rate; it gives a `Trainer`. Peers of one network take the first alone.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Weights = tuple[Any, Any, Any, Any]


@dataclass(frozen=True)
class Trainer:
    """A training under way.

    Attributes:
        run: take so many epochs from where it is.
        weights: W1, b1, W2 and b2 as they are now.
    """

    run: Callable[[int], None]
    weights: Callable[[], Weights]


Peer = Callable[[Weights, Any, Any, float], Trainer]


def numpy_loop(start: Weights, X: Any, Y: Any, rate: float) -> Trainer:
    """One network, written as in a textbook; what a Python loop over seeds repeats."""
    W1, b1, W2, b2 = (part[0].copy() for part in start)
    W2, b1, b2, Y = W2[None], b1[:, None], np.array([[b2]]), Y[None]
    M = X.shape[1]

    def run(epochs: int) -> None:
        nonlocal W1, b1, W2, b2
        for _ in range(epochs):
            A1 = np.tanh(W1 @ X + b1)
            A2 = 1 / (1 + np.exp(-(W2 @ A1 + b2)))
            dZ2 = A2 - Y
            dW2, db2 = dZ2 @ A1.T / M, dZ2.mean(axis=1, keepdims=True)
            dZ1 = W2.T @ dZ2 * (1 - A1**2)
            dW1, db1 = dZ1 @ X.T / M, dZ1.mean(axis=1, keepdims=True)
            W1, b1, W2, b2 = W1 - rate * dW1, b1 - rate * db1, W2 - rate * dW2, b2 - rate * db2

    return Trainer(run, lambda: (W1[None], b1[:, 0][None], W2, b2[:, 0]))


def scikit_learn(start: Weights, X: Any, Y: Any, rate: float) -> Trainer:
    """`MLPClassifier` with plain gradient descent, all samples a batch; one network."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    W1, b1, W2, b2 = (part[0] for part in start)
    model = MLPClassifier(
        (len(b1),), activation="tanh", solver="sgd", alpha=0, batch_size=len(Y), learning_rate_init=rate, momentum=0,
        nesterovs_momentum=False, shuffle=False, tol=0, n_iter_no_change=10**9, max_iter=1, warm_start=True,
    )  # fmt: skip
    samples = np.ascontiguousarray(X.T)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(samples, Y.astype(int))
    model.coefs_ = [W1.T.copy(), W2[:, None].copy()]
    model.intercepts_ = [b1.copy(), np.array([b2])]
    del model._optimizer  # it holds the weights of the first fit

    def run(epochs: int) -> None:
        model.max_iter = epochs
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(samples, Y.astype(int))

    def weights() -> Weights:
        (V1, V2), (c1, c2) = model.coefs_, model.intercepts_
        return V1.T[None], c1[None], V2[:, 0][None], c2

    return Trainer(run, weights)


def torch_modules(start: Weights, X: Any, Y: Any, rate: float) -> Trainer:
    """`nn.Sequential`, `BCEWithLogitsLoss` and `optim.SGD`, as in the tutorials; one network."""
    import torch

    W1, b1, W2, b2 = (torch.from_numpy(np.array(part[0])) for part in start)
    model = torch.nn.Sequential(torch.nn.Linear(W1.shape[1], len(b1)), torch.nn.Tanh(), torch.nn.Linear(len(b1), 1))
    model.to(W1.dtype)
    given = dict(zip(("0.weight", "0.bias", "2.weight", "2.bias"), (W1, b1, W2[None], b2[None]), strict=True))
    model.load_state_dict(given)
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    criterion = torch.nn.BCEWithLogitsLoss()
    samples, targets = torch.from_numpy(np.ascontiguousarray(X.T)), torch.from_numpy(Y)[:, None]

    def run(epochs: int) -> None:
        for _ in range(epochs):
            optimizer.zero_grad()
            criterion(model(samples), targets).backward()
            optimizer.step()

    def weights() -> Weights:
        V1, c1, V2, c2 = (p.detach().numpy() for p in model.parameters())
        return V1[None], c1[None], V2, c2

    return Trainer(run, weights)


def torch_batched(start: Weights, X: Any, Y: Any, rate: float) -> Trainer:
    """R networks as one stack of matrices, `baddbmm` and autograd."""
    import torch

    W1, b1, W2, b2 = (torch.from_numpy(np.array(part)).requires_grad_() for part in start)
    samples = torch.from_numpy(np.array(X)).expand(len(b2), -1, -1)
    targets = torch.from_numpy(Y).expand(len(b2), -1)
    M = X.shape[1]

    def run(epochs: int) -> None:
        for _ in range(epochs):
            A1 = torch.tanh(torch.baddbmm(b1[:, :, None], W1, samples))
            Z2 = torch.baddbmm(b2[:, None, None], W2[:, None], A1)[:, 0]
            loss = torch.nn.functional.binary_cross_entropy_with_logits(Z2, targets, reduction="sum") / M
            with torch.no_grad():
                for part, gradient in zip((W1, b1, W2, b2), torch.autograd.grad(loss, (W1, b1, W2, b2)), strict=True):
                    part -= rate * gradient

    return Trainer(run, lambda: tuple(part.detach().numpy() for part in (W1, b1, W2, b2)))


def torch_by_hand(start: Weights, X: Any, Y: Any, rate: float) -> Trainer:
    """R networks with replicas last and the gradients written out: what `nnexp` does, in PyTorch's operations."""
    import torch

    W1, b1, W2 = (torch.from_numpy(np.ascontiguousarray(np.moveaxis(part, 0, -1))) for part in start[:3])
    b2 = torch.from_numpy(start[3].copy())
    samples, targets = torch.from_numpy(np.array(X)), torch.from_numpy(Y)[:, None]
    H, N, R = W1.shape
    M = X.shape[1]
    V1 = torch.cat([W1.transpose(0, 1), b1[None]]).reshape(N + 1, H * R)
    rows = torch.cat([samples, torch.ones(1, M, dtype=samples.dtype)])

    def run(epochs: int) -> None:
        with torch.no_grad():
            for _ in range(epochs):
                A1 = (rows.T @ V1).tanh_().view(M, H, R)
                D = torch.sigmoid((A1 * W2).sum(1).add_(b2)).sub_(targets).mul_(rate / M)
                Q = A1 * D[:, None]
                dW2 = Q.sum(0)
                Q.mul_(A1)
                step = (rows @ D)[:, None] - (rows @ Q.view(M, H * R)).view(N + 1, H, R)
                V1.view(N + 1, H, R).sub_(step.mul_(W2))
                W2.sub_(dW2)
                b2.sub_(D.sum(0))

    def weights() -> Weights:
        V = V1.view(N + 1, H, R).numpy()
        return V[:N].transpose(2, 1, 0), V[N].T, W2.numpy().T, b2.numpy()

    return Trainer(run, weights)


def torch_vmap(start: Weights, X: Any, Y: Any, rate: float) -> Trainer:
    """`torch.func.vmap` of the gradient of one network's loss."""
    import torch

    state = tuple(torch.from_numpy(np.array(part)) for part in start)
    samples, targets = torch.from_numpy(np.array(X)), torch.from_numpy(Y)

    def loss(parts: Weights) -> Any:
        W1, b1, W2, b2 = parts
        logits = W2 @ torch.tanh(W1 @ samples + b1[:, None]) + b2
        return torch.nn.functional.binary_cross_entropy_with_logits(logits, targets)

    gradients = torch.func.vmap(torch.func.grad(loss))

    def run(epochs: int) -> None:
        nonlocal state
        with torch.no_grad():
            for _ in range(epochs):
                state = tuple(part - rate * g for part, g in zip(state, gradients(state), strict=True))

    return Trainer(run, lambda: tuple(part.numpy() for part in state))


def _jax_trainer(state: Any, step: Callable[[Any], Any], back: Callable[[Any], Weights]) -> Trainer:
    """All epochs of a run in one compiled loop; a first run compiles, so that the second is timed."""
    import jax

    train = jax.jit(lambda s, n: jax.lax.fori_loop(0, n, lambda _, each: step(each), s))

    def run(epochs: int) -> None:
        nonlocal state
        state = jax.block_until_ready(train(state, epochs))

    return Trainer(run, lambda: back(state))


def jax_vmap(start: Weights, X: Any, Y: Any, rate: float) -> Trainer:
    """`jit` of `vmap` of the gradient of one network's loss."""
    import jax
    import jax.numpy as jnp

    samples, targets = jnp.asarray(X), jnp.asarray(Y)

    def loss(parts: Weights) -> Any:
        W1, b1, W2, b2 = parts
        logits = W2 @ jnp.tanh(W1 @ samples + b1[:, None]) + b2
        return jnp.mean(jax.nn.softplus((1 - 2 * targets) * logits))

    gradients = jax.vmap(jax.grad(loss))

    def step(state: Any) -> Any:
        return jax.tree.map(lambda part, g: part - rate * g, state, gradients(state))

    return _jax_trainer(tuple(map(jnp.asarray, start)), step, lambda s: tuple(map(np.asarray, s)))


def _jax_last(start: Weights, step: Callable[[Any], Any]) -> Trainer:
    import jax.numpy as jnp

    last = tuple(jnp.asarray(np.ascontiguousarray(np.moveaxis(part, 0, -1))) for part in start)
    return _jax_trainer(last, step, lambda s: tuple(np.moveaxis(np.asarray(part), -1, 0) for part in s))


def jax_replicas_last(start: Weights, X: Any, Y: Any, rate: float) -> Trainer:
    """`jit` of autograd on arrays with replicas last."""
    import jax
    import jax.numpy as jnp

    samples, sign = jnp.asarray(X), jnp.asarray(1 - 2 * Y)[:, None]

    def loss(parts: Weights) -> Any:
        W1, b1, W2, b2 = parts
        A1 = jnp.tanh(jnp.einsum("nm,hnr->mhr", samples, W1) + b1)
        return jnp.sum(jnp.mean(jax.nn.softplus(sign * ((A1 * W2).sum(1) + b2)), axis=0))

    def step(state: Any) -> Any:
        return jax.tree.map(lambda part, g: part - rate * g, state, jax.grad(loss)(state))

    return _jax_last(start, step)


def jax_by_hand(start: Weights, X: Any, Y: Any, rate: float) -> Trainer:
    """`jit` of gradients written out for this very table: samples unrolled, zeros left out, so that XLA fuses all."""
    import jax.numpy as jnp

    N, M = X.shape
    sign = [float(2 * y - 1) for y in Y]

    def step(state: Any) -> Any:
        W1, b1, W2, b2 = state
        dW1, db1, dW2, db2 = [0.0] * N, 0.0, 0.0, 0.0
        for m in range(M):
            A = jnp.tanh(sum((float(X[n, m]) * W1[:, n] for n in range(N) if X[n, m]), b1))
            D = (jnp.tanh(((A * W2).sum(0) + b2) / 2) - sign[m]) * (rate / (2 * M))
            B = D * (1 - A * A) * W2
            dW2, db1, db2 = dW2 + D * A, db1 + B, db2 + D
            dW1 = [dW1[n] + float(X[n, m]) * B if X[n, m] else dW1[n] for n in range(N)]
        return W1 - jnp.stack(dW1, axis=1), b1 - db1, W2 - dW2, b2 - db2

    return _jax_last(start, step)


def _numba_trainer(fastmath: bool) -> Peer:
    def peer(start: Weights, X: Any, Y: Any, rate: float) -> Trainer:
        state = tuple(np.array(part) for part in start)
        dtype = state[0].dtype.type
        train = _numba_epochs(fastmath)
        samples, targets = np.ascontiguousarray(X.T), np.ascontiguousarray(Y)
        return Trainer(lambda epochs: train(*state, samples, targets, dtype(rate), epochs), lambda: state)

    return peer


def _numba_epochs(fastmath: bool) -> Any:
    import math

    import numba

    @numba.njit(fastmath=fastmath)
    def train(W1, b1, W2, b2, X, Y, rate, epochs):  # type: ignore[no-untyped-def]
        R, H, N = W1.shape
        M = len(Y)
        A, dW1, db1, dW2 = np.empty_like(b1[0]), np.empty_like(W1[0]), np.empty_like(b1[0]), np.empty_like(b1[0])
        for r in range(R):
            for _ in range(epochs):
                dW1[:], db1[:], dW2[:], db2 = 0, 0, 0, b2[r] * 0
                for m in range(M):
                    z2 = b2[r]
                    for h in range(H):
                        z1 = b1[r, h]
                        for n in range(N):
                            z1 += W1[r, h, n] * X[m, n]
                        A[h] = math.tanh(z1)
                        z2 += W2[r, h] * A[h]
                    d = (1 / (1 + math.exp(-z2)) - Y[m]) / M
                    db2 += d
                    for h in range(H):
                        dW2[h] += d * A[h]
                        dz1 = d * W2[r, h] * (1 - A[h] * A[h])
                        db1[h] += dz1
                        for n in range(N):
                            dW1[h, n] += dz1 * X[m, n]
                b2[r] -= rate * db2
                for h in range(H):
                    W2[r, h] -= rate * dW2[h]
                    b1[r, h] -= rate * db1[h]
                    for n in range(N):
                        W1[r, h, n] -= rate * dW1[h, n]

    return train


numba_scalar = _numba_trainer(False)
numba_fastmath = _numba_trainer(True)


def nnexp(start: Weights, X: Any, Y: Any, rate: float) -> Trainer:
    """`nnexp.training` as a sweep calls it: it notes when each network is first correct and solved, and its history."""
    import json

    from nnexp.network.model import Network
    from nnexp.network.settings import Settings
    from nnexp.training import trainer

    table = {"inputs": X.T.astype(int).tolist(), "targets": Y.astype(int).tolist()}
    settings = Settings(
        task=json.dumps(table), hidden_size=start[1].shape[1], learning_rate=rate, dtype=str(start[0].dtype),
        epochs=10_000_000, stop="none",
    )  # fmt: skip
    result = trainer.start(settings, initial=Network(*start, activation=settings.activation))

    def run(epochs: int) -> None:
        nonlocal result
        (result,) = trainer.advance([result], result.epoch + epochs)

    def weights() -> Weights:
        return result.network.weights

    return Trainer(run, weights)


def tanh_floor(start: Weights, X: Any, _Y: Any, _rate: float) -> Trainer:
    """The tanh evaluations alone, M (H + 1) of them a network, in pieces that stay in the cache."""
    R, H = start[1].shape
    count = R * X.shape[1] * (H + 1)
    values = np.linspace(-3, 3, min(count, 20480)).astype(start[0].dtype)
    out = np.empty_like(values)

    def run(epochs: int) -> None:
        for _ in range(max(round(epochs * count / len(values)), 1)):
            np.tanh(values, out=out)

    return Trainer(run, lambda: start)


#: Name, peer, the batch sizes it is tried at on small tables and on wide ones (none: left out).
ALL: list[tuple[str, Peer, tuple[int, ...], tuple[int, ...]]] = [
    ("nnexp", nnexp, (1, 100, 1000, 2048, 3072, 8192), (1, 8, 32)),
    ("tanh evaluations alone", tanh_floor, (4096,), (8,)),
    ("NumPy loop", numpy_loop, (1,), (1,)),
    ("scikit-learn MLPClassifier", scikit_learn, (1,), (1,)),
    ("PyTorch modules in a loop", torch_modules, (1,), (1,)),
    ("PyTorch batched (baddbmm, autograd)", torch_batched, (1000, 4096, 16384), (1, 8, 32)),
    ("PyTorch vmap", torch_vmap, (1000, 4096, 16384), (1, 8, 32)),
    ("PyTorch with gradients by hand, replicas last", torch_by_hand, (512, 1024, 2048, 4096), (1, 8, 32)),
    ("JAX jit, vmap", jax_vmap, (256, 1024, 4096, 16384), (1, 8, 32)),
    ("JAX jit, replicas last", jax_replicas_last, (256, 1024, 4096, 16384), (1, 8, 32)),
    ("JAX jit, gradients by hand, unrolled over this table", jax_by_hand, (128, 256, 512, 4096), ()),
    ("numba, scalar loop", numba_scalar, (256,), (1,)),
    ("numba, scalar loop, fastmath", numba_fastmath, (256,), (1,)),
]
