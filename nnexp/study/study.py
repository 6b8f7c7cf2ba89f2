"""One sweep's study: made, opened, read, stopped and deleted. `Worker` does the work on it."""

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
from nnexp.study.claims import Worker
from nnexp.study.processes import WorkerRecord
from nnexp.study.storage import Store
from nnexp.study.trial_cache import View
from nnexp.study.trials import Counts, TrialRecord, best

T = TypeVar("T")
log = logging.getLogger("nnexp")

#: The version of what is stored in a study's and its trials' attributes.
SCHEMA_VERSION = 1

_FILE = "nnexp:sweep"
_STOP = "nnexp:stop"
_SET = "nnexp:set:"
_IDENTITY = "identity"


@dataclass(frozen=True)
class SweepSummary:
    """What a store tells of a sweep without looking at its trials."""

    name: str
    sweep: Sweep
    stopped: bool
    processes: list[WorkerRecord]


class SweepStudy:
    """A sweep's study in a store, by `create` or `open`.

    One thread works with it, and `Worker.keep_beating`'s thread beside it. Every method raises `StoreError` when the
    store fails, and `NotFoundError` when the sweep was deleted meanwhile.

    Attributes:
        store: where it is.
        name: the sweep's.
        sweep: the file, with ``trials`` as large as it has grown.
        max_deaths: a setting whose worker died so often is trained alone (see `Worker.reclaim_dead`).
    """

    def __init__(self, store: Store, study_id: int, sweep: Sweep, max_deaths: int = 2) -> None:
        self.store = store
        self.name = sweep.name
        self.sweep = sweep
        self.max_deaths = max_deaths
        self.study_id = study_id
        self.view = View(store.storage, study_id)
        self._optuna: Study | None = None

    @classmethod
    def create(cls, store: Store, sweep: Sweep) -> SweepStudy:
        """The sweep's study, made if it is not there; a larger ``trials`` extends it.

        Raises:
            UsageError: there is one by that name with another file; names the keys that differ.
        """
        study_id, stored = store.exclusively(lambda: _create(store, sweep), sweep.name)
        return cls(store, study_id, stored)

    @classmethod
    def open(cls, store: Store, name: str) -> SweepStudy:
        """The study of the sweep ``name``.

        Raises:
            NotFoundError: there is none; names those that are there.
        """
        study_id = store.call(lambda: _find(store, name))
        text = None if study_id is None else store.call(lambda: _text(store, study_id))
        if study_id is None or text is None:
            names = [summary.name for summary in cls.names(store)]
            hint = nearest(name, names) if names else "; it holds none"
            raise NotFoundError(f"no sweep {name!r} in {store.address}{hint}")
        return cls(store, study_id, _parse(store, name, text))

    @staticmethod
    def names(store: Store) -> list[SweepSummary]:
        """The sweeps in a store, oldest first; one that this version cannot read is left out, with a warning."""
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
            present = list(processes.records(study.user_attrs).values())
            found.append(SweepSummary(study.study_name, sweep, stopped, present))
        return found

    # Reading

    def trials(self) -> list[TrialRecord]:
        """All trials, by number."""
        self.call(self.view.refresh)
        return self.view.records()

    def counts(self) -> Counts:
        """The trials by state, and the budget."""
        self.attrs()
        self.call(self.view.refresh)
        return self.view.counts(self.sweep.trials)

    def is_done(self) -> bool:
        """Whether every slot of the budget is finished."""
        return self.counts().left <= 0

    def best(self) -> TrialRecord | None:
        """The best COMPLETE trial by the first objective; None if there is none."""
        return best(self.trials(), self.sweep.directions[0])

    def importances(self, metrics: Sequence[str] = ("recovery_rate", "solved_rate")) -> dict[str, dict[str, float]]:
        """Which searched settings matter for each metric; see `importance.importances`."""
        return self.call(lambda: importance.importances(self.fresh(), metrics))

    def workers(self) -> list[WorkerRecord]:
        """All workers that ever joined."""
        return list(processes.records(self.attrs()).values())

    def present(self) -> list[WorkerRecord]:
        """The workers that joined and neither left nor ended here; one that died on another machine still counts."""
        return [worker for worker in self.workers() if not worker.left and processes.is_running(worker) is not False]

    def alive(self) -> list[WorkerRecord]:
        """The workers that are at work; those of other machines are watched for up to half a lease."""
        deadline = time.monotonic() + self.sweep.lease / 2
        first = {worker.id: worker.beats for worker in self.workers()}
        while True:
            present = [worker for worker in self.workers() if worker.id in first and not worker.left]
            away = [worker for worker in present if processes.is_running(worker) is None]
            moved = [worker for worker in away if worker.beats != first[worker.id]]
            if len(moved) == len(away) or time.monotonic() > deadline:
                return [worker for worker in present if processes.is_running(worker)] + moved
            time.sleep(min(0.5, self.sweep.lease / 16))

    # Attributes of the whole study

    def attrs(self) -> dict[str, Any]:
        """The study's attributes as stored; ``sweep`` follows if another process extended it."""
        attrs = self.call(lambda: self.store.storage.get_study_user_attrs(self.study_id))
        text = attrs.get(_FILE)
        if text is not None and text["text"] != self.sweep.text:
            self.sweep = _parse(self.store, self.name, text)
        return attrs

    def get(self, key: str, default: Any = None) -> Any:
        """What `set` stored under ``key``."""
        return self.attrs().get(_SET + key, default)

    def set(self, key: str, value: Any) -> None:
        """Store a JSON value for all processes, such as the parent run's id."""
        self.call(lambda: self.store.storage.set_study_user_attr(self.study_id, _SET + key, value))

    def set_once(self, key: str, value: Any) -> Any:
        """`set`, unless there is a value already; returns the one that is there now, the same for all processes."""

        def work() -> Any:
            if self.get(key) is None:
                self.set(key, value)
            return self.get(key)

        return self.exclusively(work)

    def swap(self, key: str, known: Any, value: Any) -> bool:
        """`set`, if ``known`` is still what is there; whether it was."""

        def work() -> bool:
            if self.get(key) != known:
                return False
            self.set(key, value)
            return True

        return self.exclusively(work)

    def identity(self) -> str:
        """What tells this study from any other of its name, in whatever store."""
        return str(self.set_once(_IDENTITY, uuid.uuid4().hex))

    def known_identity(self) -> str | None:
        """The same, if anybody has asked for it yet."""
        known: str | None = self.get(_IDENTITY)
        return known

    def request_stop(self) -> None:
        """Ask all workers to finish what is in training, claim nothing more and leave."""
        self.call(lambda: self.store.storage.set_study_user_attr(self.study_id, _STOP, True))

    def clear_stop(self) -> None:
        """Take `request_stop` back: the sweep goes on."""
        self.call(lambda: self.store.storage.set_study_user_attr(self.study_id, _STOP, False))

    def stop_requested(self) -> bool:
        """Whether somebody called `request_stop`."""
        return bool(self.attrs().get(_STOP, False))

    def delete(self) -> None:
        """Remove the study and its trials from the store."""
        self.exclusively(lambda: self.store.storage.delete_study(self.study_id))

    # Working

    def join(self, worker_id: str | None = None) -> Worker:
        """Join as a worker; ``worker_id`` must never have been given before (the default never was)."""
        worker = Worker(self, processes.here(worker_id))
        worker.beat()
        return worker

    def call(self, work: Callable[[], T]) -> T:
        """`Store.call`, with a deleted study told apart."""
        return self._named(lambda: self.store.call(work))

    def exclusively(self, work: Callable[[], T]) -> T:
        """`Store.exclusively` on this study, with a deleted study told apart."""
        return self._named(lambda: self.store.exclusively(work, self.name))

    def _named(self, work: Callable[[], T]) -> T:
        try:
            return work()
        except KeyError as error:
            if self.store.call(lambda: _find(self.store, self.name)) == self.study_id:
                raise
            raise NotFoundError(f"sweep {self.name!r} was deleted from {self.store.address}") from error

    def fresh(self) -> Study:
        """Optuna's own object, for its samplers and pruners; it has not yet looked at the trials."""
        if self._optuna is None:
            # The samplers are given to it by those that call them: this one is never asked.
            self._optuna = optuna.load_study(
                study_name=self.name, storage=self.store.storage, sampler=optuna.samplers.RandomSampler()
            )
        return copy.copy(self._optuna)  # Optuna remembers the trials it saw in the object; a copy starts without


def _create(store: Store, sweep: Sweep) -> tuple[int, Sweep]:
    """Under the store's lock: the study's id and its file."""
    study_id = _find(store, sweep.name)
    stored = None if study_id is None else _text(store, study_id)
    if study_id is not None and stored is not None:
        known = _parse(store, sweep.name, stored)
        grown = _extended(known, sweep)
        if grown != known:
            store.storage.set_study_user_attr(study_id, _FILE, _stored(grown))
        return study_id, grown
    if study_id is not None:
        # Its maker died before the file was stored; or it is not ours.
        if store.storage.get_all_trials(study_id, deepcopy=False):
            raise StoreError(f"{store.address}: holds a study {sweep.name!r} of another program; choose another name")
        store.storage.delete_study(study_id)
    directions = [StudyDirection[direction.upper()] for direction in sweep.directions]
    with _quiet():
        study_id = store.storage.create_new_study(directions, sweep.name)
    store.storage.set_study_user_attr(study_id, _FILE, _stored(sweep))
    return study_id, sweep


def _extended(known: Sweep, sweep: Sweep) -> Sweep:
    """The stored file, with the new ``trials`` where they are more.

    Raises:
        UsageError: anything else differs, or the trials are fewer.
    """
    keys = [key for key in sweep_file.differing_keys(known, sweep) if key not in ("trials", "lease")]
    if keys:
        raise UsageError(
            f"sweep {sweep.name!r} is already there with another file; "
            f"{'this key differs' if len(keys) == 1 else 'these keys differ'}: {', '.join(keys)}; "
            "give the changed file another name (--name NAME)"
        )
    if sweep.trials < known.trials:
        raise UsageError(
            f"trials = {sweep.trials}: sweep {sweep.name!r} already has {known.trials}; they can only become more"
        )
    return sweep


def _stored(sweep: Sweep) -> dict[str, Any]:
    return {"schema": SCHEMA_VERSION, "text": sweep.text}


def _parse(store: Store, name: str, stored: dict[str, Any]) -> Sweep:
    if stored["schema"] > SCHEMA_VERSION:
        raise StoreError(f"{store.address}: sweep {name!r} was made by a newer nnexp; install that")
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
    """Without Optuna's notice of a new study; its logger is left as the user set it."""
    logger = logging.getLogger("optuna.storages")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)
