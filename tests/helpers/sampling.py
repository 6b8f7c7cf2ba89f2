"""What the gate runs of the exhaustive tests: a part that changes from run to run. The long mode runs all of it.

The seed of a run chooses the part. pytest prints it at its start; ``NNEXP_TEST_SEED`` set to it repeats the run.
"""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")

LONG = os.environ.get("NNEXP_LONG") == "1"
#: Kept in the environment, so that the workers of pytest-xdist inherit it.
SEED = int(os.environ.setdefault("NNEXP_TEST_SEED", str(random.SystemRandom().randrange(10**6))))


def generator(purpose: str) -> random.Random:
    """A generator for one purpose, which depends on the run's seed and not on what other tests draw."""
    return random.Random(f"{SEED} {purpose}")  # noqa: S311  no secret


def sample(population: Sequence[T], size: int, purpose: str) -> list[T]:
    """``size`` of the population, in its order; all of it in the long mode."""
    if LONG or size >= len(population):
        return list(population)
    return [population[at] for at in sorted(generator(purpose).sample(range(len(population)), size))]
