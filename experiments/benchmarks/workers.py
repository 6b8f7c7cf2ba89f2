"""Trials a second by number of workers, on one real PostgreSQL and one real MLflow server.

    python experiments/benchmarks/workers.py [--workers 1 2 4] [--trials 200] [--servers 1]

The trials hardly train (8 networks, 10 epochs), so that what is measured is the stores: what Optuna's and MLflow's
databases and the tracking server bear. CPU time is taken of each part's processes between the 10th and the 90th percent
of the trials, as a run's evidence arrives; by it the limits of more machines can be told. Needs PostgreSQL's programs
and the project's ``dev`` extra. Writes results/workers.md and results/workers.json beside this file.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))

from tests.helpers.postgresql import running  # noqa: E402 - the tests' servers, from the checkout
from tests.helpers.servers import MlflowServer  # noqa: E402

SWEEP = """name = "{name}"
trials = {trials}
seeds = 8
epochs = 10
sampler = "{sampler}"
batch = {batch}
[space]
hidden_size = {{ low = 2, high = 4 }}
learning_rate = {{ low = 1e-3, high = 10.0, log = true }}
init_scale = {{ low = 0.01, high = 5.0, log = true }}
"""


@dataclass(frozen=True)
class Stores:
    """Their addresses, and the processes that serve them."""

    admin: str
    optuna: str
    mlflow: str
    server: int
    postmaster: int

    def environment(self, spool: Path) -> dict[str, str]:
        """A worker's."""
        own = {"NNEXP_STORAGE": self.optuna, "MLFLOW_TRACKING_URI": self.mlflow, "NNEXP_SPOOL": str(spool)}
        return os.environ | own | {"MLFLOW_DISABLE_TELEMETRY": "true", "PYTHONPATH": str(HERE.parents[1])}

    def delivered(self, name: str) -> int:
        """Finished runs of the sweep in MLflow's database, asked there so that asking costs the server nothing."""
        query = (
            "SELECT count(*) FROM runs JOIN tags ON tags.run_uuid = runs.run_uuid "
            "WHERE status = 'FINISHED' AND tags.key = 'nnexp.trial' AND experiment_id IN "
            "(SELECT experiment_id FROM experiments WHERE name = %s)"
        )
        with psycopg.connect(self.admin + "mlflow") as connection:
            found = connection.execute(query, (name,)).fetchone()
        return int(found[0]) if found else 0


@contextmanager
def stores(directory: Path, servers: int) -> Iterator[Stores]:
    """PostgreSQL with two databases, and `mlflow server` of so many processes on one of them."""
    with running(password="benchmark") as database:  # noqa: S106
        address = database.address("postgres")
        admin = address.removesuffix("postgres")
        with psycopg.connect(address, autocommit=True) as connection:
            for name in ("optuna", "mlflow"):
                connection.execute(f"CREATE DATABASE {name} ENCODING 'UTF8' TEMPLATE template0")
            postmaster = psutil.Process(connection.info.backend_pid).ppid()
        server = MlflowServer(admin + "mlflow", directory / "server", options=("--workers", str(servers)))
        try:
            server.start()
            pid = server.process.pid if server.process else 0
            yield Stores(admin, admin + "optuna", server.uri, pid, postmaster)
        finally:
            server.kill()


def seconds(pids: list[int]) -> float:
    """CPU time so far of these processes and their children, those that ended among them."""
    total = 0.0
    for pid in pids:
        for process in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]:
            try:
                times = process.cpu_times()
            except psutil.NoSuchProcess:
                continue
            total += times.user + times.system + times.children_user + times.children_system
    return total


def run(found: Stores, directory: Path, workers: int, trials: int, sampler: str, batch: int) -> dict[str, object]:
    """One sweep by so many workers."""
    name = f"{sampler}-{workers}"
    file = directory / f"{name}.toml"
    file.write_text(SWEEP.format(name=name, trials=trials, sampler=sampler, batch=batch))
    nnexp = [sys.executable, "-m", "nnexp"]
    environment = found.environment(directory / f"spool-{name}-0")
    subprocess.run([*nnexp, "submit", file], env=environment, check=True, capture_output=True)
    running = [
        subprocess.Popen(
            [*nnexp, "worker", "--drain", "--sweep", name, "--pool", "inline"],
            env=found.environment(directory / f"spool-{name}-{i}"),
            stdout=subprocess.DEVNULL,
            stderr=(directory / f"log-{name}-{i}").open("w"),
            cwd=directory,
        )
        for i in range(workers)
    ]
    marks = []
    for part in (0.1, 0.9):
        while (done := found.delivered(name)) < part * trials:
            time.sleep(0.2)
        parts = [[found.postmaster], [found.server], [process.pid for process in running if process.poll() is None]]
        marks.append((time.perf_counter(), done, *map(seconds, parts)))
    if any(process.wait(600) for process in running) or found.delivered(name) != trials:
        logs = "\n".join((directory / f"log-{name}-{i}").read_text()[-2000:] for i in range(workers))
        raise RuntimeError(f"{name}: {found.delivered(name)} of {trials} trials, or a worker failed:\n{logs}")
    span, count, *spent = (b - a for a, b in zip(*marks, strict=True))
    each = [round(1000 * cpu / count, 1) for cpu in spent]
    cores = [round(cpu / span, 2) for cpu in spent]
    labels = ("PostgreSQL", "MLflow server", "workers")
    return {
        "sampler": sampler,
        "workers": workers,
        "trials/s": round(count / span, 1),
        **{f"{label}, CPU ms a trial": value for label, value in zip(labels, each, strict=True)},
        **{f"{label}, cores": value for label, value in zip(labels, cores, strict=True)},
    }


def main() -> None:
    """Measures and writes the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--samplers", nargs="+", default=["random", "tpe"])
    parser.add_argument("--servers", type=int, default=1, help="processes of the tracking server")
    parser.add_argument("--batch", type=int, default=8)
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as name, stores(Path(name), options.servers) as found:
        for sampler in options.samplers:
            for workers in options.workers:
                rows.append(run(found, Path(name), workers, options.trials, sampler, options.batch))
                print(rows[-1], flush=True)
    here = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    command = f"`python experiments/benchmarks/workers.py {' '.join(sys.argv[1:])}`".replace(" `", "`")
    heads = list(rows[0])
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    lines += ["| " + " | ".join(str(row[head]) for head in heads) + " |" for row in rows]
    where = f"{here}; one PostgreSQL, one MLflow server ({options.servers} process), the workers: all on one machine"
    text = f"{command}\n\n{where}.\n\n"
    results = HERE / "results"
    results.mkdir(exist_ok=True)
    (results / "workers.md").write_text("# Workers on shared stores\n\n" + text + "\n".join(lines) + "\n")
    (results / "workers.json").write_text(json.dumps({"machine": here, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
