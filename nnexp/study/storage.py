"""A sweep's study store: a journal file, SQLite or PostgreSQL behind one interface.

What Optuna's storages leave open is settled here: work under a lock that all processes share (SQLite has no row locks,
so its compare-and-set is none), a lost server connection is tried again, and errors become one line without password.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, RDBStorage, get_storage
from optuna.storages.journal import JournalStorage
from sqlalchemy.engine import URL, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from nnexp import collector
from nnexp._redact import redact
from nnexp.errors import NnexpError, NotFoundError, StoreError, UsageError
from nnexp.study import file_lock
from nnexp.study.journal import JournalFile

T = TypeVar("T")

#: Seconds for which work is tried again while the database server does not answer.
RECONNECT = 60.0

#: Seconds for which a PostgreSQL client may stay silent within a transaction, before the server ends its session: a
#: stopped process or a lost machine would keep its locks, and everybody waiting, for ever.
SILENCE = 20.0

#: For PostgreSQL: connections of a server that was restarted are noticed, and so is a network that swallows packets.
_SERVER: dict[str, Any] = {
    "pool_pre_ping": True,
    "connect_args": {
        "connect_timeout": 10,
        "keepalives_idle": 30,
        "keepalives_interval": 10,
        "keepalives_count": 3,
        "tcp_user_timeout": 60_000,
    },
}

_EXPECTED = "expected a file, sqlite:///FILE or postgresql://USER:PASSWORD@HOST/DATABASE"


class Store:
    """An opened study store.

    Attributes:
        storage: what Optuna works on.
        address: what was opened, without password.
    """

    def __init__(
        self,
        storage: BaseStorage,
        address: str,
        lock: Callable[[str], AbstractContextManager[None]],
        engine: sqlalchemy.Engine | None = None,
    ) -> None:
        self.storage = storage
        self.address = address
        self._lock = lock
        self._engine = engine

    def __repr__(self) -> str:
        return f"Store({self.address!r})"

    def call(self, work: Callable[[], T]) -> T:
        """The result of ``work``, with the store's errors in the package's words.

        ``work`` is done again where the connection to a server was lost, so it has to bear being done twice.

        Raises:
            StoreError: the store failed.
        """
        deadline = time.monotonic() + RECONNECT
        pause = 0.1
        while True:
            try:
                return work()
            except (StorageInternalError, SQLAlchemyError, OSError) as error:
                if not _lost_connection(error) or time.monotonic() > deadline:
                    raise _store_error(self.address, error) from error
            time.sleep(pause)
            pause = min(2 * pause, 2.0)

    def exclusively(self, work: Callable[[], T], scope: str = "") -> T:
        """`call` while no other process works exclusively on ``scope`` (on a file: on the store)."""

        def alone() -> T:
            with self._lock(scope):
                return work()

        return self.call(alone)

    def close(self) -> None:
        """Give the connections back."""
        if self._engine is not None:
            self._engine.dispose()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_storage(url: str | Path, *, create: bool = True) -> Store:
    """Open a study store: a path (or ``journal:PATH``), ``sqlite:///PATH`` or ``postgresql://…``.

    Args:
        url: where it is.
        create: make what is missing; otherwise a missing file is an error.

    Raises:
        UsageError: no such kind of store.
        NotFoundError: ``create`` is false and the file is missing.
        StoreError: it cannot be opened, or is something else.
    """
    text = str(url)
    if "://" in text:
        return _open_database(text, create)
    path = Path(text.removeprefix("journal:"))
    if not path.name:
        raise UsageError(f"storage = {text!r}: {_EXPECTED}")
    _check_file(path, create)
    try:
        file = JournalFile(path, create=create)
        with collector.paused():  # it reads all of the file
            storage = JournalStorage(file)
        return Store(storage, str(path), lambda _: file.group())
    except OSError as error:
        raise _store_error(str(path), error) from error


def _check_file(path: Path, create: bool) -> None:
    if path.is_dir():
        raise StoreError(f"{path}: a directory, expected a file for the study store")
    if not path.parent.is_dir():
        raise StoreError(f"{path}: no directory {path.parent}; make it first")
    if not create and not path.exists():
        raise NotFoundError(f"{path}: no study store there; `nnexp sweep FILE` makes one, --storage names another")


def _open_database(text: str, create: bool) -> Store:
    address = redact(text)
    try:
        url = make_url(text)
    except (SQLAlchemyError, ValueError):  # not shown, since it may hold a password anywhere
        raise UsageError(f"storage = '{text.partition(':')[0]}://…': {_EXPECTED}") from None
    backend = url.get_backend_name()
    if backend == "sqlite":
        return _open(url, address, *_sqlite(url, create))
    if backend in ("postgresql", "postgres"):
        # Named, since SQLAlchemy before 2.1 takes psycopg2 for a bare postgresql://.
        return _open(url.set(drivername="postgresql+psycopg"), address, _SERVER, None)
    raise UsageError(f"storage = {address!r}: {_EXPECTED}")


def _sqlite(url: URL, create: bool) -> tuple[dict[str, Any], Callable[[str], AbstractContextManager[None]]]:
    options = {"connect_args": {"timeout": file_lock.PATIENCE}}
    if url.database in (None, "", ":memory:"):
        within = threading.Lock()
        return options, lambda _: _held(within)
    path = Path(str(url.database))
    _check_file(path, create)
    # Not the database file itself: closing any descriptor of it would drop SQLite's own locks.
    return options, lambda _: file_lock.locked(path.with_name(path.name + ".lock"))


@contextmanager
def _held(lock: threading.Lock) -> Iterator[None]:
    with lock:
        yield


def _open(
    url: URL, address: str, options: dict[str, Any], lock: Callable[[str], AbstractContextManager[None]] | None
) -> Store:
    """Open a database, its tables made if missing; without a ``lock`` the server's own is used."""
    try:
        engine = sqlalchemy.create_engine(url, **options)
    except ImportError as error:
        raise StoreError(f"{address}: needs a driver ({error}); pip install 'nnexp[postgresql]'") from error
    try:
        with (lock or _advisory(engine))(""):  # two that make the tables at once would collide
            _check_owner(engine, address)
            # Optuna fills templates into the address: a brace in a password has to be written twice.
            plain = url.render_as_string(hide_password=False).replace("{", "{{").replace("}", "}}")
            storage = RDBStorage(plain, engine_kwargs=options)
    except NnexpError:
        raise
    except (StorageInternalError, SQLAlchemyError, OSError, RuntimeError, AssertionError) as error:
        raise _store_error(address, error) from error
    finally:
        engine.dispose()
    if lock is None:
        lock = _advisory(storage.engine)
    return Store(get_storage(storage), address, lock, storage.engine)


def _advisory(engine: sqlalchemy.Engine) -> Callable[[str], AbstractContextManager[None]]:
    """PostgreSQL's own lock on a name: the server frees it when the session ends."""

    def limit(connection: DBAPIConnection, _: object) -> None:
        cursor = connection.cursor()
        cursor.execute(f"SET idle_in_transaction_session_timeout = {round(SILENCE * 1000)}")
        cursor.execute(f"SET lock_timeout = {round(file_lock.PATIENCE * 1000)}")
        cursor.close()
        connection.commit()

    engine.dispose()  # connections made before have no limits
    sqlalchemy.event.listen(engine, "connect", limit)

    @contextmanager
    def hold(scope: str) -> Iterator[None]:
        key = int.from_bytes(hashlib.sha256(f"nnexp:{scope}".encode()).digest()[:8], "big", signed=True)
        with engine.begin() as connection:
            connection.execute(sqlalchemy.text("SELECT pg_advisory_xact_lock(:key)"), {"key": key})
            yield

    return hold


def _check_owner(engine: sqlalchemy.Engine, address: str) -> None:
    """Refuse a database that is another program's: both keep an ``alembic_version`` table, and one would break."""
    tables = set(sqlalchemy.inspect(engine).get_table_names())
    if {"experiments", "runs"} <= tables:
        raise StoreError(f"{address}: MLflow's database; the study needs one of its own")
    if "alembic_version" in tables and "studies" not in tables:
        raise StoreError(f"{address}: another program's database; the study needs one of its own")


def _database_error(error: BaseException) -> DBAPIError | None:
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, DBAPIError):
            return seen
        seen = seen.__cause__
    return None


def _lost_connection(error: Exception) -> bool:
    """Whether the server went away (or is not yet back), which a wait may mend."""
    cause = _database_error(error)
    if cause is None or "psycopg" not in type(cause.orig).__module__:
        return False
    if cause.connection_invalidated:
        return True
    # Class 57: the server is shutting down or starting up. Without a code: no connection came about.
    state = getattr(cause.orig, "sqlstate", None)
    return type(cause.orig).__name__ in ("OperationalError", "AdminShutdown", "CrashShutdown", "CannotConnectNow") and (
        state is None or state.startswith(("57P", "08"))
    )


def _store_error(address: str, error: BaseException) -> StoreError:
    cause = _database_error(error)
    shown: BaseException = error
    if cause is not None and cause.orig is not None:
        shown = cause.orig
    text = (getattr(shown, "strerror", None) or str(shown)).strip().splitlines()
    return StoreError(f"{address}: the study store failed: {text[0] if text else type(shown).__name__}")
