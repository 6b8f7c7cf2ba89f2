"""Networks explained on the terminal."""

from __future__ import annotations

import numpy as np
import pytest

from nnexp.cli.explain import print_network
from nnexp.network.model import Network
from nnexp.recovery.gates import explain_network


def test_a_constant_network_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    """Where no hidden unit depends on the inputs, the output is a constant."""
    constant = Network(np.zeros((1, 2, 2)), np.ones((1, 2)), np.zeros((1, 2)), [-1.0], activation="tanh")
    print_network(explain_network(constant, "xnor"))
    shown = capsys.readouterr().out
    assert "output = constant 0" in shown
    assert "2 of 4" in shown
