"""The estimate before a sweep: numbers that follow from the file, and words about what no machine can do."""

from __future__ import annotations

import pytest

from nnexp.runner import plan as planning
from nnexp.runner.plan import plan
from tests.helpers import small_sweeps


@pytest.fixture(autouse=True)
def _no_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    """A microsecond per epoch, so that no sample is trained."""
    monkeypatch.setattr(planning, "seconds_per_epoch", lambda _: 1e-6)


def test_the_numbers_follow_from_the_sweep() -> None:
    """Trials times seeds, and the batches that are in training at once."""
    found = plan(small_sweeps.plan(trials=100, seeds=1000, epochs=500, batch=4, space={"hidden_size": 2}), jobs=2)
    assert (found.trials, found.networks, found.jobs) == (100, 100_000, 2)
    assert found.seconds == pytest.approx(100_000 * 500e-6 / 2 + 5)
    assert found.memory_bytes == 3 * 4 * 1000 * (planning.NETWORK_MEMORY + 9 * planning.WEIGHT_MEMORY)
    assert found.words()["memory"] == "about 21 MB at once"


def test_an_adaptive_sampler_has_one_batch_in_training() -> None:
    """Its suggestions depend on earlier results."""
    random, tpe = (plan(small_sweeps.plan(trials=100, sampler=sampler)) for sampler in ("random", "tpe"))
    assert random.memory_bytes == 3 * tpe.memory_bytes


def test_a_sweep_that_needs_too_much_memory_is_named() -> None:
    """10 trillion networks: years, and more memory than the machine has."""
    words = plan(small_sweeps.plan(trials=1_000_000, seeds=10_000_000, epochs=10_000, batch=100), jobs=2).words()
    assert words["networks"] == "10,000,000,000,000"
    assert words["time"] == "about 1,585.5 years at most, with 2 processes"
    assert "TB at once, more than this machine's" in words["memory"]
    assert "choose fewer seeds, or a smaller batch" in words["memory"]


@pytest.mark.parametrize(
    ("seconds", "words"), [(40, "40 s"), (150, "2.5 min"), (11_000, "3.1 hours"), (1_040_000, "12.0 days")]
)
def test_durations_are_in_the_unit_that_people_use(seconds: float, words: str) -> None:
    """From seconds to days."""
    assert planning._duration(seconds) == words
