"""Sending a run's files, and checking that they arrived before the run is ended."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mlflow import MlflowClient
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from nnexp._redact import redact
from nnexp.errors import UnreachableError


def send(client: MlflowClient, uri: str, run_id: str, artifact_uri: str, directory: Path) -> None:
    """Send a directory's files as a run's artifacts, and check that they arrived; those of the same name are replaced.

    A proxy or another program at the server's address may answer an upload with success and keep nothing. So the
    artifacts are listed afterwards, unless they are files of this machine.

    Args:
        client: MLflow's.
        uri: the tracking store's address.
        run_id: the run.
        artifact_uri: where the run's artifacts are.
        directory: the files.

    Raises:
        UnreachableError: some files did not arrive.
    """
    client.log_artifacts(run_id, str(directory))
    if artifact_uri.startswith(("/", "file:")):
        return
    try:
        missing = list(_missing(uri, artifact_uri, directory))
    except (AttributeError, TypeError, KeyError, ValueError) as error:  # no list of files in the form of MLflow
        raise UnreachableError(f"{redact(uri)}: run {run_id}: its artifacts cannot be listed; {_ADVICE}") from error
    if missing:
        raise UnreachableError(f"{redact(uri)}: run {run_id}: {', '.join(missing)} did not arrive; {_ADVICE}")


_ADVICE = "check that it is an MLflow server that answers at the address of the artifact store"


def _missing(uri: str, artifact_uri: str, directory: Path, folder: str = "") -> Iterator[str]:
    """The paths of the files of ``directory`` that are absent among the artifacts, or have another size there."""
    repository = get_artifact_repository(artifact_uri, tracking_uri=uri)
    sizes = {item.path: item.file_size for item in repository.list_artifacts(folder or None)}
    for local in sorted(directory.iterdir()):
        path = f"{folder}/{local.name}" if folder else local.name
        if local.is_dir():
            yield from _missing(uri, artifact_uri, local, path)
        elif path not in sizes or sizes[path] not in (None, local.stat().st_size):
            yield path
