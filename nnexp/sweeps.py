"""Sweeps from the outside: submit one, work on it until done, and say what it found (floor 4)."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nnexp import config, execution
from nnexp.conclusion import conclude
from nnexp.config import Sweep
from nnexp.errors import Interrupted, NotFoundError, StoreError, UsageError, nearest
from nnexp.progress import Progress
from nnexp.spool import Spool
from nnexp.stores import Stores
from nnexp.study import SweepStudy, open_storage
from nnexp.tracking import SweepRun, Tracking
from nnexp.worker import SweepWork
from nnexp.writer import Writer

if TYPE_CHECKING:
    from nnexp.summary import Summary

Watch = Callable[[Progress], None]


@dataclass(frozen=True)
class Pool:
    """How training is spread: ``spec`` as in `execution.open_pool`, ``jobs`` processes (default: the machine's cores)."""

    spec: str = "processes"
    jobs: int | None = None

    def open(self) -> Executor:
        """A new pool."""
        return execution.open_pool(self.spec, self.jobs)

    @property
    def workers(self) -> int:
        """How many tasks run at once."""
        return self.jobs or execution.default_jobs()


def silent(_: Progress) -> None:
    """Watches nothing."""
