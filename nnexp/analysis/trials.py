"""Runs and networks as typed pandas tables: one row per trial, or one row per network.

MLflow stores a run's params as text and its metrics by name. Here they get their types, their order and the intervals
that were not logged.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from nnexp.network import tasks
from nnexp.network.settings import Settings
from nnexp.recovery.grades import assess, columns
from nnexp.recovery.intervals import wilson

if TYPE_CHECKING:
    from nnexp.network.model import Network
    from nnexp.tracking.schema import RunRecord

#: What a sweep varies, in the order of its tables. The param ``loss`` of a run is the column ``loss_function``, since
#: ``loss`` is also the name of a metric.
FACTORS = ("hidden_size", "learning_rate", "init", "init_scale", "activation", "loss_function", "momentum", "encoding")
#: The factors that every summary shows, whether a sweep varies them or not.
ALWAYS = FACTORS[:4]
OTHER_SETTINGS = ("task", "epochs", "stop", "dtype", "seeds", "seed")
RATES = ("recovery_rate", "solved_rate", "confident_rate", "contains_rate", "mirror_rate", "diverged_rate")
METRICS = (*RATES, "epochs_to_solve_median", "reference_distance_median", "loss", "train_seconds")
WHOLE = frozenset({"hidden_size", "epochs", "seeds", "seed"})
NUMBERS = frozenset({"learning_rate", "init_scale", "momentum"})


def trials_frame(records: Iterable[RunRecord]) -> pd.DataFrame:
    """The runs of a sweep, one row per trial, in the order of the trial numbers.

    Args:
        records: the sweep's child runs.

    Returns:
        Columns: ``trial``, ``status``, the settings with their types (see `FACTORS` and `OTHER_SETTINGS`),
        ``networks``, every metric of `METRICS` and every other metric that was logged (nan where it was not),
        ``recovered`` and ``solved`` (counts of networks), Wilson intervals as ``recovery_rate_low``, ``…_high``,
        ``solved_rate_low``, ``…_high``, and ``run_id``.
    """
    rows = sorted(records, key=lambda record: record.trial)
    frame = pd.DataFrame(
        {"trial": np.array([row.trial for row in rows], dtype=np.int64), "status": [row.status for row in rows]}
    )
    defaults = {name: field.default for name, field in Settings.model_fields.items()}
    for column in (*FACTORS, *OTHER_SETTINGS):
        name = "loss" if column == "loss_function" else column
        values = [row.params.get(name, defaults[name]) for row in rows]
        if column in WHOLE:
            frame[column] = np.array([int(value) for value in values], dtype=np.int64)
        elif column in NUMBERS:
            frame[column] = np.array([float(value) for value in values], dtype=np.float64)
        else:
            frame[column] = [str(value) for value in values]
    names = sorted({name for row in rows for name in row.metrics})
    for name in (*METRICS, *(name for name in names if name not in METRICS)):
        frame[name] = np.array([row.metrics.get(name, np.nan) for row in rows], dtype=np.float64)
    frame["networks"] = frame["seeds"]  # the param of the run: as many as were trained, also with adaptive seeds
    _add_intervals(frame)
    frame["run_id"] = [row.run_id for row in rows]
    settled = ["trial", "status", *FACTORS, *OTHER_SETTINGS, "networks", *METRICS]
    return frame[[*settled, *(column for column in frame.columns if column not in settled)]]


def _add_intervals(frame: pd.DataFrame) -> None:
    """Add the counts and the Wilson intervals of recovered and solved networks, in place; nan where the rate is nan."""
    networks = frame["networks"].to_numpy()
    for rate, count in (("recovery_rate", "recovered"), ("solved_rate", "solved")):
        values = frame[rate].to_numpy(dtype=np.float64)
        known = ~np.isnan(values)
        hits = np.where(known, np.rint(np.nan_to_num(values) * networks), 0)
        low, high = wilson(hits, np.maximum(networks, 1))
        frame[count] = np.where(known, hits, np.nan)
        frame[f"{rate}_low"] = np.where(known, low, np.nan)
        frame[f"{rate}_high"] = np.where(known, high, np.nan)


def is_varied(values: pd.Series) -> bool:
    """Whether a column holds more than one value."""
    return len(values) > 0 and bool((values != values.iloc[0]).any())


def varied(frame: pd.DataFrame) -> list[str]:
    """The factors with more than one value in the sweep, in the order of `FACTORS`."""
    return [factor for factor in FACTORS if is_varied(frame[factor])]


def shown_factors(frame: pd.DataFrame) -> tuple[str, ...]:
    """The factors that every summary shows, then the others that this sweep varies."""
    return tuple(factor for factor in FACTORS if factor in ALWAYS or is_varied(frame[factor]))


def has_reference(frame: pd.DataFrame) -> bool:
    """Whether any trial was graded against a hand-designed network."""
    return bool(frame["recovery_rate"].notna().any())


def measure_of(frame: pd.DataFrame) -> str:
    """The rate that settings are ranked by: ``recovery_rate``, or ``solved_rate`` for a task without a reference."""
    return "recovery_rate" if has_reference(frame) else "solved_rate"


def describe_setting(row: Mapping[str, Any] | pd.Series, factors: Sequence[str]) -> str:
    """One setting in words, such as ``2 hidden units, learning rate 3.1, he_normal × 0.42``."""
    parts = []
    for factor in factors:
        value = row[factor]
        if factor == "hidden_size":
            parts.append(f"{value} hidden units")
        elif factor == "init":
            parts.append(f"{value} × {row['init_scale']:.3g}")
        elif factor in ("learning_rate", "momentum"):
            parts.append(f"{factor.replace('_', ' ')} {value:.3g}")
        elif factor != "init_scale":
            parts.append(str(value))
    if "init_scale" in factors and "init" not in factors:
        parts.append(f"initial scale {row['init_scale']:.3g}")
    return ", ".join(parts)


def grade(network: Network, task: str | tasks.Task = "xnor") -> pd.DataFrame:
    """The grades of given networks, one row per network.

    Args:
        network: R networks.
        task: a known task's name, or a task.

    Returns:
        R rows, one column per grade, in the order of `nnexp.recovery.grades.Grades`.

    Raises:
        UsageError: an unknown task, or one with another number of inputs than the networks have.
    """
    table = tasks.get(task) if isinstance(task, str) else task
    return pd.DataFrame(columns(assess(network, table)))
