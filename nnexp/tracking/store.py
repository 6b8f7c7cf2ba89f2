"""What MLflow holds of sweeps: one experiment and one parent run a sweep, one child run a trial (floor 3).

A class a subject, each on the one before: runs, artifacts, sweeps, trials. Every call names its experiment or run:
MLflow's active run and ``MLFLOW_RUN_ID`` have no say here.
"""

from __future__ import annotations

from nnexp.tracking.trials import TrialTracking


class Tracking(TrialTracking):
    """A tracking store.

    Args:
        uri: a database (``sqlite:///mlflow.db``, ``postgresql://…``) or a server (``http://…``).

    Raises:
        UsageError: ``uri`` is no address of a store.
        StoreError: it cannot be opened.
    """
