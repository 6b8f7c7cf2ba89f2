"""Fixtures: study stores of every kind, opened as several processes would; use by ``pytest_plugins``."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nnexp.study import Store, SweepStudy, Worker, open_storage
from tests.helpers.postgresql import Server, running

KINDS = ("journal", "sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql))


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Server]:
    """A PostgreSQL server, shared by the session's tests."""
    with running() as server:
        yield server


@pytest.fixture(params=KINDS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where the study store is."""
    if request.param == "postgresql":
        server: Server = request.getfixturevalue("postgresql")
        return server.schema()
    return str(tmp_path / "nnexp.journal") if request.param == "journal" else f"sqlite:///{tmp_path / 'study.db'}"


@pytest.fixture
def another(url: str) -> Iterator[Callable[[], Store]]:
    """Opens the store once more, as another process would."""
    with contextlib.ExitStack() as stack:
        yield lambda: stack.enter_context(open_storage(url))


@pytest.fixture
def store(another: Callable[[], Store]) -> Store:
    """The opened store."""
    return another()


@pytest.fixture
def joined(another: Callable[[], Store]) -> Callable[[], Worker]:
    """A worker with a store of its own, as another process would have."""
    return lambda: SweepStudy.open(another(), "s").join()
