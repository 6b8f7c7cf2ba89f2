"""Converting failures of MLflow, databases and the network to `nnexp.errors`: one line each, without secrets."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from mlflow.exceptions import MlflowException
from mlflow.utils.logging_utils import suppress_logs_in_thread
from sqlalchemy.exc import SQLAlchemyError

from nnexp._redact import redact
from nnexp.errors import NotFoundError, StoreError, UnreachableError

#: Failures after which a later attempt may succeed: a server that is absent or overloaded, a locked or absent database.
_TRANSIENT = {"INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED", "RESOURCE_EXHAUSTED", "ABORTED"}
#: What a database reports to the later of two processes that insert the same row; the next attempt finds the row.
_CONFLICT = ("UniqueViolation", "UNIQUE constraint failed", "Duplicate entry")
_DENIED = {"PERMISSION_DENIED", "UNAUTHENTICATED", "CUSTOMER_UNAUTHORIZED"}
#: What SQLite reports when MLflow continues to create tables that a killed process had created in part.
_INCOMPLETE = ("already exists", "duplicate column name", "no such table", "no such column", "no such index")
_FULL, _SERVER_ERROR = "the disk is full", "the server reports an internal error (status 500)"
#: Text of a failure -> its reason in plain words. The first that occurs in the failure's first line is used.
_REASONS = {
    "Connection refused": "connection refused",
    "connection refused": "connection refused",
    "password authentication failed": "the database refuses this user and password",
    "file is not a database": "the file is not a database",
    "unable to open database file": "the file cannot be opened",
    "timed out": "no answer in time",
    "timeout exception": "no answer in time",
    "Name or service not known": "no such host",
    "Temporary failure in name resolution": "no such host",
    "nodename nor servname": "no such host",
    "RemoteDisconnected": "the connection was cut",
    "Connection aborted": "the connection was cut",
    "Connection broken": "the connection was cut",
    "database is locked": "the database is locked",
    "disk is full": _FULL,
    "500 error responses": _SERVER_ERROR,
    "readonly database": "the database is read-only",
    **dict.fromkeys(_CONFLICT, "another process inserted the same row at the same time"),
    "Invalid Host header": "the server refuses this Host header",
    "not authenticated": "not signed in",
}


@contextlib.contextmanager
def translated(uri: str) -> Iterator[None]:
    """Convert exceptions of MLflow, the database and the network to `nnexp.errors`.

    Within the block MLflow's log lines are suppressed, since it also logs its errors, with tracebacks and addresses.

    Args:
        uri: the store's address, which every message begins with, redacted.

    Raises:
        NotFoundError: the requested object does not exist.
        UnreachableError: another attempt may succeed.
        StoreError: another attempt will fail as well.
    """
    where = redact(uri)
    try:
        with suppress_logs_in_thread():
            yield
    except MlflowException as error:
        code, line = str(error.error_code), _line(error)
        if code == "RESOURCE_DOES_NOT_EXIST":
            raise NotFoundError(f"{where}: {line}") from error
        if "out-of-date database schema" in line:
            raise StoreError(
                f"{where}: its tables are of another MLflow version; back it up, then run `mlflow db upgrade {where}`"
            ) from error
        if code in _TRANSIENT or any(sign in line for sign in _CONFLICT):
            raise UnreachableError(f"{where}: {_reason(error)}; {_advice(_reason(error))}") from error
        if code in _DENIED or "error code 401" in line or "error code 403" in line:
            raise StoreError(f"{where}: {_reason(error)}; {_advice_denied(line)}") from error
        raise StoreError(f"{where}: {line}") from error
    except SQLAlchemyError as error:  # raised before MLflow's own handling begins
        if uri.startswith("sqlite") and any(sign in _first_line(error) for sign in _INCOMPLETE):
            raise StoreError(
                f"{where}: MLflow's tables are incomplete: a process was killed while it created or upgraded them; "
                "restore the file from a backup, or move it away if it holds no runs, then run the same command again"
            ) from error
        raise UnreachableError(f"{where}: {_reason(error)}; check that the database is up") from error
    except OSError as error:  # exceptions of `requests`, which sends artifacts, are OSErrors too
        raise UnreachableError(f"{where}: {_line(error)}; check the tracking store and its artifact store") from error
    except ImportError as error:  # a database's driver, or an artifact store's library
        raise StoreError(f"{where}: {_line(error)}; {_advice_missing(uri, error.name)}") from error


def _first_line(error: BaseException) -> str:
    lines = redact(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _line(error: BaseException) -> str:
    """The first line of an exception's text, redacted, at most 400 characters long."""
    return _first_line(error)[:400]


def _reason(error: BaseException) -> str:
    """Why a request failed, in plain words if known. The part that identifies it may follow a long address."""
    line = _first_line(error)
    return next((reason for sign, reason in _REASONS.items() if sign in line), line[:400])


def _advice(reason: str) -> str:
    if reason == _FULL:
        return "free space there, then run the same command again"
    if reason == _SERVER_ERROR and "MLFLOW_TRACKING_TOKEN" in os.environ:  # MLflow's basic auth fails on any token
        return "if it needs a name and a password, set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, no token"
    if reason == _SERVER_ERROR:
        return "see its log"
    return "check that the tracking store is up"


def _advice_missing(uri: str, module: str | None) -> str:
    # psycopg raises an ImportError without a name when the C library that it needs is missing.
    if uri.startswith("postgresql") and module in ("psycopg", None):
        return "pip install 'nnexp[postgresql]'"
    return f"install the Python module {module}" if module else "install the missing library"


def _advice_denied(line: str) -> str:
    if "Host header" in line:
        return "start it with --allowed-hosts naming this host and port"
    return "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD to an account that may write"
