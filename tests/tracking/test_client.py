"""Opening a tracking store: wrong addresses, two processes at once, and what it leaves alone in a user's process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from nnexp.errors import StoreError, UsageError
from nnexp.tracking.store import Tracking


@pytest.mark.parametrize("uri", ["mlruns", "ftp://host/x", "file:///tmp/mlruns", ""])
def test_address_of_no_store_is_a_usage_error(uri: str) -> None:
    """The message says what was expected."""
    with pytest.raises(UsageError, match="expected sqlite:///FILE"):
        Tracking(uri)


def test_file_that_is_not_a_database_is_a_store_error(tmp_path: Path) -> None:
    """One line that names the file."""
    (tmp_path / "mlflow.db").write_text("no database " * 100)
    with pytest.raises(StoreError) as caught:
        Tracking(f"sqlite:///{tmp_path}/mlflow.db")
    assert "\n" not in str(caught.value)
    assert "mlflow.db" in str(caught.value)


def test_first_use_by_two_processes(tmp_path: Path) -> None:
    """Two processes that create a new database at once can both use it."""
    code = "import sys; from nnexp.tracking import *; print(Tracking(sys.argv[1]).ensure_sweep('x', text='', note=''))"
    command = [sys.executable, "-c", code, f"sqlite:///{tmp_path}/mlflow.db"]
    pair = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    out = [process.communicate(timeout=120) for process in pair]
    assert [process.returncode for process in pair] == [0, 0], out
    assert out[0][0] == out[1][0]
    assert [error for _, error in out] == ["", ""]


def test_import_and_use_leave_a_users_process_as_it_was(tmp_path: Path) -> None:
    """The import sets one variable, opening a store those that are not set, and neither changes a log level."""
    code = """
import logging, os, sys
import mlflow
def levels():
    return {name: logging.getLogger(name).level for name in ("", "mlflow", "mlflow.store.db.utils", "alembic")}
before, loggers = dict(os.environ), levels()
from nnexp.tracking.store import Tracking
print(sorted(set(os.environ.items()) - set(before.items())))
Tracking(sys.argv[1]).sweeps()
assert levels() == loggers
print(os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"], os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"])
"""
    done = subprocess.run(
        [sys.executable, "-c", code, f"sqlite:///{tmp_path}/mlflow.db"],
        env={"PATH": "", "MLFLOW_HTTP_REQUEST_TIMEOUT": "7", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.stdout.splitlines() == ["[('MLFLOW_DISABLE_TELEMETRY', 'true')]", "0 7"], done.stderr
