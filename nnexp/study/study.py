"""The study of one sweep: created, opened, read, stopped and deleted. `claims.Worker` works on its trials."""

from __future__ import annotations

import copy
import logging
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import optuna
from optuna.study import Study, StudyDirection

from nnexp.errors import NotFoundError, StoreError, UsageError, nearest
from nnexp.search import sweep_file
from nnexp.search.sweep_file import Sweep
from nnexp.study import importance, processes
from nnexp.study.processes import WorkerProcess
from nnexp.study.storage import Store
from nnexp.study.trial_cache import TrialCache
from nnexp.study.trials import Counts, Trial, best

T = TypeVar("T")
log = logging.getLogger("nnexp")

#: The version of the attributes stored in a study and in its trials.
SCHEMA_VERSION = 1

_FILE = "nnexp:sweep"
_STOP = "nnexp:stop"
_SET = "nnexp:set:"
_IDENTITY = "identity"


@dataclass(frozen=True)
class StoredSweep:
    """A sweep in a store, read without its trials.

    Attributes:
        name: the name of the sweep.
        sweep: the sweep file.
        stopped: whether a stop of the sweep was requested.
        workers: all workers that ever joined it.
    """

    name: str
    sweep: Sweep
    stopped: bool
    workers: list[WorkerProcess]


class SweepStudy:
    """The study of a sweep in a store; made by `create` or `open`.

    One thread may use it, and also the thread of `Worker.keep_beating`. Every method raises `StoreError` when the store
    fails, and `NotFoundError` when the sweep was deleted meanwhile.

    Attributes:
        store: the store that holds the study.
        name: the name of the sweep.
        sweep: the sweep file, with ``trials`` as last extended.
        max_deaths: a trial whose workers died this many times is trained alone (see `Worker.reclaim_dead`).
        study_id: the key of the study in the store.
        cache: the trials as last read.
    """

    def __init__(self, store: Store, study_id: int, sweep: Sweep, max_deaths: int = 2) -> None:
        self.store = store
        self.name = sweep.name
        self.sweep = sweep
        self.max_deaths = max_deaths
        self.study_id = study_id
        self.cache = TrialCache(store.storage, study_id)
        self._file: dict[str, Any] | None = None  # the sweep file as it was last read from the store
        self._optuna: Study | None = None

    @classmethod
    def create(cls, store: Store, sweep: Sweep) -> SweepStudy:
        """Open the sweep's study, or create it; a larger ``trials`` extends it.

        Raises:
            UsageError: the store has a sweep of this name with another file; the message names the keys that differ.
        """
        study_id, stored = store.exclusively(lambda: _create(store, sweep), sweep.name)
        return cls(store, study_id, stored)

    @classmethod
    def open(cls, store: Store, name: str) -> SweepStudy:
        """Open the study of the sweep ``name``.

        Raises:
            NotFoundError: there is none; the message names a similar sweep, or those that exist.
        """
        study_id = store.call(lambda: _find(store, name))
        text = None if study_id is None else store.call(lambda: _text(store, study_id))
        if study_id is None or text is None:
            names = [stored.name for stored in cls.list_all(store)]
            hint = nearest(name, names) if names else "; it holds none"
            raise NotFoundError(f"no sweep {name!r} in {store.address}{hint}")
        return cls(store, study_id, _parse(store, name, text))

    @staticmethod
    def list_all(store: Store) -> list[StoredSweep]:
        """The sweeps in a store, oldest first; one that this version cannot read is skipped with a warning."""
        found = []
        for study in store.call(store.storage.get_all_studies):
            if _FILE not in study.user_attrs:
                continue
            try:
                sweep = _parse(store, study.study_name, study.user_attrs[_FILE])
            except StoreError as error:
                log.warning("nnexp: %s", error)
                continue
            stopped = bool(study.user_attrs.get(_STOP, False))
            workers = list(processes.stored_in(study.user_attrs).values())
            found.append(StoredSweep(study.study_name, sweep, stopped, workers))
        return found

    # Reading

    def trials(self) -> list[Trial]:
        """All trials, by number."""
        self.call(self.cache.refresh)
        return self.cache.trials()

    def counts(self) -> Counts:
        """The number of trials in each state, and the budget."""
        self.attrs()
        self.call(self.cache.refresh)
        return self.cache.counts(self.sweep.trials)

    def is_done(self) -> bool:
        """Whether all trials of the sweep are finished."""
        return self.counts().left <= 0

    def best(self) -> Trial | None:
        """The COMPLETE trial with the best first objective; None if no trial is COMPLETE."""
        return best(self.trials(), self.sweep.directions[0])

    def importances(self, metrics: Sequence[str] = ("recovery_rate", "solved_rate")) -> dict[str, dict[str, float]]:
        """The importance of each searched setting for each metric; see `importance.importances`."""
        return self.call(lambda: importance.importances(self.optuna_study(), metrics))

    def workers(self) -> list[WorkerProcess]:
        """All workers that ever joined."""
        return list(processes.stored_in(self.attrs()).values())

    def current_workers(self) -> list[WorkerProcess]:
        """The workers that have not left, without those whose process on this machine has ended.

        One that died on another machine is included until it is declared dead.
        """
        return [worker for worker in self.workers() if not worker.left and processes.is_running(worker) is not False]

    def live_workers(self) -> list[WorkerProcess]:
        """The workers that are alive. Waits up to half a lease for a heartbeat of those on other machines."""
        deadline = time.monotonic() + self.sweep.lease / 2
        first = {worker.id: worker.beats for worker in self.workers()}
        while True:
            current = [worker for worker in self.workers() if worker.id in first and not worker.left]
            remote = [worker for worker in current if processes.is_running(worker) is None]
            responding = [worker for worker in remote if worker.beats != first[worker.id]]
            if len(responding) == len(remote) or time.monotonic() > deadline:
                return [worker for worker in current if processes.is_running(worker)] + responding
            time.sleep(min(0.5, self.sweep.lease / 16))

    # Attributes of the whole study

    def attrs(self) -> dict[str, Any]:
        """The study's attributes as stored; also updates ``sweep`` if another process has extended it."""
        attrs = self.call(lambda: self.store.storage.get_study_user_attrs(self.study_id))
        stored = attrs.get(_FILE)
        if stored is not None and stored != self._file:
            self.sweep, self._file = _parse(self.store, self.name, stored), stored
        return attrs

    def get(self, key: str, default: Any = None) -> Any:
        """The value that `set` stored under ``key``."""
        return self.attrs().get(_SET + key, default)

    def set(self, key: str, value: Any) -> None:
        """Store a JSON value that all processes can read."""
        self.call(lambda: self.store.storage.set_study_user_attr(self.study_id, _SET + key, value))

    def set_once(self, key: str, value: Any) -> Any:
        """`set` the value unless there is one already; returns the stored value, the same for all processes."""

        def work() -> Any:
            if self.get(key) is None:
                self.set(key, value)
            return self.get(key)

        return self.exclusively(work)

    def compare_and_set(self, key: str, expected: Any, value: Any) -> bool:
        """`set` the value if the stored one is still ``expected``; returns whether it was."""

        def work() -> bool:
            if self.get(key) != expected:
                return False
            self.set(key, value)
            return True

        return self.exclusively(work)

    def identity(self) -> str:
        """A unique id of this study, which distinguishes it from all others of the same name; created on first use."""
        return str(self.set_once(_IDENTITY, uuid.uuid4().hex))

    def known_identity(self) -> str | None:
        """`identity`, or None if it was not created yet."""
        known: str | None = self.get(_IDENTITY)
        return known

    def request_stop(self) -> None:
        """Ask all workers to finish the trials in training, to claim no more and to leave."""
        self.call(lambda: self.store.storage.set_study_user_attr(self.study_id, _STOP, True))

    def clear_stop(self) -> None:
        """Withdraw `request_stop`, so that the sweep continues."""
        self.call(lambda: self.store.storage.set_study_user_attr(self.study_id, _STOP, False))

    def stop_requested(self) -> bool:
        """Whether `request_stop` is in effect."""
        return bool(self.attrs().get(_STOP, False))

    def delete(self) -> None:
        """Delete the study and its trials from the store."""
        self.exclusively(lambda: self.store.storage.delete_study(self.study_id))

    # Access to the store

    def call(self, work: Callable[[], T]) -> T:
        """`Store.call`; raises `NotFoundError` if the study was deleted."""
        return self._check_deleted(lambda: self.store.call(work))

    def exclusively(self, work: Callable[[], T]) -> T:
        """`Store.exclusively` on this study; raises `NotFoundError` if the study was deleted."""
        return self._check_deleted(lambda: self.store.exclusively(work, self.name))

    def _check_deleted(self, work: Callable[[], T]) -> T:
        try:
            return work()
        except KeyError as error:
            if self.store.call(lambda: _find(self.store, self.name)) == self.study_id:
                raise
            raise NotFoundError(f"sweep {self.name!r} was deleted from {self.store.address}") from error

    def optuna_study(self) -> Study:
        """Optuna's own study object, for its samplers, pruners and evaluators; it has not read any trial yet."""
        if self._optuna is None:
            # Optuna asks for a sampler; this package calls its samplers itself.
            self._optuna = optuna.load_study(
                study_name=self.name, storage=self.store.storage, sampler=optuna.samplers.RandomSampler()
            )
        return copy.copy(self._optuna)  # the object caches the trials that it has read; a copy starts without them


def _create(store: Store, sweep: Sweep) -> tuple[int, Sweep]:
    """Create or extend the study while the store is locked; returns its id and its sweep file."""
    study_id = _find(store, sweep.name)
    stored = None if study_id is None else _text(store, study_id)
    if study_id is not None and stored is not None:
        known = _parse(store, sweep.name, stored)
        extended = _extended(known, sweep)
        if extended != known:
            store.storage.set_study_user_attr(study_id, _FILE, _stored(extended))
        return study_id, extended
    if study_id is not None:
        # Its creator died before it stored the sweep file; or the study belongs to another program.
        if store.storage.get_all_trials(study_id, deepcopy=False):
            raise StoreError(f"{store.address}: holds a study {sweep.name!r} of another program; choose another name")
        store.storage.delete_study(study_id)
    directions = [StudyDirection[direction.upper()] for direction in sweep.directions]
    with _quiet():
        study_id = store.storage.create_new_study(directions, sweep.name)
    store.storage.set_study_user_attr(study_id, _FILE, _stored(sweep))
    return study_id, sweep


def _extended(known: Sweep, sweep: Sweep) -> Sweep:
    """The sweep file to store: ``sweep``, which may differ from ``known`` in ``lease`` and in a larger ``trials``.

    Raises:
        UsageError: another key differs, or ``trials`` is smaller.
    """
    keys = [key for key in sweep_file.differing_keys(known, sweep) if key not in ("trials", "lease")]
    if keys:
        raise UsageError(
            f"sweep {sweep.name!r} already exists with another file; "
            f"{'this key differs' if len(keys) == 1 else 'these keys differ'}: {', '.join(keys)}; "
            "give the changed file another name (--name NAME)"
        )
    if sweep.trials < known.trials:
        raise UsageError(
            f"trials = {sweep.trials}: sweep {sweep.name!r} already has {known.trials}; expected at least as many"
        )
    return sweep


def _stored(sweep: Sweep) -> dict[str, Any]:
    return {"schema": SCHEMA_VERSION, "text": sweep.text}


def _parse(store: Store, name: str, stored: dict[str, Any]) -> Sweep:
    if stored["schema"] > SCHEMA_VERSION:
        raise StoreError(f"{store.address}: sweep {name!r} was created by a newer nnexp; install that version")
    try:
        return sweep_file.parse(stored["text"], f"sweep {name!r} in {store.address}")
    except UsageError as error:
        raise StoreError(str(error)) from error


def _find(store: Store, name: str) -> int | None:
    try:
        return store.storage.get_study_id_from_name(name)
    except KeyError:
        return None


def _text(store: Store, study_id: int) -> dict[str, Any] | None:
    stored: dict[str, Any] | None = store.storage.get_study_user_attrs(study_id).get(_FILE)
    return stored


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress Optuna's message about a new study; the level of its logger is restored afterwards."""
    logger = logging.getLogger("optuna.storages")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)
