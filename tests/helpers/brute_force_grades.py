"""The grades of one network, written again from their definitions: plain loops, brute force, no shared code."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

DESIGNS = {  # tanh form, 0/1 inputs: the hand-designed units' (w, b), which parity counts
    "xnor": [((10, 10), -15), ((-10, -10), 5)],
    "xor": [((10, 10), -15), ((-10, -10), 5)],
    "parity:3": [((10, 10, 10), -5), ((10, 10, 10), -15), ((10, 10, 10), -25)],
}


def mirrored(units: list[tuple[Any, float]]) -> list[tuple[Any, float]]:
    """Every unit as a function of not x1."""
    return [((-w[0], *w[1:]), b + w[0]) for w, b in units]


def grade(W1, b1, W2, b2, inputs, targets, task: str, activation: str, encoding: str) -> dict[str, Any]:
    """One network's grades by name."""
    X = [[2 * bit - 1 for bit in row] if encoding == "bipolar" else list(row) for row in inputs]
    if activation == "sigmoid":
        b2 = b2 + sum(W2) / 2
        W1, b1, W2 = W1 / 2, b1 / 2, W2 / 2
    H, M = len(b1), len(inputs)
    h = [[math.tanh(b1[k] + sum(w * x for w, x in zip(W1[k], row, strict=True))) for row in X] for k in range(H)]
    mean = [sum(values) / M for values in h]

    def answers(held: set[int]) -> list[float]:
        return [b2 + sum(W2[k] * (mean[k] if k in held else h[k][i]) for k in range(H)) for i in range(M)]

    def right(z2: list[float]) -> bool:
        return all((z > 0) if y else (z < 0) for z, y in zip(z2, targets, strict=True))

    z2 = answers(set())
    cost = sum(np.logaddexp(0, -z if y else z) for z, y in zip(z2, targets, strict=True)) / M
    off = max(1 / (1 + math.exp(z if y else -z)) for z, y in zip(z2, targets, strict=True))
    solved = right(z2) and cost < 1.2 / M

    def contains(design) -> tuple[bool, bool]:
        patterns = [[1 if b + np.dot(w, row) > 0 else -1 for row in inputs] for w, b in design]

        def computes(k: int, pattern: list[int]) -> bool:
            signs = [1 if value > 0 else -1 for value in h[k]]
            same = signs == pattern or signs == [-s for s in pattern]
            return same and all(abs(value) >= 0.5 for value in h[k])

        matched = {k for k in range(H) if any(computes(k, pattern) for pattern in patterns)}
        own = any(
            all(computes(k, pattern) for k, pattern in zip(units, patterns, strict=True))
            for units in itertools.permutations(range(H), len(patterns))
        )
        held = solved and own and right(answers(set(range(H)) - matched))
        return held, held and not right(answers(matched))

    reference, recovered = contains(DESIGNS[task])
    mirror, _ = contains(mirrored(DESIGNS[task]))
    family = {(1, 1): "both", (1, 0): "hand-designed", (0, 1): "mirror", (0, 0): "other"}[int(reference), int(mirror)]
    return {
        "correct": right(z2),
        "solved": solved,
        "confident": off < 0.1,
        "contains": reference,
        "recovered": recovered,
        "family": family if solved else "none",
    }
