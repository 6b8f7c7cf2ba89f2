"""The threads of BLAS in a training process."""

from __future__ import annotations

import threadpoolctl


def use_one_thread() -> None:
    """Limit BLAS to one thread in this process, since each core has a training process of its own."""
    threadpoolctl.threadpool_limits(1)
