"""Creating MLflow's SQLite file: complete or absent, whenever the process that creates it is killed.

MLflow creates its tables by some 400 statements that SQLite does not undo together. After a kill between two of them
MLflow refuses the file for ever. Here the tables are created in another file, which is renamed when it is complete. A
copy, which holds no user's data, is kept in the user's cache directory: copying takes 0.03 s, creating 1.1 s.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from functools import partial
from pathlib import Path

import mlflow
from mlflow.store.db import utils
from sqlalchemy import URL, create_engine, event

from nnexp import _atomic

#: Files that SQLite keeps beside a database. One that is left of an earlier database would be applied to the new one.
_COMPANIONS = ("-journal", "-wal", "-shm")


def create(database: Path) -> None:
    """Create MLflow's tables in a file that is absent or empty; the caller holds a lock on its directory.

    Raises:
        OSError: the directory cannot be written.
        SQLAlchemyError: the tables cannot be created.
    """
    database = database.resolve()  # a link keeps pointing to the same file
    temporary = database.with_name(f".{database.name}.new")
    _remove(temporary)  # left by a process that was killed
    cached = _cached()
    if cached is None or not _copied(cached, temporary):
        _fill(temporary)
        if cached is not None:
            _keep(temporary, cached)
    _atomic.sync(temporary)
    _remove(database)
    temporary.replace(database)
    _atomic.sync(database.parent)


def _fill(path: Path) -> None:
    """Create the tables as MLflow does it, with no row that depends on where the file is."""
    engine = create_engine(URL.create("sqlite", database=str(path)))
    # Without a flush per statement, since the file counts only when it is complete.
    event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous = OFF"))
    try:
        utils._initialize_tables(engine)  # type: ignore[no-untyped-call]
    finally:
        engine.dispose()


def _cached() -> Path | None:
    """Where the user's cache directory keeps the tables of this version of MLflow; None if there is no such place."""
    try:
        root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:  # the user has no home directory
        return None
    return root / "nnexp" / f"mlflow-{mlflow.__version__}.db"


def _copied(cached: Path, path: Path) -> bool:
    """Copy the cached file to ``path``; False if there is none, or it is damaged."""
    try:
        shutil.copyfile(cached, path)
        with contextlib.closing(sqlite3.connect(path)) as connection:
            (verdict,) = connection.execute("PRAGMA integrity_check").fetchone()
            revisions = connection.execute("SELECT count(*) FROM alembic_version").fetchone()
    except (OSError, sqlite3.Error):
        _remove(path)
        return False
    if verdict == "ok" and revisions == (1,):
        return True
    _remove(path)
    return False


def _keep(path: Path, cached: Path) -> None:
    """Keep a copy of the new file in the cache directory, if that can be written."""
    with contextlib.suppress(OSError):
        cached.parent.mkdir(parents=True, exist_ok=True)
        _atomic.write_with(cached, partial(_copy, path))


def _copy(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)


def _remove(path: Path) -> None:
    for name in (path.name, *(path.name + companion for companion in _COMPANIONS)):
        path.with_name(name).unlink(missing_ok=True)
