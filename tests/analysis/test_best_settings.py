"""The sentences on a play-off: the set, the region and the edge."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nnexp.analysis.best_settings import sentences
from nnexp.analysis.playoff import Span
from nnexp.analysis.summary import Contender, Estimate, PlayOff


def play_off(left: int, others: int = 0, **changes: object) -> PlayOff:
    """A play-off with so many settings left and so many that are out."""
    contenders = tuple(
        Contender(t, f"run{t}", f"{t} hidden units", Estimate.of(200 - t, 256), left=t < left)
        for t in range(left + others)
    )
    region = {
        "hidden_size": Span(6, 8, ((8, 2), (6, 1)), "high"),
        "learning_rate": Span(0.4, 3.8, (), None),
        "init": Span(None, None, (("glorot_normal", 2), ("normal", 2), ("uniform", 1)), None),
        "init_scale": Span(0.015, 0.08, (), "low"),
    }
    held = PlayOff(contenders, 0.95, whole=True, cut=0, region=region)
    return replace(held, **changes)  # type: ignore[arg-type]


def test_the_set_its_region_and_the_edge() -> None:
    """In this order; the region is that of the whole set, the edge that of the first."""
    assert sentences(play_off(3, others=2)) == [
        "The best setting is among these 3, 95% sure: trials 0, 1 and 2.",
        "They span 6 to 8 hidden units, learning rate 0.4 to 3.8, initial scale 0.015 to 0.08, mostly glorot_normal or "
        "normal.",
        "Trial 0 is at the edge of the searched space (the upper end of hidden size, the lower end of initial scale): "
        "better settings may be beyond it.",
    ]


def test_one_setting_is_named_with_its_values() -> None:
    """And has no region; in the middle of the space it has no edge either."""
    assert sentences(play_off(1, others=4, region={})) == ["The best setting is trial 0 (0 hidden units), 95% sure."]


def test_an_adaptive_sampler_promises_the_best_of_those_trained_again() -> None:
    """With the confidence of the play-off alone."""
    first, *_ = sentences(play_off(2, others=5, whole=False, confidence=0.975))
    assert first == "The best of the 7 settings trained again is among these 2, 97.5% sure: trials 0 and 1."


def test_a_play_off_that_tells_nothing_apart_says_so() -> None:
    """That the best of some settings is among all of them would be no answer."""
    first, *_ = sentences(play_off(3, others=0, whole=False, confidence=0.975))
    assert first == ("Fresh networks do not tell which of the 3 settings trained again is the best: trials 0, 1 and 2.")


def test_settings_that_were_cut_are_stated() -> None:
    """They may be the best as well."""
    first, *_ = sentences(play_off(12, others=20, whole=False, confidence=0.975, cut=1234))
    assert "trials 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more." in first
    assert "1,234 more may be the best, but only the 32 with the highest rates were trained again." in first


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ((("a", 3),), "a"),
        ((("a", 2), ("b", 1)), "mostly a"),
        ((("a", 1), ("b", 1)), "a or b"),
        ((("a", 2), ("b", 2), ("c", 1)), "mostly a or b"),
        ((("a", 1), ("b", 1), ("c", 1)), "mostly a or b"),
    ],
)
def test_mostly_names_the_values_of_more_than_half(counts: tuple[tuple[str, int], ...], words: str) -> None:
    """And says so only where there are others."""
    _, region = sentences(play_off(3, region={"init": Span(None, None, counts, None)}))
    assert region == f"They span {words}."
