"""nnexp: which training settings make gradient descent rediscover a network that a person designed by hand?

The names below are loaded on first use, so that ``import nnexp`` stays light.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    "Settings": "settings",
    "Parameters": "network",
    "loss_and_gradients": "network",
    "predict": "network",
    "reference": "references",
    "train": "training",
    "grade": "summary",
    "summarize": "summary",
    "networks": "summary",
    "sweep": "sweeps",
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
    from nnexp.network import Parameters, loss_and_gradients, predict
    from nnexp.references import reference
    from nnexp.settings import Settings
    from nnexp.summary import grade, networks, summarize
    from nnexp.sweeps import sweep
    from nnexp.training import train


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'nnexp' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"nnexp.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
