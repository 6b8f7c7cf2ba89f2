"""What the tables of networks add to the metrics of runs."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from nnexp.analysis.outcomes import collect, family_shares
from nnexp.analysis.trials import trials_frame
from nnexp.errors import NnexpError, NotFoundError
from tests.helpers.made_up_sweep import run

TABLE = pa.table(
    {
        "index": [0, 1, 2, 3],
        "solved": [True, True, True, False],
        "recovered": [True, False, False, False],
        "family": ["hand-designed", "both", "mirror", "none"],
        "epochs_to_solve": pa.array([10.0, 20.0, 30.0, None]),
    }
)
BARE = TABLE.drop_columns(["recovered", "family"])


def test_each_rate_has_its_networks() -> None:
    """Recovery and solving are kept apart; a task without a reference has no recovery and no families."""
    found = collect([run(0), run(1)], {0: TABLE, 1: BARE}.__getitem__)
    assert found.by_rate["recovery_rate"][0].success.tolist() == [True, False, False, False]
    assert {trial: one.successes for trial, one in found.by_rate["solved_rate"].items()} == {0: 3, 1: 3}
    assert 1 not in found.by_rate["recovery_rate"]
    assert list(found.families) == [0]
    assert found.epochs_to_solve[1].tolist() == [10, 20, 30, np.inf]


def test_only_finished_trials_are_read() -> None:
    """A pruned or running trial may have no table, and is not missed."""
    found = collect([run(0, status="KILLED"), run(1, status="RUNNING")], lambda _: TABLE)
    assert found.missing == ()
    assert not found.families


def test_what_cannot_be_read_is_named() -> None:
    """A missing table and a damaged one are named with their trials; the others are used."""

    def networks_of(trial: int) -> pa.Table:
        if trial == 1:
            raise NotFoundError("run1 has no artifact")
        if trial == 2:
            raise NnexpError("the file is damaged")
        return TABLE

    found = collect([run(t) for t in range(4)], networks_of)
    assert found.missing == ("networks.parquet of trial 1", "networks.parquet of trial 2 (the file is damaged)")
    assert sorted(found.by_rate["solved_rate"]) == [0, 3]


def test_family_shares_are_of_the_ranked_trials() -> None:
    """Shares add up to 1; a trial that is not ranked is left out."""
    found = collect([run(0), run(1)], lambda _: TABLE)
    shares = family_shares(found, trials_frame([run(0, hidden_size=3)]))
    assert shares is not None
    row = shares.iloc[0]
    assert (row["hidden_size"], row["settings"], row["networks"]) == (3, 1, 4)
    assert row[["hand-designed", "both", "mirror", "other", "none"]].tolist() == [0.25, 0.25, 0.25, 0, 0.25]
    assert family_shares(found, trials_frame([run(7)])) is None
