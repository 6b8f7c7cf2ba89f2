"""MLflow's own server, started and stopped for `nnexp ui`. MLflow runs in another process and is not imported here."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.request
import webbrowser
from collections.abc import Callable, Iterator
from typing import IO

from tenacity import RetryError, Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from nnexp._redact import redact
from nnexp.errors import StoreError, UsageError
from nnexp.tracking.address import is_missing

_GRACE = 10.0  # seconds between SIGTERM and SIGKILL


def serve_ui(
    tracking_uri: str,
    announce: Callable[[str], None],
    *,
    page: str = "",
    host: str = "127.0.0.1",
    port: int = 5000,
    allowed_hosts: str | None = None,
    open_browser: bool | None = None,
) -> None:
    """Show a tracking store in MLflow's UI until a signal ends it (an exception raised by its handler passes through).

    Args:
        tracking_uri: a database, for which a server is started; a server's address is only announced.
        announce: receives the page's address once the server answers.
        page: the page of the UI, such as ``#/experiments/1``.
        host: the address to listen on; by default only this machine can connect.
        port: the port to listen on; 0 for any free one.
        allowed_hosts: Host headers to accept besides local ones, in MLflow's notation.
        open_browser: whether to open a browser; None opens one if there is a display.

    Raises:
        UsageError: the port is in use.
        StoreError: the server does not start, or ends unexpectedly.
    """
    if tracking_uri.startswith("http"):
        _show(f"{redact(tracking_uri).rstrip('/')}/{page}", announce, open_browser)
        return
    with running(tracking_uri, host=host, port=port, allowed_hosts=allowed_hosts) as (address, process, log):
        _show(f"{address}/{page}", announce, open_browser)
        process.wait()
        raise StoreError(f"the MLflow server ended unexpectedly ({_last_line(log)})")


@contextlib.contextmanager
def running(
    tracking_uri: str,
    *,
    host: str = "127.0.0.1",
    port: int = 5000,
    allowed_hosts: str | None = None,
    timeout: float = 180,
) -> Iterator[tuple[str, subprocess.Popen[bytes], IO[bytes]]]:
    """A server on a database, from its first answer to the end of the block; yields address, process and log."""
    port = _claim(host, port)
    if is_missing(tracking_uri):  # the server, if killed meanwhile, would leave the database incomplete
        from nnexp.tracking.client import open_client

        open_client(tracking_uri)
    command = [sys.executable, "-m", "mlflow", "server", "--host", host, "--port", str(port), "--workers", "1"]
    if allowed_hosts:
        command += ["--allowed-hosts", allowed_hosts]
    # The address is passed in the environment: every user of the machine can read a process's arguments.
    environment = os.environ | {"MLFLOW_BACKEND_STORE_URI": tracking_uri, "MLFLOW_REGISTRY_STORE_URI": tracking_uri}
    environment.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    # Otherwise the server starts eight more processes, which evaluate GenAI traces.
    environment.setdefault("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")
    environment.pop("MLFLOW_TRACKING_URI", None)
    shown = "localhost" if host in ("127.0.0.1", "0.0.0.0", "::") else host  # noqa: S104  compared, not bound
    address = f"http://{shown}:{port}"
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(  # noqa: S603  our own interpreter, no shell
            command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
        try:
            _await_answer(f"http://{'127.0.0.1' if shown == 'localhost' else host}:{port}", process, log, timeout)
            yield address, process, log
        finally:
            _stop(process)


def _claim(host: str, port: int) -> int:
    """The port, or a free one for 0.

    Raises:
        UsageError: another process listens there.
    """
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            return int(probe.getsockname()[1])
    except OSError as error:
        raise UsageError(f"--port {port} on {host}: {error.strerror}; choose another, or 0 for any free one") from None


def _await_answer(address: str, process: subprocess.Popen[bytes], log: IO[bytes], timeout: float) -> None:
    def ask() -> None:
        if process.poll() is not None:
            raise StoreError(f"the MLflow server did not start ({_last_line(log)})")
        urllib.request.urlopen(f"{address}/health", timeout=5).close()  # noqa: S310  http, and our own server

    try:
        Retrying(retry=retry_if_exception_type(OSError), stop=stop_after_delay(timeout), wait=wait_fixed(0.1))(ask)
    except RetryError:
        raise StoreError(f"the MLflow server did not answer within {timeout:.0f} s ({_last_line(log)})") from None


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the server and its worker processes, which are one process group."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE)
    process.wait()


def _last_line(log: IO[bytes]) -> str:
    log.seek(0)
    lines = [line.strip() for line in log.read().decode(errors="replace").splitlines() if line.strip()]
    return redact(lines[-1])[:300] if lines else "its log is empty"


def _show(address: str, announce: Callable[[str], None], open_browser: bool | None) -> None:
    announce(address)
    if open_browser is None:
        open_browser = sys.platform in ("darwin", "win32") or bool(
            os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
        )
    if open_browser:
        webbrowser.open(address)
