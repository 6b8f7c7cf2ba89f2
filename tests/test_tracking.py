"""The tracking store's contract, held by an embedded database, by `mlflow server`, and by one on PostgreSQL."""

from __future__ import annotations

import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from nnexp.errors import NotFoundError, StoreError, UnreachableError, UsageError
from nnexp.spool import Spool
from nnexp.tracking import Tracking
from tests.evidence import FILES, evidence, spooled
from tests.servers import free_port


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A sweep name of the test's own."""
    return str(request.node.name)


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    """An empty one."""
    return Spool(tmp_path / "spool")


def test_sweep_is_created_once(tracking: Tracking, name: str) -> None:
    """Ensuring a sweep again finds the same experiment and parent run."""
    assert tracking.find_sweep(name) is None
    first = tracking.ensure_sweep(name, text="trials = 1\n", note="what was swept", tags={"nnexp.task": "xnor"})
    assert tracking.ensure_sweep(name, text="trials = 1\n", note="other words") == first
    assert tracking.find_sweep(name) == first == tracking.sweep(name)
    assert name in tracking.sweeps()
    run = tracking.client.get_run(first.run_id)
    assert run.info.run_name == name
    assert run.data.tags["mlflow.note.content"] == "what was swept"
    assert run.data.tags["nnexp.task"] == "xnor"


def test_sweep_file_is_kept_and_follows_changes(tracking: Tracking, name: str) -> None:
    """The parent's sweep.toml is the text given last, so that a grown budget shows."""
    tracking.ensure_sweep(name, text='name = "é"\ntrials = 1\n', note="")
    assert tracking.sweep_text(name) == 'name = "é"\ntrials = 1\n'
    tracking.ensure_sweep(name, text="trials = 2\n", note="")
    assert tracking.sweep_text(name) == "trials = 2\n"


@pytest.mark.parametrize("torn", [b"", b"trials", b'trials = 1\nname = "\xc3'], ids=["empty", "cut", "letter"])
def test_torn_sweep_file_is_written_again(tracking: Tracking, name: str, tmp_path: Path, torn: bytes) -> None:
    """A kill while it was written leaves a part of it, which the next start notices, be it cut within a letter."""
    text = 'trials = 1\nname = "é"\n'
    run = tracking.ensure_sweep(name, text=text, note="")
    (tmp_path / "sweep.toml").write_bytes(torn)
    tracking.log_files(run.run_id, tmp_path)
    tracking.ensure_sweep(name, text=text, note="")
    assert tracking.sweep_text(name) == text


def test_parent_is_not_awaited_for_ever_by_a_clock_that_jumped_back(
    tracking: Tracking, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever created the experiment died before its parent run; the wall clock says that this is yet to come."""
    tracking.client.create_experiment(name)
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        assert sum(slept) < 16

    clock = SimpleNamespace(time=lambda: 0.0, monotonic=lambda: 1000.0 + sum(slept), sleep=sleep)
    monkeypatch.setattr("nnexp.tracking_parents.time", clock)
    run = tracking.ensure_sweep(name, text="trials = 1\n", note="")
    assert sum(slept) >= 15
    monkeypatch.undo()
    assert tracking.find_sweep(name) == run


def test_workers_that_start_together_share_one_parent(tracking: Tracking, tracking_store: str, name: str) -> None:
    """Four at once end with one experiment and one parent run."""
    clients = [Tracking(tracking_store) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        found = set(pool.map(lambda one: one.ensure_sweep(name, text="a = 1", note=""), clients))
    assert len(found) == 1
    assert len(tracking.client.search_runs([found.pop().experiment_id])) == 1


def test_delivered_run_is_complete(tracking: Tracking, name: str, spool: Spool) -> None:
    """A run has its name, times, status, params, curves, last values, tags, parent and artifacts."""
    sweep = tracking.ensure_sweep(name, text="", note="")
    run_id = tracking.deliver(spooled(spool, 7, sweep=name), sweep, fresh=True)
    (run,) = tracking.runs(name)
    told = evidence(7, name)
    assert (run.trial, run.run_id, run.status, run.name) == (7, run_id, "FINISHED", told.name)
    assert (run.started_ms, run.ended_ms) == (told.started_ms, told.ended_ms)
    assert run.params == told.params
    assert run.metrics["recovery_rate"] == 0.31
    assert run.metrics["loss"] == pytest.approx(0.7 / 5)
    assert tracking.curve(run_id, "loss") == [(step, 0.7 / (step + 1)) for step in range(5)]
    assert run.tags["mlflow.parentRunId"] == sweep.run_id
    assert run.tags["nnexp.sweep"] == name
    assert run.tags["mlflow.note.content"] == told.note
    assert tracking.text(run_id, "best_network.json") == '{"index": 3}\n'
    assert tracking.run(run_id) == tracking.run(f"{name}#7") == run


def test_points_are_spread_over_the_run_by_epoch(tracking: Tracking, name: str, spool: Spool) -> None:
    """Epoch e of the last E has the time at which e/E of the run was over, since charts open on relative time."""
    sweep = tracking.ensure_sweep(name, text="", note="")
    run_id = tracking.deliver(spooled(spool, 0, sweep=name), sweep, fresh=True)
    told = evidence(0, name)
    assert told.ended_ms - told.started_ms == 5000
    curve = tracking.client.get_metric_history(run_id, "loss")
    assert sorted((point.step, point.timestamp - told.started_ms) for point in curve) == [
        (step, 1000 * step) for step in range(5)
    ]
    (final,) = tracking.client.get_metric_history(run_id, "recovery_rate")
    assert final.timestamp == told.ended_ms


@pytest.mark.parametrize("metrics", [(), (("loss", 0, 0.7),)])
def test_run_without_epochs_is_logged(
    tracking: Tracking, name: str, spool: Spool, metrics: tuple[tuple[str, int, float], ...]
) -> None:
    """A trial set aside has no points; one of no epochs has its only points at the run's end."""
    sweep = tracking.ensure_sweep(name, text="", note="")
    told = replace(evidence(0, name), metrics=metrics)
    run_id = tracking.deliver(spool.write(told, FILES), sweep, fresh=True)
    assert [point.timestamp for point in tracking.client.get_metric_history(run_id, "loss")] == [told.ended_ms] * len(
        metrics
    )


def test_delivering_again_changes_nothing(tracking: Tracking, name: str, spool: Spool) -> None:
    """A second delivery finds the run by its tags; no row is doubled."""
    sweep = tracking.ensure_sweep(name, text="", note="")
    entry = spooled(spool, 0, sweep=name)
    first = tracking.deliver(entry, sweep, fresh=True)
    before = tracking.runs(name)
    assert tracking.deliver(entry, sweep) == first
    assert tracking.runs(name) == before
    assert len(tracking.curve(first, "loss")) == 5


@pytest.mark.parametrize("calls", [1, 2])
def test_interrupted_delivery_is_completed(tracking: Tracking, name: str, spool: Spool, calls: int) -> None:
    """A delivery cut after its first or second call is adopted and completed, its rows not doubled."""
    sweep = tracking.ensure_sweep(name, text="", note="")
    entry = spooled(spool, 3, sweep=name)
    run_id = tracking._create_run(entry.evidence(), sweep)
    if calls == 2:
        tracking._fill(run_id, entry.evidence(), entry.files)
        tracking.client.update_run(run_id, status="RUNNING")
    else:
        assert tracking.runs(name) == []
    assert tracking.deliver(entry, sweep) == run_id
    (run,) = tracking.runs(name)
    assert run.status == "FINISHED"
    assert len(tracking.curve(run_id, "loss")) == 5


def test_half_delivery_of_other_evidence_is_replaced(tracking: Tracking, name: str, spool: Spool) -> None:
    """A trial that was trained again elsewhere gets one run whose rows are all of one training."""
    sweep = tracking.ensure_sweep(name, text="", note="")
    lost = spooled(spool, 3, sweep=name).evidence()
    tracking._create_run(lost, sweep)
    again = spooled(spool, 3, sweep=name, started=2 * 10**12)
    run_id = tracking.deliver(again, sweep)
    (run,) = tracking.runs(name)
    assert (run.run_id, run.started_ms) == (run_id, 2 * 10**12 + 3)
    assert len(tracking.delivered_trials(name)[3]) == 1


def test_duplicates_are_seen_read_once_and_deleted(tracking: Tracking, name: str, spool: Spool) -> None:
    """Two runs of one trial count once for every reader, and can be reduced to the one that counts."""
    sweep = tracking.ensure_sweep(name, text="", note="")
    entry = spooled(spool, 1, sweep=name)
    ids = {tracking.deliver(entry, sweep, fresh=True), tracking.deliver(entry, sweep, fresh=True)}
    assert len(ids) == 2
    (run,) = tracking.runs(name)
    listed = tracking.delivered_trials(name)[1]
    assert {run_id for run_id, _ in listed} == ids
    assert listed[0] == (run.run_id, "FINISHED")
    assert tracking.delete_duplicates(name) == 1
    assert tracking.delivered_trials(name) == {1: [(run.run_id, "FINISHED")]}
    assert tracking.delete_duplicates(name) == 0


@pytest.mark.parametrize(("state", "status"), [("COMPLETE", "FINISHED"), ("PRUNED", "KILLED"), ("FAIL", "FAILED")])
def test_states_become_statuses(tracking: Tracking, name: str, spool: Spool, state: str, status: str) -> None:
    """Optuna's states map to MLflow's statuses."""
    sweep = tracking.ensure_sweep(name, text="", note="")
    tracking.deliver(spooled(spool, 0, sweep=name, state=state), sweep, fresh=True)
    assert [run.status for run in tracking.runs(name)] == [status]


def test_many_metrics_and_long_values_fit(tracking: Tracking, name: str, spool: Spool) -> None:
    """More rows than one request takes, and a note longer than a tag, do not fail."""
    sweep = tracking.ensure_sweep(name, text="", note="n" * 9000)
    entry = spool.write(evidence(0, name, points=400), FILES)
    run_id = tracking.deliver(entry, sweep, fresh=True)
    assert len(tracking.curve(run_id, "solved_rate")) == 400


def test_parent_shows_progress_and_results(tracking: Tracking, name: str, tmp_path: Path) -> None:
    """Progress by step, then status, files, note and tags at the end."""
    sweep = tracking.ensure_sweep(name, text="", note="")
    tracking.log_progress(sweep.run_id, 8, {"trials_done": 8, "best_recovery_rate": 0.25})
    tracking.log_progress(sweep.run_id, 16, {"trials_done": 16, "best_recovery_rate": 0.5})
    assert tracking.curve(sweep.run_id, "trials_done") == [(8, 8), (16, 16)]
    (tmp_path / "files" / "tables").mkdir(parents=True)
    (tmp_path / "files" / "report.html").write_text("<h1>answer</h1>")
    (tmp_path / "files" / "tables" / "settings.csv").write_text("a,b\n")
    tracking.finish_sweep(sweep.run_id, tmp_path / "files", "the answer")
    run = tracking.client.get_run(sweep.run_id)
    assert run.data.metrics == {"trials_done": 16, "best_recovery_rate": 0.5}
    assert (run.info.status, run.data.tags["mlflow.note.content"]) == ("FINISHED", "the answer")
    assert tracking.text(sweep.run_id, "tables/settings.csv") == "a,b\n"
    tracking.set_sweep_status(sweep.run_id, "RUNNING")
    assert tracking.client.get_run(sweep.run_id).info.status == "RUNNING"


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


def test_runs_are_read_beyond_a_page(
    tracking: Tracking, name: str, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading follows the pages to the end."""
    monkeypatch.setattr("nnexp.tracking_trials.PAGE", 3)
    sweep = tracking.ensure_sweep(name, text="", note="")
    for trial in reversed(range(7)):
        tracking.deliver(spooled(spool, trial, sweep=name, points=1), sweep, fresh=True)
    assert [run.trial for run in tracking.runs(name)] == list(range(7))


def test_deleted_sweep_frees_its_name(tracking: Tracking, name: str, spool: Spool) -> None:
    """Deleting counts the runs, and a new sweep of that name starts empty."""
    sweep = tracking.ensure_sweep(name, text="", note="")
    tracking.deliver(spooled(spool, 0, sweep=name), sweep, fresh=True)
    assert tracking.delete_sweep(name) == 2
    assert tracking.find_sweep(name) is None
    assert tracking.ensure_sweep(name, text="", note="") != sweep
    assert tracking.runs(name) == []


def test_users_own_runs_stay_when_a_sweep_in_their_experiment_is_deleted(
    tracking: Tracking, name: str, spool: Spool
) -> None:
    """A sweep may have the name of an experiment that is already there; deleting the sweep leaves that as it was."""
    theirs = tracking.client.create_run(tracking.client.create_experiment(name)).info
    sweep = tracking.ensure_sweep(name, text="", note="")
    assert sweep.experiment_id == theirs.experiment_id
    tracking.deliver(spooled(spool, 0, sweep=name), sweep, fresh=True)
    assert tracking.delete_sweep(name) == 2
    assert tracking.find_sweep(name) is None
    assert name not in tracking.sweeps()
    (left,) = tracking.client.search_runs([theirs.experiment_id])
    assert left.info.run_id == theirs.run_id


def test_runs_of_another_study_are_left_alone(tracking: Tracking, name: str) -> None:
    """A lost study store, or two that share a tracking store: the second does not write into the first one's runs."""
    first = tracking.ensure_sweep(name, text="trials = 1\n", note="", study="a")
    assert tracking.ensure_sweep(name, text="trials = 1\n", note="", study="a") == first
    with pytest.raises(StoreError, match=f"are of another study store.*--storage.*nnexp delete {re.escape(name)}"):
        tracking.ensure_sweep(name, text="trials = 2\n", note="", study="b")
    assert tracking.sweep_text(name) == "trials = 1\n"
    assert tracking.study_of(first) == "a"


def test_runs_from_before_studies_were_named_are_taken_on(tracking: Tracking, name: str) -> None:
    """They get the name of the first study that asks."""
    older = tracking.ensure_sweep(name, text="", note="")
    assert tracking.study_of(older) is None
    assert tracking.ensure_sweep(name, text="", note="", study="a") == older
    assert tracking.study_of(older) == "a"


def test_experiment_deleted_by_hand_is_explained(tracking: Tracking, name: str) -> None:
    """The error names the experiment and how to restore it."""
    sweep = tracking.ensure_sweep(name, text="", note="")
    tracking.client.delete_experiment(sweep.experiment_id)
    with pytest.raises(StoreError, match=rf"is deleted in MLflow.*--experiment-id {sweep.experiment_id}"):
        tracking.ensure_sweep(name, text="", note="")


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
