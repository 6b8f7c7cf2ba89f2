"""What MLflow holds of a sweep, and how finished trials get there.

Public names: `Tracking` is a tracking store: it finds, creates and reads sweeps and runs. A finished trial is described
by `trial_run`, kept on the local disk by `outbox`, sent by the thread of `delivery`, and becomes a run in `child_run`.

This package may import the packages below it, and it alone may import MLflow. No module of it reads MLflow's active run
or ``MLFLOW_RUN_ID``: every call names its experiment or run.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

# MLflow reads this variable while it is imported. The settings that it reads later are in `client.SETTINGS`.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

if TYPE_CHECKING:
    from nnexp.tracking.store import Tracking

__all__ = ["Tracking"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'nnexp.tracking' has no attribute {name!r}")
    from nnexp.tracking.store import Tracking

    return Tracking
