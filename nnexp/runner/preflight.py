"""What would fail later, found before the first trial; each problem one line with its mend (floor 4)."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from nnexp._redact import redact
from nnexp.errors import NnexpError, NotFoundError, StoreError
from nnexp.stores import Stores

#: Words of an address's query that may lead to another server or database than the rest of it says.
_ELSEWHERE = {"service", "host", "hostaddr", "port", "dbname", "database", "unix_socket", "odbc_connect"}
_PORTS = {"postgresql": 5432, "postgres": 5432, "mysql": 3306, "mssql": 1433}


def check(stores: Stores, sweep: str | None = None) -> None:
    """Stop here when something is amiss.

    Raises:
        StoreError: with every problem, each with its mend.
    """
    if found := problems(stores.tracking_uri, stores.storage, stores.spool, sweep):
        raise StoreError("; also: ".join(found))


def problems(tracking_uri: str, storage: str, spool: Path, sweep: str | None = None) -> list[str]:
    """Everything that is amiss with the stores, one line each, with what to do; empty when all is well.

    A store that does not exist yet and can be made is no problem.

    Args:
        tracking_uri: MLflow's store.
        storage: Optuna's.
        spool: the directory of evidence waiting to be sent.
        sweep: the sweep that is about to run; an existing one is checked for writing.
    """
    found = [*_environment(), *_distinct(tracking_uri, storage), *_spool(spool)]
    return found or _tracking(tracking_uri, sweep)


def _environment() -> list[str]:
    if os.environ.get("MLFLOW_RUN_ID"):
        return ["MLFLOW_RUN_ID is set: MLflow would log a sweep into that one run; unset it"]
    return []


def _distinct(tracking_uri: str, storage: str) -> list[str]:
    if same_database(tracking_uri, storage):
        return [
            f"--tracking-uri and --storage are the same database, {redact(storage)}: MLflow and Optuna cannot share "
            "one (both keep a table alembic_version); name another database for one of them"
        ]
    return []


def same_database(tracking_uri: str, storage: str) -> bool:
    """Whether both addresses surely lead to one database."""
    found = database(tracking_uri)
    return tracking_uri == storage or (found is not None and found == database(storage))


def database(address: str) -> tuple[str, str] | None:
    """What identifies the database at an address: (host and port, name), or ("", path).

    None where the address alone does not tell: an MLflow server, no name of a database (the driver has its own default,
    such as the user's name), a query that may name another place, or no address at all.
    """
    if "://" not in address:
        return "", str(Path(address).resolve())
    try:
        url = make_url(address)
    except (ArgumentError, ValueError):  # the latter for a port that is no number; whoever opens it says so
        return None
    backend = url.get_backend_name()
    if not url.database or backend in ("http", "https") or not _ELSEWHERE.isdisjoint(url.query):
        return None
    if backend == "sqlite":
        return None if url.database == ":memory:" else ("", str(Path(url.database).resolve()))
    host = "127.0.0.1" if url.host in (None, "localhost") else url.host
    return f"{host}:{url.port or _PORTS.get(backend)}", url.database.strip("/")


def _spool(directory: Path) -> list[str]:
    existing = directory.absolute()
    while not existing.exists():
        existing = existing.parent
    try:
        with tempfile.TemporaryFile(dir=existing):
            return []
    except OSError as error:
        return [f"spool {directory}: cannot be written ({error.strerror}); choose another with NNEXP_SPOOL"]


def _tracking(uri: str, sweep: str | None) -> list[str]:
    from nnexp.tracking.schema import SWEEP, SWEEP_FILE
    from nnexp.tracking.store import Tracking

    try:
        tracking = Tracking(uri)
        tracking.sweeps()
        found = tracking.find_sweep(sweep) if sweep is not None else None
        if found is not None:
            # What is there is written again: that needs the same rights as the runs and files to come.
            tracking.set_tags(found.run_id, {SWEEP: found.name})
            with contextlib.suppress(NotFoundError):  # lost or torn: the sweep writes it first of all
                tracking.log_text(found.run_id, tracking.text(found.run_id, SWEEP_FILE), SWEEP_FILE)
    except NnexpError as error:
        return [str(error)]
    return []
