"""The body of `nnexp train`: training the networks of one setting, and printing how many have each grade."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nnexp.cli.output import print_pairs, print_table
from nnexp.cli.progress_bar import format_duration, percentage
from nnexp.errors import UsageError
from nnexp.network.model import Network
from nnexp.network.network_file import read_network
from nnexp.network.settings import Settings
from nnexp.recovery.grades import Grades
from nnexp.recovery.intervals import wilson
from nnexp.recovery.trial_metrics import final_metrics
from nnexp.training import trainer
from nnexp.training.result import TrainingResult

GRADES = ("correct", "solved", "confident", "contains", "recovered")


def choose_settings(given: Mapping[str, Any], initial: Path | None) -> tuple[Settings, Network | None]:
    """The setting that the options describe, and the initial weights; options precede the values of the file.

    Raises:
        UsageError: a wrong value, or weights whose shape is not that of the setting.
    """
    given = {key: value for key, value in given.items() if value is not None}
    if initial is None:
        return Settings(**given), None
    network, task = read_network(initial, given.get("activation"), given.get("encoding"), default=Settings().activation)
    if given.get("seeds", len(network)) != len(network):
        raise UsageError(f"--seeds {given['seeds']}: {initial} holds {len(network)} networks; leave --seeds out")
    settings = Settings(
        **{
            **({} if task is None else {"task": task}),
            "hidden_size": network.hidden_size,
            "seeds": len(network),
            **given,
            "activation": network.activation,
            "encoding": network.encoding,
        }
    )
    if settings.hidden_size != network.hidden_size or settings.truth_table.n_inputs != network.n_inputs:
        raise UsageError(
            f"{initial}: weights of {network.hidden_size} hidden units and {network.n_inputs} inputs,"
            f" expected {settings.hidden_size} and {settings.truth_table.n_inputs}"
        )
    return settings, network


def train_with_progress(settings: Settings, initial: Network | None) -> TrainingResult:
    """Train in about 50 parts and show the progress between them; the result has the same bits as in one part."""
    result = trainer.start(settings, initial=initial)
    step = max(1, settings.epochs // 50)
    with percentage(f"training {len(result):,} networks", settings.epochs) as show:
        for epoch in range(step, settings.epochs + step, step):
            (result,) = trainer.advance([result], min(epoch, settings.epochs))
            show(min(epoch, settings.epochs))
    return result


def describe_result(result: TrainingResult, grades: Grades, seconds: float) -> dict[str, Any]:
    """The result as ``--json`` prints it: rates with Wilson intervals, families, plateaus and medians."""
    metrics = final_metrics(result, grades, seconds)
    whole = np.where(result.diverged, np.inf, result.loss)
    return {
        "settings": result.settings.model_dump(),
        "networks": len(result),
        "rates": {name: _rate(getattr(grades, name)) for name in GRADES if getattr(grades, name) is not None},
        "diverged": int(result.diverged.sum()),
        "families": None if grades.family is None else dict(Counter(grades.family.tolist()).most_common()),
        "plateaus": None
        if grades.plateau is None
        else dict(Counter(name for name in grades.plateau.tolist() if name).most_common()),
        "loss_median": float(np.median(whole)),
        "epochs_to_solve_median": metrics.get("epochs_to_solve_median"),
        "seconds": seconds,
    }


def _rate(holds: np.ndarray[Any, np.dtype[np.bool_]]) -> dict[str, float | int]:
    count = int(holds.sum())
    low, high = wilson(count, len(holds))
    return {"count": count, "rate": count / len(holds), "low": float(low), "high": float(high)}


def print_result(facts: dict[str, Any]) -> None:
    """Print `describe_result` as tables."""
    settings, total = facts["settings"], facts["networks"]
    shown = {key: value for key, value in settings.items() if key not in ("task", "seeds")}
    task = "the given task" if settings["task"].startswith("{") else settings["task"]
    print_table(
        ["grade", "networks", "share", "95% interval"],
        [
            [name, rate["count"], f"{rate['rate']:.1%}", f"{rate['low']:.1%} to {rate['high']:.1%}"]
            for name, rate in facts["rates"].items()
        ],
        f"{total:,} networks on {task}",
    )
    solve = facts["epochs_to_solve_median"]
    lines = [("setting", ", ".join(f"{key} {value}" for key, value in shown.items()))]
    if facts["families"]:
        lines.append(("families", _counts(facts["families"])))
    if facts["plateaus"]:
        lines.append(("not solved, on plateau", _counts(facts["plateaus"])))
    if facts["diverged"]:
        lines.append(("diverged", f"{facts['diverged']:,}"))
    lines += [
        ("median loss", f"{facts['loss_median']:.4g}"),
        ("median epochs to solve", f"none within {settings['epochs']:,}" if solve is None else f"{solve:,.0f}"),
        ("time", f"{format_duration(facts['seconds'])}, {total / facts['seconds']:,.0f} networks/s"),
    ]
    print_pairs(lines)


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())
