"""The tracking store's contract, held by an embedded database, by `mlflow server`, and by one on PostgreSQL.

Its sweeps and trials have files of their own; here is what concerns both, and stores that cannot be opened.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from nnexp.errors import NotFoundError, StoreError, UnreachableError, UsageError
from nnexp.tracking.outbox import Spool
from nnexp.tracking.store import Tracking
from tests.helpers.finished_trials import spooled
from tests.helpers.servers import free_port


def test_truth_table_is_a_dataset(tracking: Tracking, name: str) -> None:
    """The parent's dataset has a digest that depends on the targets."""
    sweep = tracking.ensure_sweep(name, text="", note="")
    rows = [[0, 0], [0, 1], [1, 0], [1, 1]]
    tracking.log_dataset(sweep.run_id, "xnor", rows, [1, 0, 0, 1])
    tracking.log_dataset(sweep.run_id, "xnor", rows, [1, 0, 0, 1])
    (logged,) = tracking.client.get_run(sweep.run_id).inputs.dataset_inputs
    assert logged.dataset.name == "xnor truth table"
    tracking.log_dataset(sweep.run_id, "xnor", rows, [0, 1, 1, 0])
    digests = {one.dataset.digest for one in tracking.client.get_run(sweep.run_id).inputs.dataset_inputs}
    assert len(digests) == 2


def test_what_is_missing_is_named(tracking: Tracking, name: str) -> None:
    """Sweeps, runs, trials and artifacts that are not there."""
    sweep = tracking.ensure_sweep(name, text="", note="")
    with pytest.raises(NotFoundError, match="did you mean"):
        tracking.sweep(name + "x")
    with pytest.raises(NotFoundError, match="no trial 9"):
        tracking.run(f"{name}#9")
    with pytest.raises(NotFoundError):
        tracking.run("0" * 32)
    with pytest.raises(NotFoundError, match="not a trial's run"):
        tracking.run(sweep.run_id)
    with pytest.raises(NotFoundError, match=r"no artifact 'networks\.parquet'"):
        tracking.networks(sweep.run_id)


def test_active_run_and_environment_have_no_say(
    tracking: Tracking, name: str, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A MLFLOW_RUN_ID or MLFLOW_EXPERIMENT_NAME in the environment redirects nothing."""
    monkeypatch.setenv("MLFLOW_RUN_ID", "0" * 32)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "elsewhere")
    sweep = tracking.ensure_sweep(name, text="", note="")
    tracking.deliver(spooled(spool, 0, sweep=name), sweep, fresh=True)
    assert len(tracking.client.search_runs([sweep.experiment_id])) == 2


def test_tags_are_set_in_one_call(tracking: Tracking, name: str, spool: Spool) -> None:
    """Marks such as `best` reach a child that has ended."""
    sweep = tracking.ensure_sweep(name, text="", note="")
    run_id = tracking.deliver(spooled(spool, 0, sweep=name), sweep, fresh=True)
    tracking.set_tags(run_id, {"best": "1", "objective": "0.31"})
    assert tracking.run(run_id).tags["objective"] == "0.31"
    assert tracking.run(run_id).status == "FINISHED"


# Of no store in particular


@pytest.mark.parametrize("uri", ["mlruns", "ftp://host/x", "file:///tmp/mlruns", ""])
def test_address_of_no_store_is_a_usage_error(uri: str) -> None:
    """The message says what was expected."""
    with pytest.raises(UsageError, match="expected sqlite:///FILE"):
        Tracking(uri)


@pytest.mark.parametrize("uri", ["postgresql://me:hush-hush/x", "mysql://me:x@h:hush-hush/y"])
def test_port_that_is_no_number_is_a_usage_error(uri: str) -> None:
    """What stands there may be a password whose host was forgotten: it is not shown."""
    with pytest.raises(UsageError, match=r"SCHEME://USER:PASSWORD@HOST:PORT/DATABASE") as caught:
        Tracking(uri)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    ("uri", "missing", "mend"),
    [
        ("postgresql://u:hush-hush@127.0.0.1:1/db", "psycopg", "pip install 'nnexp[postgresql]'"),
        ("postgresql+pg8000://u:hush-hush@127.0.0.1:1/db", "pg8000", "install what holds the Python module pg8000"),
        ("mysql://u:hush-hush@127.0.0.1/db", "MySQLdb", "install what holds the Python module MySQLdb"),
    ],
)
def test_driver_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, uri: str, missing: str, mend: str) -> None:
    """One line with its mend."""
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(StoreError) as caught:
        Tracking(uri)
    assert mend in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "hush" not in str(caught.value)


def test_database_that_cannot_be_opened(tmp_path: Path) -> None:
    """A file that is no database is a StoreError of one line."""
    (tmp_path / "mlflow.db").write_text("no database " * 100)
    with pytest.raises(StoreError) as caught:
        Tracking(f"sqlite:///{tmp_path}/mlflow.db")
    assert "\n" not in str(caught.value)
    assert "mlflow.db" in str(caught.value)


def test_server_that_is_away_is_told_at_once_without_its_password() -> None:
    """No minutes of silent retries, and no secret in the message."""
    tracking = Tracking(f"http://me:hush-hush@127.0.0.1:{free_port()}")
    with pytest.raises(UnreachableError, match="connection refused") as caught:
        tracking.sweeps()
    assert "hush" not in str(caught.value)
    with pytest.raises(UnreachableError, match=r"^http://me:\*\*\*@127.0.0.1:\d+: connection refused; check"):
        tracking.find_sweep("a long name " * 20)


def test_artifacts_lie_beside_a_database_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is written to the working directory when the database is in another."""
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    tracking = Tracking(f"sqlite:///{tmp_path}/there/mlflow.db")
    sweep = tracking.ensure_sweep("xnor", text="a = 1", note="")
    tracking.deliver(spooled(Spool(tmp_path / "spool"), 0), sweep, fresh=True)
    assert list((tmp_path / "here").iterdir()) == []
    assert list((tmp_path / "there" / "mlruns").rglob("sweep.toml"))


def test_first_use_by_two_processes(tmp_path: Path) -> None:
    """Two processes that bring a new database into being at once both get to use it."""
    code = "import sys; from nnexp.tracking import *; print(Tracking(sys.argv[1]).ensure_sweep('x', text='', note=''))"
    command = [sys.executable, "-c", code, f"sqlite:///{tmp_path}/mlflow.db"]
    pair = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    out = [process.communicate(timeout=120) for process in pair]
    assert [process.returncode for process in pair] == [0, 0], out
    assert out[0][0] == out[1][0]
