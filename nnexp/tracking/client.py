"""Opening MLflow's client on a tracking store."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Iterator
from pathlib import Path

from mlflow import MlflowClient
from sqlalchemy import create_engine, text

from nnexp._redact import redact
from nnexp.errors import UsageError
from nnexp.tracking import address, new_database
from nnexp.tracking.directory_lock import locked
from nnexp.tracking.failures import translated

SCHEMES = ("sqlite", "postgresql", "mysql", "mssql", "http", "https", "databricks")

#: Environment variables of MLflow for a process that opens a store; those that the user has set are kept. MLflow does
#: not retry, since it would create a run twice if only the answer was lost; `delivery` does.
SETTINGS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "GIT_PYTHON_REFRESH": "quiet",
}


def open_client(uri: str) -> MlflowClient:
    """A client of the store at ``uri``, which also holds the model registry.

    Raises:
        UsageError: ``uri`` is not the address of a store.
        UnreachableError, StoreError: it cannot be opened.
    """
    scheme = uri.partition(":")[0].partition("+")[0]
    if scheme not in SCHEMES:
        raise UsageError(
            f"tracking URI {redact(uri)!r}: expected sqlite:///FILE, postgresql://…, http://HOST:PORT or https://…"
        )
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    with translated(uri):
        if scheme in ("http", "https", "databricks"):
            return MlflowClient(tracking_uri=uri, registry_uri=uri)
        with _only_opener(uri), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # the migrations of an older database warn
            client = MlflowClient(tracking_uri=uri, registry_uri=uri)
            client.search_experiments(max_results=1)  # opens the database, and creates the tables of a new one
    return client


@contextlib.contextmanager
def _only_opener(uri: str) -> Iterator[None]:
    """Hold a lock while a database is opened: processes that create its tables at the same time would all fail.

    Connecting first also reports an absent database at once, where MLflow would retry for half an hour.
    """
    url = address.parse(uri)
    if url.get_backend_name() == "sqlite":
        file = address.sqlite_file(url)
        folder = Path.cwd() if file is None else file.resolve().parent
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder, wait=True):
            if file is not None and address.is_missing(uri):
                new_database.create(file)
            yield
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
