"""Any run in MLflow by its id: status, curves and tags (floor 3; imports MLflow)."""

from __future__ import annotations

from collections.abc import Mapping

from nnexp.tracking.client import open_client, translated  # first: it settles MLflow's environment

# isort: split
from mlflow.entities import RunTag

from nnexp.tracking.schema import TAG_LIMIT


class RunTracking:
    """The runs of a tracking store.

    Attributes:
        uri: its address.
        client: MLflow's, opened there.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self.client = open_client(uri)

    def status(self, run_id: str) -> str:
        """A run's status, by MLflow's name."""
        with translated(self.uri):
            return str(self.client.get_run(run_id).info.status)

    def curve(self, run_id: str, key: str) -> list[tuple[int, float]]:
        """A metric's (step, value) points, by step."""
        with translated(self.uri):
            return sorted((point.step, point.value) for point in self.client.get_metric_history(run_id, key))

    def set_tags(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Set tags on a run, in one call."""
        with translated(self.uri):
            self.client.log_batch(run_id, tags=[RunTag(key, value[:TAG_LIMIT]) for key, value in tags.items()])

    def delete_tag(self, run_id: str, key: str) -> None:
        """Take a tag off a run."""
        with translated(self.uri):
            self.client.delete_tag(run_id, key)

    def delete_run(self, run_id: str) -> None:
        """Delete a run (MLflow keeps it until `mlflow gc`)."""
        with translated(self.uri):
            self.client.delete_run(run_id)
