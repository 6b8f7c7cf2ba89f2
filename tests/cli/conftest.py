"""Every test of the command line works in an empty directory, with the default stores."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from tests.helpers.command_line import STORES


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory; no variable chooses a store, and stdin is not a terminal."""
    for variable in STORES:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.setattr("sys.stdin", io.StringIO())
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))  # a worker's heartbeat file is there
    monkeypatch.chdir(tmp_path)
    return tmp_path
