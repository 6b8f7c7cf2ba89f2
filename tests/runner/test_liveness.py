"""The sign of life of a worker: kept during long steps, and lost when the worker hangs."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import pytest

from nnexp.errors import NnexpError
from nnexp.runner import finalize, liveness, service, sweeps
from tests.helpers import small_sweeps


@pytest.fixture(autouse=True)
def _own_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file of this test alone; silence counts after a second."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(liveness, "SILENCE", 1.0)


def test_a_long_step_does_not_silence_the_worker() -> None:
    """Nothing is called during the block, as in a batch that is trained in the worker's own process."""
    with liveness.keep_touching():
        time.sleep(2.0)
        assert liveness.check() == "healthy"
    with pytest.raises(NnexpError, match="no worker runs here"):
        liveness.check()


def test_a_worker_that_hangs_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step that takes longer than any step may."""
    monkeypatch.setattr(liveness, "LONGEST_STEP", 0.2)
    with liveness.keep_touching() as step:
        step()
        time.sleep(2.0)
        with pytest.raises(NnexpError, match="silent for"):
            liveness.check()


def test_a_worker_is_alive_while_it_publishes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The results of a large sweep take minutes; a probe must not end the worker, or it would never finish them."""
    told = []

    def publish_slowly(*_: object) -> None:
        time.sleep(2.0)
        told.append(liveness.check())

    monkeypatch.setattr(finalize, "publish", publish_slowly)
    where = small_sweeps.stores(tmp_path)
    sweeps.submit(small_sweeps.plan(trials=2), stores=where)
    service.work(where, drain=True, pool="inline")
    assert told == ["healthy"]
