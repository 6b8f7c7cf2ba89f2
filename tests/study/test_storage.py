"""Addresses and files that cannot be opened as a study store: one line says why, and shows no password."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from pathlib import Path

import pytest
from sqlalchemy import Connection, NullPool, create_engine, text
from sqlalchemy.exc import OperationalError

from nnexp.errors import NnexpError, NotFoundError, StoreError, UsageError
from nnexp.study import SweepStudy, Worker, open_storage, storage
from tests.helpers.postgresql import PASSWORD, Server
from tests.helpers.small_study import make, work


def refusal(url: str, kind: type[NnexpError] = StoreError, *, create: bool = True) -> str:
    """The error message, one line, with which the store is refused."""
    with pytest.raises(kind) as caught:
        open_storage(url, create=create)
    assert type(caught.value) is kind
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("scheme", ["journal:", "sqlite:///", ""])
def test_missing_files_and_directories(tmp_path: Path, scheme: str) -> None:
    """A missing directory, a directory in place of a file, and a missing file that is not to be created."""
    assert "no directory" in refusal(f"{scheme}{tmp_path}/none/study")
    assert "a directory" in refusal(f"{scheme}{tmp_path}")
    assert "nnexp sweep" in refusal(f"{scheme}{tmp_path}/study", NotFoundError, create=False)
    assert list(tmp_path.iterdir()) == []


def test_other_kinds_of_file(tmp_path: Path) -> None:
    """A file of another kind is refused and not changed."""
    other = tmp_path / "other"
    other.write_text("# A title\n")
    assert "not a study journal" in refusal(str(other))
    assert "not a database" in refusal(f"sqlite:///{other}")
    assert other.read_text() == "# A title\n"
    database = tmp_path / "study.db"
    sqlite3.connect(database).execute("CREATE TABLE t (x)").connection.close()
    assert f"write sqlite:///{database}" in refusal(str(database))


def test_other_programs_databases(tmp_path: Path) -> None:
    """MLflow's database, or one with another program's migration table, is refused and not changed."""
    for name, tables, words in (
        ("mlflow", ("experiments", "runs", "alembic_version"), "MLflow's database"),
        ("other", ("alembic_version",), "another program's database"),
    ):
        path = tmp_path / name
        connection = sqlite3.connect(path)
        for table in tables:
            connection.execute(f"CREATE TABLE {table} (x)")
        connection.close()
        before = path.read_bytes()
        assert words in refusal(f"sqlite:///{path}")
        assert path.read_bytes() == before


def test_tables_of_a_newer_optuna(tmp_path: Path) -> None:
    """A database of a newer Optuna is refused, and the message names Optuna."""
    url = f"sqlite:///{tmp_path / 'study.db'}"
    open_storage(url).close()
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = 'v99'"))
    engine.dispose()
    assert "optuna" in refusal(url)


def test_addresses_of_no_known_store() -> None:
    """An address of an unknown kind is wrong usage."""
    for url in (
        "mysql://u:geheim@h/d",
        "mysql://u:x@geheim@h/d",
        "mysql://u:x'geheim/#?@h/d",
        "http://u:geheim@h/",
        "://",
        "redis://:geheim@h",
        "journal:",
    ):
        message = refusal(url, UsageError)
        assert "expected a file, sqlite:///FILE or postgresql://" in message
        assert "geheim" not in message
    assert "geheim" not in refusal("postgresql://me:geheim/d", UsageError)  # a password whose host was forgotten


def test_unreachable_server() -> None:
    """A server that does not answer causes an error of one line without the password."""
    message = refusal("postgresql://me:geheim@127.0.0.1:1/d?sslpassword=geheim")
    assert "geheim" not in message
    assert "127.0.0.1" in message


@pytest.mark.postgresql
def test_postgresql(postgresql: Server) -> None:
    """A password with special characters works; a wrong one is refused and not shown."""
    url = postgresql.database()
    with open_storage(url) as store:
        assert len(work(Worker.join(SweepStudy.create(store, make(trials=2))))) == 2
        assert PASSWORD not in repr(store)
        assert "***" in store.address
    wrong = url.replace("%7Bw%7D", "wrong")
    assert wrong != url
    message = refusal(wrong)
    assert "password authentication failed" in message
    assert "wrong" not in message
    assert "does not exist" in refusal(url[:-4] + "none")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_no_permission(tmp_path: Path) -> None:
    """A directory without write permission is named as the cause."""
    tmp_path.chmod(0o500)
    assert "Permission denied" in refusal(str(tmp_path / "j"))
    assert "unable to open" in refusal(f"sqlite:///{tmp_path / 'j.db'}")


@pytest.mark.postgresql
def test_a_session_that_the_server_ended_is_opened_again(postgresql: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server ends a session that is idle within a transaction: the work is done again under a new lock."""
    pauses = [1.0, 0.0]
    with open_storage(postgresql.schema()) as store:
        monkeypatch.setattr(storage, "IDLE_IN_TRANSACTION", 0.2)  # for the connections from now on
        store.exclusively(lambda: time.sleep(pauses.pop(0)))
    assert pauses == []


@pytest.mark.postgresql
def test_an_opening_waits_while_the_server_has_too_many_connections(postgresql: Server) -> None:
    """Connections are taken until the server refuses one, and given back half a second later."""
    url = postgresql.schema()
    engine = create_engine(url, poolclass=NullPool)
    taken: list[Connection] = []
    with contextlib.suppress(OperationalError):
        while True:
            taken.append(engine.connect())
    assert taken
    timer = threading.Timer(0.5, lambda: [connection.close() for connection in taken])
    timer.start()
    try:
        with open_storage(url) as store:
            assert SweepStudy.list_all(store) == []
    finally:
        timer.join()
