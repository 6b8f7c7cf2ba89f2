"""The pruners, and the epochs at which they judge a trial."""

from __future__ import annotations

from optuna.pruners import BasePruner, MedianPruner, SuccessiveHalvingPruner

from nnexp.search.sweep_file import Sweep

#: At each rung of successive halving about one trial in four continues, and trains for four times as many epochs.
REDUCTION_FACTOR = 4

#: The rungs of each pruner: a trial is judged after 1/64, 1/16 and 1/4 of its epochs, or after 1/8, 1/4 and 1/2.
_DIVISORS: dict[str, tuple[int, ...]] = {
    "none": (),
    "race": (),  # its rungs are numbers of networks, see `nnexp.study.race`
    "asha": (REDUCTION_FACTOR**3, REDUCTION_FACTOR**2, REDUCTION_FACTOR),
    "median": (8, 4, 2),
}


def rungs(sweep: Sweep) -> list[int]:
    """The epochs at which the training of a trial halts: where the pruner judges it, and the last epoch."""
    return sorted({max(1, sweep.epochs // divisor) for divisor in _DIVISORS[sweep.pruner]} | {sweep.epochs})


def pruner(sweep: Sweep) -> BasePruner | None:
    """The pruner of the sweep; None if every trial is trained for all its epochs."""
    if sweep.pruner == "median":
        # In the first tenth of the epochs most networks are on the same plateau, whatever their setting.
        return MedianPruner(n_startup_trials=5, n_warmup_steps=sweep.epochs // 10)
    if sweep.pruner == "asha":
        # Without `min_resource` Optuna would derive the rungs from the first trial to finish.
        return SuccessiveHalvingPruner(min_resource=rungs(sweep)[0], reduction_factor=REDUCTION_FACTOR)
    return None
