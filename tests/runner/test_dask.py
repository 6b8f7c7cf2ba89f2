"""Training on a Dask cluster, with a real scheduler and real workers, some of which are killed."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor
from pathlib import Path

import numpy as np
import pytest

from nnexp.errors import NnexpError
from nnexp.network.settings import Settings
from nnexp.runner import jobs
from nnexp.runner.pool import open_pool
from tests.helpers.servers import free_port

distributed = pytest.importorskip("distributed")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("dask"),  # they share the cluster
    pytest.mark.filterwarnings("default"),  # Dask's own, of its event loops at the end
]

SETTINGS = Settings(task="xnor", hidden_size=3, learning_rate=1.0, init="glorot_uniform", epochs=300, seeds=600)


@pytest.fixture(scope="module")
def cluster() -> Iterator[distributed.LocalCluster]:
    """Two worker processes, each with a nanny that starts another when it dies."""
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None, "worker_dashboard_address": None}
    with distributed.LocalCluster(processes=True, host="127.0.0.1", silence_logs=50, **options) as running:
        yield running


@pytest.fixture
def spec(cluster: distributed.LocalCluster) -> str:
    """The value of --pool for the cluster."""
    return f"dask://{cluster.scheduler_address.removeprefix('tcp://')}"


def train_after(marks: str, settings: Settings) -> list[int]:
    """Create a file that shows the start, then train; the first call waits to be killed."""
    directory = Path(marks)
    first = not any(directory.iterdir())
    (directory / str(os.getpid())).touch()
    if first:
        time.sleep(60)
    return [int(np.sum(jobs.run_jobs([jobs.Job(0, settings, np.arange(8), 10)])[0].result.accuracy > 0))]


def die() -> None:
    """Kill this process, as the kernel kills one that uses too much memory."""
    os.kill(os.getpid(), signal.SIGKILL)


def test_networks_are_the_same_bits_on_the_cluster(spec: str) -> None:
    """A setting trained on the cluster has the same networks, in the same order, as in this process."""
    index = np.arange(SETTINGS.seeds)
    with open_pool("inline") as inline:
        expected, grades, _ = jobs.train(inline, SETTINGS, index, 1)
    with open_pool(spec) as pool:
        got, same, _ = jobs.train(pool, SETTINGS, index, 2)
    assert np.array_equal(got.network.W1, expected.network.W1)
    assert np.array_equal(got.loss, expected.loss)
    assert np.array_equal(same.solved, grades.solved)


def test_errors_come_back_as_they_were_raised(spec: str) -> None:
    """An exception in a task is raised by its future, with its type and message."""
    with open_pool(spec) as pool, pytest.raises(ZeroDivisionError, match="by zero"):
        pool.submit(divmod, 1, 0).result(timeout=60)


def test_a_killed_worker_costs_a_retry(cluster: distributed.LocalCluster, spec: str, tmp_path: Path) -> None:
    """The task of a worker that is killed during training runs again on another; the caller gets its result."""
    with open_pool(spec) as pool:
        future = pool.submit(train_after, str(tmp_path), SETTINGS)
        deadline = time.monotonic() + 60
        while not (began := list(tmp_path.iterdir())):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        os.kill(int(began[0].name), signal.SIGKILL)
        assert future.result(timeout=60) == [8]
    assert len(list(tmp_path.iterdir())) == 2


def test_a_task_that_kills_its_workers_breaks_the_pool(spec: str) -> None:
    """After four deaths Dask gives up a task; the error is that of a broken process pool."""
    with open_pool(spec) as pool, pytest.raises(BrokenExecutor):
        pool.submit(die).result(timeout=120)


def test_an_address_without_a_scheduler_is_reported() -> None:
    """The error names the address, within the ten seconds that a connection may take."""
    address = f"127.0.0.1:{free_port()}"
    with pytest.raises(NnexpError, match=f"dask://{address}.*no scheduler"):
        open_pool(f"dask://{address}")
