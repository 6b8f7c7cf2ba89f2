"""The study of a sweep, the same over a journal file, SQLite and PostgreSQL."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest
from optuna.study import StudyDirection

from nnexp.errors import NotFoundError, StoreError, UsageError
from nnexp.study import Store, SweepStudy, Worker, open_storage
from tests.helpers.small_study import SPACE, make, work


def test_another_process_reads_the_same(url: str, store: Store) -> None:
    """Another process reads the stored parameters to the bit."""
    done = work(Worker.join(SweepStudy.create(store, make())))
    with open_storage(url) as other:
        assert {trial.number: trial.params for trial in SweepStudy.open(other, "s").trials()} == done


def test_a_larger_budget_extends_the_sweep(store: Store, another: Callable[[], Store]) -> None:
    """A larger budget extends a finished sweep and changes none of its trials."""
    first = work(Worker.join(SweepStudy.create(store, make())))
    study = SweepStudy.create(another(), make(trials=20))
    assert not study.is_done()
    assert sorted(work(Worker.join(study))) == list(range(12, 20))
    assert {t.number: t.params for t in study.trials() if t.number < 12} == first


def test_workers_notice_an_extension(store: Store, another: Callable[[], Store]) -> None:
    """A worker notices that another process has extended the sweep."""
    worker = Worker.join(SweepStudy.create(store, make()))
    SweepStudy.create(another(), make(trials=14))
    worker.reclaim_dead()
    assert len(work(worker)) == 14


def test_a_changed_file_is_refused(store: Store) -> None:
    """The error names the keys that differ; a smaller budget is refused as well."""
    SweepStudy.create(store, make())
    changed = make(epochs=7, space={**SPACE, "init": ["uniform"]})
    with pytest.raises(UsageError, match=r"these keys differ: epochs, space\.init"):
        SweepStudy.create(store, changed)
    with pytest.raises(UsageError, match="expected at least as many"):
        SweepStudy.create(store, make(trials=3))


def test_an_unknown_sweep(store: Store) -> None:
    """The error about an unknown sweep names the most similar one."""
    with pytest.raises(NotFoundError, match="holds none"):
        SweepStudy.open(store, "s")
    SweepStudy.create(store, make(name="first"))
    with pytest.raises(NotFoundError, match="did you mean 'first'"):
        SweepStudy.open(store, "frist")
    assert [summary.name for summary in SweepStudy.list_all(store)] == ["first"]


def test_an_incomplete_study(store: Store) -> None:
    """A study whose creator died is created again; one of another program is refused."""
    store.storage.create_new_study([StudyDirection.MINIMIZE], "s")
    foreign = store.storage.create_new_study([StudyDirection.MINIMIZE], "foreign")
    store.storage.create_new_trial(foreign)
    assert len(work(Worker.join(SweepStudy.create(store, make())))) == 12
    with pytest.raises(StoreError, match="another program"):
        SweepStudy.create(store, make(name="foreign"))


def test_a_deleted_sweep(store: Store, another: Callable[[], Store]) -> None:
    """A deleted sweep is gone, and its workers receive an error."""
    worker = Worker.join(SweepStudy.create(store, make()))
    (claim,) = worker.claim(1)
    SweepStudy.open(another(), "s").delete()
    with pytest.raises(NotFoundError, match="was deleted"):
        worker.finish(claim, "COMPLETE", [0.0])
    with pytest.raises(NotFoundError, match="was deleted"):
        worker.claim(1)
    assert SweepStudy.list_all(store) == []


def test_ties(store: Store) -> None:
    """Equal objectives are ordered by the higher solved_rate, then by the lower number."""
    worker = Worker.join(SweepStudy.create(store, make()))
    rates = [(0.2, 0.9), (0.5, 0.6), (0.5, 0.7), (0.5, 0.7)]
    for claim, (value, solved) in zip(worker.claim(4), rates, strict=True):
        worker.finish(claim, "COMPLETE", [value], {"solved_rate": solved})
    best = worker.study.best()
    assert best is not None
    assert best.number == 2


def test_stop(store: Store, another: Callable[[], Store]) -> None:
    """All workers see a request to stop, and it can be withdrawn."""
    study = SweepStudy.create(store, make())
    other = SweepStudy.open(another(), "s")
    assert not other.stop_requested()
    study.request_stop()
    assert other.stop_requested()
    assert SweepStudy.list_all(store)[0].stopped
    study.clear_stop()
    assert not other.stop_requested()


def test_set_once(store: Store, another: Callable[[], Store]) -> None:
    """The first value that is set once is the same for all processes."""
    study = SweepStudy.create(store, make())
    assert study.get("parent") is None
    assert study.set_once("parent", "a") == "a"
    assert SweepStudy.open(another(), "s").set_once("parent", "b") == "a"
    study.set("parent", {"id": "c"})
    assert study.get("parent") == {"id": "c"}


def test_nothing_is_printed(url: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Nothing is printed, and the levels of the loggers stay as the user set them."""
    before = logging.getLogger("optuna").level, logging.getLogger("optuna.storages").level
    with open_storage(url) as store:
        work(Worker.join(SweepStudy.create(store, make(sampler="tpe"))))
    assert (logging.getLogger("optuna").level, logging.getLogger("optuna.storages").level) == before
    assert capfd.readouterr() == ("", "")


def test_compare_and_set(store: Store, another: Callable[[], Store]) -> None:
    """A value is replaced only if it is still the expected one."""
    study = SweepStudy.create(store, make())
    other = SweepStudy.open(another(), "s")
    assert study.compare_and_set("publisher", None, "a")
    assert not other.compare_and_set("publisher", None, "b")
    assert other.compare_and_set("publisher", "a", "b")
    assert study.get("publisher") == "b"


def test_a_stored_file_in_another_form_is_the_same_sweep(store: Store) -> None:
    """Another version of nnexp may store the text of the same sweep in another form; nothing differs then."""
    study = SweepStudy.create(store, make())
    stored = study.attrs()["nnexp:sweep"]
    other = {**stored, "text": "# by another version\n" + stored["text"].replace("trials = 12", "trials = 14")}
    store.storage.set_study_user_attr(study.study_id, "nnexp:sweep", other)
    assert study.counts().budget == 14
    assert study.sweep == make(trials=14)
    assert SweepStudy.create(store, make(trials=14)).sweep == study.sweep
