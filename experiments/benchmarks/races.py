"""Simulated races over seeds: how many networks each rule needs, and how often it keeps and finds the best setting.

    python experiments/benchmarks/races.py [--races 500] [--wilcoxon 40]

The truth is the recorded grid, experiments/results/grid.csv: 600 settings, each with its rate of recovered networks. In
every race each setting has its own outcomes of up to 1,000 networks, drawn with that rate, and all rules are applied to
the same outcomes, with the settings in the same random order. The rules of nnexp are the functions of
`nnexp.study.race` and `nnexp.analysis.playoff` themselves; WilcoxonPruner is Optuna's class. Writes results/races.md.
"""

from __future__ import annotations

import argparse
import csv
import platform
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import optuna
from numpy.typing import NDArray

from nnexp.analysis import playoff
from nnexp.study.race import Race, bounds, decide

HERE = Path(__file__).parent
GRID = HERE.parent / "results" / "grid.csv"
CONFIDENCE, TOLERANCE, START = 0.95, 0.02, 32
#: With at most so many networks SciPy's Wilcoxon test enumerates all 2^n signs, 70 ms each time: not asked before.
PERMUTATIONS = 13
#: The confidence of the race and of the play-off where both follow each other: their errors add up to 0.05.
EACH = (1 + CONFIDENCE) / 2

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]


def truth() -> NDArray[np.float64]:
    """(K,) the recorded rates of the grid's settings."""
    with GRID.open(newline="") as file:
        return np.array([int(row["recovered"]) / int(row["networks"]) for row in csv.DictReader(file)])


@dataclass(frozen=True, eq=False)
class Draw:
    """The outcomes of one simulated sweep.

    Attributes:
        rates: (K,) the true rates.
        order: (K,) the order in which the settings are tried.
        successes: (K, S + 1) successes among the first n networks of each setting.
        shared: whether network i has the same luck under all settings: it succeeds under those whose rate is above
            one number, drawn uniformly for i.
        rng: for what is drawn later.
    """

    rates: NDArray[np.float64]
    order: Ints
    successes: Ints
    shared: bool
    rng: np.random.Generator

    def counts(self, networks: Ints) -> Ints:
        """(K,) each setting's successes among its first ``networks``."""
        return self.successes[np.arange(len(self.rates)), networks]


def draw(rates: NDArray[np.float64], seeds: int, shared: bool, race: int) -> Draw:
    """The outcomes of simulated sweep number ``race``."""
    rng = np.random.default_rng((race, shared))
    order = rng.permutation(len(rates))
    luck = rng.random((1 if shared else len(rates), seeds))
    successes = np.zeros((len(rates), seeds + 1), dtype=np.int64)
    np.cumsum(luck < rates[:, None], axis=1, out=successes[:, 1:])
    return Draw(rates, order, successes, shared, rng)


@dataclass(frozen=True)
class Found:
    """What a rule did in one simulated sweep.

    Attributes:
        networks: trained in the sweep.
        left: (k,) the settings that may be the best, by this rule.
        chosen: the one that it takes for the best.
        fresh: networks of the play-off.
    """

    networks: int
    left: Ints
    chosen: int
    fresh: int = 0


Rule = Callable[[Draw], Found]


def highest(values: NDArray[np.float64], rng: np.random.Generator) -> int:
    """The place of the highest value; one of the highest by lot."""
    return int(rng.choice(np.flatnonzero(values == values.max())))


def uniform(seeds: int) -> Rule:
    """The same number of networks for every setting; the highest rate is chosen."""

    def run(d: Draw) -> Found:
        chosen = highest(d.successes[:, seeds], d.rng)
        return Found(len(d.rates) * seeds, np.array([chosen]), chosen)

    return run


def halving(start: int, keep: int, seeds: int) -> Rule:
    """Successive halving over seeds: after each round the best 1/``keep`` go on, with ``keep`` times the networks."""

    def run(d: Draw) -> Found:
        left, before, n, spent = d.order, 0, start, 0
        while True:
            spent += len(left) * (n - before)
            rates = d.successes[left, n] + d.rng.random(len(left))  # ties by lot
            left = left[np.argsort(-rates)]
            if n == seeds or len(left) == 1:
                return Found(spent, left[:1], int(left[0]))
            left = left[: max(len(left) // keep, 1)]
            before, n = n, min(n * keep, seeds)

    return run


def intensification(start: int, seeds: int) -> Rule:
    """SMAC's intensification: one incumbent; a challenger is rejected as soon as it is behind on the same networks.

    The incumbent gets one more network for each challenger. A challenger's networks double, up to those of the
    incumbent; if it is not behind then, it is the new incumbent (Hutter, Hoos & Leyton-Brown, LION 5, 2011).
    """

    def run(d: Draw) -> Found:
        networks = np.zeros(len(d.rates), dtype=np.int64)
        incumbent = d.order[0]
        networks[incumbent] = start
        for challenger in d.order[1:]:
            networks[incumbent] = full = min(networks[incumbent] + 1, seeds)
            n = min(start, full)
            while d.successes[challenger, n] >= d.successes[incumbent, n] and n < full:
                n = min(2 * n, full)
            networks[challenger] = n
            if d.successes[challenger, n] >= d.successes[incumbent, n]:
                incumbent = challenger
        return Found(int(networks.sum()), np.array([incumbent]), int(incumbent))

    return run


def wilcoxon(every: int, seeds: int) -> Rule:
    """Optuna's WilcoxonPruner as its documentation shows it: networks are reported by their number, the mean is told.

    Args:
        every: it is asked after each so many networks.
        seeds: the most networks of a setting.
    """

    def run(d: Draw) -> Found:
        pruner = optuna.pruners.WilcoxonPruner(n_startup_steps=PERMUTATIONS + 1)
        study = optuna.create_study(direction="maximize", pruner=pruner)
        outcomes = np.diff(d.successes, axis=1).astype(float)
        spent = 0
        for setting in d.order:
            trial = study.ask()
            for n in range(1, seeds + 1):
                trial.report(outcomes[setting, n - 1], n)
                if n % every == 0 and n > PERMUTATIONS and trial.should_prune():
                    break
            spent += n
            study.tell(trial, outcomes[setting, :n].mean())
        chosen = int(d.order[study.best_trial.number])
        return Found(spent, np.array([chosen]), chosen)

    return run


def racing(seeds: int, batch: int, *, confidence: float = CONFIDENCE, then_play_off: bool = False) -> Rule:
    """The race of nnexp, ``batch`` settings side by side; the highest lower bound is chosen, or a play-off decides."""

    def run(d: Draw) -> Found:
        race = Race(len(d.rates), seeds, START, confidence, TOLERANCE)
        networks = np.zeros(len(d.rates), dtype=np.int64)
        best_lower = 0.0
        for at in range(0, len(d.order), batch):
            going = d.order[at : at + batch]
            for rung in race.rungs:
                networks[going] = rung
                decision = decide(d.successes[going, rung], networks[going], race, best_lower)
                best_lower, going = decision.best_lower, going[decision.racing]
        counts = d.counts(networks)
        spent = int(networks.sum())
        lower, _ = bounds(counts, networks, race)
        found = playoff.candidates(counts, networks, race, best_lower)
        if then_play_off:
            return play_off(d, found.index, spent)
        return Found(spent, found.index, int(np.argmax(lower)))

    return run


def play_off(d: Draw, candidates: Ints, spent: int) -> Found:
    """The play-off of nnexp among ``candidates``."""
    rates = d.rates[candidates]
    luck = d.rng.random((1 if d.shared else len(rates), playoff.FULL))
    successes = np.zeros((len(rates), playoff.FULL + 1), dtype=np.int64)
    np.cumsum(luck < rates[:, None], axis=1, out=successes[:, 1:])
    rule = playoff.rule(len(rates), EACH, TOLERANCE)
    networks = np.zeros(len(rates), dtype=np.int64)
    counts = networks
    while (more := playoff.next_round(counts, networks, rule)).any():
        networks = networks + more
        counts = successes[np.arange(len(rates)), networks]
    left = playoff.answer(counts, networks, rule).index
    return Found(spent, candidates[left], int(candidates[left[0]]), int(networks.sum()))


def rules() -> Iterator[tuple[str, Rule]]:
    """The rules that every simulated sweep is given to, with their names in the table."""
    yield "uniform, 256 networks", uniform(256)
    yield "uniform, 1,000 networks", uniform(1000)
    yield "successive halving, 32 networks, then the best half with 64, …, 1,000", halving(32, 2, 1000)
    yield "successive halving, 32 networks, then the best quarter with 128, …, 1,000", halving(32, 4, 1000)
    yield "SMAC-like intensification up to 1,000, challengers start with 1 network", intensification(1, 1000)
    yield "SMAC-like intensification up to 1,000, challengers start with 32", intensification(START, 1000)
    for seeds in (256, 1000):
        for batch, words in ((8, "8"), (64, "64"), (600, "all 600")):
            yield f"**race** up to {seeds:,}, {words} settings side by side", racing(seeds, batch)
    for seeds in (256, 1000):
        yield (
            f"**race** up to {seeds:,}, 64 side by side, then the **play-off**, {EACH} each",
            racing(seeds, 64, confidence=EACH, then_play_off=True),
        )


def row(name: str, found: list[Found], rates: NDArray[np.float64]) -> str:
    """One line of the table."""
    best = int(np.argmax(rates))
    networks = np.array([f.networks for f in found])
    fresh = np.array([f.fresh for f in found])
    kept = np.mean([best in f.left for f in found])
    left = np.mean([len(f.left) for f in found])
    exact = np.mean([f.chosen == best for f in found])
    near = np.mean([rates[f.chosen] >= rates[best] - TOLERANCE for f in found])
    cells = [
        name,
        f"{networks.mean():,.0f}",
        f"{networks.max():,}",
        f"{fresh.mean():,.0f}" if fresh.any() else "",
        f"{kept:.3f}",
        f"{left:.1f}",
        f"{exact:.3f}",
        f"{near:.3f}",
    ]
    return "| " + " | ".join(cells) + " |"


HEAD = [
    "| rule | networks | at most | play-off | best kept | settings left | best chosen | best or within 0.02 chosen |",
    "|---|---|---|---|---|---|---|---|",
]


def table(rates: NDArray[np.float64], shared: bool, races: int, few: int) -> list[str]:
    """The table of all rules, in simulated sweeps with or without shared seeds."""
    named = list(rules())
    found: list[list[Found]] = [[] for _ in named]
    for race in range(races):
        d = draw(rates, 1000, shared, race)
        for (_, rule), results in zip(named, found, strict=True):
            results.append(rule(d))
    lines = HEAD + [row(name, results, rates) for (name, _), results in zip(named, found, strict=True)]
    for every, seeds in ((1, 256), (START, 256), (START, 1000)) if few else ():
        words = "network from the 14th on" if every == 1 else f"{every} networks"
        results = [wilcoxon(every, seeds)(draw(rates, 1000, shared, race)) for race in range(few)]
        name = f"Optuna's WilcoxonPruner up to {seeds:,}, asked after every {words} ({few} sweeps, for it is slow)"
        lines.append(row(name, results, rates))
    return lines


def processor() -> str:
    """The name of the processor, where Linux knows it."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())


def main() -> None:
    """Simulates, and writes the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--races", type=int, default=500)
    parser.add_argument("--wilcoxon", type=int, default=40, help="sweeps of WilcoxonPruner, which is slow")
    options = parser.parse_args()
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    began = time.perf_counter()
    rates = truth()
    top = ", ".join(f"{rate:.1%}" for rate in np.sort(rates)[::-1][:6])
    lines = [
        "# Races over seeds, simulated",
        "",
        f"`python experiments/benchmarks/races.py --races {options.races} --wilcoxon {options.wilcoxon}`; "
        f"{processor()}, Python {platform.python_version()}, NumPy {np.__version__}, SciPy {version('scipy')}, "
        f"Optuna {version('optuna')}.",
        "",
        f"{options.races} simulated sweeps of the {len(rates)} settings of the recorded grid, whose rates of recovered "
        f"networks are the truth (the highest: {top}). Confidence {CONFIDENCE}, tolerance {TOLERANCE}, first round "
        f"{START} networks. *Networks* and *at most*: mean and maximum of the networks of a sweep. *Play-off*: mean of "
        "its fresh networks, which come on top. *Best kept*: the share of sweeps in which the best setting is among "
        "the settings left. Rules that have no set of settings are left with the one that they choose.",
    ]
    for shared, title in ((False, "Independent seeds"), (True, "Shared seeds, the most dependent ones possible")):
        few = 0 if shared else options.wilcoxon
        lines += ["", f"## {title}", "", *table(rates, shared, options.races, few)]
    (HERE / "results" / "races.md").write_text("\n".join([*lines, ""]), encoding="utf-8")
    print("\n".join(lines))
    print(f"{time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
