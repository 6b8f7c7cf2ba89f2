"""Finding faults of a sweep's stores by comparing study, tracking store and spool; they are repaired on request."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace

from nnexp._redact import redact
from nnexp.analysis.results import IMPORTANCE
from nnexp.errors import Interrupted, NnexpError, NotFoundError, StoreError, UsageError
from nnexp.network.settings import Settings
from nnexp.recovery import networks_table
from nnexp.runner import repair as repairs
from nnexp.runner import signals
from nnexp.runner.session import is_finalized
from nnexp.search.sweep_file import Sweep, parse
from nnexp.stores import Stores
from nnexp.study import SweepStudy, Trial, open_storage
from nnexp.tracking.schema import ENDED, EPOCHS, REPORT, STATUS, SWEEP_FILE, RunRecord
from nnexp.tracking.spool import Spool
from nnexp.tracking.store import Tracking

#: Final metrics of every trial that has networks.
METRICS = ("solved_rate", "correct_rate", "confident_rate", "diverged_rate", "train_seconds")
#: Kinds of findings that do not affect the results of a sweep.
HARMLESS = {"zombie", "undelivered", "surplus"}
#: Artifacts of the parent run of a finalized sweep.
PUBLISHED = (SWEEP_FILE, REPORT, "summary.txt", "summary.md", "summary.csv", "summary.json", IMPORTANCE)


@dataclass(frozen=True)
class Finding:
    """A fault.

    Attributes:
        sweep: the sweep's name.
        kind: ``zombie`` (a trial or run that is RUNNING without a worker), ``orphan`` (a run without its trial or
            parent), ``missing`` (a finished trial without a run), ``incomplete`` (a run without all its curves, metrics
            and artifacts), ``double`` (a trial with several runs), ``overrun`` (more finished trials than the budget),
            ``surplus`` (trials beyond the budget that no worker will claim),
            ``undelivered`` (finished trials left in the spool), ``unconcluded`` (a finished sweep that is not
            finalized), ``foreign`` (its runs are of another study of that name), ``unreadable``.
        line: the fault in words.
        repaired: whether it was found before a repair, and not after it.
    """

    sweep: str
    kind: str
    line: str
    repaired: bool = False


def examine(stores: Stores, name: str | None = None, *, repair: bool = False) -> list[Finding]:
    """Compare the stores, sweep by sweep, and repair them if ``repair``; a sweep with workers is examined only in part.

    Args:
        stores: the stores.
        name: one sweep; None for all in the study store. Sweeps that are only in MLflow may belong to another study
            store, and are not examined.
        repair: whether to repair the faults.

    Raises:
        NotFoundError: no such sweep, or no study store. StoreError: a store cannot be opened.
        Interrupted: a signal during a repair.
    """
    with signals.handled() as interrupted, open_storage(stores.storage, create=False) as storage:
        tracking, spool = Tracking(stores.tracking_uri), Spool(stores.spool)
        names = [name] if name is not None else [each.name for each in SweepStudy.list_all(storage)]
        found: list[Finding] = []
        for each in names:
            study = SweepStudy.open(storage, each)
            try:
                examination = Examination(study, tracking, spool)
                faults = list(examination.findings())
                if faults and repair:
                    finalize = any(fault.kind not in HARMLESS for fault in faults)
                    repairs.repair(study, stores, interrupted, examination.damaged, finalize=finalize)
                    faults = _compared(faults, list(Examination(study, tracking, spool).findings()))
            except Interrupted:
                raise
            except NnexpError as error:
                faults = [Finding(each, "unreadable", f"{each}: {error}")]
            found += faults
        if name is None:
            found += _unknown_sweeps(spool, set(names))
        return found


def _compared(before: list[Finding], after: list[Finding]) -> list[Finding]:
    """The findings before a repair, each marked whether it is repaired, and those that are new after it."""
    left = {finding.line for finding in after}
    return [replace(finding, repaired=finding.line not in left) for finding in before] + [
        finding for finding in after if finding not in before
    ]


def _unknown_sweeps(spool: Spool, known: set[str]) -> Iterator[Finding]:
    """The entries in the spool of sweeps that are not in the study store."""
    for name in spool.sweeps():
        if name not in known:
            line = f"{name}: {len(spool.entries(name))} trials wait in the spool, and the study store has no such sweep"
            yield Finding(name, "orphan", f"{line}; name its store with --storage, or remove {spool.root / name}")


def deliver(stores: Stores, name: str | None = None) -> list[Finding]:
    """Deliver the entries in the spool to MLflow.

    Returns:
        For each sweep, how many were delivered (repaired) and how many still wait.

    Raises:
        NotFoundError: no study store. StoreError: a store cannot be opened. Interrupted: a signal.
    """
    spool = Spool(stores.spool)
    waiting = [each for each in ([name] if name is not None else spool.sweeps()) if spool.entries(each)]
    if not waiting:
        return []
    found: list[Finding] = []
    with signals.handled() as interrupted, open_storage(stores.storage, create=False) as storage:
        for each in waiting:
            before = len(spool.entries(each))
            try:
                repairs.deliver(SweepStudy.open(storage, each), stores, interrupted)
            except (NotFoundError, StoreError) as error:
                found.append(Finding(each, "undelivered", f"{each}: {error}"))
            left = len(spool.entries(each))
            if before > left:
                found.append(Finding(each, "undelivered", f"{each}: {before - left} trials delivered", repaired=True))
            if left:
                found.append(Finding(each, "undelivered", f"{each}: {left} trials wait in the spool"))
    return found


class Examination:
    """One comparison of a sweep's stores, each of them read once."""

    def __init__(self, study: SweepStudy, tracking: Tracking, spool: Spool) -> None:
        self.study, self.tracking, self.spool = study, tracking, spool
        self.name = study.name
        self.has_workers = bool(study.live_workers())  # first, since it takes time
        self.trials = {trial.number: trial for trial in study.trials()}
        self.finished = {number for number, trial in self.trials.items() if trial.is_finished}
        self.parent = tracking.find_sweep(self.name)
        self.runs = tracking.trial_runs(self.parent) if self.parent else []
        self.ended: dict[int, list[RunRecord]] = {}  # by trial; of a trial's runs the first is valid
        for run in self.runs:
            if run.status in ENDED:
                self.ended.setdefault(run.trial, []).append(run)
        self.waiting = {entry.trial for entry in spool.entries(self.name)}

    def findings(self) -> Iterator[Finding]:
        """All faults; for a sweep with workers only those that trials in training cannot cause."""
        yield from self._findings("overrun", self._overrun())
        if self.has_workers:
            return
        if self.parent is not None and self.tracking.study_of(self.parent) not in (None, self.study.known_identity()):
            # The other checks would compare two different sweeps.
            where = redact(self.tracking.uri)
            yield from self._findings("foreign", iter([f"its runs in {where} are of another study store"]))
            return
        yield from self._findings("surplus", self._surplus())
        yield from self._findings("zombie", self._zombies())
        yield from self._findings("double", self._duplicates())
        yield from self._findings("orphan", self._orphans())
        yield from self._findings("undelivered", self._undelivered())
        yield from self._findings("missing", self._missing())
        yield from self._findings("incomplete", (line for _, line in self._incomplete))
        yield from self._findings("unconcluded", self._unfinalized())

    def _findings(self, kind: str, lines: Iterator[str]) -> Iterator[Finding]:
        return (Finding(self.name, kind, f"{self.name}: {line}") for line in lines)

    @property
    def damaged(self) -> list[int]:
        """The trials whose runs are incomplete."""
        return [trial for trial, _ in self._incomplete]

    def _overrun(self) -> Iterator[str]:
        over = len(self.finished) - self.study.sweep.trials
        if over > 0:
            yield f"{len(self.finished)} trials are finished, {over} more than its budget"

    def _surplus(self) -> Iterator[str]:
        budget = self.study.sweep.trials
        numbers = [number for number in self.trials if number >= budget and number not in self.finished]
        if numbers:
            yield (
                f"{len(numbers)} trials beyond its budget of {budget} wait in the study and are never trained "
                f"(a larger budget would use them: --set trials={max(numbers) + 1})"
            )

    def _zombies(self) -> Iterator[str]:
        for number, trial in self.trials.items():
            if trial.state == "RUNNING":
                yield f"trial {number} is RUNNING, but its worker {trial.owner} is gone"
        for run in self.runs:
            if run.status not in ENDED:
                yield f"run {run.run_id} of trial {run.trial} is {run.status}, but no worker delivers it"
        if self.parent is not None and self.tracking.status(self.parent.run_id) == "RUNNING":
            yield f"its parent run {self.parent.run_id} is RUNNING, but it has no worker"

    def _duplicates(self) -> Iterator[str]:
        for number, runs in self.ended.items():
            if len(runs) > 1:
                yield f"trial {number} has {len(runs)} runs: {', '.join(run.run_id for run in runs)}"

    def _orphans(self) -> Iterator[str]:
        if self.parent is None and self.finished - self.waiting:
            yield f"it has no parent run in {redact(self.tracking.uri)}"
        for run in self.runs:
            if run.trial not in self.finished:
                yield f"run {run.run_id} is of trial {run.trial}, which is not finished in the study"
            elif run.status in ENDED and self.parent and run.tags.get("mlflow.parentRunId") != self.parent.run_id:
                yield f"run {run.run_id} of trial {run.trial} does not name the sweep's parent run"

    def _undelivered(self) -> Iterator[str]:
        for number in self.waiting:
            state = "waits in the spool"
            if number not in self.finished:
                state = "is in the spool, but not finished in the study"
            yield f"trial {number} {state}"
        if left := self.spool.incomplete(self.name):
            yield f"{left} half-written entries are in the spool"

    def _missing(self) -> Iterator[str]:
        if self.parent is not None:
            for number in sorted(self.finished - self.waiting - self.ended.keys()):
                yield f"trial {number} is finished, but has no run"

    @functools.cached_property
    def _incomplete(self) -> list[tuple[int, str]]:
        """The trials whose runs are incomplete, and what is missing, in words."""
        return [
            (number, f"run {runs[0].run_id} of trial {number} {fault}")
            for number, runs in self.ended.items()
            if number in self.finished and (fault := self._fault(runs[0], self.trials[number]))
        ]

    def _fault(self, run: RunRecord, trial: Trial) -> str:
        """What is missing in a run, in words; empty if it is complete."""
        if run.status != STATUS[trial.state]:
            return f"is {run.status}, its trial {trial.state}"
        if params := {"trial", *Settings.model_fields} - set(run.params):
            return f"lacks params: {', '.join(sorted(params))}"
        if trial.state == "FAIL":
            return ""
        if metrics := [key for key in METRICS if key not in run.metrics]:
            return f"lacks metrics: {', '.join(metrics)}"
        steps = [step for step, _ in self.tracking.curve(run.run_id, "solved_rate")]
        if len(steps) < 2 or steps[0] != 0 or steps[-1] > int(run.tags.get(EPOCHS, steps[-1])):
            return "lacks its curves"
        try:
            networks = len(self.tracking.networks(run.run_id))
        except NnexpError:
            return f"lacks {networks_table.NETWORKS}, or it is damaged"
        if networks != int(run.params["seeds"]):
            return f"has {networks} networks, not {run.params['seeds']}"
        try:
            self.tracking.best_network(run.run_id)
        except NotFoundError:
            return f"lacks {networks_table.BEST_NETWORK}, or it is damaged"
        return ""

    def _unfinalized(self) -> Iterator[str]:
        if self.parent is None or not self.study.is_done():
            return
        parent = f"its parent run {self.parent.run_id}"
        if not is_finalized(self.study):
            yield "every trial is finished, but its summary is not written"
            return
        if self.tracking.status(self.parent.run_id) != "FINISHED":
            yield f"{parent} is not FINISHED"
            return
        for path in PUBLISHED:
            text = self._text(self.parent.run_id, path)
            if text is None:
                yield f"{parent} lacks {path}, or it is damaged"
            elif path == SWEEP_FILE and not _describes(text, self.study.sweep):
                yield f"{parent} has another {path}, or a part of it"

    def _text(self, run_id: str, path: str) -> str | None:
        """The content of a text artifact; None if it is lost or damaged."""
        try:
            text = self.tracking.text(run_id, path)
            if path.endswith(".json"):
                json.loads(text)
        except (NotFoundError, ValueError):
            return None
        whole = text.rstrip().endswith("</html>") if path.endswith(".html") else text.strip()
        return text if whole else None


def _describes(text: str, sweep: Sweep) -> bool:
    """Whether a sweep file describes ``sweep``; another version of nnexp may have written it in another form."""
    try:
        return parse(text) == sweep
    except UsageError:
        return False
