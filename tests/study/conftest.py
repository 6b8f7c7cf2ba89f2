"""Study stores of every kind, opened several times as several processes would."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nnexp.study import Store, SweepStudy, Worker, open_storage
from tests.helpers.postgresql import Server
from tests.helpers.sampling import sample

#: The embedded store always; in the gate each test takes one of the others.
OTHERS = ("sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql))


@pytest.fixture(scope="session")
def empty_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite store without studies; copying it takes a tenth of the time of creating the tables."""
    path = tmp_path_factory.mktemp("study") / "empty.db"
    open_storage(f"sqlite:///{path}").close()
    return path


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every test of a store is one over each kind of store, unless it says which."""
    says = any("url" in mark.args[0] for mark in metafunc.definition.iter_markers("parametrize"))
    if "url" in metafunc.fixturenames and not says:
        kinds = ["journal", *sample(OTHERS, 1, metafunc.function.__name__)]
        metafunc.parametrize("url", kinds, indirect=True)


@pytest.fixture
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a new study store."""
    if request.param == "postgresql":
        server: Server = request.getfixturevalue("postgresql")
        return server.schema()
    if request.param == "journal":
        return str(tmp_path / "nnexp.journal")
    shutil.copy(request.getfixturevalue("empty_sqlite"), tmp_path / "study.db")
    return f"sqlite:///{tmp_path / 'study.db'}"


@pytest.fixture
def another(url: str) -> Iterator[Callable[[], Store]]:
    """A function that opens the store once more, as another process would."""
    with contextlib.ExitStack() as stack:
        yield lambda: stack.enter_context(open_storage(url))


@pytest.fixture
def store(another: Callable[[], Store]) -> Store:
    """The opened store."""
    return another()


@pytest.fixture
def joined(another: Callable[[], Store]) -> Callable[[], Worker]:
    """A function that joins the sweep as a worker of another process would, with a store of its own."""
    return lambda: Worker.join(SweepStudy.open(another(), "s"))
