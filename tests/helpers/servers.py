"""Real servers for tests: `mlflow server` and PostgreSQL, each on a free loopback port and stopped at the end."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class MlflowServer:
    """`mlflow server` on a database, its artifacts proxied from a directory; it can be killed and started again."""

    database: str
    directory: Path
    port: int = field(default_factory=free_port)
    options: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    @property
    def uri(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def start(self, timeout: float = 300) -> None:
        """Start it and wait until it answers."""
        self.directory.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--workers", "1", "--artifacts-destination", str(self.directory / "artifacts"), *self.options]
        environment = os.environ | {"MLFLOW_BACKEND_STORE_URI": self.database, "MLFLOW_DISABLE_TELEMETRY": "true"}
        environment["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"  # eight more processes, which no test needs
        with (self.directory / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                command,
                env=environment | dict(self.environment),
                cwd=self.directory,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.uri}/health", timeout=2) as answer:  # noqa: S310
                if answer.status == 200:
                    return
            assert self.process.poll() is None, (self.directory / "server.log").read_text()[-2000:]
            time.sleep(0.2)
        raise AssertionError(f"mlflow server did not answer within {timeout} s")

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """End the server and its workers."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)
            self.process.wait(30)
            self.process = None


@contextlib.contextmanager
def mlflow_server(database: str, directory: Path, **more: object) -> Iterator[MlflowServer]:
    """A started server, killed at the end."""
    server = MlflowServer(database, directory, **more)  # type: ignore[arg-type]
    try:
        server.start()
        yield server
    finally:
        server.kill()


def postgresql_programs() -> Path | None:
    """The directory of initdb and pg_ctl, or None."""
    if found := shutil.which("initdb"):
        return Path(found).parent
    newest = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]), reverse=True
    )
    return newest[0].parent if newest else None


@contextlib.contextmanager
def postgresql() -> Iterator[str]:
    """A PostgreSQL server in a new directory; yields the address of its database `postgres`, with a password."""
    programs = postgresql_programs()
    if programs is None:
        pytest.skip("PostgreSQL's initdb is not on this machine")
    as_user: list[str] = []
    # Not in pytest's own directories: another session of the same user closes those to everyone else.
    home = Path(tempfile.mkdtemp(prefix="nnexp-postgresql-"))
    if os.geteuid() == 0:  # the server refuses to run as root
        if shutil.which("runuser") is None or subprocess.run(["id", "postgres"], capture_output=True).returncode:
            pytest.skip("PostgreSQL refuses to run as root, and there is no user postgres")
        as_user = ["runuser", "-u", "postgres", "--"]
        shutil.chown(home, "postgres")
    port, password = free_port(), "pg-S3cret-word"
    secret = home / "password"
    secret.write_text(password)
    secret.chmod(0o644)
    data = home / "data"
    quiet = {"capture_output": True, "check": True, "cwd": "/"}
    subprocess.run(
        [*as_user, programs / "initdb", "-D", data, "-A", "md5", "-U", "postgres", "--pwfile", secret], **quiet
    )
    options = f"-p {port} -k {home} -c listen_addresses=127.0.0.1 -c fsync=off"
    start = [programs / "pg_ctl", "-D", data, "-w", "-l", home / "log", "-o", options, "start"]
    subprocess.run([*as_user, *start], check=True, cwd="/", stdout=subprocess.DEVNULL)
    try:
        yield f"postgresql://postgres:{password}@127.0.0.1:{port}/postgres"
    finally:
        subprocess.run([*as_user, programs / "pg_ctl", "-D", data, "-m", "immediate", "stop"], **quiet)
        shutil.rmtree(home, ignore_errors=True)
