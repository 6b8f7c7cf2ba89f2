"""A real PostgreSQL server for tests: a new cluster in a temporary directory, on a free port."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy.engine import URL

#: It has characters that an address must quote, and braces, which Optuna would take for a template.
PASSWORD = "p{w}%d @:/é"  # noqa: S105


class Server:
    """A server; `database` creates a new database and returns its address."""

    def __init__(self, programs: Path, directory: Path, password: str) -> None:
        self.programs = programs
        self.directory = directory
        self.password = password
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]

    def run(self, program: str, *arguments: str) -> str:
        """Run one of PostgreSQL's programs, as the user postgres if this process is root; returns its output."""
        command = [str(self.programs / program), *arguments]
        if os.geteuid() == 0:
            command = ["runuser", "-u", "postgres", "--", *command]
        done = subprocess.run(command, cwd="/", capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{program}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def start(self) -> None:
        """Start it and wait until it answers."""
        options = f"-p {self.port} -k {self.directory} -c listen_addresses=127.0.0.1 -c fsync=off"
        log = str(self.directory / "log")
        self.run("pg_ctl", "-D", str(self.directory / "data"), "-l", log, "-o", options, "-w", "start")

    def stop(self, mode: str = "fast") -> None:
        """Stop it; ``immediate`` simulates a crash."""
        self.run("pg_ctl", "-D", str(self.directory / "data"), "-m", mode, "-w", "stop")

    def database(self) -> str:
        """The address of a new database."""
        name = f"t{uuid.uuid4().hex}"
        self.run("createdb", "-h", str(self.directory), "-p", str(self.port), name)
        return self.address(name)

    def schema(self) -> str:
        """The address of a new schema in the database ``postgres``; as good as a new database, and faster to create."""
        name = f"t{uuid.uuid4().hex}"
        arguments = ("-h", str(self.directory), "-p", str(self.port), "-q", "-c", f"CREATE SCHEMA {name}")
        self.run("psql", *arguments, "postgres")
        return self.address("postgres", options=f"-csearch_path={name}")

    def address(self, database: str, **query: str) -> str:
        """The address of a database, with the password."""
        url = URL.create("postgresql", "postgres", self.password, "127.0.0.1", self.port, database, query)
        return url.render_as_string(hide_password=False)


def programs() -> Path | None:
    """The directory of PostgreSQL's programs, the newest version of several; None if they are not installed."""
    if installed := list(Path("/usr/lib/postgresql").glob("*/bin/initdb")):
        return max(installed, key=lambda path: int(path.parts[-3])).parent
    on_path = shutil.which("initdb")
    return Path(on_path).parent if on_path else None


@contextmanager
def running(password: str = PASSWORD) -> Iterator[Server]:
    """Run a server for the duration of the block; skips the test, with the reason, where none can run."""
    found = programs()
    if found is None:
        pytest.skip("no PostgreSQL server programs (apt-get install postgresql)")
    if os.geteuid() == 0 and not (shutil.which("runuser") and _has_user("postgres")):
        pytest.skip("PostgreSQL refuses root, and there is no user postgres to run it as")
    with tempfile.TemporaryDirectory(prefix="nnexp-postgresql-") as name:
        directory = Path(name)
        if os.geteuid() == 0:
            shutil.chown(directory, "postgres", "postgres")
        server = Server(found, directory, password)
        secret = directory / "password"
        secret.write_text(password + "\n", encoding="utf-8")
        authentication = ("--auth-host=scram-sha-256", "--auth-local=trust", f"--pwfile={secret}")
        server.run(
            "initdb", "-D", str(directory / "data"), "-U", "postgres", "-E", "UTF8", "--no-sync", *authentication
        )
        server.start()
        try:
            yield server
        finally:
            server.stop("immediate")


def _has_user(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True
