"""The trials of a sweep in Optuna's storage: claims, samplers, pruners and dead workers.

`open_storage` opens a `Store`. `SweepStudy.create` and `SweepStudy.open` return the study of a sweep in it.
`Worker.join` makes this process a worker on that study: it claims trials, finishes them, and takes back the trials of
dead workers. The other public names are plain values: `Claim`, `Counts`, `FinishedState`, `Reclaimed`, `StoredSweep`,
`Trial` and `WorkerProcess`.

It imports `nnexp.network`, `nnexp.search`, SQLAlchemy, SciPy and Optuna, which no other package imports.
"""

from nnexp.study.claims import Worker
from nnexp.study.processes import WorkerProcess
from nnexp.study.storage import Store, open_storage
from nnexp.study.study import StoredSweep, SweepStudy
from nnexp.study.trials import Claim, Counts, FinishedState, Reclaimed, Trial

__all__ = [
    "Claim",
    "Counts",
    "FinishedState",
    "Reclaimed",
    "Store",
    "StoredSweep",
    "SweepStudy",
    "Trial",
    "Worker",
    "WorkerProcess",
    "open_storage",
]
