"""What many tests share: servers, which are slow to start, and the seed that chooses a run's samples."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

from tests.helpers.postgresql import Server, running
from tests.helpers.sampling import LONG, SEED
from tests.helpers.servers import SERVERS, mlflow_server

if TYPE_CHECKING:
    from nnexp.tracking.spool import Spool
    from nnexp.tracking.store import Tracking

# The tests start hundreds of Python processes: without bytecode files each of them compiles the package anew.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

hypothesis.settings.register_profile("gate", max_examples=40, deadline=None, database=None)
hypothesis.settings.register_profile(
    "long", max_examples=400, deadline=None, database=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("long" if LONG else "gate")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Hypothesis draws its examples from the run's seed as well."""
    if config.option.hypothesis_seed is None:
        config.option.hypothesis_seed = SEED


def pytest_sessionstart(session: pytest.Session) -> None:
    """Say the seed, also under ``-q``, which leaves out pytest's header."""
    if reporter := session.config.pluginmanager.get_plugin("terminalreporter"):
        mode = "long mode" if LONG else "samples only (NNEXP_LONG=1 runs everything)"
        reporter.write_line(f"seed {SEED}: NNEXP_TEST_SEED={SEED} repeats this run; {mode}")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests of many minutes, or of a browser, are for the long mode; a short run shows them as skipped."""
    for item in items:
        if "long" in item.keywords and not LONG:
            item.add_marker(pytest.mark.skip(reason="long mode only: set NNEXP_LONG=1"))
    if getattr(config.option, "loadgroup", False):  # this is a process of pytest-xdist
        if any("@" not in item.nodeid for item in items if "xdist_group" in item.keywords):
            raise pytest.UsageError("pytest-xdist does not see the groups: install the versions of constraints.txt")
        # Those that take long first: at the end no process waits for one of them.
        items.sort(key=lambda item: "slow" not in item.keywords)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Server]:
    """A PostgreSQL server that all tests of the session share."""
    with running() as server:
        yield server


@pytest.fixture(scope="session", params=["embedded", *SERVERS])
def tracking_store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an embedded database, or of a server (see `SERVERS`)."""
    directory = tmp_path_factory.mktemp(request.param)
    database = f"sqlite:///{directory}/mlflow.db"
    if request.param == "embedded":
        yield database
        return
    if request.param == "postgresql":
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
def spool(tmp_path: Path) -> Spool:
    """An empty one."""
    from nnexp.tracking.spool import Spool

    return Spool(tmp_path / "spool")


@pytest.fixture
def short_directory() -> Iterator[Path]:
    """An empty directory with a short path, for temporary files: the path of a socket in it has at most 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="nnexp-") as directory:
        yield Path(directory)
