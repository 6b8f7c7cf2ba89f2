"""`nnexp doctor`: each kind of damage is found and mended, and a sound store has none."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest

from nnexp import doctor
from nnexp.batches import Job, join, run_jobs
from nnexp.conclusion import WRITTEN
from nnexp.evidence import spool_evidence
from nnexp.spool import Entry, Spool
from nnexp.stores import Stores
from nnexp.study import SweepStudy, open_storage
from nnexp.tracking import Tracking
from tests import sweeping
from tests.evidence import spooled

PLAN = sweeping.plan(trials=6)
OPEN = sweeping.plan(name="open", trials=9)


def damage_study(where: Stores, work: Callable[[SweepStudy], Any], name: str = "s") -> None:
    """Do something to a study."""
    with open_storage(where.storage) as storage:
        work(SweepStudy.open(storage, name))


def claim_and_die(where: Stores) -> None:
    """Claims two trials and is killed."""
    damage_study(where, lambda study: study.join().claim(2), "open")
    os.kill(os.getpid(), 9)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished sweep, `s`, and one of which half is done, `open`."""
    directory = tmp_path_factory.mktemp("sound")
    where = sweeping.stores(directory)
    sweeping.run(PLAN, where)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nnexp.work.LOOKAHEAD", 1)
        patch.setattr("nnexp.study.worker.Worker.claim", limited(4))
        sweeping.run(OPEN, where, progress=stop_after(where, 4))
    return directory


def limited(limit: int) -> Callable[..., Any]:
    """`Worker.claim` for the first few trials alone."""
    from nnexp.study import Worker

    claim = Worker.claim
    return lambda worker, n: claim(worker, n) if worker.study.counts().finished < limit else []


def stop_after(where: Stores, done: int) -> Callable[[Any], None]:
    """Stops the sweep `open` when it has come so far."""

    def watch(progress: Any) -> None:
        if progress.done >= done:
            damage_study(where, SweepStudy.request_stop, "open")

    return watch


@pytest.fixture
def where(sound: Path, tmp_path: Path) -> Stores:
    """Both sweeps, to be damaged."""
    return sweeping.copied(sound, tmp_path / "stores")


def run_of(where: Stores, trial: int, name: str = "s") -> str:
    """A trial's run."""
    return Tracking(where.tracking_uri).delivered_trials(name)[trial][0][0]


def files_of(where: Stores, trial: int) -> Path:
    """A trial's artifacts on the disk."""
    client = Tracking(where.tracking_uri).client
    return Path(client.get_run(run_of(where, trial)).info.artifact_uri.removeprefix("file://"))


def parent(where: Stores, name: str = "s") -> str:
    """A sweep's parent run."""
    return Tracking(where.tracking_uri).sweep(name).run_id


def sql(where: Stores, statement: str, *values: str) -> None:
    """Change the tracking store behind MLflow's back."""
    import contextlib
    import sqlite3

    path = where.tracking_uri.removeprefix("sqlite:///")
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        assert database.execute(statement, values).rowcount > 0


def another_run(where: Stores, trial: str, status: str) -> None:
    """A run of a trial that has one, or that is not there."""
    tracking = Tracking(where.tracking_uri)
    tags = {"nnexp.sweep": "s", "nnexp.trial": trial, "mlflow.parentRunId": parent(where)}
    run = tracking.client.create_run(tracking.sweep("s").experiment_id, tags=tags)
    if status != "RUNNING":
        tracking.client.set_terminated(run.info.run_id, status)


def trained_again(where: Stores, trial: int, name: str = "s") -> Entry:
    """A trial's evidence in the spool."""
    sweep = PLAN if name == "s" else OPEN
    with open_storage(where.storage) as storage:
        records = {record.number: record for record in SweepStudy.open(storage, name).trials()}
    settings = sweep.settings(records[trial].params)
    import numpy as np

    trained = join(run_jobs([Job(trial, settings, np.arange(settings.seeds), settings.epochs)]))
    return spool_evidence(
        Spool(where.spool), sweep, trial, settings, trained, "COMPLETE", epochs=settings.epochs, began=1e9
    )


def kill_a_worker(where: Stores) -> None:
    """A worker on the open sweep dies with two trials."""
    died = sweeping.process(claim_and_die, where)
    died.join()
    assert died.exitcode == -9


def add_a_trial(where: Stores) -> None:
    """Another program finishes one trial too many."""

    def add(study: SweepStudy) -> None:
        like = study.store.storage.get_trial(study.trials()[0].trial_id)
        study.fresh().add_trial(
            optuna.trial.create_trial(value=0.5, params=like.params, distributions=like.distributions)
        )

    damage_study(where, add)


def half_entry(where: Stores) -> None:
    """What a kill leaves of an entry that was being written."""
    (where.spool / "s" / ".new-0123").mkdir(parents=True)


def delete_run(where: Stores, run_id: str) -> None:
    """Deleted in MLflow, by hand."""
    Tracking(where.tracking_uri).client.delete_run(run_id)


def broken_entry(where: Stores) -> None:
    """A file of the spool that the disk has lost."""
    (trained_again(where, 5).path / "run.json").write_text("{")


DAMAGES: dict[str, tuple[str, str, Callable[[Stores], Any]]] = {
    "a worker's death": ("zombie", "open: trial 4 ", kill_a_worker),
    "a run never ended": ("zombie", "s: run ", lambda w: sql(w, "UPDATE runs SET status='RUNNING' WHERE run_uuid=?", run_of(w, 0))),
    "a half-made second run": ("zombie", "of trial 1", lambda w: another_run(w, "1", "RUNNING")),
    "a parent left running": ("zombie", "parent", lambda w: Tracking(w.tracking_uri).client.update_run(parent(w, "open"), "RUNNING")),
    "a second run": ("double", "trial 2 has 2 runs", lambda w: another_run(w, "2", "FINISHED")),
    "a run without a trial": ("orphan", "trial 99", lambda w: another_run(w, "99", "FINISHED")),
    "a run without its parent": ("orphan", "trial 3 ", lambda w: Tracking(w.tracking_uri).set_tags(run_of(w, 3), {"mlflow.parentRunId": "x"})),
    "no parent": ("orphan", "no parent run", lambda w: delete_run(w, parent(w, "open"))),
    "a run deleted": ("missing", "trial 4 ", lambda w: delete_run(w, run_of(w, 4))),
    "a curve lost": ("incomplete", "curves", lambda w: sql(w, "DELETE FROM metrics WHERE run_uuid=?", run_of(w, 0))),
    "metrics lost": ("incomplete", "metrics: diverged_rate", lambda w: sql(w, "DELETE FROM latest_metrics WHERE key='diverged_rate' AND run_uuid=?", run_of(w, 1))),
    "a param lost": ("incomplete", "params: momentum", lambda w: sql(w, "DELETE FROM params WHERE key='momentum' AND run_uuid=?", run_of(w, 2))),
    "networks lost": ("incomplete", "networks.parquet", lambda w: (files_of(w, 3) / "networks.parquet").unlink()),
    "networks torn": ("incomplete", "networks.parquet", lambda w: os.truncate(files_of(w, 4) / "networks.parquet", 900)),
    "the best network lost": ("incomplete", "best_network.json", lambda w: (files_of(w, 5) / "best_network.json").unlink()),
    "a wrong status": ("incomplete", "FAILED", lambda w: Tracking(w.tracking_uri).client.set_terminated(run_of(w, 0), "FAILED")),
    "a trial too many": ("overrun", "7 trials", add_a_trial),
    "evidence left": ("undelivered", "trial 0 waits", lambda w: trained_again(w, 0)),
    "evidence of a trial to come": ("undelivered", "trial 8 is in the spool", lambda w: spooled(Spool(w.spool), 8, sweep="open")),
    "broken evidence": ("undelivered", "trial 5 waits", broken_entry),
    "half an entry": ("undelivered", "half-written", half_entry),
    "no summary": ("unconcluded", "summary", lambda w: damage_study(w, lambda study: study.set(WRITTEN, None))),
    "a parent never ended": ("unconcluded", "not FINISHED", lambda w: Tracking(w.tracking_uri).client.update_run(parent(w), "SCHEDULED")),
    "no report": ("unconcluded", "report.html", lambda w: next(iter(Path(w.tracking_uri.removeprefix("sqlite:///")).parent.rglob("report.html"))).unlink()),
}  # fmt: skip


def test_nothing_is_found_on_sound_stores(where: Stores) -> None:
    """A sweep that is done, and one that goes on some day."""
    sweeping.assert_whole(PLAN, where)
    assert doctor.examine(where) == []
    assert doctor.deliver(where) == []


@pytest.mark.parametrize("damage", DAMAGES)
def test_each_kind_of_damage_is_found_and_explained(where: Stores, damage: str) -> None:
    """In a line that names the sweep; a look alone mends nothing."""
    kind, words, plant = DAMAGES[damage]
    plant(where)
    for _ in range(2):
        found = [finding for finding in doctor.examine(where) if finding.kind == kind]
        assert any(words in finding.line for finding in found), doctor.examine(where)
        assert all(finding.line.startswith(finding.sweep) and not finding.mended for finding in found)
        assert all("\n" not in finding.line for finding in found)


@pytest.mark.slow
def test_all_damage_at_once_is_mended(where: Stores, sound: Path) -> None:
    """And the networks are the same to the bit afterwards."""
    before = sweeping.networks(PLAN, where)
    for damage in ("no parent", "a trial too many"):
        DAMAGES[damage][2](where)
    extra = sweeping.plan(trials=7)
    for damage, (_, _, plant) in DAMAGES.items():
        if damage not in (
            "no parent",
            "a trial too many",
            "a run deleted",
            "a run never ended",
            "a parent left running",
        ):
            plant(where)
    delete_run(where, run_of(where, 1))
    found = doctor.examine(where, repair=True)
    assert found
    assert [finding for finding in found if not finding.mended] == []
    assert doctor.examine(where) == []
    sweeping.assert_whole(extra, where)
    after = sweeping.networks(extra, where)
    assert {trial: after[trial] for trial in before} == before


@pytest.mark.slow
def test_a_lost_tracking_store_is_made_again(where: Stores, sound: Path, tmp_path: Path) -> None:
    """From the study alone."""
    before = sweeping.networks(PLAN, where)
    home = Path(where.tracking_uri.removeprefix("sqlite:///"))
    home.unlink()
    shutil.rmtree(home.parent / "mlruns")
    (found,) = doctor.examine(where, "s", repair=True)
    assert found.mended
    assert "no parent run" in found.line
    assert sweeping.networks(PLAN, where) == before
    sweeping.assert_whole(PLAN, where)


def test_a_sweep_at_work_is_left_alone(where: Stores) -> None:
    """What is in flight is no damage."""
    with open_storage(where.storage) as storage:
        worker = SweepStudy.open(storage, "open").join()
        worker.claim(2)
        assert doctor.examine(where, "open", repair=True) == []
        assert len(worker.held) == 2
        worker.leave()


def test_an_offline_sweep_is_delivered(tmp_path: Path) -> None:
    """`nnexp sweep --offline`, then `nnexp doctor --deliver`."""
    where = sweeping.stores(tmp_path)
    sweeping.run(PLAN, where, offline=True)
    before = sweeping.spooled(PLAN, where)
    assert len(before) == PLAN.trials
    assert {finding.kind for finding in doctor.examine(where)} == {"undelivered"}
    (found,) = doctor.deliver(where)
    assert (found.mended, found.line) == (True, "s: 6 trials delivered")
    assert sweeping.networks(PLAN, where) == before
    assert doctor.deliver(where) == []


def test_evidence_of_an_unknown_sweep_is_named(where: Stores) -> None:
    """The spool may have come from elsewhere."""
    spooled(Spool(where.spool), 1, sweep="elsewhere")
    (found,) = doctor.examine(where)
    assert (found.kind, found.sweep) == ("orphan", "elsewhere")
    (found,) = [finding for finding in doctor.deliver(where) if "no sweep" in finding.line]
    assert not found.mended
