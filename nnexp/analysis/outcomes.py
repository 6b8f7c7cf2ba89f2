"""What the networks' tables of a sweep add to its runs' metrics, read once (floor 3).

Axes: R networks of a trial.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from nnexp.analysis import trials
from nnexp.analysis.significance import Outcomes, outcomes_of
from nnexp.errors import NnexpError, NotFoundError

#: The families in the order of their bars; `none` is what did not solve the task.
FAMILIES = ("hand-designed", "both", "mirror", "other", "none")
#: What is read of a networks' table.
COLUMNS = ("index", "solved", "recovered", "family", "epochs_to_solve")

NetworksOf = Callable[[int], pa.Table | None]


@dataclass(frozen=True, eq=False)
class Population:
    """The part of every network's row that a sweep's report needs.

    Attributes:
        outcomes: trial to its networks' success in the sweep's measure.
        families: trial to how many networks each of `FAMILIES` holds; empty for a task without a mirror.
        epochs_to_solve: trial to (R,) updates until solved, infinite where never.
        missing: what could not be read, in words.
    """

    outcomes: dict[int, Outcomes] = field(default_factory=dict)
    families: dict[int, dict[str, int]] = field(default_factory=dict)
    epochs_to_solve: dict[int, NDArray[np.float64]] = field(default_factory=dict)
    missing: tuple[str, ...] = ()


def collect(records: Iterable[trials.Record], networks_of: NetworksOf) -> Population:
    """Reads the networks' table of every finished trial.

    Args:
        records: the sweep's runs.
        networks_of: a trial's table, or None (or an `NnexpError`) where it is missing.

    Returns:
        What was read; a table that is missing or unreadable is named in ``missing`` and left out.
    """
    population, absent, unreadable = Population(), [], []
    for record in sorted(records, key=lambda one: one.trial):
        if record.status != "FINISHED":
            continue
        try:
            table = networks_of(record.trial)
        except NotFoundError:
            table = None
        except NnexpError as error:
            unreadable.append(f"networks.parquet of trial {record.trial} ({error})")
            continue
        if table is None:
            absent.append(record.trial)
            continue
        _add(population, record.trial, table.select([name for name in COLUMNS if name in table.column_names]))
    missing = (*([f"networks.parquet of {_trials(absent)}"] if absent else []), *unreadable)
    return Population(population.outcomes, population.families, population.epochs_to_solve, missing)


def _trials(numbers: list[int]) -> str:
    """Such as ``trial 3``, ``trials 3, 5`` or ``1,050 trials (0, 1, 2, 3, 4, 5, 6, 7, …)``."""
    if len(numbers) == 1:
        return f"trial {numbers[0]}"
    first = ", ".join(map(str, numbers[:8]))
    return f"trials {first}" if len(numbers) <= 8 else f"{len(numbers):,} trials ({first}, …)"


def _add(population: Population, trial: int, table: pa.Table) -> None:
    if "family" in table.column_names:
        counts = {one["values"]: one["counts"] for one in table["family"].drop_null().value_counts().to_pylist()}
        if counts:
            population.families[trial] = {name: counts.get(name, 0) for name in FAMILIES}
        table = table.drop_columns("family")
    frame = table.to_pandas()
    outcomes = outcomes_of(frame, "recovered") or outcomes_of(frame, "solved")
    if outcomes is not None:
        population.outcomes[trial] = outcomes
    if "epochs_to_solve" in frame:
        updates = frame["epochs_to_solve"].to_numpy(dtype=np.float64, na_value=np.nan)
        population.epochs_to_solve[trial] = np.where(np.isnan(updates), np.inf, updates)


def family_shares(population: Population, frame: pd.DataFrame) -> pd.DataFrame | None:
    """Exact shares of the five families by hidden size.

    Args:
        population: what `collect` read.
        frame: the finished trials.

    Returns:
        A row a hidden size: ``hidden_size``, ``settings``, ``networks`` and a share for each of `FAMILIES`; None where
        no table holds families.
    """
    sizes = frame.set_index("trial")["hidden_size"]
    rows = [{"hidden_size": sizes[trial], "settings": 1, **counts} for trial, counts in population.families.items()]
    if not rows:
        return None
    total = pd.DataFrame(rows).groupby("hidden_size").sum()
    networks = total[list(FAMILIES)].sum(axis=1)
    shares = total[list(FAMILIES)].div(networks, axis=0)
    return pd.concat([total["settings"], networks.rename("networks"), shares], axis=1).reset_index()
