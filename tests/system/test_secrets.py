"""Secrets are in nothing that a sweep leaves behind or shows while it runs, whether it ends well or not.

The sweeps are real: Optuna's study in PostgreSQL behind a password, MLflow's server behind basic auth.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from nnexp.tracking.spool import Spool
from tests.helpers.postgresql import running
from tests.helpers.servers import MlflowServer

pytest.importorskip("flask_wtf", reason="MLflow's basic auth needs its extra `auth`")

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.postgresql, pytest.mark.xdist_group("secrets")]

ROOT = Path(__file__).parents[2]
USER, PASSWORD, TOKEN = "reviewer", "tr4cking-hush-hush", "t0ken-hush-hush"
STORAGE_PASSWORD = "pg-S3cret-word"  # noqa: S105
WRONG = ("wr0ng-tracking-word", "wr0ng-storage-word")
SECRETS = [word.encode() for word in (PASSWORD, TOKEN, STORAGE_PASSWORD, *WRONG)]
SMALL = """
name = "{name}"
task = "xnor"
trials = {trials}
seeds = 16
epochs = 40
sampler = "random"
batch = 2
[space]
hidden_size = [2, 3]
learning_rate = {{ low = 1.0, high = 10.0 }}
"""


@pytest.fixture(scope="module")
def storage() -> Iterator[str]:
    """A study store behind a password."""
    with running(password=STORAGE_PASSWORD) as database:
        address = database.database()
        assert STORAGE_PASSWORD in address
        yield address


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    """MLflow's server that wants a name and a password, with proxied artifacts."""
    directory = tmp_path_factory.mktemp("server")
    users = tmp_path_factory.mktemp("users")  # the server's own secrets, which are no sweep's
    (users / "auth.ini").write_text(
        "[mlflow]\ndefault_permission = READ\n"
        f"database_uri = sqlite:///{users}/users.db\nadmin_username = {USER}\nadmin_password = {PASSWORD}\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
        "auth_cache_ttl_seconds = 600\n"  # else every request hashes the password anew, for a third of a second
    )
    environment = {"MLFLOW_AUTH_CONFIG_PATH": f"{users}/auth.ini", "MLFLOW_FLASK_SERVER_SECRET_KEY": "k3y-hush-hush"}
    started = MlflowServer(
        f"sqlite:///{directory}/mlflow.db", directory, options=("--app-name", "basic-auth"), environment=environment
    )
    try:
        started.start()
        yield started
    finally:
        started.kill()


class Sweep:
    """A command line at work in a directory of its own, its processes' titles watched from first to last.

    The addresses come by the environment, as a batch job's secrets do: a command line is its user's own to show.
    """

    def __init__(self, directory: Path, *args: str, name: str, trials: int, **environment: str) -> None:
        self.directory = directory
        directory.mkdir()
        (directory / "sweep.toml").write_text(SMALL.format(name=name, trials=trials))
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW_", "NNEXP_"))}
        with (directory / "stdout").open("wb") as out, (directory / "stderr").open("wb") as error:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "nnexp", "sweep", "sweep.toml", "--jobs", "2", *args],
                cwd=directory,
                env={**inherited, "PYTHONPATH": str(ROOT), "MLFLOW_DISABLE_TELEMETRY": "true", **environment},
                stdout=out,
                stderr=error,
            )
        self.titles: set[str] = set()
        self._watcher = threading.Thread(target=self._watch)
        self._watcher.start()

    def _watch(self) -> None:
        family = psutil.Process(self.process.pid)
        while self.process.poll() is None:
            try:
                for one in (family, *family.children(recursive=True)):
                    self.titles.add(" ".join(one.cmdline()) + one.name())
            except psutil.Error:
                continue  # one that has just ended
            time.sleep(0.05)

    def end(self) -> int:
        """Its exit status."""
        try:
            return self.process.wait(420)
        finally:
            self.process.kill()
            self._watcher.join()

    @property
    def told(self) -> str:
        """What it wrote to standard error."""
        return (self.directory / "stderr").read_text()


def found(*places: Path) -> list[tuple[str, str]]:
    """Every file below the places that holds a secret, in its name or its bytes, and the secret."""
    held = []
    for place in places:
        for path in place.rglob("*"):
            content = path.read_bytes() if path.is_file() else b""
            held += [(str(path), word.decode()) for word in SECRETS if word in content or word in path.name.encode()]
    return held


def rows(address: str) -> str:
    """Every row of every table of a PostgreSQL database."""
    with psycopg.connect(address) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        read: list[Any] = [connection.execute(f'SELECT t::text FROM "{name}" t').fetchall() for (name,) in tables]  # noqa: S608
    return repr(read)


def assert_nothing_shows(sweep: Sweep, server: MlflowServer, storage: str) -> None:
    """In no file, no row and no process title; and the places looked at do hold what the sweep left."""
    assert any("nnexp" in title for title in sweep.titles)
    assert [title for title in sweep.titles if any(word.decode() in title for word in SECRETS)] == []
    assert found(sweep.directory, server.directory) == []
    left = rows(storage)
    assert [word for word in SECRETS if word.decode() in left] == []


def in_url(server: MlflowServer, password: str = PASSWORD) -> str:
    """The server's address with a name and a password."""
    return server.uri.replace("//", f"//{USER}:{password}@")


def test_grep_finds_what_is_there(tmp_path: Path) -> None:
    """The search itself: a secret in binary content, and in a name."""
    (tmp_path / "data").write_bytes(b"\x00\xff" + SECRETS[0] + b"\x00")
    (tmp_path / TOKEN).mkdir()
    assert {word for _, word in found(tmp_path)} == {PASSWORD, TOKEN}


@pytest.mark.parametrize("way", ["url", "environment"])
def test_sweep_that_ends_well(tmp_path: Path, server: MlflowServer, storage: str, way: str) -> None:
    """The whole sweep over basic auth, its artifacts by the server, and not a word of the passwords."""
    signed = (
        {"MLFLOW_TRACKING_URI": in_url(server), "MLFLOW_TRACKING_TOKEN": TOKEN}
        if way == "url"
        else {
            "MLFLOW_TRACKING_URI": server.uri,
            "MLFLOW_TRACKING_USERNAME": USER,
            "MLFLOW_TRACKING_PASSWORD": PASSWORD,
        }
    )
    name = f"good-{way}"
    sweep = Sweep(tmp_path / "sweep", name=name, trials=4, NNEXP_STORAGE=storage, **signed)
    assert sweep.end() == 0, sweep.told
    assert name in rows(storage)
    assert len(list(server.directory.rglob("networks.parquet"))) >= 4
    assert list(server.directory.rglob("report.html"))
    assert_nothing_shows(sweep, server, storage)


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("wrong", ["tracking", "storage", "token"])
def test_wrong_password_is_reported_in_one_line(
    tmp_path: Path, server: MlflowServer, storage: str, wrong: str, debug: bool
) -> None:
    """It says what is refused and what to set, and shows no password, not even in the traceback of ``--debug``."""
    addresses = {
        "MLFLOW_TRACKING_URI": in_url(server, WRONG[0] if wrong == "tracking" else PASSWORD),
        "NNEXP_STORAGE": storage.replace(STORAGE_PASSWORD, WRONG[1]) if wrong == "storage" else storage,
    }
    if wrong == "token":
        addresses |= {"MLFLOW_TRACKING_URI": server.uri, "MLFLOW_TRACKING_TOKEN": TOKEN}
    flags = ["--debug"] if debug else []
    sweep = Sweep(tmp_path / "sweep", *flags, name=f"bad-{wrong}", trials=4, **addresses)
    assert sweep.end() == 1, sweep.told
    if not debug:
        assert sweep.told.count("\n") == 1, sweep.told
        mend = "password authentication failed" if wrong == "storage" else "MLFLOW_TRACKING_PASSWORD"
        assert mend in sweep.told, sweep.told
    assert_nothing_shows(sweep, server, storage)


def test_sweep_that_loses_its_server(tmp_path: Path, server: MlflowServer, storage: str) -> None:
    """Interrupted while its trials wait in the spool: nothing of it there, either."""
    signed = {"MLFLOW_TRACKING_URI": in_url(server), "NNEXP_STORAGE": storage}
    sweep = Sweep(tmp_path / "sweep", name="lost", trials=2000, **signed)
    spool = Spool(sweep.directory / "nnexp-spool")
    deadline = time.monotonic() + 120
    while not spool.entries("lost") and time.monotonic() < deadline:
        time.sleep(0.05)
    server.kill()
    while "wait in the spool" not in sweep.told and time.monotonic() < deadline:
        time.sleep(0.05)
    sweep.process.terminate()
    assert sweep.end() == 143, sweep.told
    assert spool.entries("lost")
    assert_nothing_shows(sweep, server, storage)
