"""Reading networks from the tracking store: from a run or a registered model."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from mlflow.artifacts import download_artifacts

from nnexp.errors import NotFoundError
from nnexp.network.model import Network
from nnexp.network.network_file import network_of
from nnexp.stores import Stores
from nnexp.tracking.failures import translated
from nnexp.tracking.store import Tracking

NETWORK_FILE = "network.json"


def load_network(source: str, stores: Stores) -> Network:
    """The network that ``source`` names.

    Args:
        source: a run's id, ``NAME#12``, or a model's URI such as ``models:/xnor@champion``.
        stores: where to look.

    Raises:
        NotFoundError: there is no such run or model, or it has no network.
        StoreError: the store cannot be read.
    """
    tracking = Tracking(stores.tracking_uri)
    if source.startswith("models:/"):
        return network_of(_of_model(tracking, source))
    run_id = tracking.run(source.removeprefix("runs:/").split("/")[0]).run_id
    return network_of(tracking.best_network(run_id))


def _of_model(tracking: Tracking, uri: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="nnexp-") as directory:
        try:
            with translated(tracking.uri):
                # MLflow would look up a models:/ address in its global registry, which may be another store's.
                where = _location(tracking, uri.removeprefix("models:/"))
                folder = Path(download_artifacts(artifact_uri=where, dst_path=directory, tracking_uri=tracking.uri))
            file = next(folder.rglob(NETWORK_FILE))
            return dict(json.loads(file.read_text(encoding="utf-8")))
        except (NotFoundError, StopIteration):
            raise NotFoundError(
                f"no model {uri} in the tracking store; a finished sweep registers its best network "
                "(or give --model a run or a best_network.json)"
            ) from None


def _location(tracking: Tracking, model: str) -> str:
    """Where the files of ``NAME@ALIAS``, ``NAME/VERSION`` or a logged model's id are."""
    name, mark, alias = model.partition("@")
    if mark:
        version = str(tracking.client.get_model_version_by_alias(name, alias).version)
    else:
        name, mark, version = model.partition("/")
        if not mark:
            return str(tracking.client.get_logged_model(name).artifact_location)
    return str(tracking.client.get_model_version_download_uri(name, version))
