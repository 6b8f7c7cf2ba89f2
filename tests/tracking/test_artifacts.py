"""A run is ended only when its files have arrived, whatever answers at the address of the artifact store."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from nnexp.errors import UnreachableError
from nnexp.tracking.child_run import deliver
from nnexp.tracking.spool import Spool
from nnexp.tracking.store import Tracking
from tests.helpers.finished_trials import write_entry
from tests.helpers.small_sweeps import stores

ROOT = "/api/2.0/mlflow-artifacts/artifacts"


class ArtifactServer(ThreadingHTTPServer):
    """An artifact server; ``fault`` says how it, or what is in front of it, misbehaves."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.fault: str | None = None
        self.files: dict[str, int] = {}


class _Handler(BaseHTTPRequestHandler):
    server: ArtifactServer

    def do_PUT(self) -> None:
        size = len(self.rfile.read(int(self.headers["Content-Length"])))
        if self.server.fault == "redirects":
            self.send_response(302)
            self.send_header("Location", "/login")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if self.server.fault not in ("keeps nothing", "null"):
            self.server.files[self.path.removeprefix(ROOT).strip("/")] = size // (
                2 if self.server.fault == "truncates" else 1
            )
        self._answer({})

    def do_GET(self) -> None:
        folder = self.path.partition("?path=")[2].replace("%2F", "/")
        found = [
            {"path": path.removeprefix(f"{folder}/"), "is_dir": False, "file_size": size}
            for path, size in self.server.files.items()
            if path.startswith(f"{folder}/")
        ]
        self._answer(None if self.server.fault == "null" else {"files": found})

    def _answer(self, content: Any) -> None:
        body = b"<html>sign in</html>" if self.path == "/login" else json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class's name
        """Log nothing."""


@pytest.fixture
def server() -> Iterator[ArtifactServer]:
    """An artifact server on a free port."""
    with ArtifactServer() as started:
        thread = threading.Thread(target=started.serve_forever)
        thread.start()
        yield started
        started.shutdown()
        thread.join()


@pytest.fixture
def remote(server: ArtifactServer, tmp_path: Path) -> Tracking:
    """A tracking store whose sweep ``s`` has its artifacts on that server."""
    tracking = Tracking(stores(tmp_path).tracking_uri)
    tracking.client.create_experiment("s", artifact_location=f"http://127.0.0.1:{server.server_port}{ROOT}/s")
    return tracking


@pytest.mark.parametrize("fault", ["keeps nothing", "null", "redirects", "truncates"])
def test_run_is_not_ended_without_its_files(remote: Tracking, server: ArtifactServer, spool: Spool, fault: str) -> None:
    """An upload that is answered with success and not kept is tried again later, in the same run."""
    sweep = remote.ensure_sweep("s", text="trials = 1\n", note="")
    entry = write_entry(spool, 0, sweep="s")
    server.fault = fault
    with pytest.raises(UnreachableError, match="check that it is an MLflow server"):
        deliver(remote, sweep, entry, fresh=True)
    assert remote.runs("s") == []
    server.fault = None
    run_id = deliver(remote, sweep, entry)
    assert [(run.run_id, run.status) for run in remote.runs("s")] == [(run_id, "FINISHED")]
    assert len(server.files) == len(list(entry.files.iterdir())) + 1  # and sweep.toml


def test_sweep_is_not_finished_without_its_report(remote: Tracking, server: ArtifactServer, tmp_path: Path) -> None:
    """The parent run keeps its status; files in folders are checked too."""
    sweep = remote.ensure_sweep("s", text="trials = 1\n", note="")
    (tmp_path / "files" / "tables").mkdir(parents=True)
    (tmp_path / "files" / "report.html").write_text("<h1>answer</h1>")
    (tmp_path / "files" / "tables" / "settings.csv").write_text("a,b\n")
    server.fault = "keeps nothing"
    with pytest.raises(UnreachableError, match=r"report\.html, tables/settings\.csv did not arrive"):
        remote.finish_sweep(sweep, tmp_path / "files", "the answer")
    assert remote.status(sweep.run_id) != "FINISHED"
    server.fault = None
    remote.finish_sweep(sweep, tmp_path / "files", "the answer")
    assert remote.status(sweep.run_id) == "FINISHED"
