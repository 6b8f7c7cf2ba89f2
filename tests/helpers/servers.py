"""`mlflow server` for tests: on a free loopback port, stopped at the end."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.helpers.sampling import sample

#: Parameters: `mlflow server` on SQLite, and on PostgreSQL; the gate takes one of them. Tests that share a server are
#: one group of pytest-xdist, since each of its processes would start its own.
SHARED = pytest.mark.xdist_group("tracking-server")
SERVERS = sample(
    [
        pytest.param("server", marks=[pytest.mark.slow, SHARED]),
        pytest.param("postgresql", marks=[pytest.mark.slow, pytest.mark.postgresql, SHARED]),
    ],
    1,
    "tracking server",
)


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
