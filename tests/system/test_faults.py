"""A sweep's process dies right before each of its effects on the stores and the spool, and the next start recovers.

An undisturbed process lists all effects; then one process dies before each of them: in the long mode before every one,
in the gate before a sample. They are the writes to the study, the commits of the tracking database, and every file or
directory created, renamed or removed.
"""

from __future__ import annotations

import functools
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from sqlalchemy import event
from sqlalchemy.engine import Engine

from nnexp.runner import doctor, finalize, pool, sweeps
from nnexp.stores import Stores
from nnexp.study import SweepStudy, Worker, open_storage
from nnexp.tracking import saved_view
from nnexp.tracking.delivery import Delivery
from nnexp.tracking.spool import Entry
from nnexp.tracking.store import Tracking
from tests.helpers import small_sweeps
from tests.helpers.finished_trials import runs_by_trial
from tests.helpers.sampling import sample
from tests.helpers.small_study import in_child
from tests.study.test_faults import KILLED, WRITES

#: Two trials in training at once; the lease is so long that no heartbeat comes in between.
PLAN = small_sweeps.plan(trials=2, seeds=6, epochs=10, batch=1, lease=600.0)
FILE_EVENTS = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate", "os.link", "os.symlink"}
_ID = re.compile("[0-9a-f]{32}|(?<=[.])[0-9a-z_]{8}$")
#: Some of the effects of a trial: on the study, the tracking store, its artifacts and the spool.
LIFE = (
    "study.create_new_trial",
    "study.set_trial_state_values",
    "create_run: commit",
    "log_batch: commit",
    "log_artifacts: open",
    "set_terminated: commit",
    "os.rename /spool/s/.new-ID",
    "os.rename /spool/s/000000",
    "os.remove run.json",
    "after its delivery",
)
#: Some of the effects of a start.
START = (
    "study.create_new_study",
    "create_experiment: commit",
    "create_run: commit",
    "log_text: open",
    "set_experiment_tag: commit",
    "log_inputs: commit",
)
UNCONCLUDED = "s: every trial is finished, but its summary is not written"


class Effects:
    """Names this process's effects below ``home``, and ends it right before number ``fatal`` of them (0: never)."""

    def __init__(self, home: Path, fatal: int) -> None:
        self.home, self.fatal = str(home), fatal
        self.counting = False
        self.count = 0
        self.call = ""
        self.log = os.open(home / "effects", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)

    def about_to(self, effect: str) -> None:
        """Note an effect that is about to happen; end the process if it is the fatal one."""
        if not self.counting:
            return
        self.count += 1
        os.write(self.log, f"{self.call}{_ID.sub('ID', effect)}\n".encode())
        if self.count == self.fatal:
            os._exit(KILLED)

    def watch(self, study: Any) -> None:
        """Call `about_to` from now on."""
        for name in WRITES:
            setattr(study, name, self._noted(getattr(study, name), f"study.{name}"))
        for name in [name for name in vars(MlflowClient) if not name.startswith("_")]:
            if callable(method := getattr(MlflowClient, name)):
                setattr(MlflowClient, name, self._within(method, f"{name}: "))
        event.listen(Engine, "before_cursor_execute", self._note_write)
        event.listen(Engine, "commit", self._commit)
        sys.addaudithook(self._file)

    def _noted(self, method: Callable[..., Any], effect: str) -> Callable[..., Any]:
        def write(*args: Any, **more: Any) -> Any:
            self.about_to(effect)
            return method(*args, **more)

        return write

    def _within(self, method: Callable[..., Any], name: str) -> Callable[..., Any]:
        @functools.wraps(method)
        def call(*args: Any, **more: Any) -> Any:
            outer, self.call = self.call, self.call or name
            try:
                return method(*args, **more)
            finally:
                self.call = outer

        return call

    def _note_write(self, connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.lstrip().upper().startswith(("INSERT", "UPDATE", "DELETE")):
            connection.info["wrote"] = True

    def _commit(self, connection: Any) -> None:
        if connection.info.pop("wrote", False):
            self.about_to("commit")

    def _file(self, name: str, args: tuple[Any, ...]) -> None:
        if not self.counting or name not in FILE_EVENTS:
            return
        path = str(args[0])
        if name == "open" and not args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            return
        if name in ("os.mkdir", "os.remove") and path.startswith("/") and not _will_do(name, Path(path)):
            return
        # shutil.rmtree removes files by names relative to their directory.
        inside = path.startswith(self.home) or (name in ("os.remove", "os.rmdir") and not path.startswith("/"))
        if inside and not path.endswith(".journal"):
            self.about_to(f"{name} {path.removeprefix(self.home)}")


def _will_do(name: str, path: Path) -> bool:
    return path.exists() if name == "os.remove" else path.parent.is_dir() and not path.exists()


@contextmanager
def opened(where: Stores, effects: Effects) -> Iterator[Any]:
    """The study store, with its effects noted."""
    with open_storage(where.storage) as store:
        effects.watch(store.storage)
        yield store


def live(where: Stores, fatal: int) -> None:
    """Run a sweep, one effect after the other.

    Args:
        where: its stores.
        fatal: the number of the effect of its first trial before which it dies (0: none).
    """
    effects = Effects(where.spool.parent, fatal)
    sweeps.open_storage = lambda _: opened(where, effects)  # type: ignore[assignment, misc]
    claim, put = Worker.claim, Delivery.put

    def claim_first(worker: Worker, n: int) -> Any:
        if effects.count == 0:
            effects.counting = True
        return claim(worker, n)

    def put_and_wait(writer: Delivery, entry: Entry, *, fresh: bool = True) -> None:
        before = writer.delivered
        put(writer, entry, fresh=fresh)
        while writer.waiting:
            writer._thread.join(0.005)
        assert writer.delivered == before + 1
        effects.about_to("after its delivery")
        effects.counting = False

    Worker.claim, Delivery.put = claim_first, put_and_wait  # type: ignore[method-assign, assignment]
    Delivery.progress = lambda *_: None  # type: ignore[method-assign, assignment]
    without_publishing()
    sweeps.sweep(PLAN, stores=where, pool="inline")


def start(where: Stores, fatal: int) -> None:
    """Run a sweep until its first claim, where it exits; it may die before effect ``fatal``."""
    effects = Effects(where.spool.parent, fatal)
    effects.counting = True
    sweeps.open_storage = lambda _: opened(where, effects)  # type: ignore[assignment, misc]
    Worker.claim = lambda *_: os._exit(0)  # type: ignore[method-assign]
    sweeps.sweep(PLAN, stores=where, pool="inline")


def without_publishing() -> None:
    """Let the finalization only restore lost runs, since publishing takes seconds."""
    finalize.Finalization.write = lambda self: self.restore(pool.InlineExecutor()) and None  # type: ignore[method-assign]
    sweeps.results.summarize = lambda *_: None  # type: ignore[assignment]


def start_again(where: Stores, by: str) -> None:
    """Start again: by the same command, or by `nnexp doctor --repair` before it."""
    if by == "doctor":
        pool.open_pool = lambda *_: pool.InlineExecutor()
        doctor.examine(where, repair=True)
        assert not [finding for finding in doctor.examine(where) if finding.kind not in ("unconcluded",)]
    sweeps.sweep(PLAN, stores=where, pool="inline")


def assert_recovered(where: Stores, networks: dict[int, list[bytes]]) -> None:
    """Check the budget, one run per trial, an empty spool, and that ``networks`` are among its networks, to the bit."""
    with open_storage(where.storage) as store:
        counts = SweepStudy.open(store, PLAN.name).counts()
    assert (counts.finished, counts.failed, counts.left) == (2, 0, 0)
    runs = runs_by_trial(Tracking(where.tracking_uri), PLAN.name)
    assert {trial: [status for _, status in of_trial] for trial, of_trial in runs.items()} == {
        0: ["FINISHED"],
        1: ["FINISHED"],
    }
    assert [finding.line for finding in doctor.examine(where, PLAN.name)] == [UNCONCLUDED]
    assert not [path for path in where.spool.rglob("*") if path.is_file()]
    assert networks.items() <= small_sweeps.networks(PLAN, where).items()


def effects_of(where: Stores) -> list[str]:
    """The effects that a process noted until it ended."""
    return (where.spool.parent / "effects").read_text().splitlines()


def killed_before_each(
    life: Callable[[Stores, int], None], tmp_path: Path, signs: Sequence[str], recover: Callable[[Stores], None]
) -> Stores:
    """Run one undisturbed process to list its effects; then let one process die before each effect, and recover.

    Args:
        life: runs in each process; it dies before the effect of the given number (0: none).
        tmp_path: where each process has its stores.
        signs: some of the effects.
        recover: the next start, given the stores of the dead process.

    Returns:
        The stores of the last.
    """

    def stores(name: str) -> Stores:
        (tmp_path / name).mkdir()
        return small_sweeps.stores(tmp_path / name)

    undisturbed = stores("undisturbed")
    assert in_child(functools.partial(life, undisturbed, 0)) == 0
    known = effects_of(undisturbed)
    sys.stderr.write("\n".join(f"{n:3} {effect}" for n, effect in enumerate(known, 1)) + "\n")
    assert_among(known, signs)
    networks = small_sweeps.networks(PLAN, undisturbed)

    def recovered(where: Stores) -> None:
        without_publishing()
        recover(where)
        assert_recovered(where, networks)

    for fatal, effect in sample(list(enumerate(known, 1)), 7, life.__name__):
        where = stores(f"killed{fatal}")
        assert in_child(functools.partial(life, where, fatal)) == KILLED, effect
        assert effects_of(where) == known[:fatal], "each process has the same effects"
        assert in_child(functools.partial(recovered, where)) == 0, f"killed before {fatal}, {effect}"
    return where


@pytest.mark.slow
@pytest.mark.parametrize("by", ["sweep", pytest.param("doctor", marks=pytest.mark.long)])
def test_killed_before_each_effect_of_a_trial(tmp_path: Path, by: str) -> None:
    """From its claim to the removal of its spool entry: afterwards it has exactly one complete run."""
    where = killed_before_each(live, tmp_path, LIFE, functools.partial(start_again, by=by))
    small_sweeps.run(PLAN, where)
    small_sweeps.assert_whole(PLAN, where)


@pytest.mark.slow
def test_killed_before_each_effect_of_a_start(tmp_path: Path) -> None:
    """From the creation of the study to the first claim: the next start completes the parent run."""

    def recover(where: Stores) -> None:
        start_again(where, "sweep")
        tracking = Tracking(where.tracking_uri)
        parent = tracking.sweep(PLAN.name)
        assert tracking.text(parent.run_id, "sweep.toml") == PLAN.text
        assert len(tracking.client.get_run(parent.run_id).inputs.dataset_inputs) == 1
        tags = tracking.client.get_experiment(parent.experiment_id).tags
        assert saved_view.PREFIX + saved_view.RANKING in tags

    killed_before_each(start, tmp_path, START, recover)


def assert_among(effects: list[str], signs: Sequence[str]) -> None:
    """Check that each sign is part of an effect."""
    listed = "\n".join(effects)
    for sign in signs:
        assert sign in listed, f"{sign!r} is not among\n{listed}"
