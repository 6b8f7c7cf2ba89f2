"""The addresses of the stores of a sweep: Optuna's studies, MLflow's runs, and the spool between them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

DEFAULT_TRACKING = "sqlite:///mlflow.db"  # what a bare `mlflow ui` in the same directory opens
DEFAULT_STORAGE = "nnexp.journal"
DEFAULT_SPOOL = "nnexp-spool"


@dataclass(frozen=True)
class Stores:
    """The addresses of the three stores; relative ones are relative to the working directory."""

    tracking_uri: str = DEFAULT_TRACKING
    storage: str = DEFAULT_STORAGE
    spool: Path = Path(DEFAULT_SPOOL)

    @classmethod
    def choose(cls, tracking_uri: str | None = None, storage: str | None = None, spool: Path | None = None) -> Stores:
        """The given addresses, else MLFLOW_TRACKING_URI, NNEXP_STORAGE and NNEXP_SPOOL, else the defaults."""
        return cls(
            tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_TRACKING,
            storage or os.environ.get("NNEXP_STORAGE") or DEFAULT_STORAGE,
            spool or Path(os.environ.get("NNEXP_SPOOL") or DEFAULT_SPOOL),
        )
