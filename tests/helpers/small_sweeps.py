"""Small sweeps that are really run, in this process or in processes that can be killed, and checks of their end."""

from __future__ import annotations

import atexit
import contextlib
import functools
import multiprocessing
import os
import shutil
import signal
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Sequence
from multiprocessing import forkserver
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from nnexp import cli
from nnexp.network.settings import Settings
from nnexp.recovery import networks_table
from nnexp.runner import doctor, sweeps
from nnexp.search import sweep_file
from nnexp.stores import Stores
from nnexp.study import SweepStudy, open_storage
from nnexp.tracking.spool import Spool
from nnexp.tracking.store import Tracking
from tests.helpers.finished_trials import runs_by_trial

SPACE: dict[str, Any] = {
    "hidden_size": {"low": 2, "high": 4},
    "learning_rate": {"low": 1e-2, "high": 10.0, "log": True},
    "init": ["glorot_uniform", "normal"],
}


def plan(**changes: Any) -> sweep_file.Sweep:
    """A sweep whose trials take some 10 ms each."""
    values: dict[str, Any] = {
        "name": "s",
        "trials": 8,
        "seeds": 12,
        "epochs": 40,
        "sampler": "random",
        "batch": 2,
        "lease": 20.0,
        "space": SPACE,
    }
    return sweep_file.Sweep(**{**values, **changes})


@functools.cache
def _empty_database() -> Path:
    """A tracking database without a sweep, made once per process, since creating its tables takes seconds."""
    directory = tempfile.mkdtemp(prefix="nnexp-empty-")
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    Tracking(f"sqlite:///{directory}/mlflow.db")
    return Path(directory, "mlflow.db")


def stores(directory: Path) -> Stores:
    """New stores in ``directory``."""
    if not (directory / "mlflow.db").exists():
        shutil.copy(_empty_database(), directory)
    return Stores(f"sqlite:///{directory}/mlflow.db", str(directory / "nnexp.journal"), directory / "spool")


def copied(source: Path, target: Path) -> Stores:
    """A copy of the stores of ``source``, artifacts included."""
    shutil.copytree(source, target, dirs_exist_ok=True)
    with contextlib.closing(sqlite3.connect(target / "mlflow.db")) as database, database:
        for table, column in (("experiments", "artifact_location"), ("runs", "artifact_uri")):
            database.execute(f"UPDATE {table} SET {column} = replace({column}, ?, ?)", (str(source), str(target)))  # noqa: S608
    return stores(target)


def run(sweep: sweep_file.Sweep, where: Stores, **more: Any) -> None:
    """Run the whole sweep in this process."""
    sweeps.sweep(sweep, stores=where, pool="inline", **more)


def process(target: Callable[..., None], *args: Any) -> BaseProcess:
    """Start a process that has imported everything already, and that can be killed like any other."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["tests.helpers.small_sweeps", "nnexp.runner.publish", "nnexp.runner.sweeps", "matplotlib.pyplot"]
    )
    started = context.Process(target=_alone, args=(target, *args))
    started.start()
    return started


def _alone(target: Callable[..., None], *args: Any) -> None:
    os.setsid()  # a group of its own, to be killed with all its children
    # It starts a fork server of its own for its pool, in place of the one that started it.
    server = forkserver._forkserver  # type: ignore[attr-defined]
    server._forkserver_address = server._forkserver_alive_fd = server._forkserver_pid = server._inherited_fds = None
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    target(*args)


def command(args: Sequence[str], log: Path) -> None:
    """A target for `process`: a command line, run in the directory of the log that gets both its streams."""
    told = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(told, 1)
    os.dup2(told, 2)
    os.chdir(log.parent)
    sys.argv = ["nnexp", *args]
    cli.main()


def kill(started: BaseProcess, number: signal.Signals = signal.SIGKILL) -> None:
    """Send a signal to a process of `process` and all its children."""
    assert started.pid is not None
    try:
        os.killpg(started.pid, number)
    except ProcessLookupError:  # it has ended, or does not lead its group yet
        with contextlib.suppress(ProcessLookupError):
            os.kill(started.pid, number)


def options(where: Stores) -> list[str]:
    """The options that name the stores on a command line."""
    return ["--tracking-uri", where.tracking_uri, "--storage", where.storage, "--spool", str(where.spool)]


def networks(sweep: sweep_file.Sweep, where: Stores) -> dict[int, list[bytes]]:
    """The weights of every trial, as bytes."""
    tracking = Tracking(where.tracking_uri)
    return {record.trial: weights(tracking.networks(record.run_id)) for record in tracking.runs(sweep.name)}


def spooled(sweep: sweep_file.Sweep, where: Stores) -> dict[int, list[bytes]]:
    """The same for a sweep that was run offline."""
    entries = Spool(where.spool).entries(sweep.name)
    return {
        entry.trial: weights(networks_table.read_networks(entry.files / networks_table.NETWORKS)) for entry in entries
    }


def weights(table: Any) -> list[bytes]:
    """The weights in a table of networks, as bytes."""
    return [array.tobytes() for array in networks_table.read_network(table, Settings()).weights]


def undisturbed(sweep: sweep_file.Sweep, directory: Path) -> dict[int, list[bytes]]:
    """The networks of the sweep when it is run without interruption."""
    where = Stores("sqlite:///unused.db", str(directory / "undisturbed.journal"), directory / "undisturbed")
    run(sweep, where, offline=True)
    return spooled(sweep, where)


def assert_whole(sweep: sweep_file.Sweep, where: Stores, *, failed: int = 0) -> None:
    """Check that the sweep has exactly its budget, one complete run per trial, and nothing in the spool."""
    with open_storage(where.storage, create=False) as storage:
        counts = SweepStudy.open(storage, sweep.name).counts()
    assert (counts.finished, counts.failed, counts.left) == (sweep.trials, failed, 0)
    runs = runs_by_trial(Tracking(where.tracking_uri), sweep.name)
    assert sorted(runs) == list(range(sweep.trials))
    assert {len(of_trial) for of_trial in runs.values()} == {1}
    assert [finding.line for finding in doctor.examine(where, sweep.name)] == []
    assert [path for path in where.spool.rglob("*") if path.is_file()] == []
