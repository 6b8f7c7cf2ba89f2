"""Networks that compute the same function as another: what the tests of references, distances and grades build on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from nnexp.network.model import Network


def random_networks(
    rng: np.random.Generator, R: int, H: int, N: int, scale: float = 1.0, activation: str = "tanh"
) -> Network:
    """R networks with normal weights, biases included."""
    shapes = ((R, H, N), (R, H), (R, H), (R,))
    return Network(*(scale * rng.normal(size=shape) for shape in shapes), activation=activation)


def flip(p: Network, signs: np.ndarray) -> Network:
    """Every network's hidden units multiplied by ``signs`` (H,), without a change of the function."""
    W2 = p.W2 * signs
    b2 = p.b2 + np.where(signs < 0, p.W2, 0).sum(axis=1) if p.activation == "sigmoid" else p.b2
    return p.with_weights(p.W1 * signs[:, None], p.b1 * signs, W2, b2)


def permute(p: Network, order: np.ndarray) -> Network:
    """Every network's hidden units in another order."""
    return p.with_weights(p.W1[:, order], p.b1[:, order], p.W2[:, order], p.b2)


def with_units(p: Network, spare: Network) -> Network:
    """The networks with ``spare``'s hidden units added; their output biases stay."""
    return p.with_weights(
        np.concatenate([p.W1, spare.W1], axis=1),
        np.concatenate([p.b1, spare.b1], axis=1),
        np.concatenate([p.W2, spare.W2], axis=1),
        p.b2,
    )


def with_silent_units(p: Network, rng: np.random.Generator, count: int, scale: float = 1.0) -> Network:
    """The networks with ``count`` random hidden units added that do not change their answers."""
    return with_units(p, silent(random_networks(rng, len(p), count, p.n_inputs, scale))) if count else p


def silent(p: Network) -> Network:
    """The same hidden units with zero output weights."""
    return replace(p, W2=np.zeros_like(p.W2))


def to_sigmoid(p: Network) -> Network:
    """Tanh form as sigmoid form: tanh(z) = 2 sigmoid(2z) - 1."""
    return replace(p, W1=2 * p.W1, b1=2 * p.b1, W2=2 * p.W2, b2=p.b2 - p.W2.sum(axis=1), activation="sigmoid")
