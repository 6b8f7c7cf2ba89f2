"""Addresses of databases: what a tracking URI or a storage address refers to. Nothing is opened."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from nnexp.errors import UsageError

#: Keys of an address's query that may name another server or database than the rest of the address does.
_REDIRECTING = {"service", "host", "hostaddr", "port", "dbname", "database", "unix_socket", "odbc_connect"}
_PORTS = {"postgresql": 5432, "postgres": 5432, "mysql": 3306, "mssql": 1433}


def parse(uri: str) -> URL:
    """The parts of a database's address.

    Raises:
        UsageError: it cannot be parsed. The message does not show it, since any part of it may be a password.
    """
    try:
        return make_url(uri)
    except (ArgumentError, ValueError):  # the latter for a port that is no number
        raise UsageError(
            f"tracking URI {uri.partition(':')[0]}://…: expected SCHEME://USER:PASSWORD@HOST:PORT/DATABASE, the port a "
            "number, and @ / ? # : in a password as %40 %2F %3F %23 %3A"
        ) from None


def artifact_root(uri: str) -> str | None:
    """Where a new experiment's artifacts go; None leaves the choice to MLflow.

    MLflow's own choice is ``mlruns`` in the working directory. An SQLite file in another directory has its artifacts
    beside it instead, so that they are found from every working directory.
    """
    if not uri.startswith("sqlite"):
        return None
    file = sqlite_file(parse(uri))
    if file is None or file.resolve().parent == Path.cwd():
        return None
    return (file.resolve().parent / "mlruns").as_uri()


def sqlite_file(url: URL) -> Path | None:
    """The file of an SQLite address; None for a database in memory, and for one that SQLite's own URI names."""
    if not url.database or url.database == ":memory:" or url.database.startswith("file:"):
        return None
    return Path(url.database)


def is_missing(uri: str) -> bool:
    """Whether the address is that of an SQLite file without content."""
    file = sqlite_file(parse(uri)) if uri.startswith("sqlite") else None
    return file is not None and not (file.exists() and file.stat().st_size > 0)


def same_database(tracking_uri: str, storage: str) -> bool:
    """Whether both addresses certainly refer to the same database."""
    found = database(tracking_uri)
    return tracking_uri == storage or (found is not None and found == database(storage))


def database(address: str) -> tuple[str, str] | None:
    """What identifies the database at an address: (host and port, name), or ("", path) for a file.

    None if the address alone does not tell: an MLflow server, an address without a database's name (the driver has its
    own default, such as the user's name), a query that may name another server, or an invalid address.
    """
    if "://" not in address:
        return "", str(Path(address).resolve())
    try:
        url = make_url(address)
    except (ArgumentError, ValueError):  # opening the store reports it
        return None
    backend = url.get_backend_name()
    if not url.database or backend in ("http", "https") or not _REDIRECTING.isdisjoint(url.query):
        return None
    if backend == "sqlite":
        return None if url.database == ":memory:" else ("", str(Path(url.database).resolve()))
    host = "127.0.0.1" if url.host in (None, "localhost") else url.host
    return f"{host}:{url.port or _PORTS.get(backend)}", url.database.strip("/")
