"""A tracking store: its sweeps, each an experiment with a parent run, and their trials, each a child run."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlflow.entities import Metric, RunTag
from mlflow.exceptions import MlflowException

from nnexp._redact import redact
from nnexp.errors import NotFoundError, StoreError, UsageError, nearest
from nnexp.tracking import artifacts
from nnexp.tracking.client import open_client
from nnexp.tracking.experiment import create_sweep
from nnexp.tracking.failures import translated
from nnexp.tracking.runs import PAGE, child_runs, pages, parent_runs, record, runs_of_trial, valid_runs
from nnexp.tracking.schema import ENDED, NOTE, STUDY, SWEEP, SWEEP_FILE, TAG_LIMIT, TRIAL, RunRecord, SweepRun

if TYPE_CHECKING:
    import pyarrow as pa


#: The most bytes of a text artifact that are read.
TEXT_LIMIT = 1 << 26


class Tracking:
    """A tracking store.

    Every method may raise UnreachableError or StoreError when the store fails.

    Args:
        uri: a database (``sqlite:///mlflow.db``, ``postgresql://…``) or a server (``http://…``).

    Attributes:
        uri: its address.
        client: MLflow's client, opened there.

    Raises:
        UsageError: ``uri`` is not the address of a store.
        StoreError: it cannot be opened.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self.client = open_client(uri)
        self._artifact_uris: dict[str, str] = {}  # of the runs that were listed

    # Sweeps

    def sweeps(self) -> list[str]:
        """Names of all sweeps in the store, the newest first."""
        with translated(self.uri):
            found = pages(self.client.search_experiments, filter_string=f"tags.`{SWEEP}` != ''", max_results=PAGE)
            experiments = sorted(found, key=lambda experiment: -(experiment.creation_time or 0))
        return [experiment.name for experiment in experiments]

    def find_sweep(self, name: str) -> SweepRun | None:
        """The sweep ``name``, or None.

        Raises:
            StoreError: its experiment was deleted.
        """
        with translated(self.uri):
            experiment = self.client.get_experiment_by_name(name)
            if experiment is None:
                return None
            if experiment.lifecycle_stage != "active":
                raise StoreError(
                    f"experiment {name!r} is deleted in MLflow, and its name reserved: restore it with `mlflow "
                    f"experiments restore --experiment-id {experiment.experiment_id}`, or choose another name with "
                    "--set name=…"
                )
            parents = parent_runs(self.client, experiment.experiment_id, name)
        return SweepRun(name, experiment.experiment_id, parents[0].info.run_id) if parents else None

    def sweep(self, name: str) -> SweepRun:
        """The sweep ``name``.

        Raises:
            NotFoundError: there is none; the message names the nearest.
        """
        found = self.find_sweep(name)
        if found is None:
            known = self.sweeps()
            hint = nearest(name, known) if known else " (it has no sweeps)"
            raise NotFoundError(f"no sweep {name!r} in the tracking store{hint}")
        return found

    def ensure_sweep(
        self, name: str, *, text: str, note: str, tags: Mapping[str, str] | None = None, study: str | None = None
    ) -> SweepRun:
        """Find the sweep, or create its experiment and parent run; its stored sweep file is updated.

        If several workers start at once, only one creates them, since the name of an experiment is unique.

        Args:
            name: the name of the sweep and of the experiment.
            text: the sweep file, stored as the parent's artifact ``sweep.toml``.
            note: the parent's description, Markdown.
            tags: the parent's further tags.
            study: the identity of the study that the runs belong to.

        Raises:
            StoreError: the experiment was deleted, or the runs are another study's.
        """
        found = self.find_sweep(name)
        if found is None:
            study_tag = {} if study is None else {STUDY: study}
            with translated(self.uri):
                found = create_sweep(self.client, self.uri, name, note, {**study_tag, **(tags or {})})
        known = self.study_of(found)
        if study is not None and known is None:
            self.set_tags(found.run_id, {STUDY: study})
        elif study not in (None, known):
            raise StoreError(
                f"sweep {name!r}: its runs in {redact(self.uri)} are of another study store; name that one with "
                f"--storage, remove them with `nnexp delete {name}`, or choose another name with --name"
            )
        with contextlib.suppress(NotFoundError):  # missing or incomplete after a kill
            if self.text(found.run_id, SWEEP_FILE) == text:
                return found
        self.log_text(found.run_id, text, SWEEP_FILE)
        return found

    def study_of(self, sweep: SweepRun) -> str | None:
        """The identity of the study that the sweep's runs belong to; None for runs of versions without that tag."""
        with translated(self.uri):
            found: str | None = self.client.get_run(sweep.run_id).data.tags.get(STUDY)
        return found

    def log_progress(self, run_id: str, step: int, metrics: Mapping[str, float]) -> None:
        """Log metrics at a step, with the present time."""
        now = int(time.time() * 1000)
        with translated(self.uri):
            self.client.log_batch(run_id, metrics=[Metric(key, value, now, step) for key, value in metrics.items()])

    def set_sweep_status(self, run_id: str, status: str) -> None:
        """Set the parent's status; FINISHED, FAILED and KILLED set the present time as its end."""
        with translated(self.uri):
            if status in ENDED:
                self.client.set_terminated(run_id, status=status)
            else:
                self.client.update_run(run_id, status=status)

    def set_experiment_tag(self, experiment_id: str, key: str, value: str) -> None:
        """Set a tag on a sweep's experiment."""
        with translated(self.uri):
            self.client.set_experiment_tag(experiment_id, key, value)

    def finish_sweep(self, sweep: SweepRun, files: Path, note: str) -> None:
        """Log a sweep's results, describe its parent run and its experiment, and end the parent run.

        Calling it again replaces them.

        Args:
            sweep: the sweep.
            files: a directory of summary tables and reports, each becoming an artifact of the same relative path.
            note: the description, Markdown.
        """
        self.log_files(sweep.run_id, files)
        self.set_tags(sweep.run_id, {NOTE: note})
        self.set_experiment_tag(sweep.experiment_id, NOTE, note[:TAG_LIMIT])
        self.set_sweep_status(sweep.run_id, "FINISHED")

    def delete_sweep(self, name: str) -> int:
        """Delete the sweep's runs, and its experiment unless that holds other runs; returns the number of runs deleted.

        MLflow keeps deleted runs until `mlflow gc`. The name may be used again.
        """
        found = self.sweep(name)
        with translated(self.uri):
            runs = list(pages(self.client.search_runs, [found.experiment_id]))
            own = [run.info.run_id for run in runs if run.data.tags.get(SWEEP) == name]
            if len(own) < len(runs):  # the experiment was a user's before it became the sweep's
                for run_id in own:
                    self.client.delete_run(run_id)
                self.client.delete_experiment_tag(found.experiment_id, SWEEP)
                return len(own)
            self.client.rename_experiment(found.experiment_id, f"{name} (deleted {time.strftime('%Y-%m-%d %H:%M:%S')})")
            self.client.delete_experiment(found.experiment_id)
        return len(own)

    # Trials

    def runs(self, name: str) -> list[RunRecord]:
        """The run of every trial by trial number: one per trial, without those that are still being delivered."""
        return valid_runs(self.trial_runs(self.sweep(name)))

    def trial_runs(self, sweep: SweepRun) -> list[RunRecord]:
        """All runs of the sweep's trials, also duplicates and unfinished ones; of a trial's runs the first is valid."""
        with translated(self.uri):
            runs = child_runs(self.client, sweep)
        self._artifact_uris |= {run.info.run_id: run.info.artifact_uri for run in runs}
        return [record(run) for run in runs]

    def run(self, run_id: str) -> RunRecord:
        """One trial's run by its id, or by a sweep and a trial as ``NAME#12``.

        Raises:
            NotFoundError: there is none, or it is not a trial's run.
        """
        sweep, mark, trial = run_id.rpartition("#")
        with translated(self.uri):
            if mark and trial.isdecimal():
                found = runs_of_trial(self.client, self.sweep(sweep), int(trial))
                if not found:
                    raise NotFoundError(f"sweep {sweep!r} has no trial {trial} in the tracking store")
                return record(found[0])
            run = self.client.get_run(run_id)
        if TRIAL not in run.data.tags:
            raise NotFoundError(f"run {run_id} is not a trial's run (it has no tag {TRIAL})")
        return record(run)

    # Any run

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
        """Remove a tag from a run."""
        with translated(self.uri):
            self.client.delete_tag(run_id, key)

    def delete_run(self, run_id: str) -> None:
        """Delete a run (MLflow keeps it until `mlflow gc`)."""
        with translated(self.uri):
            self.client.delete_run(run_id)

    # Artifacts

    def log_files(self, run_id: str, directory: Path) -> None:
        """Send a directory's files as artifacts, and check that they arrived; those of the same name are replaced."""
        with translated(self.uri):
            if run_id not in self._artifact_uris:
                self._artifact_uris[run_id] = self.client.get_run(run_id).info.artifact_uri
            artifacts.send(self.client, self.uri, run_id, self._artifact_uris[run_id], directory)

    def log_text(self, run_id: str, text: str, path: str) -> None:
        """Write a text artifact; one of the same name is replaced."""
        with translated(self.uri):
            self.client.log_text(run_id, text, path)

    def text(self, run_id: str, path: str) -> str:
        """A text artifact's content.

        Raises:
            NotFoundError: the run has none of that path, or it is damaged.
        """
        with self._artifact(run_id, path) as file:
            if file.stat().st_size > TEXT_LIMIT:
                raise NotFoundError(f"run {run_id}: its artifact {path!r} is damaged (over {TEXT_LIMIT:,} bytes)")
            try:
                return file.read_bytes().decode()  # with its line ends, since the text may be compared
            except UnicodeDecodeError as error:
                raise NotFoundError(f"run {run_id}: its artifact {path!r} is damaged ({error.reason})") from error

    def best_network(self, run_id: str) -> dict[str, Any]:
        """The content of the run's best_network.json.

        Raises:
            NotFoundError: the run has none, or it is damaged.
        """
        from nnexp.network.network_file import stored_content
        from nnexp.recovery.networks_table import BEST_NETWORK

        try:
            return stored_content(self.text(run_id, BEST_NETWORK))
        except UsageError as error:
            raise NotFoundError(f"run {run_id}: its {BEST_NETWORK} is damaged ({error})") from error

    def networks(self, run_id: str, columns: Iterable[str] | None = None) -> pa.Table:
        """The run's networks.parquet, or those of ``columns`` that it has.

        Raises:
            NotFoundError: the run has none.
        """
        from nnexp.recovery import networks_table

        with self._artifact(run_id, networks_table.NETWORKS) as file:
            return networks_table.read_networks(file, columns)

    @contextlib.contextmanager
    def _artifact(self, run_id: str, path: str) -> Iterator[Path]:
        """One artifact as a file: the original if the run was listed and it is on this machine, else a copy.

        Raises:
            NotFoundError: the run has none of that path.
        """
        root = self._artifact_uris.get(run_id, "").removeprefix("file://")
        if root.startswith("/") and (Path(root) / path).is_file():
            yield Path(root) / path
            return
        with tempfile.TemporaryDirectory(prefix="nnexp-") as directory:
            with translated(self.uri):
                copy = self._download(run_id, path, directory)
            yield copy

    def _download(self, run_id: str, path: str, directory: str) -> Path:
        try:
            return Path(self.client.download_artifacts(run_id, path, directory))
        except (MlflowException, OSError) as error:
            folder = str(Path(path).parent)
            if path in {item.path for item in self.client.list_artifacts(run_id, None if folder == "." else folder)}:
                raise
            raise NotFoundError(
                f"run {run_id} has no artifact {path!r}; `nnexp doctor --repair` restores it"
            ) from error

    # The parent's dataset

    def has_dataset(self, run_id: str) -> bool:
        """Whether a dataset is logged as the run's input."""
        with translated(self.uri):
            inputs = self.client.get_run(run_id).inputs
        return inputs is not None and bool(inputs.dataset_inputs)

    def log_dataset(self, run_id: str, name: str, inputs: Any, targets: Any) -> None:
        """Log a truth table as the run's dataset, with its digest.

        Args:
            run_id: the run.
            name: the task's name.
            inputs: (M, N) bits.
            targets: (M,) bits.
        """
        from nnexp.tracking.dataset import truth_table

        with translated(self.uri):
            self.client.log_inputs(run_id, datasets=[truth_table(name, inputs, targets)])
