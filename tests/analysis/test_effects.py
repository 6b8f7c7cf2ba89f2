"""Averages over settings: what their intervals cover, and what equal settings do not show."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from nnexp.analysis.effects import bootstrap_mean, factor_tests, marginals
from nnexp.analysis.summarize import summarize_records
from nnexp.analysis.trials import trials_frame
from nnexp.recovery.intervals import wilson
from tests.helpers.made_up_sweep import sweep

NETWORKS, GROUPS = 256, 6

Draw = Callable[[np.random.Generator, int], NDArray[np.float64]]

SMOOTH: Draw = lambda rng, n: rng.beta(2, 4, n)  # noqa: E731
MOSTLY_NONE: Draw = lambda rng, n: np.where(rng.random(n) < 0.7, 0.0, rng.beta(1, 3, n))  # noqa: E731
EQUAL: Draw = lambda _, n: np.full(n, 0.3)  # noqa: E731


def observed(
    rng: np.random.Generator, rates: NDArray[np.float64], groups: NDArray[np.intp], *, shared: bool
) -> NDArray[np.float64]:
    """Each setting's rate among its networks; with shared seeds those of a group succeed on the same networks."""
    if not shared:
        return rng.binomial(NETWORKS, rates) / NETWORKS
    luck = rng.random((GROUPS, NETWORKS))
    return (luck[groups] < rates[:, None]).mean(axis=1)


def coverage(draw: Draw, mean: float, settings: int, *, shared: bool, repeats: int = 300) -> tuple[float, float]:
    """How often the bootstrap's interval holds the true mean, and how often pooled Wilson's does."""
    rng = np.random.default_rng(settings)
    bootstrap = pooled = 0
    for seed in range(repeats):
        groups = rng.integers(0, GROUPS, settings)
        rates = observed(rng, draw(rng, settings), groups, shared=shared)
        local = np.unique(groups, return_inverse=True)[1]
        low, high = bootstrap_mean(rates, np.full(settings, NETWORKS), local, resamples=400, seed=seed)
        bootstrap += low <= mean <= high
        low, high = map(float, wilson(round(rates.sum() * NETWORKS), settings * NETWORKS))
        pooled += low <= mean <= high
    return bootstrap / repeats, pooled / repeats


@pytest.mark.parametrize("shared", [False, True], ids=["own-seeds", "shared-seeds"])
@pytest.mark.parametrize(
    ("draw", "mean", "settings", "least"),
    [
        (SMOOTH, 1 / 3, 6, 0.91),
        (SMOOTH, 1 / 3, 30, 0.92),
        (MOSTLY_NONE, 0.075, 15, 0.90),
        (MOSTLY_NONE, 0.075, 40, 0.92),
        (EQUAL, 0.3, 30, 0.92),
    ],
    ids=["smooth-6", "smooth-30", "mostly-none-15", "mostly-none-40", "equal-30"],
)
def test_coverage_of_the_bootstrap(draw: Draw, mean: float, settings: int, least: float, *, shared: bool) -> None:
    """A 95% interval for the mean over settings covers it about that often, for smooth, skewed and equal rates."""
    assert coverage(draw, mean, settings, shared=shared)[0] >= least


def test_pooling_networks_would_cover_far_too_seldom() -> None:
    """The reason for the bootstrap: Wilson's interval on the pooled networks misses the mean most of the time."""
    bootstrap, pooled = coverage(MOSTLY_NONE, 0.075, 40, shared=False)
    assert pooled < 0.3 < 0.9 < bootstrap


def test_rare_settings_are_not_seen_by_any_interval() -> None:
    """The known limit: where one setting in ten recovers and a level holds six, the interval often misses the mean."""
    assert coverage(lambda rng, n: np.where(rng.random(n) < 0.9, 0, rng.beta(1, 3, n)), 0.025, 6, shared=False)[0] < 0.7


def test_few_extreme_settings_do_not_blow_the_interval_up() -> None:
    """One good setting of thirty gives an interval that ends where Wilson's on thirty settings does at the latest."""
    rates = np.array([0.6] + [0.0] * 29)
    low, high = bootstrap_mean(rates, np.full(30, 256), np.arange(30))
    assert low < 0.02 < high <= float(wilson(0.6, 30)[1])


def test_one_setting_says_nothing_of_others() -> None:
    """A level of one setting has no interval."""
    low, high = bootstrap_mean(np.array([0.5]), np.array([256]), np.array([0]))
    assert np.isnan([low, high]).all()


def test_the_interval_is_the_same_each_time_and_in_chunks() -> None:
    """Seeded, and within [0, 1] whatever the rates; many settings go through in parts."""
    rates = np.random.default_rng(0).random(30_000) ** 4
    args = rates, np.full(30_000, 64), np.arange(30_000) % 7
    low, high = bootstrap_mean(*args, resamples=100)
    assert (low, high) == bootstrap_mean(*args, resamples=100)
    assert 0 < low < rates.mean() < high < 1
    assert bootstrap_mean(np.zeros(5), np.full(5, 64), np.arange(5)) == pytest.approx((0, 0), abs=0.08)
    assert bootstrap_mean(np.ones(5), np.full(5, 64), np.arange(5)) == pytest.approx((1, 1), abs=0.08)


@pytest.mark.parametrize("shared", [False, True], ids=["own-seeds", "shared-seeds"])
def test_equal_settings_seldom_name_a_factor(*, shared: bool) -> None:
    """Where all settings are equal the answer says that a factor matters in at most one sweep of ten."""
    rng = np.random.default_rng(5)
    repeats, named = 20, 0
    for seed in range(repeats):
        records, _ = sweep(48, lambda _: 0.3, seed=seed)
        keys = [(r.params["hidden_size"], r.params["init"]) for r in records]
        groups = np.array([sorted(set(keys)).index(key) for key in keys])
        luck = rng.random((groups.max() + 1, NETWORKS))
        rates = (luck[groups] < 0.3).mean(axis=1) if shared else rng.binomial(NETWORKS, np.full(48, 0.3)) / NETWORKS
        again = [
            dataclasses.replace(record, metrics={"recovery_rate": rate, "solved_rate": rate})
            for record, rate in zip(records, rates, strict=True)
        ]
        named += any("What matters" in line for line in summarize_records("s", again).answer)
    assert named <= repeats / 10


def test_a_factor_that_matters_is_named() -> None:
    """An effect of 30 points is found among 60 settings, with its best and its worst level."""
    records, _ = sweep(60, lambda setting: 0.4 if setting["hidden_size"] == 2 else 0.1)
    frame = trials_frame(records)
    effects = factor_tests(frame, "recovery_rate")
    assert effects["hidden_size"] < 0.05
    assert effects["init"] > 0.05
    table = marginals(frame)
    sizes = table[table["factor"] == "hidden_size"].set_index("level")
    assert sizes["recovery_rate"].idxmax() == "2"
    assert sizes.loc["2", "recovery_rate"] == pytest.approx(
        frame.loc[frame["hidden_size"] == 2, "recovery_rate"].mean()
    )
    assert table.groupby("factor")["settings"].sum().eq(60).all()


def test_no_settings_no_marginals() -> None:
    """Nothing finished gives an empty table with its columns."""
    table = marginals(trials_frame([]))
    assert table.empty
    assert "recovery_rate_low" in table


@pytest.mark.parametrize("rate", [0.0, 0.1, 1.0])
def test_an_equal_rate_of_any_number_of_settings_has_an_interval_around_it(rate):
    """Also where the mean, being a sum of rounded parts, comes out above 1."""
    for settings in range(2, 120):
        numbers = np.arange(settings)
        low, high = bootstrap_mean(np.full(settings, rate), np.full(settings, 1000), numbers, resamples=10)
        assert 0 <= low <= rate + 1e-12
        assert rate - 1e-12 <= high <= 1
