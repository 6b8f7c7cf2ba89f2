"""Sweeps in MLflow: one experiment and one parent run a sweep (floor 3; imports MLflow)."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from pathlib import Path

from nnexp.tracking.client import translated  # first: it settles MLflow's environment

# isort: split
from mlflow.entities import Metric

from nnexp._redact import redact
from nnexp.errors import NotFoundError, StoreError, nearest
from nnexp.tracking.artifacts import ArtifactTracking
from nnexp.tracking.experiment import create_sweep, parent_runs
from nnexp.tracking.schema import ENDED, NOTE, PAGE, STUDY, SWEEP, SWEEP_FILE, TAG_LIMIT, SweepRun, pages


class SweepTracking(ArtifactTracking):
    """The sweeps of a tracking store."""

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
            NotFoundError: there is none; the nearest names are given.
        """
        found = self.find_sweep(name)
        if found is None:
            known = self.sweeps()
            hint = nearest(name, known) if known else " (it holds no sweep)"
            raise NotFoundError(f"no sweep {name!r} in the tracking store{hint}")
        return found

    def sweeps(self) -> list[str]:
        """Names of all sweeps in the store, the newest first."""
        with translated(self.uri):
            found = pages(self.client.search_experiments, filter_string=f"tags.`{SWEEP}` != ''", max_results=PAGE)
            experiments = sorted(found, key=lambda experiment: -(experiment.creation_time or 0))
        return [experiment.name for experiment in experiments]

    def ensure_sweep(
        self, name: str, *, text: str, note: str, tags: Mapping[str, str] | None = None, study: str | None = None
    ) -> SweepRun:
        """Find the sweep, or create its experiment and parent run; its stored file is brought up to date.

        Of several workers that start at once one creates both: the store lets only one create an experiment of a name.

        Args:
            name: the sweep's name, which is the experiment's.
            text: the sweep file, kept as the parent's artifact ``sweep.toml``.
            note: the parent's description, Markdown.
            tags: the parent's further tags.
            study: the identity of the study whose runs they are.

        Raises:
            StoreError: the experiment was deleted, the runs are another study's, or the store cannot be written.
        """
        found = self.find_sweep(name)
        if found is None:
            bond = {} if study is None else {STUDY: study}
            with translated(self.uri):
                found = create_sweep(self.client, self.uri, name, note, {**bond, **(tags or {})})
        known = self.study_of(found)
        if study is not None and known is None:
            self.set_tags(found.run_id, {STUDY: study})
        elif study not in (None, known):
            raise StoreError(
                f"sweep {name!r}: its runs in {redact(self.uri)} are of another study store; name that one with "
                f"--storage, remove them with `nnexp delete {name}`, or choose another name with --name"
            )
        with translated(self.uri):
            self._keep_text(found.run_id, text)
        return found

    def study_of(self, sweep: SweepRun) -> str | None:
        """The identity of the study whose runs the sweep's are; None for runs older than that tag."""
        with translated(self.uri):
            found: str | None = self.client.get_run(sweep.run_id).data.tags.get(STUDY)
        return found

    def _keep_text(self, run_id: str, text: str) -> None:
        """Write the sweep file, unless it is there: what a kill has torn while it was written is not."""
        with contextlib.suppress(NotFoundError):
            if self.text(run_id, SWEEP_FILE) == text:
                return
        self.client.log_text(run_id, text, SWEEP_FILE)

    def sweep_text(self, name: str) -> str:
        """The sweep file as it was stored.

        Raises:
            NotFoundError: no such sweep, or no such artifact.
        """
        return self.text(self.sweep(name).run_id, SWEEP_FILE)

    def log_progress(self, run_id: str, step: int, metrics: Mapping[str, float]) -> None:
        """Log a sweep's progress to its parent run."""
        now = int(time.time() * 1000)
        with translated(self.uri):
            self.client.log_batch(run_id, metrics=[Metric(key, value, now, step) for key, value in metrics.items()])

    def set_sweep_status(self, run_id: str, status: str) -> None:
        """Set the parent SCHEDULED, or FINISHED, FAILED or KILLED with the present time as its end."""
        with translated(self.uri):
            if status not in ENDED:
                self.client.update_run(run_id, status=status)
            else:
                self.client.set_terminated(run_id, status=status)

    def set_experiment_tag(self, experiment_id: str, key: str, value: str) -> None:
        """Set a tag on a sweep's experiment."""
        with translated(self.uri):
            self.client.set_experiment_tag(experiment_id, key, value)

    def finish_sweep(self, run_id: str, files: Path, note: str) -> None:
        """Give the parent run its results and its end, and the experiment its description; again to replace them.

        Args:
            run_id: the parent.
            files: a directory of summary tables and reports, each becoming an artifact of the same relative path.
            note: its description, Markdown.
        """
        self.log_files(run_id, files)
        self.set_tags(run_id, {NOTE: note})
        with translated(self.uri):
            experiment_id = self.client.get_run(run_id).info.experiment_id
        self.set_experiment_tag(experiment_id, NOTE, note[:TAG_LIMIT])
        self.set_sweep_status(run_id, "FINISHED")

    def delete_sweep(self, name: str) -> int:
        """Delete the sweep's runs, and its experiment unless it holds others' too; returns how many runs they were.

        MLflow keeps deleted runs until `mlflow gc`; the name is free.
        """
        found = self.sweep(name)
        with translated(self.uri):
            runs = list(pages(self.client.search_runs, [found.experiment_id]))
            own = [run.info.run_id for run in runs if run.data.tags.get(SWEEP) == name]
            if len(own) < len(runs):  # a user's experiment, which the sweep was given
                for run_id in own:
                    self.client.delete_run(run_id)
                self.client.delete_experiment_tag(found.experiment_id, SWEEP)
                return len(own)
            self.client.rename_experiment(found.experiment_id, f"{name} (deleted {time.strftime('%Y-%m-%d %H:%M:%S')})")
            self.client.delete_experiment(found.experiment_id)
        return len(own)
