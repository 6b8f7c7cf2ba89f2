"""A tracking server killed and restarted in mid-delivery: every trial arrives exactly once, with all its rows."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from nnexp import writer as writing
from nnexp.spool import Spool
from nnexp.tracking import Tracking
from nnexp.writer import Writer
from tests.evidence import CURVES, evidence, spooled
from tests.servers import MlflowServer

TRIALS = 60


@pytest.mark.slow
@pytest.mark.long
def test_server_killed_three_times_loses_and_doubles_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed at three unplanned moments while a writer delivers; every run is there once, complete, with its times."""
    monkeypatch.setattr(writing, "FIRST_PAUSE", 0.2)
    monkeypatch.setattr(writing, "LONGEST_PAUSE", 0.5)
    server = MlflowServer(f"sqlite:///{tmp_path}/mlflow.db", tmp_path / "server")
    notices: list[str] = []
    try:
        server.start()
        tracking = Tracking(server.uri)
        sweep = tracking.ensure_sweep("outage", text="", note="")
        spool = Spool(tmp_path / "spool")
        writer = Writer(lambda entry, fresh: tracking.deliver(entry, sweep, fresh=fresh), notices.append)
        for trial in range(TRIALS):
            if trial in (10, 25, 40):
                deadline = time.monotonic() + 60
                while writer.delivered < trial - 7 and time.monotonic() < deadline:
                    time.sleep(0.005)
                server.kill()  # in the middle of some request
                writer.put(spooled(spool, trial, sweep="outage"))
                server.start()
                continue
            writer.put(spooled(spool, trial, sweep="outage"))
        assert writer.close(120) == 0
        assert writer.refused == 0, notices
        assert spool.entries() == []
        assert any("finished trials wait in the spool" in line for line in notices)
        assert {trial: len(runs) for trial, runs in tracking.delivered_trials("outage").items()} == dict.fromkeys(
            range(TRIALS), 1
        )
        for run in tracking.runs("outage"):
            told = evidence(run.trial, "outage")
            assert (run.status, run.started_ms, run.ended_ms) == ("FINISHED", told.started_ms, told.ended_ms)
            assert run.params == told.params
            assert [len(tracking.curve(run.run_id, key)) for key in CURVES] == [5] * len(CURVES)
            assert tracking.text(run.run_id, "best_network.json") == '{"index": 3}\n'
    finally:
        server.kill()
