"""With what a result was made: versions, CPU features, commit (floor 1). Same features and NumPy, same bits."""

from __future__ import annotations

import functools
import platform
import subprocess
from pathlib import Path

import numpy as np

import nnexp


@functools.cache
def versions() -> dict[str, str]:
    """``nnexp``, ``numpy`` and ``python`` versions."""
    return {"nnexp": nnexp.__version__, "numpy": np.__version__, "python": platform.python_version()}


@functools.cache
def cpu_features() -> str:
    """The SIMD extensions that NumPy's kernels may use on this machine, baseline included, as one sorted line."""
    simd = np.show_config(mode="dicts")["SIMD Extensions"]
    return " ".join(sorted({*simd.get("baseline", ()), *simd.get("found", ())}))


@functools.cache
def commit() -> str | None:
    """The git commit of the package's source tree, where it runs from one."""
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
    """The tags that every child run carries."""
    found = {f"nnexp.{name}_version" if name != "nnexp" else "nnexp.version": v for name, v in versions().items()}
    found["nnexp.cpu_features"] = cpu_features()
    if (revision := commit()) is not None:
        found["nnexp.commit"] = revision
    return found
