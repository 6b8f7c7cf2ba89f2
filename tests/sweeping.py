"""Small sweeps that are really run, in this process or in ones that can be killed, and what must hold of their end."""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
import os
import shutil
import sqlite3
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from nnexp import artifacts, config, doctor, sweeps
from nnexp.spool import Spool
from nnexp.stores import Stores
from nnexp.study import SweepStudy, open_storage
from nnexp.tracking import Tracking

SPACE: dict[str, Any] = {
    "hidden_size": {"low": 2, "high": 4},
    "learning_rate": {"low": 1e-2, "high": 10.0, "log": True},
    "init": ["glorot_uniform", "normal"],
}


def plan(**changes: Any) -> config.Sweep:
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
    return config.Sweep(**{**values, **changes})


@functools.cache
def _empty_database(directory: Path) -> Path:
    """A tracking database without a sweep: making its tables takes seconds."""
    path = directory / "empty.db"
    Tracking(f"sqlite:///{path}")
    return path


def stores(directory: Path, storage: str | None = None, templates: Path | None = None) -> Stores:
    """New stores in ``directory``."""
    if not (directory / "mlflow.db").exists():
        shutil.copy(_empty_database(templates or directory.parent), directory / "mlflow.db")
    return Stores(f"sqlite:///{directory}/mlflow.db", storage or str(directory / "nnexp.journal"), directory / "spool")


def copied(source: Path, target: Path) -> Stores:
    """The stores of ``source`` at another place, artifacts included."""
    shutil.copytree(source, target, dirs_exist_ok=True)
    with contextlib.closing(sqlite3.connect(target / "mlflow.db")) as database, database:
        for table, column in (("experiments", "artifact_location"), ("runs", "artifact_uri")):
            database.execute(f"UPDATE {table} SET {column} = replace({column}, ?, ?)", (str(source), str(target)))  # noqa: S608
    return stores(target)


def run(sweep: config.Sweep, where: Stores, **more: Any) -> None:
    """The whole sweep, in this process."""
    sweeps.sweep(sweep, stores=where, pool="inline", **more)


def process(target: Callable[..., None], *args: Any) -> BaseProcess:
    """A started process with everything imported already, that can be killed as any other."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.sweeping", "nnexp.publication", "nnexp.work", "matplotlib.pyplot"])
    started = context.Process(target=_alone, args=(target, *args))
    started.start()
    return started


def _alone(target: Callable[..., None], *args: Any) -> None:
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    target(*args)


def networks(sweep: config.Sweep, where: Stores) -> dict[int, list[bytes]]:
    """Every trial's weights, as bytes."""
    tracking = Tracking(where.tracking_uri)
    return {record.trial: weights(tracking.networks(record.run_id)) for record in tracking.runs(sweep.name)}


def spooled(sweep: config.Sweep, where: Stores) -> dict[int, list[bytes]]:
    """The same of a sweep that was run offline."""
    entries = Spool(where.spool).entries(sweep.name)
    return {entry.trial: weights(artifacts.read_networks(entry.files / artifacts.NETWORKS)) for entry in entries}


def weights(table: Any) -> list[bytes]:
    """A table's weights, as bytes."""
    parameters = artifacts.read_parameters(table)
    return [getattr(parameters, name).tobytes() for name in artifacts.WEIGHTS]


def undisturbed(sweep: config.Sweep, directory: Path) -> dict[int, list[bytes]]:
    """The networks of the sweep when nothing happens to it."""
    where = Stores("sqlite:///unused.db", str(directory / "undisturbed.journal"), directory / "undisturbed")
    run(sweep, where, offline=True)
    return spooled(sweep, where)


def assert_whole(sweep: config.Sweep, where: Stores, *, failed: int = 0) -> None:
    """Exactly the budget, one ended run to each trial with all rows and artifacts, nothing left behind."""
    with open_storage(where.storage, create=False) as storage:
        counts = SweepStudy.open(storage, sweep.name).counts()
    assert (counts.finished, counts.failed, counts.left) == (sweep.trials, failed, 0)
    runs = Tracking(where.tracking_uri).delivered_trials(sweep.name)
    assert sorted(runs) == list(range(sweep.trials))
    assert {len(of_trial) for of_trial in runs.values()} == {1}
    assert [finding.line for finding in doctor.examine(where, sweep.name)] == []
    assert [path for path in where.spool.rglob("*") if path.is_file()] == []
