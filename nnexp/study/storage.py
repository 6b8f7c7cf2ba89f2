"""The study store: a journal file, SQLite or PostgreSQL behind one interface.

It adds to Optuna's storages: a lock that all processes share (without it a compare-and-set on SQLite is not atomic),
retries after a lost connection, and errors of one line that show no password.
"""

from __future__ import annotations

import gc
import hashlib
import threading
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
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_exponential

from nnexp._redact import redact
from nnexp.errors import NnexpError, NotFoundError, StoreError, UsageError
from nnexp.study import file_lock
from nnexp.study.journal import JournalFile

T = TypeVar("T")

#: Seconds for which work is retried while the database server does not answer.
RECONNECT = 60.0

#: Seconds that a PostgreSQL session may be idle within a transaction before the server ends it. Otherwise a suspended
#: process or a lost machine would hold its locks, and make all others wait, for ever.
IDLE_IN_TRANSACTION = 20.0

#: The failures that `Store.call` converts to a `StoreError`.
_FAILURES = (StorageInternalError, SQLAlchemyError, OSError)

#: For PostgreSQL: detect connections to a server that was restarted, and a network that drops packets.
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

#: PostgreSQL's codes of errors after which a later attempt may succeed: the connection failed (08), the server shuts
#: down or starts (57P), it ended a session that was idle within a transaction (25P03), it has too many connections.
_LOST = ("08", "57P", "25P03", "53300")

_EXPECTED = "expected a file, sqlite:///FILE or postgresql://USER:PASSWORD@HOST/DATABASE"


class Store:
    """An opened study store.

    Attributes:
        storage: Optuna's storage.
        address: the address that was opened, without its password.
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
        """The result of ``work``; a failure of the store becomes a `StoreError`.

        ``work`` is called again after the connection to a server was lost, so it must be idempotent.

        Raises:
            StoreError: the store failed.
        """
        retrying = Retrying(
            retry=retry_if_exception(_is_lost_connection),
            wait=wait_exponential(0.1, max=2.0),
            stop=stop_after_delay(RECONNECT),
            reraise=True,
        )
        try:
            return retrying(work)
        except _FAILURES as error:
            raise _store_error(self.address, error) from error

    def exclusively(self, work: Callable[[], T], scope: str = "") -> T:
        """`call` ``work`` while holding the lock on ``scope``; a journal and SQLite have one lock for all scopes."""

        def locked() -> T:
            with self._lock(scope):
                return work()

        return self.call(locked)

    def close(self) -> None:
        """Close the connections."""
        if self._engine is not None:
            self._engine.dispose()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_storage(url: str | Path, *, create: bool = True) -> Store:
    """Open a study store: a path (or ``journal:PATH``), ``sqlite:///PATH`` or ``postgresql://…``.

    Args:
        url: the address of the store.
        create: whether to create a missing file; otherwise a missing file is an error.

    Raises:
        UsageError: the address is of no known kind of store.
        NotFoundError: ``create`` is false and the file is missing.
        StoreError: the store cannot be opened, or belongs to another program.
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
        with _garbage_collection_paused():
            storage = JournalStorage(file)  # reads the whole file
        return Store(storage, str(path), lambda _: file.group())
    except OSError as error:
        raise _store_error(str(path), error) from error


@contextmanager
def _garbage_collection_paused() -> Iterator[None]:
    """Python's cyclic collector would take half the time of reading 10,000 trials, and would free nothing."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _check_file(path: Path, create: bool) -> None:
    if path.is_dir():
        raise StoreError(f"{path}: a directory, expected a file for the study store")
    if not path.parent.is_dir():
        raise StoreError(f"{path}: no directory {path.parent}; create it first")
    if not create and not path.exists():
        raise NotFoundError(f"{path}: no study store there; `nnexp sweep FILE` creates one, --storage names another")


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
        # The driver is named, since SQLAlchemy before 2.1 would choose psycopg2.
        return _open(url.set(drivername="postgresql+psycopg"), address, _SERVER, None)
    raise UsageError(f"storage = {address!r}: {_EXPECTED}")


def _sqlite(url: URL, create: bool) -> tuple[dict[str, Any], Callable[[str], AbstractContextManager[None]]]:
    options = {"connect_args": {"timeout": file_lock.TIMEOUT}}
    if url.database in (None, "", ":memory:"):
        within = threading.Lock()
        return options, lambda _: _held(within)
    path = Path(str(url.database))
    _check_file(path, create)
    # Not the database file itself: closing any of its descriptors would release SQLite's own locks.
    return options, lambda _: file_lock.locked(path.with_name(path.name + ".lock"))


@contextmanager
def _held(lock: threading.Lock) -> Iterator[None]:
    with lock:
        yield


def _open(
    url: URL, address: str, options: dict[str, Any], lock: Callable[[str], AbstractContextManager[None]] | None
) -> Store:
    """Open a database and create missing tables; ``lock`` is None for a server, whose own locks are used.

    A server that has too many connections at the moment is awaited.
    """
    retrying = Retrying(
        retry=retry_if_exception(_is_full),
        wait=wait_exponential(0.1, max=2.0),
        stop=stop_after_delay(RECONNECT),
        reraise=True,
    )
    return retrying(_open_now, url, address, options, lock)


def _open_now(
    url: URL, address: str, options: dict[str, Any], lock: Callable[[str], AbstractContextManager[None]] | None
) -> Store:
    try:
        engine = sqlalchemy.create_engine(url, **options)
    except ImportError as error:
        raise StoreError(f"{address}: needs a driver ({error}); pip install 'nnexp[postgresql]'") from error
    try:
        with (lock or _advisory(engine))(""):  # two processes that create the tables at once would collide
            _check_owner(engine, address)
            # Optuna formats the address as a template, so that a brace in a password has to be doubled.
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
    """PostgreSQL's advisory lock on a name; the server releases it when the session ends."""

    def limit(connection: DBAPIConnection, _: object) -> None:
        cursor = connection.cursor()
        cursor.execute(f"SET idle_in_transaction_session_timeout = {round(IDLE_IN_TRANSACTION * 1000)}")
        cursor.execute(f"SET lock_timeout = {round(file_lock.TIMEOUT * 1000)}")
        cursor.close()
        connection.commit()

    engine.dispose()  # connections opened earlier have no limits
    sqlalchemy.event.listen(engine, "connect", limit)

    @contextmanager
    def hold(scope: str) -> Iterator[None]:
        key = int.from_bytes(hashlib.sha256(f"nnexp:{scope}".encode()).digest()[:8], "big", signed=True)
        with engine.begin() as connection:
            connection.execute(sqlalchemy.text("SELECT pg_advisory_xact_lock(:key)"), {"key": key})
            yield

    return hold


def _check_owner(engine: sqlalchemy.Engine, address: str) -> None:
    """Refuse a database of another program: both have a table ``alembic_version``, and one of them would break."""
    tables = set(sqlalchemy.inspect(engine).get_table_names())
    if {"experiments", "runs"} <= tables:
        raise StoreError(f"{address}: MLflow's database; the study needs one of its own")
    if "alembic_version" in tables and "studies" not in tables:
        raise StoreError(f"{address}: another program's database; the study needs one of its own")


def _database_error(error: BaseException) -> DBAPIError | None:
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, DBAPIError):
        cause = cause.__cause__
    return cause


def _is_lost_connection(error: BaseException) -> bool:
    """Whether the server does not answer, or not yet, so that a later attempt may succeed."""
    cause = _database_error(error) if isinstance(error, _FAILURES) else None
    if cause is None or "psycopg" not in type(cause.orig).__module__:
        return False
    if cause.connection_invalidated:
        return True
    state = getattr(cause.orig, "sqlstate", None)
    if state is None:  # there was no connection at all
        return type(cause.orig).__name__ == "OperationalError"
    return str(state).startswith(_LOST)


def _is_full(error: BaseException) -> bool:
    """Whether the server refused a connection since it has too many: the driver then has its text, not its code."""
    text = str(_database_error(error) or "")
    return any(sign in text for sign in ("too many clients", "too many connections", "remaining connection slots"))


def _store_error(address: str, error: BaseException) -> StoreError:
    cause = _database_error(error)
    shown: BaseException = error
    if cause is not None and cause.orig is not None:
        shown = cause.orig
    text = (getattr(shown, "strerror", None) or str(shown)).strip().splitlines()
    return StoreError(f"{address}: the study store failed: {text[0] if text else type(shown).__name__}")
