"""Stores that many tests share: opening a database and starting a server are slow, sweeps of other names are apart."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.helpers.postgresql import Server, running
from tests.helpers.servers import mlflow_server

if TYPE_CHECKING:
    from nnexp.tracking.outbox import Outbox
    from nnexp.tracking.store import Tracking

STORES = [
    "embedded",
    pytest.param("server", marks=pytest.mark.slow),
    pytest.param("postgresql", marks=[pytest.mark.slow, pytest.mark.postgresql]),
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of many minutes, or of a browser, are for the long mode; a short run shows them as skipped."""
    if os.environ.get("NNEXP_LONG") == "1":
        return
    for item in items:
        if "long" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="long mode only: set NNEXP_LONG=1"))


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Server]:
    """A PostgreSQL server that all tests of the session share."""
    with running() as server:
        yield server


@pytest.fixture(scope="session", params=STORES)
def tracking_store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an embedded database, of `mlflow server` on SQLite, and of one on PostgreSQL."""
    directory = tmp_path_factory.mktemp(request.param)
    if request.param == "embedded":
        yield f"sqlite:///{directory}/mlflow.db"
    elif request.param == "server":
        with mlflow_server(f"sqlite:///{directory}/mlflow.db", directory) as server:
            yield server.uri
    else:
        database = request.getfixturevalue("postgresql").database()
        with mlflow_server(database, directory) as server:
            yield server.uri


@pytest.fixture(scope="session")
def tracking(tracking_store: str) -> Tracking:
    """The store, opened."""
    from nnexp.tracking.store import Tracking  # late: other tests' start stays light

    return Tracking(tracking_store)


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A sweep name of the test's own."""
    return str(request.node.name)


@pytest.fixture
def outbox(tmp_path: Path) -> Outbox:
    """An empty one."""
    from nnexp.tracking.outbox import Outbox

    return Outbox(tmp_path / "spool")
