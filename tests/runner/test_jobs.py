"""Tasks for the pool: every network once, in few tasks of equal size; their results are joined in order."""

from __future__ import annotations

import dataclasses
from concurrent.futures import Executor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnexp.network.settings import Settings
from nnexp.runner import jobs
from nnexp.runner.jobs import TASK_NETWORKS, TASK_NETWORKS_LOW, Job, cost, grade, pack, submit, train
from nnexp.runner.pool import InlineExecutor
from nnexp.training import trainer


def job(trial: int, networks: int, hidden_size: int = 2, midway: bool = False) -> Job:
    """A job to the last epoch, from the start or as the continuation of an earlier one."""
    s = Settings(hidden_size=hidden_size, epochs=4, seeds=networks)
    made = Job(trial, s, np.arange(networks), 4)
    return dataclasses.replace(made, start=trainer.start(s)) if midway else made


@given(
    sizes=st.lists(st.tuples(st.integers(1, 3000), st.integers(1, 3)), min_size=1, max_size=30),
    workers=st.integers(1, 8),
)
def test_every_network_is_in_one_task_and_tasks_of_a_shape_are_of_equal_size(
    sizes: list[tuple[int, int]], workers: int
) -> None:
    """The tasks of one hidden size differ by less networks than there are tasks."""
    wanted = [job(trial, networks, hidden) for trial, (networks, hidden) in enumerate(sizes)]
    tasks = list(pack(wanted, workers))
    found = sorted((part.trial, i) for task in tasks for part in task for i in part.index.tolist())
    assert found == [(trial, i) for trial, (networks, _) in enumerate(sizes) for i in range(networks)]
    total = sum(networks for networks, _ in sizes)
    limit = min(max(total // (3 * workers), TASK_NETWORKS_LOW), TASK_NETWORKS)
    for hidden in {hidden for _, hidden in sizes}:
        counts = [sum(len(part.index) for part in task) for task in tasks if task[0].settings.hidden_size == hidden]
        networks = sum(counts)
        assert len(counts) == -(-networks // limit)
        assert max(counts) <= limit
        assert max(counts) - min(counts) < len(counts)
    assert all(len({part.settings.hidden_size for part in task}) == 1 for task in tasks)


def test_a_job_that_continues_another_is_not_divided() -> None:
    """Its start is the result of all its networks."""
    wanted = [job(0, 300), job(1, 700, midway=True), job(2, 300), job(3, 900, midway=True)]
    tasks = list(pack(wanted, 2))
    assert sorted(len(part.index) for task in tasks for part in task if part.start is not None) == [700, 900]
    assert sum(len(part.index) for task in tasks for part in task) == 2200


@pytest.mark.parametrize("workers", [1, 7])
def test_a_trial_divided_into_tasks_is_the_trial_trained_in_one(workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights, grades and histories are the same to the bit, in the order of the index."""
    monkeypatch.setattr(jobs, "TASK_NETWORKS_LOW", 16)
    s = Settings(epochs=60, seeds=150, learning_rate=3.0, stop="confident")
    with InlineExecutor() as pool:
        result, grades, seconds = train(pool, s, np.arange(150), workers)
    whole = trainer.train(s)
    assert seconds > 0
    np.testing.assert_array_equal(result.index, np.arange(150))
    np.testing.assert_array_equal(result.network.W1, whole.network.W1)
    np.testing.assert_array_equal(result.history.loss, whole.history.loss)
    np.testing.assert_array_equal(grades.solved, grade(whole).solved)


def test_the_most_expensive_task_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """A short task at the end leaves the other cores idle for less time."""
    sent: list[float] = []

    class Noting(InlineExecutor):
        def submit(self, fn, /, *args, **kwargs):  # type: ignore[no-untyped-def]
            sent.append(sum(map(cost, args[0])))
            return super().submit(fn, *args, **kwargs)

    monkeypatch.setattr(jobs, "TASK_NETWORKS_LOW", 16)
    pool: Executor = Noting()
    submit(pool, [job(0, 20), job(1, 40, hidden_size=5), job(2, 30)], 1)
    assert sent == sorted(sent, reverse=True)
    assert len(sent) > 1
