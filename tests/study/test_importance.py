"""Which searched settings explain the differences in an outcome."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from nnexp.study import SweepStudy, Worker, open_storage
from tests.helpers.small_study import make


def test_importances(tmp_path: Path) -> None:
    """A setting that alone determines an outcome has most of the importance; a constant outcome is left out."""
    with open_storage(tmp_path / "j") as store:
        worker = Worker.join(SweepStudy.create(store, make(trials=60)))
        for claim in worker.claim(60):
            rate = 1.0 - abs(math.log10(claim.params["learning_rate"])) / 3
            worker.finish(claim, "COMPLETE", [rate], {"recovery_rate": rate, "solved_rate": 1.0})
        found = worker.study.importances()
    assert list(found) == ["recovery_rate"]
    assert max(found["recovery_rate"], key=found["recovery_rate"].__getitem__) == "learning_rate"
    assert found["recovery_rate"]["learning_rate"] > 0.6
    assert sum(found["recovery_rate"].values()) == pytest.approx(1)
