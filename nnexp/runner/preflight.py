"""Checks before the first trial for problems that would stop the sweep later; each is one line with what to do."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from nnexp._redact import redact
from nnexp.errors import NnexpError, NotFoundError, StoreError
from nnexp.stores import Stores
from nnexp.tracking.address import same_database


def check(stores: Stores, sweep: str | None = None) -> None:
    """Do nothing if the stores can be used.

    Raises:
        StoreError: they cannot; the message names every problem and what to do.
    """
    if found := problems(stores, sweep):
        raise StoreError("; also: ".join(found))


def problems(stores: Stores, sweep: str | None = None) -> list[str]:
    """The problems of the stores, one line each, with what to do; empty if there are none.

    A store that does not exist yet and can be created is no problem.

    Args:
        stores: to be checked.
        sweep: the sweep that is about to run; if it exists, it is checked that its run can be written.
    """
    found = [*_environment(), *_distinct(stores.tracking_uri, stores.storage), *_spool(stores.spool)]
    return found or _tracking(stores.tracking_uri, sweep)


def _environment() -> list[str]:
    if os.environ.get("MLFLOW_RUN_ID"):
        return ["MLFLOW_RUN_ID is set: MLflow would log a sweep into that one run; unset it"]
    return []


def _distinct(tracking_uri: str, storage: str) -> list[str]:
    if same_database(tracking_uri, storage):
        return [
            f"--tracking-uri and --storage are the same database, {redact(storage)}: MLflow and Optuna cannot share "
            "one (both keep a table alembic_version); name another database for one of them"
        ]
    return []


def _spool(directory: Path) -> list[str]:
    existing = directory.absolute()
    while not existing.exists():
        existing = existing.parent
    try:
        with tempfile.TemporaryFile(dir=existing):
            return []
    except OSError as error:
        return [f"spool {directory}: cannot be written ({error.strerror}); choose another with NNEXP_SPOOL"]


def _tracking(uri: str, sweep: str | None) -> list[str]:
    from nnexp.tracking.schema import SWEEP, SWEEP_FILE
    from nnexp.tracking.store import Tracking

    try:
        tracking = Tracking(uri)
        tracking.sweeps()
        found = tracking.find_sweep(sweep) if sweep is not None else None
        if found is not None:
            # Write the existing values again, which needs the same rights as the runs and files of the sweep.
            tracking.set_tags(found.run_id, {SWEEP: found.name})
            with contextlib.suppress(NotFoundError):  # lost or truncated; the sweep writes it first
                tracking.log_text(found.run_id, tracking.text(found.run_id, SWEEP_FILE), SWEEP_FILE)
    except NnexpError as error:
        return [str(error)]
    return []
