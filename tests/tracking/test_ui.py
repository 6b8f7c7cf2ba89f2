"""The server of `nnexp ui`: it answers, shows no secret, and leaves no process behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import psutil
import pytest

from nnexp.errors import StoreError, UsageError
from nnexp.tracking import ui
from tests.helpers.sampling import sample


@pytest.mark.slow
def test_server_answers_until_the_end_of_the_block(tmp_path: Path) -> None:
    """On a free port; no argument of its processes contains the store's address; all of its processes end."""
    with ui.running(f"sqlite:///{tmp_path}/mlflow-secret.db", port=0) as (address, process, _):
        assert address.startswith("http://localhost:")
        with urllib.request.urlopen(f"{address}/health") as answer:  # noqa: S310  our own
            assert answer.read() == b"OK"
        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        assert not [one for one in family if "mlflow-secret" in " ".join(one.cmdline())]
    assert not [one for one in family if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "status"), sample([(signal.SIGINT, 130), (signal.SIGTERM, 143)], 1, "signals to the UI")
)
def test_ui_command_prints_its_page_and_ends_by_a_signal(tmp_path: Path, number: signal.Signals, status: int) -> None:
    """`nnexp ui` prints the address once it answers; the signal ends it and its server."""
    environment = {key: value for key, value in os.environ.items() if key not in ("DISPLAY", "WAYLAND_DISPLAY")}
    command = [sys.executable, "-m", "nnexp", "ui", "--port", "0", "--tracking-uri", f"sqlite:///{tmp_path}/mlflow.db"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd=tmp_path
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert "http://localhost:" in line, process.communicate()
        family = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(number)
        assert process.wait(60) == status
    assert not [one for one in family if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]


def test_taken_port_is_a_usage_error(tmp_path: Path) -> None:
    """It names the port and says what to do, and nothing is started."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with (
            pytest.raises(UsageError, match=f"--port {port} on 127.0.0.1: .*choose another"),
            ui.running(f"sqlite:///{tmp_path}/mlflow.db", port=port),
        ):
            pass


def test_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    """The last line of its log, without a password."""
    before = time.monotonic()
    with (
        pytest.raises(StoreError, match="MLflow server did not start") as caught,
        ui.running("nosuch://user:hush-hush@host/x", port=0),
    ):
        pass
    assert time.monotonic() - before < 120
    assert "hush" not in str(caught.value)


def test_remote_server_is_only_announced() -> None:
    """The address of a server needs no second server; its password is not shown."""
    seen: list[str] = []
    ui.serve_ui("http://me:hush-hush@host:5000/", seen.append, page="#/experiments/3", open_browser=False)
    assert seen == ["http://me:***@host:5000/#/experiments/3"]
