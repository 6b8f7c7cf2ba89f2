"""nnexp: which training settings make gradient descent rediscover a network that a person designed by hand?

The public names are loaded on first use, so that ``import nnexp`` is quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

#: Module -> the public names that it holds.
_PUBLIC = {
    "errors": ("Interrupted", "NnexpError", "NotFoundError", "StoreError", "UnreachableError", "UsageError"),
    "stores": ("Stores",),
    "network.settings": ("Settings",),
    "network.tasks": ("Task",),
    "network.model": ("Network", "loss_and_gradients", "predict"),
    "network.reference": ("reference",),
    "training.result": ("TrainingResult",),
    "training.trainer": ("train",),
    "search.sweep_file": ("Sweep",),
    "analysis.summary": ("Summary",),
    "analysis.trials": ("grade",),
    "analysis.results": ("networks", "summarize"),
    "runner.sweeps": ("sweep",),
}
_HOME = {name: module for module, names in _PUBLIC.items() for name in names}

__all__ = [
    "Interrupted",
    "Network",
    "NnexpError",
    "NotFoundError",
    "Settings",
    "StoreError",
    "Stores",
    "Summary",
    "Sweep",
    "Task",
    "TrainingResult",
    "UnreachableError",
    "UsageError",
    "grade",
    "loss_and_gradients",
    "networks",
    "predict",
    "reference",
    "summarize",
    "sweep",
    "train",
]

if TYPE_CHECKING:
    from nnexp.analysis.results import networks, summarize
    from nnexp.analysis.summary import Summary
    from nnexp.analysis.trials import grade
    from nnexp.errors import Interrupted, NnexpError, NotFoundError, StoreError, UnreachableError, UsageError
    from nnexp.network.model import Network, loss_and_gradients, predict
    from nnexp.network.reference import reference
    from nnexp.network.settings import Settings
    from nnexp.network.tasks import Task
    from nnexp.runner.sweeps import sweep
    from nnexp.search.sweep_file import Sweep
    from nnexp.stores import Stores
    from nnexp.training.result import TrainingResult
    from nnexp.training.trainer import train


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'nnexp' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"nnexp.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
