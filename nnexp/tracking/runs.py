"""Searching for the runs of a sweep: its parent run, its child runs, and which of several runs of a trial is valid."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Run

from nnexp.errors import StoreError
from nnexp.tracking.schema import ENDED, ROLE, SWEEP, TRIAL, RunRecord, SweepRun

#: Runs or experiments per request.
PAGE = 2000


def pages(search: Any, *args: Any, **kwargs: Any) -> Iterator[Any]:
    """Every result of a paged search.

    The cyclic garbage collector is off while a page is read. It would traverse all loaded libraries repeatedly and free
    nothing: 500 runs took 1.5 s with it and 0.5 s without.
    """
    token: str | None = None
    while True:
        enabled = gc.isenabled()
        gc.disable()
        try:
            page = search(*args, page_token=token, **kwargs)
        finally:
            if enabled:
                gc.enable()
        yield from page
        token = page.token
        if not token:
            return


def parent_runs(client: MlflowClient, experiment_id: str, name: str) -> list[Run]:
    """The sweep's parent runs; the first one is valid."""
    filter_string = f"tags.`{ROLE}` = 'sweep' and tags.`{SWEEP}` = '{_quoted(name)}'"
    runs: list[Run] = list(pages(client.search_runs, [experiment_id], filter_string=filter_string))
    return sorted(runs, key=lambda run: (run.info.start_time, run.info.run_id))


def child_runs(client: MlflowClient, sweep: SweepRun) -> list[Run]:
    """The runs of all trials of a sweep; of one trial's runs the first is valid."""
    runs = pages(client.search_runs, [sweep.experiment_id], max_results=PAGE)
    return sorted(
        (run for run in runs if run.data.tags.get(SWEEP) == sweep.name and TRIAL in run.data.tags), key=_precedence
    )


def runs_of_trial(client: MlflowClient, sweep: SweepRun, trial: int) -> list[Run]:
    """The runs of one trial; the first one is valid."""
    filter_string = f"tags.`{SWEEP}` = '{_quoted(sweep.name)}' and tags.`{TRIAL}` = '{trial}'"
    runs: list[Run] = list(pages(client.search_runs, [sweep.experiment_id], filter_string=filter_string))
    return sorted(runs, key=_precedence)


def _precedence(run: Run) -> tuple[bool, int, str]:
    return run.info.status not in ENDED, run.info.start_time, run.info.run_id


def valid_runs(runs: Iterable[RunRecord]) -> list[RunRecord]:
    """The valid runs among those of `Tracking.trial_runs`: one ended run per trial, by trial number."""
    first: dict[int, RunRecord] = {}
    for run in runs:
        if run.status in ENDED:
            first.setdefault(run.trial, run)
    return [first[trial] for trial in sorted(first)]


def record(run: Run) -> RunRecord:
    """A trial's run as a plain value."""
    info, data = run.info, run.data
    return RunRecord(
        trial=int(data.tags[TRIAL]),
        run_id=info.run_id,
        name=info.run_name,
        status=info.status,
        params=data.params,
        metrics=data.metrics,
        tags=data.tags,
        started_ms=info.start_time,
        ended_ms=info.end_time,
    )


def _quoted(name: str) -> str:
    """A sweep's name, to be placed between quotation marks in a filter.

    Raises:
        StoreError: it contains a quotation mark.
    """
    if "'" in name:
        raise StoreError(f"sweep {name!r}: MLflow cannot search for a name with a quotation mark")
    return name
