"""What MLflow stores of a sweep, and how finished trials are logged to it.

Public name: `Tracking`, a tracking store. It finds, creates and reads sweeps and runs. A finished trial is described by
`trial_run`, kept on the local disk by `spool`, and sent by the thread of `delivery`; `child_run` logs it to MLflow.

It imports `nnexp.network`, `nnexp.search`, `nnexp.recovery`, MLflow, SQLAlchemy, pandas and pyarrow, and it is the only
package that imports MLflow. No module reads MLflow's active run or ``MLFLOW_RUN_ID``: every call names its experiment
or run.
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
