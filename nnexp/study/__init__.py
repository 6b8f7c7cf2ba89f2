"""The sweep's study: the trials of a sweep in a shared store. The one place that imports Optuna (floor 3).

`open_storage` gives a `Store`; `SweepStudy.create` or `SweepStudy.open` the study in it; `SweepStudy.join` a `Worker`,
which claims trials, finishes them, and takes back what dead workers left.
"""

from nnexp.study.claims import Worker
from nnexp.study.processes import WorkerRecord
from nnexp.study.storage import Store, open_storage
from nnexp.study.study import SweepStudy, SweepSummary
from nnexp.study.trials import Claim, Counts, FinishedState, Reclaimed, TrialRecord

__all__ = [
    "Claim",
    "Counts",
    "FinishedState",
    "Reclaimed",
    "Store",
    "SweepStudy",
    "SweepSummary",
    "TrialRecord",
    "Worker",
    "WorkerRecord",
    "open_storage",
]
