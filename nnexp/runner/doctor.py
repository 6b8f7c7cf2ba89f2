"""What is wrong with a sweep's stores, found by comparing them, and mended where that is asked for (floor 4)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from nnexp._redact import redact
from nnexp.analysis.results import IMPORTANCE
from nnexp.errors import Interrupted, NnexpError, NotFoundError, StoreError, UsageError
from nnexp.network.settings import Settings
from nnexp.recovery import networks_table
from nnexp.runner import signals
from nnexp.runner.finalize import is_concluded
from nnexp.runner.repair import Repair
from nnexp.search.sweep_file import Sweep, parse
from nnexp.stores import Stores
from nnexp.study import Store, SweepStudy, Trial, open_storage
from nnexp.tracking.outbox import Entry, Spool
from nnexp.tracking.schema import ENDED, STATUS, SWEEP_FILE, RunRecord, SweepRun
from nnexp.tracking.store import Tracking
from nnexp.tracking.trial_run import EPOCHS

#: Final metrics that every trial with networks has.
METRICS = ("solved_rate", "correct_rate", "confident_rate", "diverged_rate", "train_seconds")
#: Kinds that do not touch what the sweep's answer is drawn from.
HARMLESS = {"zombie", "undelivered"}
#: Artifacts of a parent run whose sweep is concluded.
ANSWER = ("report.html", "summary.json", IMPORTANCE)


@dataclass(frozen=True)
class Finding:
    """Something that is wrong.

    Attributes:
        kind: ``zombie`` (said to be in work, and nobody works on it), ``orphan`` (a run without its trial or parent),
            ``missing`` (a finished trial without a run), ``incomplete`` (a run without all its curves, metrics and
            artifacts), ``double`` (a trial with several runs), ``overrun`` (more trials than the budget),
            ``undelivered`` (evidence left in the spool), ``unconcluded`` (a finished sweep without its answer),
            ``foreign`` (its runs are of another study of that name), ``unreadable``.
        line: what is wrong, for people.
        mended: whether it no longer is.
    """

    sweep: str
    kind: str
    line: str
    mended: bool = False

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def examine(stores: Stores, name: str | None = None, *, repair: bool = False) -> list[Finding]:
    """Compares the stores, sweep by sweep, and mends if asked to. Sweeps at work are spared what is in flight.

    Args:
        stores: to be compared.
        name: one sweep; None for all in the study store. Sweeps that MLflow alone has are other stores' affair.
        repair: mend what is found; what then is no longer found counts as mended.

    Raises:
        NotFoundError: no such sweep, or no study store. StoreError: a store cannot be opened.
        Interrupted: a signal during a repair.
    """
    with signals.taken() as interrupted, open_storage(stores.storage, create=False) as storage:
        tracking = Tracking(stores.tracking_uri)
        names = [name] if name is not None else [stored.name for stored in SweepStudy.list_all(storage)]
        found: list[Finding] = []
        for each in names:
            found += _examined(storage, each, tracking, stores, repair, interrupted)
        if name is None:
            found += list(_strays(Spool(stores.spool), set(names)))
        return found


def deliver(stores: Stores, name: str | None = None) -> list[Finding]:
    """Logs to MLflow what waits in the spool.

    Returns:
        For each sweep what was delivered (mended) and what still waits.

    Raises:
        NotFoundError: no study store. StoreError: a store cannot be opened. Interrupted: a signal.
    """
    spool = Spool(stores.spool)
    waiting = [name] if name is not None else spool.sweeps()
    found: list[Finding] = []
    if not any(spool.entries(each) for each in waiting):
        return found
    with signals.taken() as interrupted, open_storage(stores.storage, create=False) as storage:
        tracking = Tracking(stores.tracking_uri)
        for each in waiting:
            before = len(spool.entries(each))
            try:
                study = SweepStudy.open(storage, each)
                Repair(study, tracking, stores, interrupted).deliver()
            except (NotFoundError, StoreError) as error:
                found.append(Finding(each, "undelivered", f"{each}: {error}"))
            left = len(spool.entries(each))
            if before > left:
                found.append(Finding(each, "undelivered", f"{each}: {before - left} trials delivered", mended=True))
            if left:
                found.append(Finding(each, "undelivered", f"{each}: {left} trials wait in the spool"))
    return found


def _examined(
    storage: Store, name: str, tracking: Tracking, stores: Stores, repair: bool, interrupted: signals.Look
) -> list[Finding]:
    """One sweep's findings, mended where asked."""
    study = SweepStudy.open(storage, name)
    try:
        examination = Examination(study, tracking, Spool(stores.spool))
        found = list(examination.findings())
        if not found or not repair:
            return found
        harm = any(finding.kind not in HARMLESS for finding in found)
        Repair(study, tracking, stores, interrupted).mend(examination.incomplete(), conclude=harm)
        left = list(Examination(study, tracking, Spool(stores.spool)).findings())
    except Interrupted:
        raise
    except NnexpError as error:
        return [Finding(name, "unreadable", f"{name}: {error}")]
    kept = {finding.line for finding in left}
    return [replace(finding, mended=finding.line not in kept) for finding in found] + [
        finding for finding in left if finding not in found
    ]


def _strays(spool: Spool, known: set[str]) -> Iterator[Finding]:
    """What is in the spool of sweeps that the study store has not."""
    for name in spool.sweeps():
        if name not in known:
            line = f"{name}: {len(spool.entries(name))} trials wait in the spool, and the study store has no such sweep"
            yield Finding(name, "orphan", f"{line}; name its store with --storage, or remove {spool.root / name}")


class Examination:
    """One look at one sweep in all its stores."""

    def __init__(self, study: SweepStudy, tracking: Tracking, spool: Spool) -> None:
        self.study, self.tracking, self.spool = study, tracking, spool
        self.name = study.name
        self.busy = bool(study.live_workers())
        self.trials = {trial.number: trial for trial in study.trials()}
        self.finished = {number for number, trial in self.trials.items() if trial.is_finished}
        self.parent: SweepRun | None = tracking.find_sweep(self.name)
        self.runs = tracking.delivered_trials(self.name) if self.parent else {}
        self.waiting: dict[int, Entry] = {entry.trial: entry for entry in spool.entries(self.name)}

    def findings(self) -> Iterator[Finding]:
        """Everything that is wrong."""
        yield from self._overrun()
        if self.busy:  # what is in flight looks like damage
            return
        if self.parent is not None and self.tracking.study_of(self.parent) not in (None, self.study.known_identity()):
            # The rest would compare two sweeps.
            line = f"{self.name}: its runs in {redact(self.tracking.uri)} are of another study store"
            yield Finding(self.name, "foreign", line)
            return
        if self.parent is None and self.finished - set(self.waiting):
            yield Finding(self.name, "orphan", f"{self.name}: it has no parent run in {redact(self.tracking.uri)}")
        for kind, lines in (
            ("zombie", self._zombies()),
            ("double", self._doubles()),
            ("orphan", self._orphans()),
            ("undelivered", self._undelivered()),
            ("missing", self._missing()),
            ("incomplete", self._incomplete()),
            ("unconcluded", self._unconcluded()),
        ):
            for line in lines:
                yield Finding(self.name, kind, f"{self.name}: {line}")

    def _overrun(self) -> Iterator[Finding]:
        over = len(self.finished) - self.study.sweep.trials
        if over > 0:
            line = f"{self.name}: {len(self.finished)} trials are finished, {over} more than its budget"
            yield Finding(self.name, "overrun", line)

    def _zombies(self) -> Iterator[str]:
        for number, trial in self.trials.items():
            if trial.state == "RUNNING":
                yield f"trial {number} is said to be in training, but its worker {trial.owner} is gone"
        for number, runs in self.runs.items():
            for run_id, status in runs:
                if status not in ENDED:
                    yield f"run {run_id} of trial {number} is {status}, and nobody delivers it"
        if self.parent is not None and self.tracking.status(self.parent.run_id) == "RUNNING":
            yield f"its parent run {self.parent.run_id} is RUNNING, and nobody works on it"

    def _doubles(self) -> Iterator[str]:
        for number, runs in self.runs.items():
            if len(ended := [run_id for run_id, status in runs if status in ENDED]) > 1:
                yield f"trial {number} has {len(ended)} runs: {', '.join(ended)}"

    def _orphans(self) -> Iterator[str]:
        for number, runs in self.runs.items():
            if number not in self.finished:
                yield f"run {runs[0][0]} is of trial {number}, which the study has not as finished"
        if self.parent is not None:
            for record in self.tracking.runs(self.name):
                if record.tags.get("mlflow.parentRunId") != self.parent.run_id:
                    yield f"run {record.run_id} of trial {record.trial} does not name the sweep's parent run"

    def _undelivered(self) -> Iterator[str]:
        for number in self.waiting:
            known = (
                "waits in the spool" if number in self.finished else "is in the spool, but not finished in the study"
            )
            yield f"trial {number} {known}"
        if left := self.spool.leftovers(self.name):
            yield f"{left} half-written entries are in the spool"

    def _missing(self) -> Iterator[str]:
        if self.parent is None:
            return
        for number in sorted(self.finished - set(self.waiting)):
            if not any(status in ENDED for _, status in self.runs.get(number, [])):
                yield f"trial {number} is finished, and has no run"

    def _incomplete(self) -> Iterator[str]:
        for trial, (run_id, lacks) in self.incomplete().items():
            yield f"run {run_id} of trial {trial} {lacks}"

    def incomplete(self) -> dict[int, tuple[str, str]]:
        """The runs that lack something, and what, by trial."""
        return {
            record.trial: (record.run_id, lacks)
            for record in (self.tracking.runs(self.name) if self.parent else [])
            if record.trial in self.finished and (lacks := self._lacks(record, self.trials[record.trial]))
        }

    def _lacks(self, record: RunRecord, trial: Trial) -> str:
        """What a run lacks, in words; nothing when it is whole."""
        if record.status != STATUS[trial.state]:
            return f"is {record.status}, its trial {trial.state}"
        if params := {"trial", *Settings.model_fields} - set(record.params):
            return f"lacks params: {', '.join(sorted(params))}"
        if trial.state == "FAIL":
            return ""
        if metrics := [key for key in METRICS if key not in record.metrics]:
            return f"lacks metrics: {', '.join(metrics)}"
        steps = [step for step, _ in self.tracking.curve(record.run_id, "solved_rate")]
        if len(steps) < 2 or steps[0] != 0 or steps[-1] > int(record.tags.get(EPOCHS, steps[-1])):
            return "lacks its curves"
        return self._lacks_files(record)

    def _lacks_files(self, record: RunRecord) -> str:
        try:
            rows = len(self.tracking.networks(record.run_id))
        except NnexpError:
            return f"lacks {networks_table.NETWORKS}, or it is damaged"
        if rows != int(record.params["seeds"]):
            return f"has {rows} networks, not {record.params['seeds']}"
        try:
            json.loads(self.tracking.text(record.run_id, networks_table.BEST_NETWORK))
        except (NnexpError, ValueError):
            return f"lacks {networks_table.BEST_NETWORK}, or it is damaged"
        return ""

    def _unconcluded(self) -> Iterator[str]:
        if self.parent is None or not self.study.is_done():
            return
        if not is_concluded(self.study):
            yield "every trial is finished, but its summary is not written"
        elif self.tracking.status(self.parent.run_id) != "FINISHED":
            yield f"its parent run {self.parent.run_id} is not FINISHED"
        else:
            for path in (SWEEP_FILE, *ANSWER):
                try:
                    text = self.tracking.text(self.parent.run_id, path)
                except NotFoundError:
                    yield f"its parent run {self.parent.run_id} lacks {path}"
                else:
                    if path.endswith(".json") and not _is_json(text):
                        yield f"its parent run {self.parent.run_id} has a damaged {path}"
                    if path == SWEEP_FILE and not _describes(text, self.study.sweep):
                        yield f"its parent run {self.parent.run_id} has another {path}, or a part of it"


def _describes(text: str, sweep: Sweep) -> bool:
    """Whether a sweep file describes ``sweep``; another version of nnexp may have written it in another form."""
    try:
        return parse(text) == sweep
    except UsageError:
        return False


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
