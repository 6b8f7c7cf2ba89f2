"""compose.yaml: what it promises, and its services really run: as containers, and each one's command as a process."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mlflow
import pytest
import yaml

from tests.helpers.podman import ROOT, Podman, wait_for
from tests.helpers.postgresql import running
from tests.helpers.servers import free_port

pytest_plugins = ["tests.helpers.images"]

FILE = ROOT / "compose.yaml"
SCRIPTS = Path(sysconfig.get_path("scripts"))
SECRETS = ("postgres_password", "optuna.conf", "mlflow.conf")
SWEEP = ("kubernetes/sweep/sweep.toml", "--set=trials=12", "--set=seeds=32", "--set=epochs=200", "--set=batch=2")
NAME = "xnor-batch"


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    """The services, as the file has them."""
    found: dict[str, Any] = yaml.safe_load(FILE.read_text())["services"]
    return found


def make_secrets(directory: Path, **environment: str) -> None:
    """Run the operator's script."""
    command = ["sh", ROOT / "experiments/batch/make-secrets.sh", directory]
    subprocess.run(command, check=True, capture_output=True, env=os.environ | environment)


def finished_runs(uri: str) -> list[tuple[str, str]]:
    """Each trial's number and the status of its run, of the sweep in the tracking store."""
    client = mlflow.MlflowClient(uri)
    experiment = client.get_experiment_by_name(NAME)
    if experiment is None:
        return []
    runs = client.search_runs([experiment.experiment_id])
    return sorted((r.data.tags["nnexp.trial"], r.info.status) for r in runs if "nnexp.trial" in r.data.tags)


def is_complete(uri: str) -> bool:
    """Whether each of the twelve trials has one finished run."""
    return finished_runs(uri) == sorted((str(number), "FINISHED") for number in range(12))


class TestFile:
    """What can be read off the file."""

    def test_publishes_the_user_interface_on_loopback_alone(self, services: dict[str, Any]) -> None:
        """One port of one service, and nobody outside this machine reaches it."""
        published = {name: service["ports"] for name, service in services.items() if "ports" in service}
        assert list(published) == ["mlflow"]
        assert all(port.startswith("127.0.0.1:") for port in published["mlflow"])

    def test_gives_no_container_privileges(self, services: dict[str, Any]) -> None:
        """Each has a read-only root, no capability, and no way to gain one."""
        for name, service in services.items():
            assert service["read_only"] is True, name
            assert service["cap_drop"] == ["ALL"], name
            assert service["security_opt"] == ["no-new-privileges:true"], name
            assert not {"privileged", "cap_add", "network_mode", "pid"} & service.keys(), name

    def test_holds_no_password(self, services: dict[str, Any]) -> None:
        """No password is in a command, an address or an environment: they are in the secrets' files alone."""
        for name, service in services.items():
            environment = service.get("environment") or {}
            assert not {key for key in environment if "PASSWORD" in key and not key.endswith("_FILE")}, name
            for word in [*environment.values(), *service.get("command", [])]:
                assert "@" not in word, name
                assert "password=" not in word, name

    def test_optuna_and_mlflow_never_share_a_database(self, services: dict[str, Any]) -> None:
        """The workers know Optuna's connection alone, the tracking server MLflow's alone."""
        assert services["worker"]["secrets"] == ["optuna.conf"]
        assert services["mlflow"]["secrets"] == ["mlflow.conf"]

    def test_starts_in_order(self, services: dict[str, Any]) -> None:
        """The database, then its tables, then the tracking server, then workers: each waits for the one before."""
        conditions = {
            name: {on: how["condition"] for on, how in service.get("depends_on", {}).items()}
            for name, service in services.items()
        }
        assert conditions == {
            "postgres": {},
            "schema": {"postgres": "service_healthy"},
            "mlflow": {"schema": "service_completed_successfully"},
            "worker": {"mlflow": "service_healthy"},
            "nnexp": {"mlflow": "service_healthy"},
        }

    def test_the_secrets_are_those_that_the_script_makes(self, tmp_path: Path) -> None:
        """make-secrets.sh writes what the file names, once; nobody else on the machine reaches them."""
        wanted = {Path(secret["file"]).name for secret in yaml.safe_load(FILE.read_text())["secrets"].values()}
        make_secrets(tmp_path / "secrets")
        first = {path.name: path.read_text() for path in (tmp_path / "secrets").iterdir()}
        assert first.keys() == wanted == set(SECRETS)
        assert (tmp_path / "secrets").stat().st_mode & 0o077 == 0
        assert len({re.search(r"\w{32}", text)[0] for text in first.values()}) == 3  # type: ignore[index]
        make_secrets(tmp_path / "secrets")
        assert {path.name: path.read_text() for path in (tmp_path / "secrets").iterdir()} == first


@dataclass
class Machine:
    """The services as processes: what is a container's own in their commands becomes this machine's."""

    services: dict[str, Any]
    home: Path
    replacements: dict[str, str]
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def here(self, text: str) -> str:
        """A word of the file, for this machine."""
        pattern = "|".join(map(re.escape, self.replacements))
        return re.sub(pattern, lambda found: self.replacements[found[0]], text)

    def environment(self, service: str) -> dict[str, str]:
        """A service's own environment, and no other."""
        own = {key: self.here(value) for key, value in (self.services[service].get("environment") or {}).items()}
        there = {"PATH": f"{SCRIPTS}:/usr/bin:/bin", "HOME": str(self.home), "TMPDIR": str(self.home)}
        return there | {"PYTHONPATH": str(ROOT), "MLFLOW_DISABLE_TELEMETRY": "true", "OPENBLAS_NUM_THREADS": "1"} | own

    def command(self, service: str, *arguments: str) -> list[str]:
        """What the container would run: its entry point (by default the image's), then its command."""
        entry = self.services[service].get("entrypoint", ["nnexp"])
        words = [*entry, *(arguments or self.services[service].get("command", []))]
        program = [sys.executable, "-m", words[0]] if words[0] in ("nnexp", "mlflow", "python") else [words[0]]
        return [*program, *(self.here(word) for word in words[1:])]

    def run(self, service: str, *arguments: str) -> str:
        """A service that ends, well."""
        done = subprocess.run(
            self.command(service, *arguments),
            env=self.environment(service),
            cwd=self.home,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start(self, service: str) -> subprocess.Popen[bytes]:
        """A service that goes on, in a directory of its own."""
        directory = self.home / f"{service}-{len(self.running)}"
        directory.mkdir()
        with (directory / "log").open("wb") as log:
            process = subprocess.Popen(
                self.command(service),
                env=self.environment(service) | {"TMPDIR": str(directory)},
                cwd=directory,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.running.append(process)
        return process

    def is_healthy(self, service: str) -> bool:
        """Whether the service's own health check passes."""
        test = self.services[service]["healthcheck"]["test"]
        assert test[0] == "CMD"
        words = [sys.executable if test[1] == "python" else test[1], *map(self.here, test[2:])]
        return subprocess.run(words, env=self.environment(service), capture_output=True).returncode == 0

    def end(self) -> None:
        """Kill whatever still runs, with its children."""
        for process in self.running:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(30)


@pytest.fixture
def machine(services: dict[str, Any], tmp_path: Path) -> Iterator[Machine]:
    """A PostgreSQL server with the databases that the postgres service's script makes, and nothing else yet."""
    secrets = tmp_path / "secrets"
    with running() as server:
        port = str(server.port)
        make_secrets(secrets, PGHOST="127.0.0.1", PGPORT=port)
        script = next(v.partition(":")[0] for v in services["postgres"]["volumes"] if "initdb.d" in v)
        there = {"PGHOST": "127.0.0.1", "PGPORT": port, "PGPASSWORD": server.password, "SECRETS": str(secrets)}
        psql = os.environ | there | {"PATH": f"{server.programs}:{os.environ['PATH']}"}
        subprocess.run(["sh", ROOT / script], env=psql, check=True)
        ui = free_port()
        replacements = {
            "/run/secrets": str(secrets),
            "/data": str(tmp_path / "data"),
            "/experiments": str(ROOT / "experiments"),
            "/tmp/": f"{tmp_path}/",  # noqa: S108
            "0.0.0.0": "127.0.0.1",  # noqa: S104
            "--port=5000": f"--port={ui}",
            "127.0.0.1:5000": f"127.0.0.1:{ui}",
            "//mlflow:5000": f"//127.0.0.1:{ui}",
            "--workers=2": "--workers=1",
        }
        found = Machine(services, tmp_path, replacements)
        try:
            yield found
        finally:
            found.end()


@pytest.mark.postgresql
@pytest.mark.slow
@pytest.mark.long
def test_each_command_runs_as_a_process(machine: Machine) -> None:
    """From empty databases to a sweep's summary, by the commands that the file has; SIGTERM ends a worker well."""
    machine.run("schema")
    machine.run("schema")  # again: it finds its work done
    machine.start("mlflow")
    wait_for(lambda: machine.is_healthy("mlflow"), "the tracking server's health check", 300)
    machine.run("nnexp", "submit", f"/experiments/batch/{SWEEP[0]}", *SWEEP[1:])
    workers = [machine.start("worker"), machine.start("worker")]
    uri = machine.environment("worker")["MLFLOW_TRACKING_URI"]
    wait_for(lambda: is_complete(uri), "twelve finished runs")
    assert "12" in machine.run("nnexp", "summarize", NAME)
    for worker in workers:
        worker.send_signal(signal.SIGTERM)
    assert [worker.wait(60) for worker in workers] == [143, 143]


@dataclass(frozen=True)
class Stack:
    """The services as containers, by podman-compose, in a copy of the project's directory."""

    podman: Podman
    directory: Path
    project: str
    port: int

    def compose(self, *arguments: str) -> str:
        """``podman-compose ARGUMENTS``; what it prints."""
        command = [SCRIPTS / "podman-compose", "--profile=commands", f"--project-name={self.project}", *arguments]
        environment = self.podman.environment | {"NNEXP_UI_PORT": str(self.port)}
        environment["PATH"] = f"{SCRIPTS}:{environment['PATH']}"
        done = subprocess.run(command, env=environment, cwd=self.directory, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def up(self, service: str, *options: str) -> None:
        """Start a service; podman-compose does not wait for health, so the test does (``depends_on``)."""
        self.compose("up", "--detach", "--no-build", "--no-deps", *options, service)

    def name(self, service: str, number: int = 1) -> str:
        """A service's container."""
        return f"{self.project}_{service}_{number}"

    def is_healthy(self, service: str, number: int = 1) -> bool:
        """Whether the container's own health check passes."""
        return self.podman.run("healthcheck", "run", self.name(service, number), check=False).returncode == 0

    def stop(self, service: str, number: int = 1) -> int:
        """Send SIGTERM to a service's container; its exit status."""
        self.podman.run("stop", "--time=60", self.name(service, number))
        return int(self.podman.inspect("container", self.name(service, number))["State"]["ExitCode"])

    def state(self, service: str) -> dict[str, Any]:
        """What podman knows of the container's state."""
        found: dict[str, Any] = self.podman.inspect("container", self.name(service))["State"]
        return found


@pytest.fixture
def stack(podman: Podman, image: str, postgres_image: str, tmp_path: Path) -> Iterator[Stack]:
    """The stores, up and healthy in the order that the file says."""
    if not (SCRIPTS / "podman-compose").exists():
        pytest.skip("podman-compose is not installed")
    shutil.copy(FILE, tmp_path)
    shutil.copytree(ROOT / "experiments/batch", tmp_path / "experiments/batch")
    make_secrets(tmp_path / "experiments/batch/secrets")
    found = Stack(podman, tmp_path, f"nnexp-test-{os.getpid()}", free_port())
    try:
        found.up("postgres")
        wait_for(lambda: found.is_healthy("postgres"), "PostgreSQL's health check")
        found.up("schema")
        wait_for(lambda: found.state("schema")["Status"] == "exited", "the schema job's end")
        assert found.state("schema")["ExitCode"] == 0, podman.logs(found.name("schema"))
        found.up("mlflow")
        wait_for(lambda: found.is_healthy("mlflow"), "the tracking server's health check", 300)
        yield found
    finally:
        found.compose("down", "--volumes", "--timeout=2")


@pytest.mark.container
@pytest.mark.slow
@pytest.mark.long
def test_containers_drain_a_sweep_together(stack: Stack) -> None:
    """Two workers in containers do a sweep once; each hands back on SIGTERM, in mid-sweep and with nothing to do."""
    longer = ("--set=seeds=512", "--set=epochs=20000")
    command = ("run", "--rm", "--no-deps", "nnexp")
    stack.compose(*command, "submit", f"/experiments/batch/{SWEEP[0]}", *SWEEP[1:], *longer)
    stack.up("worker", "--scale=worker=2")
    uri = f"http://127.0.0.1:{stack.port}"
    for number in (1, 2):
        found = stack.podman.inspect("container", stack.name("worker", number))
        assert found["HostConfig"]["ReadonlyRootfs"] is True
        assert found["Config"]["User"] == "10001:10001"
    wait_for(lambda: stack.is_healthy("worker", 1) and stack.is_healthy("worker", 2), "two healthy workers", 180)
    wait_for(lambda: bool(finished_runs(uri)), "a finished run", 300)
    assert stack.stop("worker", 1) == 143
    assert not is_complete(uri), "the sweep is too short to be stopped in its middle"
    wait_for(lambda: is_complete(uri), "twelve finished runs", 300)
    assert NAME in stack.compose(*command, "status")
    assert stack.stop("worker", 2) == 143
    assert is_complete(uri)
    stack.compose(*command, "worker", "--drain")  # what is left of the sweep: its conclusion, or nothing
    assert "12" in stack.compose(*command, "summarize", NAME)
