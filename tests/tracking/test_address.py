"""Addresses of databases: what is the same database, and where artifacts go."""

from __future__ import annotations

from pathlib import Path

import pytest

from nnexp.errors import UsageError
from nnexp.tracking import address


def test_databases_of_one_server_may_differ() -> None:
    """Two names or two ports are two databases; an MLflow server is not a database."""
    assert address.database("postgresql://h/a") != address.database("postgresql://h/b")
    assert address.database("postgresql://h:5433/a") != address.database("postgresql://h/a")
    assert address.database("http://127.0.0.1:5000") is None


@pytest.mark.parametrize(
    ("tracking", "storage"),
    [
        ("postgresql:///?service=mlflow", "postgresql:///?service=optuna"),
        ("postgresql://mlflow@db", "postgresql://optuna@db"),  # libpq's default is the user's name
        ("postgresql://db/mlflow?host=/a", "postgresql://db/mlflow?host=/b"),
        ("postgresql://db/x?dbname=mlflow", "postgresql://db/x?dbname=optuna"),
        ("postgresql://db/x?port=5433", "postgresql://db/x"),
        ("mysql://db/x?unix_socket=/a", "mysql://db/x?unix_socket=/b"),
        ("sqlite://", "sqlite:///:memory:"),
        ("postgresql://u:S3cret/word@h:no/x", "postgresql://u:S3cret/word@h:port/x"),
        ("no address://", "nor address://"),
    ],
)
def test_addresses_that_may_refer_to_two_databases_are_not_the_same(tracking: str, storage: str) -> None:
    """What the query or a default decides may be another database."""
    assert address.database(tracking) is None or address.database(storage) is None
    assert address.same_database(tracking, storage) is False


@pytest.mark.parametrize("uri", ["postgresql://me:hush-hush/x", "mysql://me:x@h:hush-hush/y"])
def test_port_that_is_not_a_number_is_a_usage_error(uri: str) -> None:
    """The port may be a password whose host was forgotten, so it is not shown."""
    with pytest.raises(UsageError, match=r"SCHEME://USER:PASSWORD@HOST:PORT/DATABASE") as caught:
        address.parse(uri)
    assert "hush" not in str(caught.value)


def test_artifacts_are_beside_a_database_in_another_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the working directory the choice is MLflow's own, as it is for servers."""
    monkeypatch.chdir(tmp_path)
    assert address.artifact_root("sqlite:///there/mlflow.db") == f"file://{tmp_path}/there/mlruns"
    assert address.artifact_root("sqlite:///mlflow.db") is None
    assert address.artifact_root("sqlite:///:memory:") is None
    assert address.artifact_root("http://127.0.0.1:5000") is None
