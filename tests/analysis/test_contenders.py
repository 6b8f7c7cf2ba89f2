"""Who enters a play-off, and how its results are stored."""

from __future__ import annotations

import dataclasses

import pandas as pd
import pytest

from nnexp.analysis.contenders import Results, entrants, selection
from nnexp.analysis.summarize import summarize_records
from nnexp.search.sweep_file import Sweep
from nnexp.study.race import Race
from tests.helpers.made_up_sweep import run

RESULTS = Results(2, 0.975, 0.02, 0, (1, 0), (512, 256), (500, 100))


def sweep(**changes: object) -> Sweep:
    """A sweep of two settings."""
    return Sweep(name="s", trials=2, sampler="random", space={"hidden_size": [2, 3]}).replace(**changes)


def test_stored_results_are_read_back() -> None:
    """What is written is read as the same."""
    assert Results.parse(RESULTS.text) == RESULTS


@pytest.mark.parametrize("text", ["", "[]", "3", "{}", '{"trials": [1]}', RESULTS.text[:40]])
def test_damaged_results_are_an_error_of_one_kind(text: str) -> None:
    """So that the reader goes on without them."""
    with pytest.raises(ValueError):  # noqa: PT011  the messages are those of the parser
        Results.parse(text)


@pytest.mark.parametrize(
    ("changes", "rungs"),
    [
        ({"seeds": 256}, (256,)),
        ({"seeds": {"min": 10, "max": 50, "width": 0.1}}, (10, 20, 40, 50)),
        ({"seeds": 100, "pruner": "race", "race": {"start": 32}}, (32, 64, 100)),
    ],
)
def test_the_selection_has_the_rungs_of_the_sweep(changes: dict[str, object], rungs: tuple[int, ...]) -> None:
    """And half of the error of the answer, 5% unless a race says otherwise."""
    rule = selection(sweep(**changes))
    assert rule.rungs == rungs
    assert (rule.settings, rule.confidence) == (2, 0.975)


def test_those_that_may_be_the_best_enter() -> None:
    """A setting that is far below does not; without any success only the first does."""
    race = Race(3, 256, 256)
    ranked = pd.DataFrame({"trial": [7, 3, 5], "networks": [256] * 3, "recovery_rate": [0.8, 0.78, 0.1]})
    assert entrants(ranked, "recovery_rate", race) == ([7, 3], 0)
    assert entrants(ranked.assign(recovery_rate=0.0), "recovery_rate", race) == ([7], 0)


def test_a_play_off_of_other_trials_is_left_out() -> None:
    """A run that was deleted cannot be described."""
    records = [run(0, recovery_rate=0.5, solved_rate=0.5, diverged_rate=0.0)]
    assert summarize_records("s", records, play_off=RESULTS).play_off is None
    known = dataclasses.replace(RESULTS, trials=(0,), networks=(256,), successes=(100,))
    assert summarize_records("s", records, play_off=known).play_off is not None
