"""Whole sweeps killed at random, with all their processes, and run again until done: nothing is lost, nothing doubled.

The gate kills at least 4 times, the long mode at least 100 times, start and conclusion of a sweep included.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import cycle
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Protocol

import pytest

from nnexp.search import sweep_file
from nnexp.stores import Stores
from nnexp.study import SweepStudy, open_storage
from nnexp.tracking.store import Tracking
from tests.helpers import small_sweeps
from tests.helpers.sampling import LONG, generator, sample

#: Seconds from a process's start to the end of its sweep, about; kills come at any time within.
LIFE = 9.0 if LONG else 6.0
#: Kills of one sweep, at most: a setting that were killed in every one of them would rightly be set aside.
KILLS = 6
GRID = {"hidden_size": [2, 3], "learning_rate": [0.1, 1.0, 5.0], "init": ["glorot_uniform", "normal"]}
PURE = ("random", "qmc", "grid")
SPREAD: dict[str, Any] = {"trials": 12, "batch": 2, "lease": 3.0}
SPREAD |= {"seeds": 64, "epochs": 400} if LONG else {"seeds": 24, "epochs": 150}


def plan(sampler: str, **changes: Any) -> sweep_file.Sweep:
    """A sweep whose training takes some seconds."""
    space = {"space": GRID} if sampler == "grid" else {}
    return small_sweeps.plan(**{**SPREAD, "sampler": sampler, **space, **changes})


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[sweep_file.Sweep], dict[int, list[bytes]]]:
    """The networks of a sweep that nothing happened to; each sweep is run once."""
    known: dict[str, dict[int, list[bytes]]] = {}

    def networks(sweep: sweep_file.Sweep) -> dict[int, list[bytes]]:
        if sweep.text not in known:
            known[sweep.text] = small_sweeps.undisturbed(sweep, tmp_path_factory.mktemp("undisturbed"))
        return known[sweep.text]

    return networks


class Life(Protocol):
    """A started `nnexp`, that can be killed."""

    def join(self, seconds: float) -> int | None:
        """Its exit status, None when it still runs after so long."""

    def kill(self) -> None:
        """Kill it with all its processes."""


@dataclass
class Warm:
    """A process with everything imported already: most of its life is the sweep."""

    process: BaseProcess

    def join(self, seconds: float) -> int | None:
        """See `Life`."""
        self.process.join(seconds)
        return self.process.exitcode

    def kill(self) -> None:
        """See `Life`."""
        small_sweeps.kill(self.process)
        self.process.join(30)


@dataclass
class Cold:
    """The command as a shell starts it."""

    process: subprocess.Popen[bytes]

    def join(self, seconds: float) -> int | None:
        """See `Life`."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.process.wait(seconds)
        return None

    def kill(self) -> None:
        """See `Life`."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, 9)
        self.process.wait(30)


def begin(log: Path, *args: str, cold: bool = False) -> Life:
    """Start a command line in the directory of its log."""
    if not cold:
        return Warm(small_sweeps.process(small_sweeps.command, args, log))
    root = Path(__file__).parents[2]
    with log.open("ab") as told:
        command = [sys.executable, "-m", "nnexp", *args]
        environment = {**os.environ, "PYTHONPATH": str(root)}
        return Cold(
            subprocess.Popen(command, cwd=log.parent, env=environment, stdout=told, stderr=told, start_new_session=True)
        )


def assert_quiet(log: Path) -> None:
    """No process of the sweep told of an error."""
    told = log.read_text()
    assert "Traceback" not in told, told[-5000:]
    assert "nnexp: error" not in told, told[-5000:]


def killed_and_resumed(sweep: sweep_file.Sweep, where: Stores, kills: int, chance: random.Random, *, cold: bool) -> int:
    """Run the sweep, kill it up to ``kills`` times, then let it end; how often it was killed."""
    directory = where.spool.parent
    (directory / "sweep.toml").write_text(sweep.text)
    log = directory / "log"
    args = ("sweep", "sweep.toml", "--jobs", "2", *small_sweeps.options(where))
    done = 0
    for n in range(kills):
        life = begin(log, *args, cold=cold and n % 3 == 0)
        status = life.join(chance.uniform(0, LIFE * (2 if cold and n % 3 == 0 else 1)))
        if status is not None:
            assert status == 0, log.read_text()[-3000:]
            break
        life.kill()
        done += life.join(1) == -9
    last = begin(log, *args)
    assert last.join(300) == 0, log.read_text()[-3000:]
    assert_quiet(log)
    return done


def assert_same(sweep: sweep_file.Sweep, where: Stores, undisturbed: Callable[..., dict[int, list[bytes]]]) -> None:
    """Whole, with the networks of the undisturbed sweep where the sampler depends on the trial's number alone."""
    small_sweeps.assert_whole(sweep, where)
    assert Tracking(where.tracking_uri).status(Tracking(where.tracking_uri).sweep(sweep.name).run_id) == "FINISHED"
    found = small_sweeps.networks(sweep, where)
    assert {len(parts) for parts in found.values()} == {4}
    if sweep.sampler in PURE:
        assert found == undisturbed(sweep)


def soak(samplers: Iterator[str], kills: int, directory: Path, undisturbed: Callable[..., Any], *, cold: bool) -> int:
    """Kill sweeps, one after the other, until there were so many kills."""
    chance = generator("kills of sweeps")
    done = rounds = 0
    while done < kills:
        sweep = plan(next(samplers))
        home = directory / f"sweep{rounds}"
        home.mkdir()
        where = small_sweeps.stores(home)
        done += killed_and_resumed(sweep, where, min(KILLS, kills - done), chance, cold=cold)
        assert_same(sweep, where, undisturbed)
        shutil.rmtree(home)
        rounds += 1
        sys.stderr.write(f"soak: {done} kills in {rounds} sweeps\n")
    return done


@pytest.mark.slow
def test_killed_at_random_and_resumed(tmp_path: Path, undisturbed: Callable[..., Any]) -> None:
    """Exactly the budget, one whole run to each trial, and the same networks to the bit."""
    samplers = generator("samplers").sample(("random", "tpe"), 2)
    assert soak(iter(cycle(samplers)), 4, tmp_path, undisturbed, cold=False) >= 4


@pytest.mark.slow
@pytest.mark.long
def test_killed_a_hundred_times_and_resumed(tmp_path: Path, undisturbed: Callable[..., Any]) -> None:
    """With every sampler, and started as a shell starts it, too."""
    assert soak(iter(cycle((*PURE, "tpe"))), 100, tmp_path, undisturbed, cold=True) >= 100


@pytest.fixture
def where(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> Stores:
    """The embedded stores, or both in databases of a real PostgreSQL server."""
    if kind == "embedded":
        return small_sweeps.stores(tmp_path)
    server = request.getfixturevalue("postgresql")
    return Stores(server.database(), server.database(), tmp_path / "spool")


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind", sample(["embedded", pytest.param("postgresql", marks=pytest.mark.postgresql)], 1, "stores of three workers")
)
def test_three_workers_killed_at_random(where: Stores, tmp_path: Path, undisturbed: Callable[..., Any]) -> None:
    """Three processes share a study; one of them is killed, at random, and another comes, again and again."""
    kills = 40 if LONG else 3
    chance = generator("kills of workers")
    sweep = plan("random", trials=120 if LONG else 24, seeds=64, epochs=400)
    log = tmp_path / "log"
    with contextlib.ExitStack() as stack:
        with open_storage(where.storage) as storage:
            SweepStudy.create(storage, sweep)

        def start() -> Life:
            pool = ("--jobs", "1") if LONG else ("--pool", "inline")  # a pool's start takes longer than this sweep
            args = ("worker", "--drain", "--sweep", sweep.name, *pool, *small_sweeps.options(where))
            life = begin(log, *args)
            stack.callback(life.kill)
            return life

        workers = [start() for _ in range(3)]
        killed = 0
        while killed < kills:
            at = chance.randrange(3)
            if workers[at].join(chance.uniform(0.2, 3.0)) is None:
                workers[at].kill()
                killed += workers[at].join(1) == -9
            elif killed == 0 or is_done(where, sweep):
                break
            workers[at] = start()
        assert [worker.join(300) for worker in workers] == [0, 0, 0], log.read_text()[-3000:]
        assert_quiet(log)
        assert killed >= (kills if LONG else 2)
        assert_same(sweep, where, undisturbed)


def is_done(where: Stores, sweep: sweep_file.Sweep) -> bool:
    """Whether the budget is met."""
    with open_storage(where.storage) as storage:
        return SweepStudy.open(storage, sweep.name).is_done()
