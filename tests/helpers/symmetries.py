"""Networks that compute the same function as another: what the tests of references, distances and grades build on."""

from __future__ import annotations

import numpy as np

from nnexp.network.model import Parameters


def random_networks(rng: np.random.Generator, R: int, H: int, N: int, scale: float = 1.0) -> Parameters:
    """R networks with normal weights, biases included."""
    shapes = ((R, H, N), (R, H), (R, H), (R,))
    return Parameters(*(scale * rng.normal(size=shape) for shape in shapes))


def flip(p: Parameters, signs: np.ndarray, activation: str) -> Parameters:
    """Every network's hidden units multiplied by ``signs`` (H,), without a change of the function."""
    W2 = p.W2 * signs
    b2 = p.b2 + np.where(signs < 0, p.W2, 0).sum(axis=1) if activation == "sigmoid" else p.b2
    return Parameters(p.W1 * signs[:, None], p.b1 * signs, W2, b2)


def permute(p: Parameters, order: np.ndarray) -> Parameters:
    """Every network's hidden units in another order."""
    return Parameters(p.W1[:, order], p.b1[:, order], p.W2[:, order], p.b2)


def with_units(p: Parameters, spare: Parameters) -> Parameters:
    """The networks with ``spare``'s hidden units added; their output biases stay."""
    return Parameters(
        np.concatenate([p.W1, spare.W1], axis=1),
        np.concatenate([p.b1, spare.b1], axis=1),
        np.concatenate([p.W2, spare.W2], axis=1),
        p.b2,
    )


def silent(p: Parameters) -> Parameters:
    """The same hidden units with zero output weights."""
    return Parameters(p.W1, p.b1, np.zeros_like(p.W2), p.b2)


def to_sigmoid(p: Parameters) -> Parameters:
    """Tanh form as sigmoid form: tanh(z) = 2 sigmoid(2z) - 1."""
    return Parameters(2 * p.W1, 2 * p.b1, 2 * p.W2, p.b2 - p.W2.sum(axis=1))
