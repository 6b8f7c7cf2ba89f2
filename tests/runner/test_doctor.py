"""`nnexp doctor`: each kind of damage is found and repaired, and undamaged stores have no findings."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from concurrent.futures import BrokenExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest

from nnexp.errors import StoreError
from nnexp.runner import doctor
from nnexp.runner.jobs import Job, join, run_jobs
from nnexp.runner.session import FINALIZED
from nnexp.stores import Stores
from nnexp.study import SweepStudy, Worker, open_storage
from nnexp.tracking.spool import Entry, Spool
from nnexp.tracking.store import Tracking
from nnexp.tracking.trial_run import write_trained
from tests.helpers import small_sweeps
from tests.helpers.finished_trials import runs_by_trial, write_entry
from tests.helpers.sampling import sample

pytestmark = pytest.mark.xdist_group("doctor")  # they share the sweeps that they damage

PLAN = small_sweeps.plan(trials=6)
OPEN = small_sweeps.plan(name="open", trials=9)


def damage_study(where: Stores, work: Callable[[SweepStudy], Any], name: str = "s") -> None:
    """Change a study."""
    with open_storage(where.storage) as storage:
        work(SweepStudy.open(storage, name))


def claim_and_die(where: Stores) -> None:
    """Claim two trials and be killed."""
    damage_study(where, lambda study: Worker.join(study).claim(2), "open")
    os.kill(os.getpid(), 9)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished sweep, `s`, and one of which half the trials are finished, `open`."""
    directory = tmp_path_factory.mktemp("sound")
    where = small_sweeps.stores(directory)
    small_sweeps.run(PLAN, where)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nnexp.runner.jobs.LOOKAHEAD", 1)
        patch.setattr("nnexp.study.claims.Worker.claim", limited(4))
        small_sweeps.run(OPEN, where, progress=stop_after(where, 4))
    return directory


def limited(limit: int) -> Callable[..., Any]:
    """`Worker.claim` that claims only the first ``limit`` trials."""
    claim = Worker.claim
    return lambda worker, n: claim(worker, n) if worker.study.counts().finished < limit else []


def stop_after(where: Stores, done: int) -> Callable[[Any], None]:
    """A progress callback that stops the sweep `open` after so many trials."""

    def watch(progress: Any) -> None:
        if progress.done >= done:
            damage_study(where, SweepStudy.request_stop, "open")

    return watch


@pytest.fixture
def where(sound: Path, tmp_path: Path) -> Stores:
    """A copy of both sweeps, to be damaged."""
    return small_sweeps.copied(sound, tmp_path / "stores")


def run_of(where: Stores, trial: int, name: str = "s") -> str:
    """The id of a trial's run."""
    return runs_by_trial(Tracking(where.tracking_uri), name)[trial][0][0]


def files_of(where: Stores, trial: int) -> Path:
    """The directory of the artifacts of a trial's run."""
    client = Tracking(where.tracking_uri).client
    return Path(client.get_run(run_of(where, trial)).info.artifact_uri.removeprefix("file://"))


def home_of(where: Stores) -> Path:
    """The directory of the stores."""
    return where.spool.parent


def parent(where: Stores, name: str = "s") -> str:
    """The id of a sweep's parent run."""
    return Tracking(where.tracking_uri).sweep(name).run_id


def sql(where: Stores, statement: str, *values: str) -> None:
    """Change the tracking database without MLflow."""
    with contextlib.closing(sqlite3.connect(home_of(where) / "mlflow.db")) as database, database:
        assert database.execute(statement, values).rowcount > 0


def another_run(where: Stores, trial: str, status: str) -> None:
    """Create a further run of a trial, or a run of a trial that does not exist."""
    tracking = Tracking(where.tracking_uri)
    tags = {"nnexp.sweep": "s", "nnexp.trial": trial, "mlflow.parentRunId": parent(where)}
    run = tracking.client.create_run(tracking.sweep("s").experiment_id, tags=tags)
    if status != "RUNNING":
        tracking.client.set_terminated(run.info.run_id, status)


def trained_again(where: Stores, trial: int, name: str = "s") -> Entry:
    """Write the results of a finished trial to the spool again."""
    sweep = PLAN if name == "s" else OPEN
    with open_storage(where.storage) as storage:
        records = {record.number: record for record in SweepStudy.open(storage, name).trials()}
    settings = sweep.settings(records[trial].params)
    trained = join(run_jobs([Job(trial, settings, np.arange(settings.seeds), settings.epochs)]))
    entry, _ = write_trained(
        Spool(where.spool), sweep, trial, settings, trained, "COMPLETE", epochs=settings.epochs, began=1e9
    )
    return entry


def kill_a_worker(where: Stores) -> None:
    """A worker on the open sweep dies while it holds two trials."""
    died = small_sweeps.process(claim_and_die, where)
    died.join()
    assert died.exitcode == -9


def add_a_trial(where: Stores) -> None:
    """Another program adds one trial more than the budget."""

    def add(study: SweepStudy) -> None:
        like = study.store.storage.get_trial(study.trials()[0].trial_id)
        study.optuna_study().add_trial(
            optuna.trial.create_trial(value=0.5, params=like.params, distributions=like.distributions)
        )

    damage_study(where, add)


def half_entry(where: Stores) -> None:
    """What a kill leaves while an entry is being written."""
    (where.spool / "s" / ".new-0123").mkdir(parents=True)


def delete_run(where: Stores, run_id: str) -> None:
    """Delete a run as a user of MLflow does."""
    Tracking(where.tracking_uri).client.delete_run(run_id)


def broken_entry(where: Stores) -> None:
    """A damaged file in the spool."""
    (trained_again(where, 5).path / "run.json").write_text("{")


def lose(where: Stores, rows: str, trial: int) -> None:
    """Delete rows of a trial's run from the database."""
    sql(where, f"DELETE FROM {rows} run_uuid=?", run_of(where, trial))  # noqa: S608


def set_status(where: Stores, run_id: str, status: str) -> None:
    """Give a run another status."""
    sql(where, "UPDATE runs SET status=? WHERE run_uuid=?", status, run_id)


def lose_parent(where: Stores, trial: int) -> None:
    """Give a run a parent that does not exist."""
    Tracking(where.tracking_uri).set_tags(run_of(where, trial), {"mlflow.parentRunId": "x"})


def truncate_sweep_file(where: Stores) -> None:
    """As a kill leaves it while it is being written."""
    for path in home_of(where).rglob("sweep.toml"):
        path.write_text("name = ")


def empty_importances(where: Stores) -> None:
    """As a power failure leaves it."""
    for path in home_of(where).rglob("importance.json"):
        path.write_text("")


def lose_report(where: Stores) -> None:
    """Delete the report."""
    for path in home_of(where).rglob("report.html"):
        path.unlink()


def empty(where: Stores, name: str) -> None:
    """Empty a file of the results."""
    for path in home_of(where).rglob(name):
        path.write_text("")


def flip_a_bit(where: Stores) -> None:
    """In the middle of a trial's table of networks."""
    (path,) = where.spool.parent.rglob(f"{run_of(where, 4)}/artifacts/networks.parquet")
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 4
    path.write_bytes(content)


#: Damage -> the kind of its finding, words of the finding's line, and what causes it.
DAMAGES: dict[str, tuple[str, str, Callable[[Stores], Any]]] = {
    "a worker's death": ("zombie", "open: trial 4 ", kill_a_worker),
    "a run never ended": ("zombie", "s: run ", lambda w: set_status(w, run_of(w, 0), "RUNNING")),
    "a half-made second run": ("zombie", "of trial 1", lambda w: another_run(w, "1", "RUNNING")),
    "a parent left running": ("zombie", "parent", lambda w: set_status(w, parent(w, "open"), "RUNNING")),
    "a second run": ("double", "trial 2 has 2 runs", lambda w: another_run(w, "2", "FINISHED")),
    "a run without a trial": ("orphan", "trial 99", lambda w: another_run(w, "99", "FINISHED")),
    "a run without its parent": ("orphan", "trial 3 ", lambda w: lose_parent(w, 3)),
    "no parent": ("orphan", "no parent run", lambda w: delete_run(w, parent(w, "open"))),
    "a run deleted": ("missing", "trial 4 ", lambda w: delete_run(w, run_of(w, 4))),
    "a curve lost": ("incomplete", "curves", lambda w: lose(w, "metrics WHERE", 0)),
    "a metric lost": (
        "incomplete",
        "diverged_rate",
        lambda w: lose(w, "latest_metrics WHERE key='diverged_rate' AND", 1),
    ),
    "a param lost": ("incomplete", "params: momentum", lambda w: lose(w, "params WHERE key='momentum' AND", 2)),
    "networks lost": ("incomplete", "networks", lambda w: (files_of(w, 3) / "networks.parquet").unlink()),
    "networks truncated": ("incomplete", "networks", lambda w: os.truncate(files_of(w, 4) / "networks.parquet", 900)),
    "a file lost": ("incomplete", "best_network.json", lambda w: (files_of(w, 5) / "best_network.json").unlink()),
    "a wrong status": ("incomplete", "FAILED", lambda w: set_status(w, run_of(w, 0), "FAILED")),
    "a trial too many": ("overrun", "7 trials", add_a_trial),
    "a trial left in the spool": ("undelivered", "trial 0 waits", lambda w: trained_again(w, 0)),
    "an unfinished trial spooled": (
        "undelivered",
        "trial 8 is in",
        lambda w: write_entry(Spool(w.spool), 8, sweep="open"),
    ),
    "a damaged entry": ("undelivered", "trial 5 waits", broken_entry),
    "half of an entry": ("undelivered", "half-written", half_entry),
    "no summary": ("unconcluded", "summary", lambda w: damage_study(w, lambda study: study.set(FINALIZED, None))),
    "a parent never ended": ("unconcluded", "not FINISHED", lambda w: set_status(w, parent(w), "SCHEDULED")),
    "no report": ("unconcluded", "report.html", lose_report),
    "the sweep file truncated": ("unconcluded", "has another sweep.toml", truncate_sweep_file),
}
DAMAGES["the report emptied"] = ("unconcluded", "report.html, or it is damaged", lambda w: empty(w, "report.html"))
DAMAGES["a summary table lost"] = ("unconcluded", "summary.csv, or it is damaged", lambda w: empty(w, "summary.csv"))
DAMAGES["a bit of the networks flipped"] = ("incomplete", "lacks networks.parquet, or it is damaged", flip_a_bit)
DAMAGES["the importances emptied"] = ("unconcluded", "importance.json, or it is damaged", empty_importances)
#: Damage that cannot be combined with the others.
APART = {"no parent", "a trial too many", "a run deleted", "a run never ended", "a parent left running"}


def test_nothing_is_found_on_sound_stores(where: Stores) -> None:
    """Neither for a finished sweep, nor for one that is not finished."""
    small_sweeps.assert_whole(PLAN, where)
    assert doctor.examine(where) == []
    assert doctor.deliver(where) == []


@pytest.mark.parametrize("damage", sample(list(DAMAGES), 12, "damages"))
def test_each_kind_of_damage_is_found_and_explained(where: Stores, damage: str) -> None:
    """In one line that names the sweep; without --repair nothing is changed."""
    kind, words, plant = DAMAGES[damage]
    plant(where)
    for _ in range(2):
        found = [finding for finding in doctor.examine(where) if finding.kind == kind]
        assert any(words in finding.line for finding in found), doctor.examine(where)
        assert all(finding.line.startswith(finding.sweep) and not finding.repaired for finding in found)
        assert all("\n" not in finding.line for finding in found)


@pytest.mark.slow
def test_all_damage_at_once_is_repaired(where: Stores, sound: Path) -> None:
    """Afterwards the networks are the same to the bit."""
    before = small_sweeps.networks(PLAN, where)
    for damage in ("no parent", "a trial too many", *sorted(DAMAGES.keys() - APART)):
        DAMAGES[damage][2](where)
    delete_run(where, run_of(where, 1))
    process = small_sweeps.process(
        repair, where, sound / "found.json"
    )  # a new process, since MLflow caches the directory of the original's files
    process.join()
    found = json.loads((sound / "found.json").read_text())
    assert {finding["kind"] for finding in found} >= {kind for kind, _, _ in DAMAGES.values()} - {"zombie"}
    assert [finding for finding in found if not finding["repaired"]] == []
    assert doctor.examine(where) == []
    small_sweeps.assert_whole(small_sweeps.plan(trials=7), where)
    after = small_sweeps.networks(PLAN, where)
    assert {trial: after[trial] for trial in before} == before


def repair(where: Stores, answer: Path) -> None:
    """`nnexp doctor --repair --json`, in a process of its own."""
    answer.write_text(json.dumps([asdict(finding) for finding in doctor.examine(where, repair=True)]))


@pytest.mark.slow
def test_a_lost_tracking_store_is_restored(sound: Path, tmp_path: Path) -> None:
    """From the study only."""
    shutil.copy(sound / "nnexp.journal", tmp_path)
    where = small_sweeps.stores(tmp_path)
    (found,) = doctor.examine(where, "s", repair=True)
    assert found.repaired
    assert "no parent run" in found.line
    assert small_sweeps.networks(PLAN, where) == small_sweeps.networks(PLAN, small_sweeps.stores(sound))
    small_sweeps.assert_whole(PLAN, where)


@pytest.mark.parametrize("repair", [False, True])
def test_runs_of_another_study_are_reported_and_not_changed(sound: Path, tmp_path: Path, repair: bool) -> None:
    """The study store was lost, and a new sweep of the same name was started."""
    where = small_sweeps.copied(sound, tmp_path / "stores")
    before = runs_by_trial(Tracking(where.tracking_uri), "s")
    another = Stores(where.tracking_uri, str(tmp_path / "another.journal"), tmp_path / "spool")
    with pytest.raises(StoreError, match="another study store"):
        small_sweeps.run(PLAN, another)
    (found,) = doctor.examine(another, repair=repair)
    assert "of another study store" in found.line
    assert not found.repaired
    assert runs_by_trial(Tracking(where.tracking_uri), "s") == before
    small_sweeps.assert_whole(PLAN, where)


@pytest.mark.slow
def test_a_pool_that_breaks_is_reported_in_one_line(where: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its processes are killed, for lack of memory perhaps; the other sweeps are still repaired."""
    delete_run(where, run_of(where, 1))
    monkeypatch.setattr("nnexp.runner.finalize.Finalization.train_again", broken_pool)
    found = doctor.examine(where, repair=True)
    assert [finding.line for finding in found if not finding.repaired] == [
        "s: the training pool broke (killed); try again, with fewer --jobs"
    ]


def broken_pool(*_: Any) -> None:
    """Raise what a future of a broken pool raises."""
    raise BrokenExecutor("killed")


def test_a_sweep_with_workers_is_not_changed(where: Stores) -> None:
    """Trials in training are no damage."""
    with open_storage(where.storage) as storage:
        worker = Worker.join(SweepStudy.open(storage, "open"))
        worker.claim(2)
        assert doctor.examine(where, "open", repair=True) == []
        assert len(worker.held) == 2
        worker.leave()


def test_an_offline_sweep_is_delivered(tmp_path: Path) -> None:
    """`nnexp sweep --offline`, then `nnexp doctor --deliver`."""
    where = small_sweeps.stores(tmp_path)
    small_sweeps.run(PLAN, where, offline=True)
    before = small_sweeps.spooled(PLAN, where)
    assert len(before) == PLAN.trials
    assert {finding.kind for finding in doctor.examine(where)} == {"undelivered"}
    (found,) = doctor.deliver(where)
    assert (found.repaired, found.line) == (True, "s: 6 trials delivered")
    assert small_sweeps.networks(PLAN, where) == before
    assert doctor.deliver(where) == []


def test_spool_entries_of_an_unknown_sweep_are_reported(where: Stores) -> None:
    """The spool may have been copied from another machine."""
    write_entry(Spool(where.spool), 1, sweep="elsewhere")
    (found,) = doctor.examine(where)
    assert (found.kind, found.sweep) == ("orphan", "elsewhere")
    (found,) = [finding for finding in doctor.deliver(where) if "no sweep" in finding.line]
    assert not found.repaired


def test_trials_beyond_the_budget_are_reported(where: Stores) -> None:
    """A worker that was suspended within a claim leaves one that waits for ever; a larger budget uses it."""

    def create_another(study: SweepStudy) -> None:
        study.store.storage.create_new_trial(
            study.study_id, optuna.trial.create_trial(state=optuna.trial.TrialState.WAITING)
        )

    damage_study(where, create_another)
    (finding,) = doctor.examine(where, "s")
    assert finding.kind == "surplus"
    assert finding.line.startswith("s: 1 trials beyond its budget of 6 wait")
    assert "--set trials=7" in finding.line
