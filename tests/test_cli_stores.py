"""The commands that read and write the stores, on one small sweep that is really run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parent.parent
SMALL = ("--set", "trials=4", "--set", "seeds=16", "--set", "epochs=40", "--jobs", "1")

pytestmark = [pytest.mark.xdist_group("cli_stores")]


def environment() -> dict[str, str]:
    """No store chosen but the default ones of the working directory."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW_", "NNEXP_"))}
    return {**kept, "PYTHONPATH": str(ROOT), "MLFLOW_DISABLE_TELEMETRY": "true"}


def called(*args: str, status: int = 0, directory: Path) -> subprocess.CompletedProcess[str]:
    """A command line as a process in ``directory``, which must end with ``status``."""
    done = subprocess.run(
        [sys.executable, "-m", "nnexp", *args],
        cwd=directory,
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status, (args, done.stdout[-2000:], done.stderr[-2000:])
    return done


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory in which a sweep called `small` was run."""
    directory = tmp_path_factory.mktemp("sweep")
    called("new", "small.toml", directory=directory)
    done = called("sweep", "small.toml", "--name", "small", *SMALL, directory=directory)
    assert "nnexp: 4/4 trials" in done.stderr
    assert "Settings, best first" in done.stdout
    return directory


def test_a_finished_sweep_says_its_summary_again(workplace: Path) -> None:
    """The same command on the same stores has nothing left to train."""
    again = called("sweep", "small.toml", "--name", "small", *SMALL, "--json", directory=workplace)
    assert json.loads(again.stdout)["counts"] == {"FINISHED": 4}


def test_a_changed_file_is_refused_with_its_keys(workplace: Path) -> None:
    """Unless it gets another name."""
    changed = ("sweep", "small.toml", "--name", "small", *SMALL, "--set", "space.init=normal", "--set", "seed=3")
    done = called(*changed, status=2, directory=workplace)
    assert done.stderr.count("\n") == 1
    assert "space.init" in done.stderr
    assert "seed" in done.stderr


def test_the_summary_comes_in_every_format(workplace: Path) -> None:
    """To stdout, or to a file by its ending."""
    assert "## Settings" in called("summarize", "small", "--format", "markdown", directory=workplace).stdout
    assert len(called("summarize", "small", "--format", "csv", directory=workplace).stdout.splitlines()) == 5
    assert json.loads(called("summarize", "small", "--json", directory=workplace).stdout)["name"] == "small"
    called("summarize", "small", "--output", "small.parquet", directory=workplace)
    assert len(pd.read_parquet(workplace / "small.parquet")) == 4
    assert called("summarize", "none", status=1, directory=workplace).stderr.startswith("nnexp: error: ")


def test_status_shows_the_sweep(workplace: Path) -> None:
    """All of them, or one."""
    assert "4/4" in called("status", directory=workplace).stdout
    (found,) = json.loads(called("status", "small", "--json", directory=workplace).stdout)
    assert (found["name"], found["finished"], found["budget"]) == ("small", 4, 4)
    called("status", "none", status=1, directory=workplace)


def test_a_run_is_explained_and_replayed(workplace: Path) -> None:
    """By the sweep's name and the trial's number."""
    facts = json.loads(called("show", "small#2", "--json", directory=workplace).stdout)
    assert len(facts["rows"]) == 4
    assert "Hidden units" in called("show", "small#2", "--network", "3", directory=workplace).stdout
    assert "identical" in called("replay", "small#2", directory=workplace).stdout
    assert json.loads(called("replay", "small#2", "--json", directory=workplace).stdout)["identical"] is True
    for command in ("show", "replay"):
        assert "9" in called(command, "small#9", status=1, directory=workplace).stderr


def test_a_runs_best_network_predicts(workplace: Path) -> None:
    """As the same network's file does."""
    args = ("predict", "--model", "small#1", "--x", "0,1", "--x", "1,1", "--json")
    predictions = json.loads(called(*args, directory=workplace).stdout)["predictions"]
    assert [line["x"] for line in predictions] == [[0, 1], [1, 1]]


def test_every_network_is_exported(workplace: Path) -> None:
    """A row each, as Parquet or CSV."""
    assert called("export", "small", directory=workplace).stdout == "small.parquet\n"
    assert len(pd.read_parquet(workplace / "small.parquet")) == 64
    called("export", "small", "--output", "small.csv", directory=workplace)
    assert len(pd.read_csv(workplace / "small.csv")) == 64
    assert "small.txt" in called("export", "small", "--output", "small.txt", status=2, directory=workplace).stderr


def test_runs_and_sweeps_are_compared(workplace: Path) -> None:
    """Side by side, with intervals."""
    assert "solved" in called("compare", "small#0", "small#1", directory=workplace).stdout
    assert len(json.loads(called("compare", "small", "small", "--json", directory=workplace).stdout)) == 2
    called("compare", "small", "small#1", status=2, directory=workplace)


def test_the_report_is_written_with_its_twin(workplace: Path) -> None:
    """One HTML file that needs no network, and Markdown."""
    done = called("report", "small", "--output", "small.html", "--no-log", directory=workplace)
    assert done.stdout.splitlines() == ["small.html", "small.md"]
    assert "<html" in (workplace / "small.html").read_text()[:300]


def test_doctor_finds_a_sound_store_sound(workplace: Path) -> None:
    """Exit status 0, and nothing to tell."""
    assert json.loads(called("doctor", "--json", directory=workplace).stdout) == []


def test_ui_answers_and_stops_cleanly(workplace: Path) -> None:
    """It prints the address of the sweep's page, and SIGTERM ends it with 143."""
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
    assert "#/experiments/" in address
    assert server.returncode == 143
    assert told.count("\n") == 1


def test_a_submitted_sweep_is_worked_on_stopped_and_deleted(workplace: Path) -> None:
    """`submit`, `worker --drain`, `stop`, `delete`, each on the same stores."""
    called("submit", "small.toml", "--name", "other", *SMALL[:-2], directory=workplace)
    called("worker", "--sweep", "other", "--drain", "--jobs", "1", directory=workplace)
    assert json.loads(called("summarize", "other", "--json", directory=workplace).stdout)["counts"] == {"FINISHED": 4}
    called("stop", "other", directory=workplace)
    assert "--yes" in called("delete", "other", status=2, directory=workplace).stderr
    called("delete", "other", "--yes", directory=workplace)
    called("status", "other", status=1, directory=workplace)
    called("delete", "other", "--yes", status=1, directory=workplace)
    assert "no worker" in called("worker", "--healthy", status=1, directory=workplace).stderr
