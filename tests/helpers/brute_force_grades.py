"""The grades of one network, written a second time from their definitions: plain loops, brute force, no shared code."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

Unit = tuple[tuple[float, ...], float]

DESIGNS: dict[str, list[Unit]] = {  # tanh form, 0/1 inputs: (w, b) of each hand-designed unit
    "xnor": [((10, 10), -15), ((-10, -10), 5)],
    "xor": [((10, 10), -15), ((-10, -10), 5)],
    "parity:3": [((10, 10, 10), -5), ((10, 10, 10), -15), ((10, 10, 10), -25)],
}


def patterns_of(units: list[Unit], rows: list[tuple[int, ...]]) -> list[list[int]]:
    """The sign of each unit at each row."""
    return [
        [1 if b + sum(w_i * x for w_i, x in zip(w, row, strict=True)) > 0 else -1 for row in rows] for w, b in units
    ]


def mirror_patterns(task: str, inputs: list[tuple[int, ...]], targets: list[int]) -> list[list[list[int]]]:
    """The sign patterns of the reference read through every symmetry of the task that changes its logic.

    A symmetry permutes and complements inputs such that all targets stay or all are negated.
    """
    n = len(inputs[0])
    answer = dict(zip(inputs, targets, strict=True))

    def logic(patterns: list[list[int]]) -> list[list[int]]:
        return sorted([value * pattern[0] for value in pattern] for pattern in patterns)

    own = logic(patterns_of(DESIGNS[task], inputs))
    found: list[list[list[int]]] = []
    for order in itertools.permutations(range(n)):
        for mask in itertools.product((0, 1), repeat=n):
            moved = [tuple(row[i] ^ flip for i, flip in zip(order, mask, strict=True)) for row in inputs]
            negated = {answer[there] ^ target for there, target in zip(moved, targets, strict=True)}
            if len(negated) > 1:
                continue
            image = patterns_of(DESIGNS[task], moved)
            if logic(image) != own and all(logic(image) != logic(other) for other in found):
                found.append(image)
    return found


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

    def solves(z2: list[float]) -> bool:
        cost = sum(np.logaddexp(0, -z if y else z) for z, y in zip(z2, targets, strict=True)) / M
        return right(z2) and bool(cost < 1.2 / M)

    def computes(k: int, pattern: list[int]) -> bool:
        signs = [1 if value > 0 else -1 for value in h[k]]
        same = signs == pattern or signs == [-s for s in pattern]
        return same and all(abs(value) >= 0.5 for value in h[k])

    def matched_by(patterns: list[list[int]]) -> set[int]:
        return {k for k in range(H) if any(computes(k, pattern) for pattern in patterns)}

    def contains(patterns: list[list[int]]) -> bool:
        own = any(
            all(computes(k, pattern) for k, pattern in zip(units, patterns, strict=True))
            for units in itertools.permutations(range(H), len(patterns))
        )
        return solved and own and right(answers(set(range(H)) - matched_by(patterns)))

    def share(units: set[int]) -> float:
        z = answers(set())
        centre = sum(z) / M
        covariance = sum(W2[k] * (h[k][i] - mean[k]) * (z[i] - centre) for k in units for i in range(M))
        variance = sum((value - centre) ** 2 for value in z)
        return covariance / variance if variance else math.nan

    z2 = answers(set())
    off = max(1 / (1 + math.exp(z if y else -z)) for z, y in zip(z2, targets, strict=True))
    solved = solves(z2)
    design = patterns_of(DESIGNS[task], list(inputs))
    reference = contains(design)
    mirror = any(contains(patterns) for patterns in mirror_patterns(task, list(inputs), list(targets)))
    matched = matched_by(design)
    family = {(1, 1): "both", (1, 0): "hand-designed", (0, 1): "mirror", (0, 0): "other"}[int(reference), int(mirror)]
    return {
        "correct": right(z2),
        "solved": solved,
        "confident": off < 0.1,
        "contains": reference,
        "design_share": share(matched),
        "recovered": reference and share(matched) > 0.5,
        "needed": reference and not solves(answers(matched)),
        "saturation": min((abs(value) for k in matched for value in h[k]), default=math.nan),
        "family": family if solved else "none",
    }
