"""Runs as typed tables."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from nnexp.analysis.trials import measure_of, trials_frame
from tests.helpers.made_up_sweep import run


def test_params_get_their_types_back() -> None:
    """MLflow keeps text; the table has whole numbers, numbers and names, and every metric as a float."""
    frame = trials_frame(
        [run(1, hidden_size=3, learning_rate=0.25, recovery_rate=0.5, solved_rate=0.5, extra=7.0), run(0)]
    )
    assert frame["trial"].tolist() == [0, 1]
    assert frame["hidden_size"].dtype == np.int64
    assert frame["learning_rate"].dtype == np.float64
    assert frame.loc[1, "hidden_size"] == 3
    assert frame.loc[0, "hidden_size"] == 4  # the default that Settings has
    assert frame.loc[1, "extra"] == 7.0
    assert np.isnan(frame.loc[0, "recovery_rate"])


def test_intervals_are_wilsons() -> None:
    """The table's intervals are those that SciPy computes from the counts."""
    row = trials_frame([run(0, networks=200, recovery_rate=0.37, solved_rate=0.8)]).iloc[0]
    expected = stats.binomtest(74, 200).proportion_ci(method="wilson")
    assert (row["recovery_rate_low"], row["recovery_rate_high"]) == pytest.approx((expected.low, expected.high))
    assert row["recovered"] == 74


def test_each_trial_has_its_own_number_of_networks() -> None:
    """With adaptive seeds the param `seeds` of a run is the number of networks that were trained."""
    assert trials_frame([run(0, networks=64), run(1, networks=4096)])["networks"].tolist() == [64, 4096]


def test_measure_of_an_empty_table() -> None:
    """Without a finished trial settings are ranked by their solved rate."""
    assert measure_of(trials_frame([])) == "solved_rate"
