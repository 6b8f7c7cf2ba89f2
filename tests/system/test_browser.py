"""What a reviewer sees in MLflow's UI: a real sweep, a real server, a real browser.

With ``NNEXP_SCREENSHOTS`` naming a directory, every page is kept there as a picture.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import nnexp
from nnexp.search import sweep_file
from nnexp.stores import Stores
from nnexp.tracking import saved_view, ui
from nnexp.tracking.schema import SweepRun
from nnexp.tracking.store import Tracking
from tests.helpers.chromium import chromium

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
from playwright.sync_api import Page, expect  # after the skip

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.long]

SWEEP = """
name = "xnor-ui"
task = "xnor"
trials = 8
seeds = 32
epochs = 400
sampler = "random"
[space]
hidden_size = { low = 2, high = 4 }
learning_rate = { low = 1.0, high = 10.0, log = true }
init = ["orthogonal", "glorot_uniform"]
"""
ANSWER = re.compile("The best (setting|of the .* settings)|Best: trial|First in the ranking: trial")
LAPTOP = {"width": 1280, "height": 800}
WIDE = {"width": 1700, "height": 1100}
PATIENCE = 120_000.0  # milliseconds; a busy machine takes half a minute for a page


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Stores:
    """A swept store."""
    directory = tmp_path_factory.mktemp("swept")
    made = Stores(f"sqlite:///{directory}/mlflow.db", str(directory / "nnexp.journal"), directory / "spool")
    nnexp.sweep(sweep_file.parse(SWEEP, "the test's sweep"), stores=made, pool="inline")
    return made


@pytest.fixture(scope="module")
def tracking(stores: Stores) -> Tracking:
    """Its runs."""
    return Tracking(stores.tracking_uri)


@pytest.fixture(scope="module")
def sweep(tracking: Tracking) -> SweepRun:
    """Its parent."""
    return tracking.sweep("xnor-ui")


@pytest.fixture(scope="module")
def address(stores: Stores) -> Iterator[str]:
    """MLflow's UI on it."""
    with ui.running(stores.tracking_uri, port=0) as (found, _, _):
        yield found


@pytest.fixture(scope="module")
def browser_page(address: str) -> Iterator[Page]:
    """A page of a new browser; opening the UI once loads its scripts."""
    with chromium() as browser:
        page = browser.new_page(viewport=WIDE)
        page.set_default_timeout(PATIENCE)
        expect.set_options(timeout=PATIENCE)
        yield page


@pytest.fixture
def visit(browser_page: Page, address: str, request: pytest.FixtureRequest) -> Iterator[Page]:
    """The page, kept as a picture after the test."""
    yield browser_page
    if folder := os.environ.get("NNEXP_SCREENSHOTS"):
        browser_page.screenshot(path=str(Path(folder) / f"{request.node.name}.png"))
    browser_page.set_viewport_size(WIDE)


def go(page: Page, address: str, where: str) -> None:
    """Open a page of the UI, without the assistant's pane."""
    page.goto("about:blank")
    page.goto(f"{address}/{where}")
    assistant = page.get_by_role("button", name="Close", exact=True)
    assistant.or_(page.locator("#root h2").first).first.wait_for()
    if assistant.count():
        assistant.first.click()


def test_landing_shows_the_answer_and_the_best_setting_first(
    visit: Page, address: str, sweep: SweepRun, tracking: Tracking
) -> None:
    """Where `nnexp ui NAME` opens: the answer with the report's link, and the settings as the summary sorts them."""
    visit.set_viewport_size(LAPTOP)
    go(visit, address, saved_view.page(sweep.experiment_id))
    expect(visit.get_by_role("link", name="The report").first).to_be_visible()
    expect(visit.get_by_text(ANSWER).first).to_be_visible()
    names = ("recovery_rate", "recovery_rate_low", "solved_rate", "outcome", "hidden_size")
    for column in names:
        expect(visit.get_by_role("columnheader", name=column, exact=True).first).to_be_visible()
    in_order = "cells => cells.sort((a, b) => a.getBoundingClientRect().x - b.getBoundingClientRect().x)"
    shown = visit.locator("[role=columnheader]").evaluate_all(f"{in_order}.map(cell => cell.innerText.trim())")
    assert [name for name in dict.fromkeys(shown) if name in names] == list(names)  # a heading has two such roles
    runs = tracking.runs(sweep.name)
    lowest = max(run.metrics["recovery_rate_low"] for run in runs)
    best = [run.name for run in runs if run.metrics["recovery_rate_low"] == lowest]
    first = visit.locator("[role=row][row-index='0']").filter(has_text="#")
    expect(first.first).to_contain_text(re.compile("|".join(map(re.escape, best))))


def test_report_opens_from_the_landing(visit: Page, address: str, sweep: SweepRun) -> None:
    """The first link of the description leads to the report in the artifact pane."""
    go(visit, address, saved_view.page(sweep.experiment_id))
    with visit.context.expect_page() as opened:  # the UI opens links of a description in a new tab
        visit.get_by_role("link", name="The report").first.click()
    report = opened.value.frame_locator("iframe").first
    expect(report.locator("h1").first).to_contain_text("Which settings")
    opened.value.close()


def test_charts_cover_what_was_searched(visit: Page, address: str, sweep: SweepRun) -> None:
    """Parallel coordinates, a chart for each number that was searched, and no chart of one point."""
    go(visit, address, saved_view.page(sweep.experiment_id, saved_view.CHARTS))
    expect(visit.get_by_text("Parallel Coordinates").first).to_be_visible()
    for title in ("hidden_size vs. recovery_rate", "learning_rate vs. recovery_rate"):
        expect(visit.get_by_text(title).first).to_be_visible()
    rest = visit.get_by_text("Model metrics", exact=True)  # the UI's own section, which stays empty
    rest.scroll_into_view_if_needed()
    for name in ("train_seconds", "recovery_rate_low", "retest_rate"):
        assert visit.get_by_text(name, exact=True).count() == 0


def test_children_are_nested_under_the_sweep(visit: Page, address: str, sweep: SweepRun) -> None:
    """The plain table of runs shows the sweep, which opens to its trials; the answer stands above."""
    go(visit, address, f"#/experiments/{sweep.experiment_id}/runs?workflowType=machine_learning")
    expect(visit.get_by_text(ANSWER).first).to_be_visible()
    row = visit.locator("[role=row]").filter(has_text="xnor-ui")
    row.get_by_role("button").first.click()
    expect(visit.get_by_role("link", name=re.compile("^#0 h=")).first).to_be_visible()


def test_parent_shows_answer_report_dataset_and_model(visit: Page, address: str, sweep: SweepRun) -> None:
    """The parent's page has the answer, the truth table with its digest, the model, and links that lead on."""
    go(visit, address, f"#/experiments/{sweep.experiment_id}/runs/{sweep.run_id}")
    expect(visit.get_by_text("Trained again on fresh networks").first).to_be_visible()
    expect(visit.get_by_text(re.compile(r"xnor truth table \(\w+\)")).first).to_be_visible()
    expect(visit.get_by_role("link", name="The report").first).to_be_visible()


def test_report_opens_in_the_artifact_pane(visit: Page, address: str, sweep: SweepRun) -> None:
    """The page of the report is shown in the pane, with its figures."""
    go(visit, address, f"#/experiments/{sweep.experiment_id}/runs/{sweep.run_id}/artifacts/report.html")
    report = visit.frame_locator("iframe").first
    expect(report.locator("h1").first).to_contain_text("Which settings recover the hand-designed solution?")
    assert report.locator("img, svg").count() > 0


def test_child_shows_its_grades_and_its_network(visit: Page, address: str, sweep: SweepRun, tracking: Tracking) -> None:
    """A child's page has its grades in words, its curves, and the picture of its best network."""
    best = next(run for run in tracking.runs(sweep.name) if run.tags.get("best") == "01")
    go(visit, address, f"#/experiments/{sweep.experiment_id}/runs/{best.run_id}")
    expect(visit.get_by_text("recover the hand-designed logic").first).to_be_visible()
    go(visit, address, f"#/experiments/{sweep.experiment_id}/runs/{best.run_id}/artifacts/best_network.png")
    picture = visit.locator("img[src^='blob:'], img[src*='best_network']").first
    expect(picture).to_be_visible()
    assert picture.evaluate("image => image.complete && image.naturalWidth > 300")


def test_losses_of_children_are_compared(visit: Page, address: str, sweep: SweepRun, tracking: Tracking) -> None:
    """The comparison draws each child's loss curve over its own time, as it opens, and over the epochs."""
    runs = [run.run_id for run in tracking.runs(sweep.name)[:4]]
    listed = "%5B" + ",".join(f"%22{run_id}%22" for run_id in runs) + "%5D"
    go(
        visit,
        address,
        f'#/metric?runs={listed}&metric="loss"&plot_metric_keys=%5B%22loss%22%5D&experiments=%5B%22{sweep.experiment_id}%22%5D',
    )
    lines = visit.locator(".js-plotly-plot .scatterlayer .trace")
    expect(lines).to_have_count(8)  # the UI draws a run's line twice: smoothed, and faintly as it was
    for run in tracking.runs(sweep.name)[:4]:
        expect(visit.get_by_text(f"{run.name} (loss)").first).to_be_visible()
    widths = "traces => traces.map(trace => trace.querySelector('.lines').getBoundingClientRect().width)"
    assert min(lines.evaluate_all(widths)) > 50  # not upright lines: the points have times of their own
    visit.get_by_text("Step", exact=True).first.click()
    expect(lines).to_have_count(8)
    assert min(lines.evaluate_all(widths)) > 300  # all of one sweep have as many epochs


def test_parallel_coordinates_are_drawn(visit: Page, address: str, sweep: SweepRun, tracking: Tracking) -> None:
    """Comparing runs shows parallel coordinates over params and metrics."""
    runs = [run.run_id for run in tracking.runs(sweep.name)]
    listed = "%5B" + ",".join(f"%22{run_id}%22" for run_id in runs) + "%5D"
    go(visit, address, f"#/compare-runs?runs={listed}&experiments=%5B%22{sweep.experiment_id}%22%5D")
    expect(visit.locator(".js-plotly-plot .parcoords").first).to_be_visible()
    expect(visit.locator(".js-plotly-plot .axis-title").filter(has_text="hidden_size").first).to_be_visible()


def test_dataset_opens(visit: Page, address: str, sweep: SweepRun) -> None:
    """The truth table's schema can be looked at."""
    go(visit, address, f"#/experiments/{sweep.experiment_id}/runs/{sweep.run_id}")
    visit.get_by_text(re.compile(r"xnor truth table \(\w+\)")).first.click()
    for column in ("x1", "x2", "y"):
        expect(visit.get_by_text(column, exact=True).first).to_be_visible()


def test_registered_model_names_the_champion(visit: Page, address: str) -> None:
    """The registry shows the version, its alias, and what chose it."""
    go(visit, address, "#/models/xnor")
    expect(visit.get_by_text("champion").first).to_be_visible()
    go(visit, address, "#/models/xnor/versions/1")
    expect(visit.get_by_text("fresh networks its setting reached").first).to_be_visible()
