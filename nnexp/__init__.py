"""nnexp: which training settings make gradient descent rediscover a network that a person designed by hand?

The names below are loaded on first use, so that ``import nnexp`` stays light.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

#: Public name -> the module that holds it.
_HOME = {
    "Settings": "network.settings",
    "Parameters": "network.model",
    "loss_and_gradients": "network.model",
    "predict": "network.model",
    "reference": "network.reference",
    "train": "training.trainer",
    "grade": "analysis.trials",
    "summarize": "analysis.results",
    "networks": "analysis.results",
    "sweep": "runner.sweeps",
}

__all__ = [
    "Parameters",
    "Settings",
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
    from nnexp.analysis.trials import grade
    from nnexp.network.model import Parameters, loss_and_gradients, predict
    from nnexp.network.reference import reference
    from nnexp.network.settings import Settings
    from nnexp.runner.sweeps import sweep
    from nnexp.training.trainer import train


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'nnexp' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"nnexp.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
