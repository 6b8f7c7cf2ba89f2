"""The rates that the design states for two hidden units: a change of the mathematics shows here."""

from __future__ import annotations

import numpy as np
import pytest

import nnexp
from nnexp import Settings
from nnexp.recovery import grades


@pytest.fixture(scope="module")
def family() -> np.ndarray:
    """The families of 1,000 networks: Glorot-uniform, two hidden units, rate 0.5, 5,000 epochs."""
    settings = Settings(task="xnor", hidden_size=2, learning_rate=0.5, init="glorot_uniform", epochs=5000, seeds=1000)
    result = nnexp.train(settings)
    return np.asarray(grades.assess(result.network, settings.truth_table).family)


@pytest.mark.parametrize(
    ("names", "rate", "tolerance"),
    [
        (("hand-designed", "mirror", "both", "other"), 0.52, 0.06),
        (("hand-designed",), 0.20, 0.04),
        (("mirror",), 0.31, 0.05),
    ],
)
def test_known_rates(family: np.ndarray, names: tuple[str, ...], rate: float, tolerance: float) -> None:
    """About 52% solve XNOR, 20% by the hand-designed logic and 31% by its mirror."""
    assert np.isin(family, names).mean() == pytest.approx(rate, abs=tolerance)
