"""A run's artifacts and its dataset in MLflow (floor 3; imports MLflow)."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnexp.tracking.client import translated  # first: it settles MLflow's environment

# isort: split
from mlflow.exceptions import MlflowException

from nnexp.errors import NotFoundError
from nnexp.tracking.runs import RunTracking

if TYPE_CHECKING:
    import pyarrow as pa


class ArtifactTracking(RunTracking):
    """The runs of a tracking store with their artifacts."""

    def __init__(self, uri: str) -> None:
        super().__init__(uri)
        self._homes: dict[str, str] = {}  # runs that were listed, and where their artifacts are

    def log_files(self, run_id: str, directory: Path) -> None:
        """Send a directory's files as artifacts; those of the same name are replaced."""
        with translated(self.uri):
            self.client.log_artifacts(run_id, str(directory))

    def log_text(self, run_id: str, text: str, path: str) -> None:
        """Write a text artifact, in place of one that is there."""
        with translated(self.uri):
            self.client.log_text(run_id, text, path)

    def artifact(self, run_id: str, path: str, into: Path) -> Path:
        """Copy one artifact, a file or a directory, into the directory ``into``.

        Raises:
            NotFoundError: the run has none of that path.
        """
        with translated(self.uri):
            try:
                return Path(self.client.download_artifacts(run_id, path, str(into)))
            except (MlflowException, OSError) as error:
                folder = str(Path(path).parent)
                if path in {
                    item.path for item in self.client.list_artifacts(run_id, None if folder == "." else folder)
                }:
                    raise
                raise NotFoundError(
                    f"run {run_id} has no artifact {path!r}; `nnexp doctor` makes what is missing again"
                ) from error

    def text(self, run_id: str, path: str) -> str:
        """A text artifact's content.

        Raises:
            NotFoundError: the run has none of that path, or it is torn.
        """
        with self._readable(run_id, path) as file:
            try:
                return file.read_bytes().decode()  # line ends as they are: it is compared
            except UnicodeDecodeError as error:
                raise NotFoundError(f"run {run_id}: its artifact {path!r} is damaged ({error.reason})") from error

    def networks(self, run_id: str, columns: Iterable[str] | None = None) -> pa.Table:
        """The run's networks.parquet, or those of ``columns`` that it has.

        Raises:
            NotFoundError: the run has none.
        """
        from nnexp.recovery import networks_table

        with self._readable(run_id, networks_table.NETWORKS) as file:
            return networks_table.read_networks(file, columns)

    @contextlib.contextmanager
    def _readable(self, run_id: str, path: str) -> Iterator[Path]:
        """One artifact as a file: where it lies, if on this machine's disk and known from `runs`; else a copy."""
        home = self._homes.get(run_id, "").removeprefix("file://")
        if home.startswith("/") and (Path(home) / path).is_file():
            yield Path(home) / path
            return
        with tempfile.TemporaryDirectory(prefix="nnexp-") as folder:
            yield self.artifact(run_id, path, Path(folder))

    def has_dataset(self, run_id: str) -> bool:
        """Whether a dataset is logged as the run's input."""
        with translated(self.uri):
            inputs = self.client.get_run(run_id).inputs
        return inputs is not None and bool(inputs.dataset_inputs)

    def log_dataset(self, run_id: str, name: str, inputs: Any, targets: Any) -> None:
        """Log a truth table as the run's dataset, with its digest.

        Args:
            run_id: the run.
            name: the task's.
            inputs: (M, N) bits.
            targets: (M,) bits.
        """
        from nnexp.tracking.dataset import truth_table

        with translated(self.uri):
            self.client.log_inputs(run_id, datasets=[truth_table(name, inputs, targets)])
