"""Sweeps in MLflow: one experiment and one parent run a sweep, one child run a trial (floor 3; imports MLflow).

Every call names its experiment or run: MLflow's active run and ``MLFLOW_RUN_ID`` have no say here.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnexp.tracking_client import artifact_root, open_client, translated  # first: it settles MLflow's environment

# isort: split
from mlflow.entities import Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException

from nnexp.errors import NotFoundError, StoreError, nearest
from nnexp.redaction import redact
from nnexp.spool import Entry, Evidence
from nnexp.tracking_records import (
    ENDED,
    NOTE,
    PAGE,
    PARAM_LIMIT,
    ROLE,
    STATUS,
    STUDY,
    SWEEP,
    SWEEP_FILE,
    TAG_LIMIT,
    TRIAL,
    RunRecord,
    SweepRun,
    pages,
    precedence,
    quoted,
    record,
    source_tags,
)

if TYPE_CHECKING:
    import pyarrow as pa


class Tracking:
    """A tracking store.

    Args:
        uri: a database (``sqlite:///mlflow.db``, ``postgresql://…``) or a server (``http://…``).

    Raises:
        UsageError: ``uri`` is no address of a store.
        StoreError: it cannot be opened.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self.client = open_client(uri)
        self._homes: dict[str, str] = {}  # runs that `runs` saw, and where their artifacts are

    # Sweeps

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
            parents = self._parents(experiment.experiment_id, name)
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
            with translated(self.uri):
                experiment_id, mine = self._ensure_experiment(name, note)
                found = None if mine else self._await_parent(name, experiment_id)
                if found is None:
                    bond = {} if study is None else {STUDY: study}
                    found = self._create_parent(name, experiment_id, note, {**bond, **(tags or {})})
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

    def _ensure_experiment(self, name: str, note: str) -> tuple[str, bool]:
        """The experiment's id, and whether this call created it."""
        # The kind makes the UI open on the table of runs; it asks each visitor for it otherwise.
        tags = {SWEEP: name, NOTE: note[:TAG_LIMIT], "mlflow.experimentKind": "custom_model_development"}
        existing = self.client.get_experiment_by_name(name)
        if existing is None:
            try:
                return self.client.create_experiment(name, artifact_location=artifact_root(self.uri), tags=tags), True
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
                existing = self.client.get_experiment_by_name(name)
                if existing is None:
                    raise
        if SWEEP not in existing.tags:  # a user's own experiment of that name is taken in
            self.client.set_experiment_tag(existing.experiment_id, SWEEP, name)
        return existing.experiment_id, False

    def _await_parent(self, name: str, experiment_id: str) -> SweepRun | None:
        """The parent run that whoever created the experiment is about to create; None when that was long ago."""
        created = self.client.get_experiment(experiment_id).creation_time or 0
        patience = time.monotonic() + 15  # whatever the wall clock does meanwhile
        while True:
            if parents := self._parents(experiment_id, name):
                return SweepRun(name, experiment_id, parents[0].info.run_id)
            if time.time() * 1000 - created > 15_000 or time.monotonic() > patience:
                return None
            time.sleep(0.2)

    def _create_parent(self, name: str, experiment_id: str, note: str, tags: Mapping[str, str]) -> SweepRun:
        run = self.client.create_run(
            experiment_id,
            run_name=name,
            tags=source_tags() | {SWEEP: name, ROLE: "sweep", NOTE: note[:TAG_LIMIT], **tags},
        )
        parents = self._parents(experiment_id, name)
        if len(parents) > 1 and parents[0].info.run_id != run.info.run_id:
            self.client.delete_run(run.info.run_id)
        return SweepRun(name, experiment_id, parents[0].info.run_id if parents else run.info.run_id)

    def _parents(self, experiment_id: str, name: str) -> list[Run]:
        """The sweep's parent runs, the one that counts first."""
        filter_string = f"tags.`{ROLE}` = 'sweep' and tags.`{SWEEP}` = '{quoted(name)}'"
        runs: list[Run] = list(pages(self.client.search_runs, [experiment_id], filter_string=filter_string))
        return sorted(runs, key=lambda run: (run.info.start_time, run.info.run_id))

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

    def status(self, run_id: str) -> str:
        """A run's status, by MLflow's name."""
        with translated(self.uri):
            return str(self.client.get_run(run_id).info.status)

    def set_sweep_status(self, run_id: str, status: str) -> None:
        """Set the parent SCHEDULED, or FINISHED, FAILED or KILLED with the present time as its end."""
        with translated(self.uri):
            if status not in ENDED:
                self.client.update_run(run_id, status=status)
            else:
                self.client.set_terminated(run_id, status=status)

    def finish_sweep(
        self,
        run_id: str,
        files: Path,
        note: str,
    ) -> None:
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

    # Trials

    def deliver(self, entry: Entry, sweep: SweepRun, *, fresh: bool = False) -> str:
        """Make the run of one finished trial, in full and exactly once; the entry stays in the spool.

        Args:
            entry: the evidence.
            sweep: the parent.
            fresh: whether this trial was surely never sent before; False looks for its run first, and completes it.

        Returns:
            The run's id.

        Raises:
            UnreachableError: call again later, with ``fresh=False``.
            StoreError: the store refuses it.
        """
        evidence = entry.evidence()
        with translated(self.uri):
            run_id = None if fresh else self._adopt(evidence, sweep)
            if run_id is None:
                run_id = self._create_run(evidence, sweep)
            elif self.client.get_run(run_id).info.status in ENDED:
                return run_id
            self._fill(run_id, evidence, entry.files)
            if not fresh:
                run_id = self._settle(evidence, sweep)
        return run_id

    def _adopt(self, evidence: Evidence, sweep: SweepRun) -> str | None:
        """The trial's run, if it is complete or an unfinished delivery of this very evidence; others are deleted."""
        for run in self._trial_runs(sweep, evidence.trial):
            if run.info.status in ENDED or run.info.start_time == evidence.started_ms:
                return str(run.info.run_id)
            self.client.delete_run(run.info.run_id)
        return None

    def _settle(self, evidence: Evidence, sweep: SweepRun) -> str:
        """Delete all but one of the trial's runs: an earlier request may have come through after it was given up."""
        first, *others = self._trial_runs(sweep, evidence.trial)
        for run in others:
            self.client.delete_run(run.info.run_id)
        return str(first.info.run_id)

    def _trial_runs(self, sweep: SweepRun, trial: int) -> list[Run]:
        """The trial's runs, the one that counts first."""
        filter_string = f"tags.`{SWEEP}` = '{quoted(sweep.name)}' and tags.`{TRIAL}` = '{trial}'"
        runs: list[Run] = list(pages(self.client.search_runs, [sweep.experiment_id], filter_string=filter_string))
        return sorted(runs, key=precedence)

    def _create_run(self, evidence: Evidence, sweep: SweepRun) -> str:
        own = {SWEEP: sweep.name, TRIAL: str(evidence.trial), ROLE: "trial", "mlflow.parentRunId": sweep.run_id}
        tags = source_tags() | dict(evidence.tags) | own | {NOTE: evidence.note[:TAG_LIMIT]}
        run = self.client.create_run(
            sweep.experiment_id, start_time=evidence.started_ms, run_name=evidence.name, tags=tags
        )
        return str(run.info.run_id)

    def _fill(self, run_id: str, evidence: Evidence, files: Path) -> None:
        self.client.log_batch(
            run_id,
            metrics=_timed(evidence),
            params=[Param(key, str(value)[:PARAM_LIMIT]) for key, value in evidence.params.items()],
        )
        if any(files.iterdir()):
            self.client.log_artifacts(run_id, str(files))
        self.client.set_terminated(run_id, STATUS[evidence.state], end_time=evidence.ended_ms)

    def runs(self, name: str) -> list[RunRecord]:
        """Every trial's run by trial number, one a trial, without those still being delivered."""
        best: dict[int, Run] = {}
        for run in sorted(self._children(self.sweep(name)), key=precedence):
            if run.info.status in ENDED:
                best.setdefault(int(run.data.tags[TRIAL]), run)
                self._homes[run.info.run_id] = run.info.artifact_uri
        return [record(trial, best[trial]) for trial in sorted(best)]

    def delivered_trials(self, name: str) -> dict[int, list[tuple[str, str]]]:
        """For each trial its runs' ids and statuses, the one that counts first; more than one is a duplicate."""
        trials: dict[int, list[tuple[str, str]]] = {}
        for run in sorted(self._children(self.sweep(name)), key=precedence):
            trials.setdefault(int(run.data.tags[TRIAL]), []).append((run.info.run_id, run.info.status))
        return trials

    def delete_duplicates(self, name: str) -> int:
        """Delete every run but the one that counts of each trial; returns how many were deleted."""
        extra = [run_id for runs in self.delivered_trials(name).values() for run_id, _ in runs[1:]]
        for run_id in extra:
            self.delete_run(run_id)
        return len(extra)

    def _children(self, sweep: SweepRun) -> list[Run]:
        with translated(self.uri):
            runs = pages(self.client.search_runs, [sweep.experiment_id], max_results=PAGE)
            return [run for run in runs if run.data.tags.get(SWEEP) == sweep.name and TRIAL in run.data.tags]

    def run(self, run_id: str) -> RunRecord:
        """One run by its id, or by a sweep and a trial as ``NAME#12`` (``NAME`` alone is not a run).

        Raises:
            NotFoundError: there is none, or it is not a trial's run.
        """
        sweep, mark, trial = run_id.rpartition("#")
        with translated(self.uri):
            if mark and trial.isdecimal():
                found = self._trial_runs(self.sweep(sweep), int(trial))
                if not found:
                    raise NotFoundError(f"sweep {sweep!r} has no trial {trial} in the tracking store")
                return record(int(trial), found[0])
            run = self.client.get_run(run_id)
        if TRIAL not in run.data.tags:
            raise NotFoundError(f"run {run_id} is not a trial's run (it has no tag {TRIAL})")
        return record(int(run.data.tags[TRIAL]), run)

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

    def set_experiment_tag(self, experiment_id: str, key: str, value: str) -> None:
        """Set a tag on a sweep's experiment."""
        with translated(self.uri):
            self.client.set_experiment_tag(experiment_id, key, value)

    def delete_run(self, run_id: str) -> None:
        """Delete a run (MLflow keeps it until `mlflow gc`)."""
        with translated(self.uri):
            self.client.delete_run(run_id)

    # Artifacts

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
        from nnexp import artifacts

        with self._readable(run_id, artifacts.NETWORKS) as file:
            return artifacts.read_networks(file, columns)

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
        from nnexp.tracking_dataset import truth_table

        with translated(self.uri):
            self.client.log_inputs(run_id, datasets=[truth_table(name, inputs, targets)])


def _timed(evidence: Evidence) -> list[Metric]:
    """The evidence's points, spread over the run's time by their epochs, which all take equally long.

    The UI's charts open on relative time. Nothing but the evidence has a say, so that a second logging finds its rows.
    """
    last = max((step for _, step, _ in evidence.metrics), default=0)
    duration = evidence.ended_ms - evidence.started_ms
    return [
        Metric(key, value, evidence.started_ms + duration * step // last if last else evidence.ended_ms, step)
        for key, step, value in evidence.metrics
    ]
