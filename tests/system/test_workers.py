"""Four `nnexp worker --drain` on one PostgreSQL and one `mlflow server`: each trial once, whatever is killed."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from nnexp.runner import sweeps
from nnexp.search import sweep_file
from nnexp.stores import Stores
from nnexp.study import SweepStudy, Trial, open_storage
from nnexp.tracking.store import Tracking
from tests.helpers import small_sweeps
from tests.helpers.podman import ROOT, wait_for
from tests.helpers.postgresql import Server, running
from tests.helpers.sampling import LONG
from tests.helpers.servers import SERVERS, MlflowServer, mlflow_server

pytestmark = [pytest.mark.slow, pytest.mark.postgresql]

WORKERS = 4
POOL = ("--jobs", "1") if LONG else ("--pool", "inline")  # a pool's start takes longer than this sweep


def plan(**changes: Any) -> sweep_file.Sweep:
    """A sweep that outlasts the start of four workers, of a task whose registered model no other test looks at."""
    return small_sweeps.plan(**{"task": "parity:3", "trials": 32, "seeds": 64, "epochs": 400, **changes})


@dataclass
class Worker:
    """`nnexp worker --drain` as a shell starts it, in a directory of its own, which is all that it has."""

    process: subprocess.Popen[bytes]
    directory: Path

    def kill(self) -> int:
        """SIGKILL it and its pool; its exit status."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        return self.process.wait(30)

    @property
    def log(self) -> str:
        """What it told."""
        return (self.directory / "log").read_text()


@dataclass
class Site:
    """The stores of two servers, and the workers on one study; killed at the end."""

    stores: Stores
    directory: Path
    workers: list[Worker] = field(default_factory=list)

    def start(self) -> Worker:
        """Another worker, with a spool of its own: it shares nothing with the others but the two servers."""
        home = Path(tempfile.mkdtemp(prefix="worker-", dir=self.directory))
        own = {"NNEXP_STORAGE": self.stores.storage, "MLFLOW_TRACKING_URI": self.stores.tracking_uri}
        own |= {"PYTHONPATH": str(ROOT), "MLFLOW_DISABLE_TELEMETRY": "true", "NNEXP_SPOOL": "spool"}
        command = [sys.executable, "-m", "nnexp", "worker", "--drain", *POOL]
        with (home / "log").open("wb") as log:
            process = subprocess.Popen(
                command, cwd=home, env=os.environ | own, stdout=log, stderr=log, start_new_session=True
            )
        self.workers.append(Worker(process, home))
        return self.workers[-1]

    def trials(self, name: str) -> list[Trial]:
        """What the study says of its trials now."""
        with open_storage(self.stores.storage, create=False) as storage:
            return SweepStudy.open(storage, name).trials()

    def finished(self, name: str) -> int:
        """How many of them are finished."""
        return sum(trial.is_finished for trial in self.trials(name))

    def wait(self, seconds: float = 400) -> list[int]:
        """The workers' exit statuses."""
        return [worker.process.wait(seconds) for worker in self.workers]

    def __enter__(self) -> Site:
        """No worker yet."""
        return self

    def __exit__(self, *_: object) -> None:
        """Kill those that still work."""
        for worker in self.workers:
            worker.kill()


def assert_once(site: Site, sweep: sweep_file.Sweep) -> list[Trial]:
    """Exactly the budget in both stores, no run doubled or left, all settings different; returns the study's trials."""
    small_sweeps.assert_whole(sweep, site.stores)
    trials = site.trials(sweep.name)
    assert [trial.number for trial in trials] == list(range(sweep.trials))
    assert {trial.state for trial in trials} == {"COMPLETE"}
    assert len({repr(sorted(trial.params.items())) for trial in trials}) == sweep.trials
    tracking = Tracking(site.stores.tracking_uri)
    assert [record.status for record in tracking.runs(sweep.name)] == ["FINISHED"] * sweep.trials
    assert tracking.status(tracking.sweep(sweep.name).run_id) == "FINISHED"
    assert len({repr(run.params) for run in tracking.runs(sweep.name)}) == sweep.trials
    return trials


@pytest.mark.parametrize("tracking_store", SERVERS, indirect=True)
def test_four_workers_share_a_study(tracking_store: str, postgresql: Server, tmp_path: Path) -> None:
    """Each takes part, each ends with status 0 and an empty spool, and nothing is done twice."""
    sweep = plan(sampler="tpe")
    with Site(Stores(tracking_store, postgresql.database(), tmp_path / "spool"), tmp_path) as site:
        sweeps.submit(sweep, stores=site.stores)
        for _ in range(WORKERS):
            site.start()
        assert site.wait() == [0] * WORKERS, [worker.log[-2000:] for worker in site.workers]
        trials = assert_once(site, sweep)
    assert len({trial.owner for trial in trials}) == WORKERS
    assert {trial.attempt for trial in trials} == {1}
    assert [path for worker in site.workers for path in worker.directory.rglob("spool/**/*") if path.is_file()] == []


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[tuple[Server, MlflowServer]]:
    """PostgreSQL and `mlflow server` on it, to be killed."""
    with running() as database, mlflow_server(database.database(), tmp_path / "server") as server:
        yield database, server


@pytest.fixture
def site(servers: tuple[Server, MlflowServer], tmp_path: Path) -> Iterator[Site]:
    """Their stores."""
    database, server = servers
    with Site(Stores(server.uri, database.database(), tmp_path / "spool"), tmp_path) as found:
        yield found


@pytest.mark.long
def test_workers_and_servers_are_killed_during_a_sweep(site: Site, servers: tuple[Server, MlflowServer]) -> None:
    """Workers killed with their spools, PostgreSQL crashed, then the tracking server: the same in the end.

    Fresh workers come for those that went, and train again what these had not delivered.
    """
    database, server = servers
    sweep = plan(sampler="random", trials=160, lease=4.0)
    sweeps.submit(sweep, stores=site.stores)

    def past(count: int) -> int:
        wait_for(lambda: site.finished(sweep.name) >= count, f"{count} finished trials", 400)
        done = site.finished(sweep.name)
        assert done < sweep.trials
        return done

    for _ in range(WORKERS):
        site.start()
    done = past(6)
    killed = [site.workers.pop(0) for _ in range(2)]
    assert [worker.kill() for worker in killed] == [-signal.SIGKILL] * 2
    for _ in killed:
        site.start()
    done = past(done + 4)
    database.stop("immediate")
    database.start()
    done = past(done + 4)
    server.kill()
    killed.append(site.workers.pop(0))
    assert killed[-1].kill() == -signal.SIGKILL
    past(done + 2)  # the others go on without it
    server.start()
    site.start()
    assert set(site.wait()) <= {0, 1}, [worker.log[-2000:] for worker in site.workers]
    last = site.start()  # for those whose store was away for too long
    assert last.process.wait(400) == 0, last.log[-2000:]
    assert not any("Traceback" in worker.log for worker in site.workers)
    trials = assert_once(site, sweep)
    assert any(trial.attempt > 1 for trial in trials)
