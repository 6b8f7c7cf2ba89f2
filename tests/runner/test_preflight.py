"""Everything that would fail later is reported before the first trial, in one line that says what to do."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from nnexp.errors import StoreError
from nnexp.runner import preflight
from nnexp.stores import Stores
from nnexp.tracking.store import Tracking
from tests.helpers import small_sweeps
from tests.helpers.servers import free_port


@pytest.fixture
def stores(tmp_path: Path) -> Stores:
    """Three stores that do not exist yet, which is no problem."""
    return Stores(f"sqlite:///{tmp_path}/mlflow.db", str(tmp_path / "nnexp.journal"), tmp_path / "spool")


@pytest.fixture
def made(tmp_path: Path) -> Stores:
    """The same with MLflow's tables in place."""
    return small_sweeps.stores(tmp_path)


def found(stores: Stores, sweep: str | None = None) -> list[str]:
    """The problems; each must be one line."""
    lines = preflight.problems(stores, sweep)
    assert all("\n" not in line for line in lines)
    return lines


def test_new_stores_and_a_running_sweep_are_no_problem(stores: Stores) -> None:
    """Neither before the first use, nor before a sweep continues; the sweep is not changed."""
    assert found(stores, "xnor") == []
    tracking = Tracking(stores.tracking_uri)
    run = tracking.ensure_sweep("xnor", text="trials = 1\n", note="")
    before = tracking.client.get_run(run.run_id).to_dictionary()
    assert found(stores, "xnor") == []
    assert tracking.client.get_run(run.run_id).to_dictionary() == before
    assert tracking.text(run.run_id, "sweep.toml") == "trials = 1\n"
    assert not stores.spool.exists()


def test_run_id_in_the_environment(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow's own override is refused."""
    monkeypatch.setenv("MLFLOW_RUN_ID", "abc")
    (line,) = found(stores)
    assert "MLFLOW_RUN_ID is set" in line
    assert "unset it" in line
    with pytest.raises(StoreError, match="unset it"):
        preflight.check(stores)


@pytest.mark.parametrize(
    ("tracking", "storage"),
    [
        ("sqlite:///same.db", "sqlite:///same.db"),
        ("sqlite:///same.db", "sqlite:///./same.db"),
        ("postgresql://a:secret@localhost/x", "postgresql+psycopg://b:other@127.0.0.1:5432/x"),
        ("postgresql://a:s/ec'r#e?t@h/x", "postgresql://b:ot/her@h/x?sslmode=require"),
        ("postgresql:///x?host=/run/a", "postgresql:///x?host=/run/a"),
        ("postgresql:///?service=mlflow", "postgresql:///?service=mlflow"),
    ],
)
def test_one_database_for_both(tmp_path: Path, tracking: str, storage: str) -> None:
    """However it is written, and without showing its password."""
    (line,) = found(Stores(tracking, storage, tmp_path))
    assert "are the same database" in line
    assert "name another database" in line
    assert "other" not in line.replace("another", "")


def test_server_that_does_not_answer(stores: Stores) -> None:
    """It is reported at once, with its address."""
    port = free_port()
    (line,) = found(Stores(f"http://127.0.0.1:{port}", stores.storage, stores.spool))
    assert f"127.0.0.1:{port}: connection refused" in line
    assert "check that the tracking store is up" in line


def test_database_server_that_does_not_answer(stores: Stores) -> None:
    """A PostgreSQL that does not answer is not tried for half an hour; its password stays hidden."""
    (line,) = found(Stores(f"postgresql://u:hush-hush@127.0.0.1:{free_port()}/x", stores.storage, stores.spool))
    assert "connection refused" in line
    assert "hush" not in line


def test_deleted_experiment(made: Stores) -> None:
    """It names the command that restores it."""
    tracking = Tracking(made.tracking_uri)
    tracking.client.delete_experiment(tracking.ensure_sweep("xnor", text="", note="").experiment_id)
    (line,) = found(made, "xnor")
    assert "mlflow experiments restore --experiment-id" in line


def test_schema_of_another_version(made: Stores, tmp_path: Path) -> None:
    """It names the upgrade."""
    copy = tmp_path / "old.db"
    copy.write_bytes((tmp_path / "mlflow.db").read_bytes())
    with sqlite3.connect(copy) as database:
        database.execute("UPDATE alembic_version SET version_num = '451aebb31d03'")
    database.close()
    (line,) = found(Stores(f"sqlite:///{copy}", made.storage, made.spool))
    assert "tables are of another MLflow version" in line
    assert "mlflow db upgrade sqlite:///" in line


def test_spool_that_cannot_be_written(stores: Stores) -> None:
    """Where finished trials would wait."""
    (line,) = found(Stores(stores.tracking_uri, stores.storage, Path("/proc/spool")))
    assert "spool /proc/spool: cannot be written" in line
    assert "NNEXP_SPOOL" in line


def test_artifacts_that_cannot_be_written(made: Stores) -> None:
    """A closed artifact store is found before the first trial, by the sweep's own file."""
    tracking = Tracking(made.tracking_uri)
    tracking.client.create_experiment("xnor", artifact_location="file:///proc/closed")
    with pytest.raises(StoreError, match="check the tracking store and its artifact store") as caught:
        tracking.ensure_sweep("xnor", text="a = 1", note="")
    assert "\n" not in str(caught.value)


def test_lost_sweep_file_is_written_again(made: Stores) -> None:
    """The next start restores a lost artifact of the parent run."""
    tracking = Tracking(made.tracking_uri)
    run = tracking.ensure_sweep("xnor", text="a = 1", note="")
    (Path(tracking.client.get_run(run.run_id).info.artifact_uri.removeprefix("file://")) / "sweep.toml").unlink()
    assert found(made, "xnor") == []
    tracking.ensure_sweep("xnor", text="a = 1", note="")
    assert tracking.text(run.run_id, "sweep.toml") == "a = 1"
