"""Runs and networks as typed pandas tables, a row a trial or a row a network (floor 3).

What MLflow keeps is text and numbers by name; here they get their types, their order and the intervals that are
missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import pandas as pd

from nnexp.network.settings import Settings
from nnexp.recovery.intervals import wilson

#: What a sweep varies, in the order of its tables. A run's parameter ``loss`` is the column ``loss_function``, since
#: ``loss`` is also the name of a metric.
FACTORS = ("hidden_size", "learning_rate", "init", "init_scale", "activation", "loss_function", "momentum", "encoding")
#: The factors that every summary shows, whether a sweep varies them or not.
ALWAYS = FACTORS[:4]
OTHER_SETTINGS = ("task", "epochs", "stop", "dtype", "seeds", "seed")
RATES = ("recovery_rate", "solved_rate", "confident_rate", "contains_rate", "mirror_rate", "diverged_rate")
METRICS = (*RATES, "epochs_to_solve_median", "reference_distance_median", "loss", "train_seconds")
WHOLE = frozenset({"hidden_size", "epochs", "seeds", "seed"})
NUMBERS = frozenset({"learning_rate", "init_scale", "momentum"})

#: How many settings a level must hold on average for a decade to be cut in so many parts.
_ENOUGH = {3: 20, 2: 8, 1: 0}

#: The factors whose levels are ranges on a logarithmic scale when a sweep draws them from one.
LOGARITHMIC = ("learning_rate", "init_scale")


class Record(Protocol):
    """One run as the tracking store keeps it."""

    @property
    def trial(self) -> int:
        """The trial's number."""

    @property
    def run_id(self) -> str:
        """MLflow's name of the run."""

    @property
    def status(self) -> str:
        """RUNNING, FINISHED, KILLED (pruned) or FAILED."""

    @property
    def params(self) -> Mapping[str, str]:
        """Every field of `Settings`, as text."""

    @property
    def metrics(self) -> Mapping[str, float]:
        """Final metrics by name."""


def trials_frame(records: Iterable[Record]) -> pd.DataFrame:
    """The runs of a sweep, a row a trial, in the order of the trials' numbers.

    Args:
        records: what the tracking store keeps of each child run.

    Returns:
        Columns: ``trial``, ``status``, the settings with their types (see `FACTORS` and `OTHER_SETTINGS`),
        ``networks``, every metric of `METRICS` and whatever else was logged (nan where it was not), ``recovered`` and
        ``solved`` (counts of networks), Wilson intervals as ``recovery_rate_low``, ``…_high``, ``solved_rate_low``,
        ``…_high``, and ``run_id``.
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
    names = sorted({name for row in rows for name in row.metrics} - {"networks"})
    for name in (*METRICS, *(name for name in names if name not in METRICS)):
        frame[name] = np.array([row.metrics.get(name, np.nan) for row in rows], dtype=np.float64)
    seeds = frame["seeds"].to_numpy(dtype=np.float64)
    counts = np.array([row.metrics.get("networks", np.nan) for row in rows], dtype=np.float64)
    frame["networks"] = np.where(np.isnan(counts), seeds, counts).astype(np.int64)
    _add_intervals(frame)
    frame["run_id"] = [row.run_id for row in rows]
    settled = ["trial", "status", *FACTORS, *OTHER_SETTINGS, "networks", *METRICS]
    return frame[[*settled, *(column for column in frame.columns if column not in settled)]]


def _add_intervals(frame: pd.DataFrame) -> None:
    """Counts of networks and Wilson intervals of recovery and solving, in place; nan where the rate is."""
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
    """The factors of which a sweep holds more than one value, in the order of `FACTORS`."""
    return [factor for factor in FACTORS if factor in frame and is_varied(frame[factor])]


def has_reference(frame: pd.DataFrame) -> bool:
    """Whether any trial was graded against a hand-designed network."""
    return bool(frame["recovery_rate"].notna().any())


def measure_of(frame: pd.DataFrame) -> str:
    """The rate that a sweep is judged by: ``recovery_rate``, or ``solved_rate`` for a task without a reference."""
    return "recovery_rate" if has_reference(frame) else "solved_rate"


def levels(values: pd.Series, factor: str, *, most: int = 12) -> tuple[pd.Series, list[str]]:
    """Each setting's level of a factor, and the levels in their order.

    A factor of few values (at most ``most``) has these as levels. A learning rate or an initial scale of more values is
    cut at fixed fractions of a decade (a whole, a half or a third, the finest that leaves enough settings a level), so
    that two sweeps' levels are the same ranges.

    Args:
        values: (S,) the factor of each setting.
        factor: its name, one of `FACTORS`.
        most: how many single values still count as levels.

    Returns:
        (S,) labels such as ``4``, ``he_normal`` or ``0.316–1``, and the labels that occur, in the values' order.
    """
    distinct = sorted(values.unique())
    if factor not in LOGARITHMIC or len(distinct) <= most:
        labels = {value: f"{value:.3g}" if isinstance(value, float) else str(value) for value in distinct}
        if len(set(labels.values())) < len(labels):
            labels = {value: repr(float(value)) for value in distinct}
        return values.map(labels).astype("str"), list(labels.values())
    logs = np.log10(values.to_numpy(dtype=np.float64))
    for parts in (3, 2, 1):
        bins = np.floor(np.round(logs * parts, 9)).astype(np.int64)
        if len(values) / (bins.max() - bins.min() + 1) >= _ENOUGH[parts]:
            break
    edges = {b: f"{10 ** (b / parts):.3g}–{10 ** ((b + 1) / parts):.3g}" for b in range(bins.min(), bins.max() + 1)}
    present = set(bins.tolist())
    labels_of = pd.Series([edges[b] for b in bins.tolist()], index=values.index, dtype="str")
    return labels_of, [edges[b] for b in sorted(present)]


def describe_setting(row: Mapping[str, Any] | pd.Series, factors: Sequence[str]) -> str:
    """One setting in words, such as ``hidden size 2, learning rate 3.1, he_normal × 0.42``."""
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
