"""The results of the single networks of a sweep, from the tables of networks of its trials.

Axes: R networks of a trial.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from nnexp.analysis.significance import Outcomes, outcomes_of
from nnexp.errors import NnexpError, NotFoundError
from nnexp.recovery.grades import FAMILIES

if TYPE_CHECKING:
    from nnexp.tracking.schema import RunRecord

#: The columns that are read of a table of networks.
COLUMNS = ("index", "solved", "recovered", "family", "epochs_to_solve")
#: Rate of a trial -> the grade of its networks.
_GRADE_OF = {"recovery_rate": "recovered", "solved_rate": "solved"}

NetworksOf = Callable[[int], pa.Table]


@dataclass(frozen=True, eq=False)
class SweepOutcomes:
    """The results of the single networks that a summary and a report need.

    Attributes:
        by_rate: for ``recovery_rate`` and ``solved_rate``: trial -> which of its networks succeeded. A trial whose task
            has no reference has no entry for ``recovery_rate``.
        families: trial -> the number of networks in each family; no entry for a task without a reference.
        epochs_to_solve: trial -> (R,) updates until solved, infinite if never.
        missing: the artifacts that could not be read, in words.
    """

    by_rate: Mapping[str, dict[int, Outcomes]] = field(default_factory=lambda: {rate: {} for rate in _GRADE_OF})
    families: dict[int, dict[str, int]] = field(default_factory=dict)
    epochs_to_solve: dict[int, NDArray[np.float64]] = field(default_factory=dict)
    missing: tuple[str, ...] = ()


def collect(records: Iterable[RunRecord], networks_of: NetworksOf) -> SweepOutcomes:
    """Read the table of networks of every finished trial; tables that cannot be read are named in ``missing``.

    Args:
        records: the sweep's runs.
        networks_of: returns a trial's table; raises `NotFoundError` if it is missing, another `NnexpError` if it cannot
            be read.
    """
    found = SweepOutcomes()
    absent, unreadable = [], []
    for record in sorted(records, key=lambda one: one.trial):
        if record.status != "FINISHED":
            continue
        try:
            table = networks_of(record.trial)
        except NotFoundError:
            absent.append(record.trial)
            continue
        except NnexpError as error:
            unreadable.append(f"networks.parquet of trial {record.trial} ({error})")
            continue
        _add(found, record.trial, table.select([name for name in COLUMNS if name in table.column_names]))
    missing = (*([f"networks.parquet of {_trials(absent)}"] if absent else []), *unreadable)
    return SweepOutcomes(found.by_rate, found.families, found.epochs_to_solve, missing)


def _trials(numbers: list[int]) -> str:
    """Such as ``trial 3``, ``trials 3, 5`` or ``1,050 trials (0, 1, 2, 3, 4, 5, 6, 7, …)``."""
    if len(numbers) == 1:
        return f"trial {numbers[0]}"
    first = ", ".join(map(str, numbers[:8]))
    return f"trials {first}" if len(numbers) <= 8 else f"{len(numbers):,} trials ({first}, …)"


def _add(found: SweepOutcomes, trial: int, table: pa.Table) -> None:
    if "family" in table.column_names:
        counts = {one["values"]: one["counts"] for one in table["family"].drop_null().value_counts().to_pylist()}
        if counts:
            found.families[trial] = {name: counts.get(name, 0) for name in FAMILIES}
        table = table.drop_columns("family")
    frame = table.to_pandas()
    for rate, grade in _GRADE_OF.items():
        outcomes = outcomes_of(frame, grade)
        if outcomes is not None:
            found.by_rate[rate][trial] = outcomes
    if "epochs_to_solve" in frame:
        updates = frame["epochs_to_solve"].to_numpy(dtype=np.float64, na_value=np.nan)
        found.epochs_to_solve[trial] = np.where(np.isnan(updates), np.inf, updates)


def family_shares(outcomes: SweepOutcomes, ranked: pd.DataFrame) -> pd.DataFrame | None:
    """Exact shares of the families by hidden size.

    Args:
        outcomes: returned by `collect`.
        ranked: the finished trials; others are left out.

    Returns:
        One row per hidden size: ``hidden_size``, ``settings``, ``networks`` and one share per family; None if no table
        has families.
    """
    sizes = dict(zip(ranked["trial"], ranked["hidden_size"], strict=True))
    rows = [
        {"hidden_size": sizes[trial], "settings": 1, **counts}
        for trial, counts in outcomes.families.items()
        if trial in sizes
    ]
    if not rows:
        return None
    total = pd.DataFrame(rows).groupby("hidden_size").sum()
    networks = total[list(FAMILIES)].sum(axis=1)
    shares = total[list(FAMILIES)].div(networks, axis=0)
    return pd.concat([total["settings"], networks.rename("networks"), shares], axis=1).reset_index()
