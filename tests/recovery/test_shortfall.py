"""Why networks do not reach the goal: the most frequent reason, and a cause only where the weights show it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from nnexp.network.model import Network
from nnexp.network.reference import mirrors, reference
from nnexp.network.settings import Settings
from nnexp.network.tasks import get
from nnexp.recovery.grades import assess
from nnexp.recovery.shortfall import shortfall
from nnexp.training.result import TrainingResult
from nnexp.training.trainer import train

SMALL = Settings(hidden_size=4, learning_rate=0.03, init_scale=0.1, epochs=50, seeds=8)


@pytest.fixture(scope="module")
def small() -> TrainingResult:
    """Eight networks that start near zero and take 50 small steps."""
    return train(SMALL)


def reason(result: TrainingResult, epochs: int = 50) -> str:
    """The sentence for the networks of ``result`` as they are."""
    return shortfall(result, assess(result.network, result.settings.truth_table), epochs)


def holding(result: TrainingResult, network: Network) -> TrainingResult:
    """The result as if training had ended with eight copies of ``network``."""
    return dataclasses.replace(result, network=network.select([0] * 8))


def test_a_start_that_is_too_small_is_named(small: TrainingResult) -> None:
    """The networks are at loss ln 2 and their hidden units still linear."""
    assert reason(small) == (
        "8 of 8 networks are on the plateau at loss ln 2, with the same answer for every input: the initial weights "
        "are too small for 50 epochs at this rate, since all hidden units are still linear"
    )


def test_saturated_units_are_named(small: TrainingResult) -> None:
    """At the same loss, units with the same sign for every input are another cause."""
    net = small.network
    stuck = net.with_weights(0 * net.W1, 0 * net.b1 + 9, 0 * net.W2, 0 * net.b2)
    assert "ln 2" in reason(holding(small, stuck))
    assert "saturated with the same sign" in reason(holding(small, stuck))


def test_no_cause_is_named_where_the_weights_show_none(small: TrainingResult) -> None:
    """Hidden units that are neither linear nor constant."""
    net = small.network
    undecided = net.with_weights(0 * net.W1 + 1, 0 * net.b1, 0 * net.W2, 0 * net.b2)
    assert (
        reason(holding(small, undecided))
        == "8 of 8 networks are on the plateau at loss ln 2, with the same answer for every input"
    )


def test_the_design_has_no_shortfall_and_its_mirror_is_named(small: TrainingResult) -> None:
    """The sentence is empty where every network recovers."""
    assert reason(holding(small, reference("xnor"))) == ""
    mirror = mirrors(get("xnor"))
    assert mirror is not None
    assert reason(holding(small, mirror.select([0]))) == "8 of 8 networks contain the mirror of the design instead"


def test_divergence_is_counted_apart(small: TrainingResult) -> None:
    """Whatever the weights of a diverged network are."""
    diverged = dataclasses.replace(small, diverged=np.arange(8) < 5)
    assert reason(diverged).startswith("5 of 8 networks diverged")


def test_no_plateau_is_named_for_a_task_without_one() -> None:
    """A task of three inputs has no named plateaus."""
    result = train(Settings(task="parity:3", hidden_size=4, learning_rate=0.03, init_scale=0.1, epochs=50, seeds=4))
    assert reason(result) == "4 of 4 networks do not solve it within 50 epochs"
