"""MLflow's database is created completely or not at all, and copied from the user's cache directory."""

from __future__ import annotations

import os
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy
from mlflow import MlflowClient
from sqlalchemy import event

from nnexp.errors import StoreError
from nnexp.tracking import new_database
from nnexp.tracking.store import Tracking
from tests.helpers.sampling import sample
from tests.helpers.small_sweeps import kill, process


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's cache directory, empty."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def killed_at(statement: int, directory: Path, client: type[Tracking | MlflowClient] = Tracking) -> None:
    """Create the database with a client, and be killed at a statement that writes."""
    os.environ["XDG_CACHE_HOME"] = str(directory / "cache")
    count = 0

    def before(_connection: object, _cursor: object, text: str, *_: object) -> None:
        nonlocal count
        count += not text.lstrip().startswith(("PRAGMA", "SELECT"))
        if count == statement:
            os.kill(os.getpid(), signal.SIGKILL)

    event.listen(sqlalchemy.Engine, "before_cursor_execute", before)
    opened = client(f"sqlite:///{directory}/mlflow.db")
    if isinstance(opened, MlflowClient):  # which opens the database at its first call
        opened.search_experiments()


@pytest.mark.parametrize("statement", sample([1, 2, 40, 100, 150, 200, 300, 430], 2, "kills of a new database"))
def test_kill_while_the_database_is_created_leaves_nothing_to_repair(tmp_path: Path, statement: int) -> None:
    """The next process creates it; no other file is left beside it."""
    child = process(killed_at, statement, tmp_path)
    child.join(120)
    assert child.exitcode == -signal.SIGKILL
    tracking = Tracking(f"sqlite:///{tmp_path}/mlflow.db")
    assert tracking.find_sweep("s") is None
    assert tracking.ensure_sweep("s", text="", note="").name == "s"
    kill(child)
    assert {path.name for path in tmp_path.iterdir()} == {"mlflow.db", "mlruns", "cache"}


def test_empty_file_left_of_a_killed_process_is_filled(tmp_path: Path) -> None:
    """SQLite creates an empty file and a journal before the first table; a stale journal is not applied."""
    (tmp_path / "mlflow.db").touch()
    (tmp_path / "mlflow.db-journal").write_bytes(b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" + bytes(504))
    assert Tracking(f"sqlite:///{tmp_path}/mlflow.db").sweeps() == []


def test_incomplete_database_from_elsewhere_is_explained(tmp_path: Path) -> None:
    """MLflow itself was killed while it created its tables: one line says what the file is and what to do."""
    child = process(killed_at, 300, tmp_path, MlflowClient)
    child.join(120)
    with pytest.raises(
        StoreError, match=r"mlflow\.db: MLflow's tables are incomplete.*backup, or move it away"
    ) as caught:
        Tracking(f"sqlite:///{tmp_path}/mlflow.db")
    assert "\n" not in str(caught.value)


def test_second_database_is_copied_and_has_its_own_artifacts(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The copy is used without MLflow's migrations, and holds nothing of the first directory or user."""
    for directory in ("a", "b"):
        (tmp_path / directory).mkdir()
        monkeypatch.chdir(tmp_path / directory)
        default = Tracking(f"sqlite:///{tmp_path}/{directory}/mlflow.db").client.get_experiment("0")
        assert default.artifact_location == str(tmp_path / directory / "mlruns" / "0")
        monkeypatch.setattr(new_database, "_fill", lambda path: pytest.fail(f"{path} was migrated"))
    (kept,) = (cache / "nnexp").iterdir()
    with closing(sqlite3.connect(kept)) as database:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        filled = {name for name in tables if database.execute(f"SELECT count(*) FROM {name}").fetchone() != (0,)}  # noqa: S608
    assert filled == {"alembic_version", "workspaces"}
    assert str(tmp_path).encode() not in kept.read_bytes()


@pytest.mark.parametrize(
    "damage", sample(["truncated", "no database", "not writable", "no home"], 1, "caches that cannot be used")
)
def test_cache_that_cannot_be_used_is_ignored(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    """The database is then created by MLflow's migrations."""
    file = new_database._cached()
    assert file is not None
    if damage == "not writable":
        cache.write_text("a file where the directory should be")
    elif damage == "no home":
        monkeypatch.delenv("XDG_CACHE_HOME")
        monkeypatch.setattr(Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("no home directory")))
    else:
        Tracking(f"sqlite:///{tmp_path}/first.db")
        content = file.read_bytes()
        file.write_bytes(content[: len(content) // 2] if damage == "truncated" else b"no database" * 100)
    assert Tracking(f"sqlite:///{tmp_path}/mlflow.db").sweeps() == []
