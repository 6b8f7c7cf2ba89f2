"""A tracking server killed and restarted in mid-sweep: every trial arrives exactly once, with all its rows."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from nnexp.recovery import networks_table
from nnexp.stores import Stores
from nnexp.tracking.spool import Spool
from nnexp.tracking.store import Tracking
from tests.helpers.servers import MlflowServer, mlflow_server
from tests.helpers.small_sweeps import assert_whole, plan, run, weights

TRIALS = 48
KILLS = (5, 18, 33)  # so many runs are complete, and another is being sent


def complete(database: Path) -> int:
    """How many trials' runs have ended, by the server's own database."""
    with contextlib.closing(sqlite3.connect(database, timeout=30)) as opened:
        counted = opened.execute("SELECT count(*) FROM runs WHERE status = 'FINISHED'").fetchone()
    return int(counted[0])


def kill_and_restart(server: MlflowServer, database: Path, killed_at: list[int], over: threading.Event) -> None:
    """Kill the server as soon as so many runs are complete, each time starting it again."""
    for count in KILLS:
        while complete(database) < count:
            if over.is_set():
                return
            time.sleep(0.01)
        server.kill()  # in the middle of some request
        killed_at.append(complete(database))
        server.start()


@contextlib.contextmanager
def killing(server: MlflowServer, database: Path) -> Iterator[list[int]]:
    """`kill_and_restart` in a thread, until the end of the block; yields how many runs were complete at each kill."""
    killed_at: list[int] = []
    over = threading.Event()
    killer = threading.Thread(target=kill_and_restart, args=(server, database, killed_at, over))
    killer.start()
    try:
        yield killed_at
    finally:
        over.set()
        killer.join()


def rows(database: Path) -> dict[int, list[tuple[str, int, float]]]:
    """Every trial's rows in the server's database: (key, step, value), without the time taken and the re-test."""
    query = (
        "SELECT tags.value, metrics.key, metrics.step, metrics.value FROM metrics JOIN tags USING (run_uuid)"
        " JOIN runs USING (run_uuid) WHERE tags.key = 'nnexp.trial' AND runs.lifecycle_stage = 'active'"
    )
    found: dict[int, list[tuple[str, int, float]]] = {}
    with contextlib.closing(sqlite3.connect(database)) as opened:
        for trial, key, step, value in opened.execute(query):
            if key not in ("train_seconds", "retest_rate", "retest_networks"):
                found.setdefault(int(trial), []).append((key, step, value))
    return {trial: sorted(told) for trial, told in found.items()}


@pytest.mark.slow
@pytest.mark.long
def test_server_killed_three_times_in_one_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What MLflow holds in the end is, row by row and bit by bit, what the same sweep gave where nothing happened."""
    monkeypatch.setattr("nnexp.tracking.delivery.FIRST_PAUSE", 0.2)
    monkeypatch.setattr("nnexp.tracking.delivery.LONGEST_PAUSE", 0.5)
    monkeypatch.setattr("nnexp.runner.session.DRAIN_LIMIT", 600)  # a busy machine takes minutes to start a server
    sweep = plan(trials=TRIALS, epochs=60)
    calm = Stores("sqlite:///unused.db", str(tmp_path / "calm.journal"), tmp_path / "calm")
    run(sweep, calm, offline=True)
    expected = {entry.trial: entry for entry in Spool(calm.spool).entries(sweep.name)}

    database = tmp_path / "mlflow.db"
    with mlflow_server(f"sqlite:///{database}", tmp_path / "server") as server:
        stores = Stores(server.uri, str(tmp_path / "nnexp.journal"), tmp_path / "spool")
        with killing(server, database) as killed_at:
            run(sweep, stores)
        assert len(killed_at) == len(KILLS)
        assert all(count < TRIALS for count in killed_at)
        assert "finished trials wait in the spool" in caplog.text
        assert "answers again" in caplog.text
        assert_whole(sweep, stores)
        assert rows(database) == {
            trial: sorted(row for row in entry.read().metrics if row[0] != "train_seconds")
            for trial, entry in expected.items()
        }
        tracking = Tracking(stores.tracking_uri)
        for record in tracking.runs(sweep.name):
            entry = expected[record.trial]
            assert (record.status, record.params) == ("FINISHED", entry.read().params)
            trained = networks_table.read_networks(entry.files / networks_table.NETWORKS)
            assert weights(tracking.networks(record.run_id)) == weights(trained)
