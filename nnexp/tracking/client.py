"""How MLflow's client is opened, and how its failures become this package's errors (floor 3; imports MLflow)."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
from collections.abc import Iterator
from pathlib import Path

# Before MLflow is imported, which reads some of them then. Each holds only where the user has not said otherwise.
# Retrying is ours (see `writer`): MLflow's own would create a run twice when an answer, not the request, was lost.
DEFAULTS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "GIT_PYTHON_REFRESH": "quiet",
}
for _name, _value in DEFAULTS.items():
    os.environ.setdefault(_name, _value)

from mlflow import MlflowClient  # noqa: E402  the settings above come first
from mlflow.exceptions import MlflowException  # noqa: E402
from sqlalchemy import URL, create_engine, make_url, text  # noqa: E402
from sqlalchemy.exc import ArgumentError, SQLAlchemyError  # noqa: E402

from nnexp._redact import redact  # noqa: E402
from nnexp.errors import NotFoundError, StoreError, UnreachableError, UsageError  # noqa: E402

SCHEMES = ("sqlite", "postgresql", "mysql", "mssql", "http", "https", "databricks")

#: Failures that a later try may not meet: a server that is away or overloaded, a locked or unreachable database.
_PASSING = {"INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED", "RESOURCE_EXHAUSTED", "ABORTED"}
#: So says a database to the later of two processes that write the same new row at once: another try finds it there.
_RACE = ("UniqueViolation", "UNIQUE constraint failed", "Duplicate entry")
_FULL, _BROKEN = "the disk is full", "the server itself fails (status 500)"
_DENIED = {"PERMISSION_DENIED", "UNAUTHENTICATED", "CUSTOMER_UNAUTHORIZED"}


def open_client(uri: str) -> MlflowClient:
    """A client of the store at ``uri``, which also holds the model registry.

    Raises:
        UsageError: ``uri`` is no address of a store.
        UnreachableError, StoreError: it cannot be opened.
    """
    scheme = uri.partition(":")[0].partition("+")[0]
    if scheme not in SCHEMES:
        raise UsageError(
            f"tracking URI {redact(uri)!r}: expected sqlite:///FILE, postgresql://…, http://HOST:PORT or https://…"
        )
    _quiet()
    with translated(uri):
        if scheme in ("http", "https", "databricks"):
            return MlflowClient(tracking_uri=uri, registry_uri=uri)
        with _sole_opener(uri):
            client = MlflowClient(tracking_uri=uri, registry_uri=uri)
            client.search_experiments(max_results=1)  # opens the database and brings a new one's tables into being
    return client


@contextlib.contextmanager
def _sole_opener(uri: str) -> Iterator[None]:
    """Hold a lock while a database is opened: processes that bring a new one's tables into being at once all fail.

    Connecting first also tells at once of a database that is away, where MLflow would try again for half an hour.
    """
    url = _parsed(uri)
    if url.get_backend_name() == "sqlite":
        folder = Path(url.database or ".").resolve().parent
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)
        return
    postgresql = url.get_backend_name() == "postgresql"
    engine = create_engine(url, connect_args={"connect_timeout": 10} if postgresql else {})
    try:
        with engine.connect() as connection:
            if postgresql:  # the lock ends with this connection
                connection.execute(text("SELECT pg_advisory_lock(hashtext('nnexp opens MLflow'))"))
            yield
    finally:
        engine.dispose()


def _parsed(uri: str) -> URL:
    """A database's address in parts; what cannot be read is not shown either, since it may hold a password anywhere."""
    try:
        return make_url(uri)
    except (ArgumentError, ValueError):  # the latter for a port that is no number
        raise UsageError(
            f"tracking URI {uri.partition(':')[0]}://…: expected SCHEME://USER:PASSWORD@HOST:PORT/DATABASE, the port a "
            "number, and @ / ? # : in a password as %40 %2F %3F %23 %3A"
        ) from None


def artifact_root(uri: str) -> str | None:
    """Where a new experiment's artifacts go when MLflow's own choice, ``mlruns`` in the working directory, is amiss.

    A database file elsewhere has them beside it, wherever it is opened from; None leaves the choice to MLflow.
    """
    if not uri.startswith("sqlite"):
        return None
    database = _parsed(uri).database
    if not database or database == ":memory:" or Path(database).resolve().parent == Path.cwd():
        return None
    return (Path(database).resolve().parent / "mlruns").as_uri()


def _quiet() -> None:
    """Keep MLflow's own log lines to warnings: its errors are raised too, and told once, without tracebacks or URLs."""
    for name in ("mlflow.store.db.utils", "mlflow.store.tracking.sqlalchemy_store"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    for name in ("alembic", "mlflow.pyfunc", "mlflow.store.model_registry.abstract_store"):
        logging.getLogger(name).setLevel(logging.WARNING)


@contextlib.contextmanager
def translated(uri: str) -> Iterator[None]:
    """Turn MLflow's, the database's and the network's exceptions into one-line errors without secrets.

    Raises:
        NotFoundError: what was asked for is not there.
        UnreachableError: another try may succeed.
        StoreError: it will not.
    """
    where = redact(uri)
    try:
        yield
    except MlflowException as error:
        code, line = str(error.error_code), _line(error)
        if code == "RESOURCE_DOES_NOT_EXIST":
            raise NotFoundError(f"{where}: {line}") from error
        if "out-of-date database schema" in line:
            raise StoreError(
                f"{where}: its tables are of another MLflow version; back it up, then run `mlflow db upgrade {where}`"
            ) from error
        if code in _PASSING or any(sign in line for sign in _RACE):
            raise UnreachableError(f"{where}: {_reason(error)}; {_advice(_reason(error))}") from error
        if code in _DENIED or "error code 401" in line or "error code 403" in line:
            raise StoreError(f"{where}: {_reason(error)}; {_denied(line)}") from error
        raise StoreError(f"{where}: {line}") from error
    except SQLAlchemyError as error:  # not yet within MLflow's own handling
        raise UnreachableError(f"{where}: {_reason(error)}; check that the database is up") from error
    except OSError as error:  # requests' own are OSErrors too: artifacts are sent by it
        raise UnreachableError(f"{where}: {_line(error)}; check the tracking store and its artifact store") from error
    except ImportError as error:  # a database's driver, or an artifact store's library
        raise StoreError(f"{where}: {_line(error)}; {_installing(uri, error.name)}") from error


def _line(error: BaseException) -> str:
    """The first line of an exception's text, redacted and of bounded length."""
    return _whole_line(error)[:400]


def _whole_line(error: BaseException) -> str:
    text = redact(error).strip().splitlines()
    return text[0] if text else type(error).__name__


def _reason(error: BaseException) -> str:
    """The part of a request's failure that tells a person something; it may stand behind a long address."""
    line = _whole_line(error)
    for sign, reason in (
        ("Connection refused", "connection refused"),
        ("connection refused", "connection refused"),
        ("password authentication failed", "the database refuses this user and password"),
        ("file is not a database", "the file is not a database"),
        ("unable to open database file", "the file cannot be opened"),
        ("timed out", "no answer in time"),
        ("timeout exception", "no answer in time"),
        ("Name or service not known", "no such host"),
        ("Temporary failure in name resolution", "no such host"),
        ("nodename nor servname", "no such host"),
        ("RemoteDisconnected", "the connection was cut"),
        ("Connection aborted", "the connection was cut"),
        ("Connection broken", "the connection was cut"),
        ("database is locked", "the database is locked"),
        ("disk is full", _FULL),
        ("500 error responses", _BROKEN),
        ("readonly database", "the database is read-only"),
        *((sign, "another process wrote the same at that moment") for sign in _RACE),
        ("Invalid Host header", "the server refuses this Host header"),
        ("not authenticated", "not signed in"),
    ):
        if sign in line:
            return reason
    return line[:400]


def _advice(reason: str) -> str:
    if reason == _FULL:
        return "make room there, then run the same command again"
    if reason == _BROKEN and "MLFLOW_TRACKING_TOKEN" in os.environ:  # MLflow's own basic auth fails on any token
        return "if it wants a name and a password, set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, no token"
    if reason == _BROKEN:
        return "its log says why"
    return "check that the tracking store is up"


def _installing(uri: str, module: str | None) -> str:
    # Without a name it is psycopg itself, which is there and lacks its own library.
    if uri.startswith("postgresql") and module in ("psycopg", None):
        return "pip install 'nnexp[postgresql]'"
    return f"install what holds the Python module {module}" if module else "install what is missing"


def _denied(line: str) -> str:
    if "Host header" in line:
        return "start it with --allowed-hosts naming this host and port"
    return "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD to an account that may write"
