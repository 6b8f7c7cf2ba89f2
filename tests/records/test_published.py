"""Published results on two-layer XOR training, repeated by the scripts of experiments/published/."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

PUBLISHED = Path(__file__).parents[2] / "experiments" / "published"
sys.path.insert(0, str(PUBLISHED))

import handbook  # noqa: E402
import hidden_units  # noqa: E402
import initial_range  # noqa: E402
import stationary  # noqa: E402
import thirty_seeds  # noqa: E402


def test_the_handbook_run_is_repeated_at_every_epoch_shown() -> None:
    """McClelland and Rumelhart 1988: the tss of their program, to the four decimals that it shows."""
    assert handbook.trajectory() == pytest.approx(handbook.TSS, abs=0.0001)


def test_the_handbook_run_ends_at_the_same_epoch_with_the_same_weights() -> None:
    """Epoch 289 by its rule tss < 0.04, and weights that agree to the hundredth shown."""
    assert handbook.stopped_at() == handbook.STOPPED_AT
    assert handbook.shown(handbook.after(handbook.STOPPED_AT).network) == handbook.SHOWN


def test_the_handbook_run_needs_the_sum_of_gradients() -> None:
    """Taken as a step on the mean, its rate does not give its run: the repeat can fail."""
    slow = handbook.nnexp.train(handbook.SETTINGS.replace(learning_rate=0.5, epochs=288), initial=handbook.START)
    assert handbook.tss(float(slow.loss[0])) > 0.9


def test_thirty_seeds_give_the_published_epochs() -> None:
    """hinton-problems 2026: every figure of 30 networks, exactly."""
    assert thirty_seeds.figures() == thirty_seeds.PUBLISHED
    assert thirty_seeds.narrow_median() == thirty_seeds.PUBLISHED_NARROW


@pytest.mark.parametrize("width", [0.5, 1.0])
def test_more_hidden_units_need_fewer_sweeps(width: float) -> None:
    """Rumelhart, Hinton and Williams 1986, p. 333: each doubling of the hidden units shortens training."""
    medians = [np.median(hidden_units.sweeps(hidden, 0.25, width, 128)) for hidden in (2, 4, 8, 16)]
    assert medians == sorted(medians, reverse=True)


def test_networks_get_stuck_more_often_than_1986_reports() -> None:
    """Two of hundreds then; here the interval's lower end is above 2%."""
    count, low, _ = hidden_units.stuck(0.25, 0.5, 400)
    assert count > 0
    assert low > 0.02


def test_no_stationary_point_is_a_minimum() -> None:
    """Hamey 1998: at each the gradient vanishes, and a point close by has lower loss; under cross-entropy as well."""
    for loss in ("mse", "cross_entropy"):
        found = stationary.way_down(each=20, loss=loss)
        assert found["largest gradient"] < 1e-12
        assert found["lower close by"] == 1.0


def test_a_solved_network_has_no_way_down_of_that_size() -> None:
    """The search for lower loss does not find it everywhere: at a solution the gain is next to nothing."""
    solved = stationary.flat(handbook.after(5000).network)
    value = stationary.loss_and_gradient(solved)[0]
    direction = stationary.lowest_curvature(solved)[1]
    ahead = stationary.loss_and_gradient(solved + 0.01 * direction)[0]
    behind = stationary.loss_and_gradient(solved - 0.01 * direction)[0]
    assert value - np.minimum(ahead, behind) < 1e-6


def test_stationary_points_of_smaller_networks_exist_in_larger_ones() -> None:
    """Mehta and others 2018: an additional unit of zero weights stays there, and changes nothing, to the bit."""
    assert stationary.embedded(300) == 0


def test_more_precision_freezes_fewer_networks() -> None:
    """Sprinkhuizen-Kuyper and Boers 1999: "local minima" of saturated units are fewer in double precision."""
    counts = stationary.frozen(50.0, networks=400, epochs=100)
    assert counts["float64"] < counts["float32"]


def test_the_size_of_the_starting_weights_decides_the_time() -> None:
    """Kolen and Pollack 1990: small weights start slowly, large ones often never arrive."""
    _, _, small, _ = initial_range.spread(0.1, 200)
    never_medium, _, medium, _ = initial_range.spread(1.0, 200)
    never_large, _, _, _ = initial_range.spread(8.0, 200)
    assert small > 2 * medium
    assert never_large > 2 * never_medium


def test_a_width_that_changes_nothing_gives_no_agreement() -> None:
    """The verdict can fail: the same spread is no difference; a share or a median far off is one, and is named."""
    reference = (170, 114.0, 153.0, 249.0)
    assert initial_range.difference(reference, reference, 1000) == "no difference seen"
    assert initial_range.difference((180, 120.0, 160.0, 260.0), reference, 1000) == "no difference seen"
    assert initial_range.difference((65, 194.0, 262.0, 404.0), reference, 1000) == "agrees: another share"
    assert initial_range.difference((175, 300.0, 400.0, 500.0), reference, 1000) == "agrees: another median"
    never = (759, np.inf, np.inf, np.inf)
    assert initial_range.difference(never, reference, 1000) == "agrees: another share and median"
    assert initial_range.difference(never, never, 1000) == "no difference seen"


def test_close_initial_weights_end_apart() -> None:
    """Kolen and Pollack 1990: of pairs a hundredth apart in each weight some part, of pairs a tenth apart more do."""
    close, far = initial_range.parted((0.02, 0.2), 2.0, networks=400).sum(axis=1)
    assert 0 < close < far


def pairs(counts: list[int], networks: int = 100_000) -> np.ndarray:
    """Pairs of which so many part at each step, those of a closer step among those of a wider one."""
    return np.arange(networks) < np.array(counts)[:, None]


def test_the_exponent_of_a_smooth_boundary_is_one() -> None:
    """Shares in proportion to the step give 1, shares that hardly fall give less."""
    smooth, low, high = initial_range.exponent(pairs([40_000, 4000, 400, 40]))
    assert smooth == pytest.approx(1, abs=0.01)
    assert low < 1 < high
    assert initial_range.exponent(pairs([40_000, 20_000, 10_000, 5000]))[2] < 0.5


def test_the_interval_of_the_exponent_accounts_for_shared_pairs() -> None:
    """Where the same pairs part at every step, the shares move together and the slope cannot."""
    same = initial_range.exponent(pairs([100, 100, 100, 100], 1000))
    apart = np.array([np.roll(row, 200 * i) for i, row in enumerate(pairs([100, 100, 100, 100], 1000))])
    other = initial_range.exponent(apart)
    assert same[2] - same[1] < 1e-9
    assert other[2] - other[1] > 0.05


def test_steps_that_separate_few_pairs_are_not_called_smooth() -> None:
    """They are left out of the fit, and the verdict names the closest step that is in it."""
    counts = [385, 38, 5, 0]
    slope, low, high = initial_range.exponent(pairs(counts, 10_000))
    assert slope == pytest.approx(1, abs=0.02)
    assert low < slope < high
    assert initial_range.roughness(counts, high) == "no sign of roughness down to 0.01"
    assert initial_range.roughness([880, 272, 103, 44], 0.48) == "agrees: rough down to 0.0001"
    assert initial_range.roughness([38, 3, 0, 0], np.nan) == "too few pairs part to say"
    assert np.isnan(initial_range.exponent(pairs([38, 3, 0, 0], 10_000))[0])
