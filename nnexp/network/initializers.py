"""Initial weights. Those of network i do not depend on which other networks are drawn.

Axes: R networks, H hidden units, N inputs. Biases are zero. fan_in and fan_out are N and H for W1, H and 1 for W2.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from nnexp.network.model import Network
from nnexp.network.settings import Settings

BLOCK = 256
"""Networks are always drawn in whole blocks of this size: network i is row i % BLOCK of block i // BLOCK."""

Draw = Callable[[np.random.Generator, int, int], NDArray[np.float64]]


def _normal(rng: np.random.Generator, fan_out: int, fan_in: int) -> NDArray[np.float64]:
    """N(0, 1)."""
    return rng.standard_normal((BLOCK, fan_out, fan_in))


def _uniform(rng: np.random.Generator, fan_out: int, fan_in: int) -> NDArray[np.float64]:
    """U(-1, 1)."""
    return rng.uniform(-1.0, 1.0, (BLOCK, fan_out, fan_in))


def _glorot_uniform(rng: np.random.Generator, fan_out: int, fan_in: int) -> NDArray[np.float64]:
    """U(-a, a) with a = sqrt(6 / (fan_in + fan_out)) (Glorot & Bengio 2010, eq. 16)."""
    return _uniform(rng, fan_out, fan_in) * math.sqrt(6 / (fan_in + fan_out))


def _glorot_normal(rng: np.random.Generator, fan_out: int, fan_in: int) -> NDArray[np.float64]:
    """N(0, 2 / (fan_in + fan_out)) (Glorot & Bengio 2010, eq. 12)."""
    return _normal(rng, fan_out, fan_in) * math.sqrt(2 / (fan_in + fan_out))


def _he_normal(rng: np.random.Generator, fan_out: int, fan_in: int) -> NDArray[np.float64]:
    """N(0, 2 / fan_in) (He et al. 2015, eq. 10)."""
    return _normal(rng, fan_out, fan_in) * math.sqrt(2 / fan_in)


def _orthogonal(rng: np.random.Generator, fan_out: int, fan_in: int) -> NDArray[np.float64]:
    """Orthonormal rows or columns, whichever are fewer, uniform over such matrices (Saxe et al. 2014; Mezzadri 2007).

    LAPACK's QR chooses the signs of Q by a convention, so Q is not uniform. Multiplying each column of Q by the sign of
    R's diagonal makes it uniform.
    """
    tall = rng.standard_normal((BLOCK, max(fan_out, fan_in), min(fan_out, fan_in)))
    q, r = np.linalg.qr(tall)
    q = q * np.where(np.diagonal(r, axis1=1, axis2=2) < 0, -1.0, 1.0)[:, None, :]
    return q if fan_out >= fan_in else q.transpose(0, 2, 1)


_DRAWS: dict[str, Draw] = {
    "normal": _normal,
    "uniform": _uniform,
    "glorot_uniform": _glorot_uniform,
    "glorot_normal": _glorot_normal,
    "he_normal": _he_normal,
    "orthogonal": _orthogonal,
}


def draw(settings: Settings, index: Sequence[int] | NDArray[np.integer]) -> Network:
    """Draw the networks with the numbers ``index``; their weights are scaled by ``init_scale``.

    Before scaling, network i depends only on ``seed``, i, ``hidden_size``, ``init`` and the number of inputs N. Each
    block is drawn from a `numpy.random.SeedSequence` of ``seed``, ``hidden_size``, ``init`` and the block's number.

    Args:
        settings: the initializer, its scale and seed, and the dtype, activation and encoding of the networks.
        index: R numbers of networks, in any order; numbers may be repeated.
    """
    wanted = np.asarray(index, np.int64)
    H, N = settings.hidden_size, settings.truth_table.n_inputs
    W1, W2 = np.empty((len(wanted), H, N)), np.empty((len(wanted), H))
    blocks, block_of = np.unique(wanted // BLOCK, return_inverse=True)
    order = np.argsort(block_of, kind="stable")
    ends = np.cumsum(np.bincount(block_of, minlength=len(blocks)))
    initializer, code = _DRAWS[settings.init], zlib.crc32(settings.init.encode())
    for block, places in zip(blocks, np.split(order, ends[:-1]), strict=True):
        entropy = np.random.SeedSequence(settings.seed, spawn_key=(H, code, int(block)))
        rng = np.random.Generator(np.random.PCG64(entropy))
        rows = wanted[places] % BLOCK
        W1[places] = initializer(rng, H, N)[rows]
        W2[places] = initializer(rng, 1, H)[rows, 0]
    with np.errstate(
        over="ignore", under="ignore"
    ):  # beyond float32 a weight becomes infinite, and the network has diverged
        W1, W2 = ((W * settings.init_scale).astype(settings.dtype) for W in (W1, W2))
    b1, b2 = np.zeros((len(wanted), H), settings.dtype), np.zeros(len(wanted), settings.dtype)
    return Network(W1, b1, W2, b2, activation=settings.activation, encoding=settings.encoding)
