"""What a result was computed with: versions, CPU features, commit.

Results are equal bit by bit if the CPU features and the version of NumPy are the same.
"""

from __future__ import annotations

import functools
import importlib.metadata
import platform
import subprocess
from pathlib import Path

import numpy as np


@functools.cache
def versions() -> dict[str, str]:
    """The versions of ``nnexp``, ``numpy`` and ``python``."""
    own = importlib.metadata.version("nnexp")
    return {"nnexp": own, "numpy": np.__version__, "python": platform.python_version()}


@functools.cache
def cpu_features() -> str:
    """The SIMD extensions that NumPy's kernels may use on this machine, baseline included, sorted in one line."""
    simd = np.show_config(mode="dicts")["SIMD Extensions"]
    return " ".join(sorted({*simd.get("baseline", ()), *simd.get("found", ())}))


@functools.cache
def commit() -> str | None:
    """The git commit of the source tree that the package runs from; None if it runs from an installation."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "rev-parse", "HEAD"]  # a fixed command
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None


def tags() -> dict[str, str]:
    """The tags of every child run."""
    found = {f"nnexp.{name}_version" if name != "nnexp" else "nnexp.version": v for name, v in versions().items()}
    found["nnexp.cpu_features"] = cpu_features()
    if (revision := commit()) is not None:
        found["nnexp.commit"] = revision
    return found
