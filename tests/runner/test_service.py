"""A worker with a sweep that fails: a service tries it again later, a batch job fails at its end."""

from __future__ import annotations

import functools
import logging
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import BAD_REQUEST

from nnexp.errors import Interrupted, StoreError
from nnexp.runner import finalize, service, session, status, sweeps
from nnexp.runner.retry import Retry
from nnexp.runner.session import is_finalized
from nnexp.stores import Stores
from nnexp.study import Store, StoredSweep, SweepStudy, open_storage
from nnexp.tracking.failures import translated
from nnexp.tracking.store import Tracking
from tests.helpers import small_sweeps
from tests.helpers.podman import wait_for
from tests.helpers.servers import free_port, mlflow_server


def impatient(args: Sequence[str], log: Path) -> None:
    """Run a command line that waits one second, not two minutes, for a store."""
    session.Retry = functools.partial(Retry, seconds=1.0)  # type: ignore[misc,assignment]
    session.DRAIN_LIMIT, service.SET_ASIDE = 1.0, 1.0
    small_sweeps.command(args, log)


@pytest.mark.slow
def test_a_service_finalizes_a_sweep_whose_tracking_server_comes_back(tmp_path: Path) -> None:
    """The real server is killed when the finalization starts, and is started again after the time of all retries."""
    sweep = small_sweeps.plan(epochs=1000, lease=60.0)
    log = tmp_path / "log"
    with mlflow_server(f"sqlite:///{tmp_path}/mlflow.db", tmp_path / "server") as server:
        where = Stores(server.uri, str(tmp_path / "nnexp.journal"), tmp_path / "spool")
        with open_storage(where.storage) as storage:
            study = SweepStudy.create(storage, sweep)
            process = small_sweeps.process(impatient, ("worker", "--jobs", "1", *small_sweeps.options(where)), log)
            try:
                elected = f"{finalize.ELECTED}:{sweep.trials}"
                wait_for(lambda: study.get(elected) is not None, "a finalization started", 240, pause=0.01)
                server.kill()
                assert not is_finalized(study)
                wait_for(lambda: "is set aside" in log.read_text(), "the sweep set aside", 240)
                assert not is_finalized(study)
                assert process.is_alive()
                server.start()
                wait_for(lambda: is_finalized(study), "the finalization", 240)
            finally:
                small_sweeps.kill(process, signal.SIGTERM)
                process.join(60)
        assert process.exitcode == 143, log.read_text()[-3000:]
        assert "Traceback" not in log.read_text()
        small_sweeps.assert_whole(sweep, where)
        tracking = Tracking(where.tracking_uri)
        run = tracking.sweep(sweep.name).run_id
        assert tracking.status(run) == "FINISHED"
        assert sweep.name in tracking.text(run, "summary.md")


def test_a_batch_job_tries_every_sweep_once_and_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The failure of a store at one sweep does not keep it from the others; at its end it raises the failure."""
    monkeypatch.setattr(session, "Retry", functools.partial(Retry, seconds=0.1))
    where = Stores(f"http://127.0.0.1:{free_port()}", str(tmp_path / "nnexp.journal"), tmp_path / "spool")
    for name in ("first", "second"):
        sweeps.submit(small_sweeps.plan(name=name), stores=where)
    with caplog.at_level(logging.WARNING, "nnexp"), pytest.raises(StoreError, match="connection refused"):
        service.work(where, drain=True, pool="inline")
    aside = [line for line in caplog.messages if "is set aside" in line]
    assert [line.split("'")[1] for line in aside] == ["first", "second"]


def test_a_sweep_of_a_newer_version_does_not_keep_a_worker_from_the_others(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The worker and `nnexp status` name it in a warning."""
    where = small_sweeps.stores(tmp_path)
    for name in ("newer", "s"):
        sweeps.submit(small_sweeps.plan(name=name), stores=where)
    with open_storage(where.storage) as storage:
        newer = storage.storage.get_study_id_from_name("newer")
        storage.storage.set_study_user_attr(newer, "nnexp:sweep", {"schema": 99, "text": "?"})
    with caplog.at_level(logging.WARNING, "nnexp"):
        service.work(where, drain=True, pool="inline", offline=True)
        assert [(state.name, state.state) for state in status.status(where)] == [("s", "done")]
    assert "sweep 'newer' was created by a newer nnexp" in caplog.text


def test_a_service_outlives_its_study_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service tries a store that fails again; a batch job ends with the store's error."""
    where = small_sweeps.stores(tmp_path)
    sweeps.submit(small_sweeps.plan(), stores=where)
    list_all, asked = SweepStudy.list_all, []

    def failing(storage: Store) -> list[StoredSweep]:
        asked.append(storage)
        if len(asked) % 2:
            raise StoreError("the study store is away")
        return list_all(storage)

    monkeypatch.setattr(SweepStudy, "list_all", staticmethod(failing))
    monkeypatch.setattr(service, "SET_ASIDE", 0.01)
    with pytest.raises(StoreError, match="is away"):
        service.work(where, drain=True, pool="inline", offline=True)
    asked.clear()
    service.work(where, max_minutes=0.2, pool="inline", offline=True)
    with open_storage(where.storage) as storage:
        assert SweepStudy.open(storage, "s").is_done()


def test_an_unexpected_error_at_one_sweep_does_not_end_a_service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The sweep is set aside with a warning and tried again; the others are finished."""
    where = small_sweeps.stores(tmp_path)
    for name in ("first", "second"):
        sweeps.submit(small_sweeps.plan(name=name, trials=2), stores=where)
    tried = []

    def failing(study: SweepStudy, *_: Any) -> None:
        tried.append(study.name)
        if tried == ["first"]:
            raise KeyError("solved_rate")
        if len(tried) == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(finalize, "publish", failing)
    monkeypatch.setattr(service, "SET_ASIDE", 0.01)
    with caplog.at_level(logging.WARNING, "nnexp"), pytest.raises(Interrupted):
        service.work(where, pool="inline")
    assert tried == ["first", "second", "first"]
    assert "sweep 'first' is set aside: unexpected KeyError: 'solved_rate'" in caplog.text
    with open_storage(where.storage) as storage:
        assert all(is_finalized(SweepStudy.open(storage, name)) for name in ("first", "second"))


@pytest.mark.parametrize(
    "told",
    [
        '(psycopg.errors.UniqueViolation) duplicate key value violates unique constraint "experiment_tag_pk"',
        "(sqlite3.IntegrityError) UNIQUE constraint failed: datasets.name",
    ],
)
def test_a_conflict_of_workers_that_start_together_is_tried_again(told: str) -> None:
    """Two processes write the same tag of a new sweep at once: MLflow fails in one of them, and the row exists then."""
    answers = iter([told, None])

    def write() -> str:
        with translated("http://host"):
            if answer := next(answers):
                raise MlflowException(answer, BAD_REQUEST)
        return "written"

    notices: list[str] = []
    assert Retry(lambda: None, notices.append).call(write) == "written"
    assert "another process inserted the same row" in notices[0]
