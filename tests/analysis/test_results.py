"""The results of a sweep that was really run, read back from MLflow."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

import nnexp
from nnexp.analysis import results
from nnexp.errors import NotFoundError, UsageError
from nnexp.stores import Stores
from tests.helpers import small_sweeps


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Stores:
    """Stores that hold a finished sweep of four trials."""
    where = small_sweeps.stores(tmp_path_factory.mktemp("results"))
    small_sweeps.run(small_sweeps.plan(trials=4, seeds=16, epochs=300), where)
    return where


def test_the_summary_tests_the_first_setting_network_by_network(stores: Stores) -> None:
    """The public function returns a summary; the first setting is compared with each of the others."""
    summary = nnexp.summarize("s", stores)
    assert isinstance(summary, nnexp.Summary)
    assert len(summary.ranked) == 4
    assert summary.rivals is not None
    assert len(summary.rivals) == 3
    assert summary.best is not None
    assert summary.best.retest is not None
    assert "the rate to quote" in repr(summary)
    assert summary._repr_html_().count("<tr") == 5


def test_networks_have_one_row_each(stores: Stores) -> None:
    """Settings, grades and weights of every network, in one table and in one file."""
    table = nnexp.networks("s", stores)
    assert len(table) == 4 * 16
    assert {"trial", "hidden_size", "solved", "recovered", "W1", "b2"} <= set(table)


def test_an_export_has_the_format_of_its_ending(stores: Stores, tmp_path: Path) -> None:
    """CSV and Parquet are written, another ending is wrong usage."""
    assert len(pd.read_csv(results.export("s", stores, tmp_path / "s.csv"))) == 64
    assert len(pd.read_parquet(results.export("s", stores, tmp_path / "s.parquet"))) == 64
    with pytest.raises(UsageError, match=r"\.parquet or \.csv"):
        results.export("s", stores, tmp_path / "s.txt")


def test_the_report_is_written_and_logged(stores: Stores, tmp_path: Path) -> None:
    """The page that is written is the artifact of the parent run, and shows the best network."""
    page = tmp_path / "s.html"
    results.report("s", stores, page)
    text = page.read_text(encoding="utf-8")
    assert 'id="network"' in text
    logged = [path.read_text(encoding="utf-8") for path in Path(stores.storage).parent.rglob("report.html")]
    assert text in logged


def test_a_sweep_is_compared_with_itself(stores: Stores) -> None:
    """Every setting is matched, and none differs."""
    found = results.compare("s", "s", stores)
    assert len(found.matched) == 4
    assert "0 of 4 tested settings differ" in found.answer[2]
    assert list(found.tables()) == ["s against s", "The same settings"]


def test_two_runs_are_compared_grade_by_grade(stores: Stores) -> None:
    """Runs are named by sweep and trial; a sweep and a run cannot be compared."""
    assert "solved" in set(results.compare("s#0", "s#1", stores).overview["grade"])
    with pytest.raises(UsageError, match="not one of each"):
        results.compare("s", "s#1", stores)


def test_a_network_is_explained(stores: Stores) -> None:
    """By default the best network of the run; one that is not there is named with those that are."""
    assert results.explain("s#2", stores)["title"].endswith(f"network {results.explain('s#2', stores)['network']}")
    assert len(results.explain("s#2", stores, 3)["rows"]) == 4
    with pytest.raises(NotFoundError, match="it has 0 to 15"):
        results.explain("s#2", stores, 16)


def test_an_unknown_sweep_is_named(stores: Stores) -> None:
    """A wrong name fails with one line."""
    with pytest.raises(NotFoundError, match="no sweep 'none'"):
        nnexp.summarize("none", stores)
