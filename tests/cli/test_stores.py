"""The commands that read and write the stores, on one small sweep that is run for these tests."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from nnexp.search.sweep_file import starter
from tests.helpers import command_line
from tests.helpers.command_line import Ended, environment, program

SMALL = ("--set", "trials=4", "--set", "seeds=16", "--set", "epochs=40", "--jobs", "1", "--pool", "inline")

pytestmark = [pytest.mark.xdist_group("cli_stores")]


def called(*args: str, status: int = 0) -> Ended:
    """Run a command line in this process; its exit status must be ``status``."""
    ended = command_line.called(*args)
    assert ended.status == status, (args, ended.stdout[-2000:], ended.stderr[-2000:])
    return ended


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory in which a process ran a sweep called `small`."""
    directory = tmp_path_factory.mktemp("sweep")
    (directory / "small.toml").write_text(starter())
    done = program("sweep", "small.toml", "--name", "small", *SMALL, cwd=directory)
    assert done.returncode == 0, done.stderr
    assert "nnexp: 4/4 trials" in done.stderr
    assert "Settings, best first" in done.stdout
    return directory


@pytest.fixture(autouse=True)
def workplace(workplace: Path, swept: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """That directory as the working directory, with its own stores."""
    monkeypatch.chdir(swept)
    return swept


def test_running_a_finished_sweep_again_prints_its_summary() -> None:
    """No trial is left to train."""
    again = called("sweep", "small.toml", "--name", "small", *SMALL, "--json")
    assert json.loads(again.stdout)["counts"] == {"FINISHED": 4}


def test_a_changed_file_under_the_same_name_is_an_error() -> None:
    """The error names the keys that differ."""
    changed = ("sweep", "small.toml", "--name", "small", *SMALL, "--set", "space.init=normal", "--set", "seed=3")
    done = called(*changed, status=2)
    assert done.stderr.count("\n") == 1
    assert "space.init" in done.stderr
    assert "seed" in done.stderr


def test_the_summary_comes_in_every_format(workplace: Path) -> None:
    """To stdout, or to a file in the format of its ending."""
    assert "## Settings" in called("summarize", "small", "--format", "markdown").stdout
    assert len(called("summarize", "small", "--format", "csv").stdout.splitlines()) == 5
    assert json.loads(called("summarize", "small", "--json").stdout)["name"] == "small"
    called("summarize", "small", "--output", "small.parquet")
    assert len(pd.read_parquet(workplace / "small.parquet")) == 4
    assert called("summarize", "none", status=1).stderr.startswith("nnexp: error: ")


def test_status_shows_the_sweep() -> None:
    """All sweeps, or one."""
    assert "4/4" in called("status").stdout
    (found,) = json.loads(called("status", "small", "--json").stdout)
    assert (found["name"], found["finished"], found["budget"]) == ("small", 4, 4)
    called("status", "none", status=1)


def test_a_run_is_explained_and_replayed() -> None:
    """Found by the sweep's name and the trial's number."""
    facts = json.loads(called("show", "small#2", "--json").stdout)
    assert len(facts["rows"]) == 4
    assert "Hidden units" in called("show", "small#2", "--network", "3").stdout
    assert "identical" in called("replay", "small#2").stdout
    assert json.loads(called("replay", "small#2", "--json").stdout)["identical"] is True
    for command in ("show", "replay"):
        assert "9" in called(command, "small#9", status=1).stderr


def test_predict_takes_the_best_network_of_a_run() -> None:
    """The run is named by the sweep and the trial."""
    args = ("predict", "--model", "small#1", "--x", "0,1", "--x", "1,1", "--json")
    predictions = json.loads(called(*args).stdout)["predictions"]
    assert [line["x"] for line in predictions] == [[0, 1], [1, 1]]


def test_every_network_is_exported(workplace: Path) -> None:
    """One row per network, as Parquet or CSV."""
    assert called("export", "small").stdout == "small.parquet\n"
    assert len(pd.read_parquet(workplace / "small.parquet")) == 64
    called("export", "small", "--output", "small.csv")
    assert len(pd.read_csv(workplace / "small.csv")) == 64
    assert "small.txt" in called("export", "small", "--output", "small.txt", status=2).stderr


def test_runs_and_sweeps_are_compared() -> None:
    """Two runs, or two sweeps, but not one of each."""
    assert "solved" in called("compare", "small#0", "small#1").stdout
    assert len(json.loads(called("compare", "small", "small", "--json").stdout)["small against small"]) == 2
    called("compare", "small", "small#1", status=2)


def test_the_report_is_written_to_a_file(workplace: Path) -> None:
    """One HTML file, whose name is printed."""
    done = called("report", "small", "--output", "small.html", "--no-log")
    assert done.stdout.splitlines() == ["small.html"]
    assert "<html" in (workplace / "small.html").read_text()[:300]


def test_doctor_finds_nothing_wrong_with_sound_stores() -> None:
    """Exit status 0 and an empty list."""
    assert json.loads(called("doctor", "--json").stdout) == []


@pytest.mark.slow
@pytest.mark.long  # `tests/tracking/test_ui.py` starts the same command
def test_ui_answers_and_stops_cleanly(workplace: Path) -> None:
    """It prints the address of the sweep's page; after SIGTERM its exit status is 143."""
    server = subprocess.Popen(
        [sys.executable, "-m", "nnexp", "ui", "small", "--port", "0", "--no-open"],
        cwd=workplace,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    address = server.stdout.readline()
    server.send_signal(signal.SIGTERM)
    _, told = server.communicate(timeout=60)
    assert address.startswith("http://localhost:"), told
    assert "/runs?viewStateShareKey=nnexp-ranking&workflowType=machine_learning" in address
    assert server.returncode == 143
    assert told.count("\n") == 1


def test_a_submitted_sweep_is_worked_on_stopped_and_deleted() -> None:
    """By `submit`, `worker --drain`, `stop` and `delete` on the same stores."""
    called("submit", "small.toml", "--name", "other", *SMALL[:-4])
    called("worker", "--sweep", "other", "--drain", "--pool", "inline")
    assert json.loads(called("summarize", "other", "--json").stdout)["counts"] == {"FINISHED": 4}
    called("stop", "other")
    assert "--yes" in called("delete", "other", status=2).stderr
    called("delete", "other", "--yes")
    called("status", "other", status=1)
    called("delete", "other", "--yes", status=1)
    assert "no worker" in called("worker", "--healthy", status=1).stderr
