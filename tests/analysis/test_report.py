"""The report: one complete page, also where data is scarce or missing."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from nnexp.analysis.outcomes import collect, family_shares
from nnexp.analysis.report import build_report
from nnexp.analysis.summarize import summarize_records
from nnexp.errors import NnexpError, NotFoundError
from nnexp.network.settings import Settings
from nnexp.recovery import networks_table
from nnexp.recovery.alignment import AlignedNetwork, align_best
from nnexp.recovery.grades import assess, columns
from nnexp.tracking.schema import RunRecord
from nnexp.training.trainer import train
from tests.helpers.chromium import chromium
from tests.helpers.made_up_sweep import record, run
from tests.helpers.sampling import sample

pytestmark = pytest.mark.xdist_group("report")  # they share the sweeps that they report

Curves = dict[str, list[tuple[int, float]]]


class Sweep:
    """A small sweep that was really trained."""

    def __init__(self, *settings: Settings) -> None:
        self.records: list[RunRecord] = []
        self.tables: dict[int, pa.Table] = {}
        self.best: dict[int, AlignedNetwork | None] = {}
        self.curves: dict[int, Curves] = {}
        for trial, one in enumerate(settings):
            result = train(one)
            grades = assess(result.network, one.truth_table, one.loss)
            flat = columns(grades)
            metrics = {"solved_rate": grades.solved.mean(), "diverged_rate": result.diverged.mean()}
            if grades.recovered is not None and grades.contains is not None:
                metrics |= {"recovery_rate": grades.recovered.mean(), "contains_rate": grades.contains.mean()}
            if grades.family is not None:
                metrics["mirror_rate"] = (grades.family == "mirror").mean()
            params = {name: str(value) for name, value in one.model_dump().items()}
            self.records.append(record(trial, params, metrics))
            self.tables[trial] = networks_table.networks_table(result, flat)
            self.best[trial] = align_best(networks_table.best_network(result, flat), f"a network of trial {trial}")
            bands = {"loss_median": 0.5, "loss_p10": 0.1, "loss_p90": 0.9}
            self.curves[trial] = {
                key: list(zip(result.history.epochs.tolist(), np.quantile(result.history.loss, q, axis=1), strict=True))
                for key, q in bands.items()
            }

    def report(self, **given: object) -> str:
        """Its report, with everything there is."""
        outcomes = collect(self.records, self.tables.__getitem__)
        summary = summarize_records("small", self.records, **given)  # type: ignore[arg-type]
        return build_report(summary, outcomes, self.best.__getitem__, self.curves.__getitem__)


def bare_report(records: list[RunRecord], name: str = "small", **given: object) -> str:
    """The report from the runs' metrics alone: no table of networks, no best network and no curves."""
    summary = summarize_records(name, records, **given)  # type: ignore[arg-type]
    return build_report(summary, collect(records, missing), missing, missing)


def missing(trial: int) -> Any:
    """Reads what is not there."""
    raise NotFoundError(f"run{trial} has no such artifact")


def grid(**changes: object) -> list[Settings]:
    """Twelve settings of XNOR."""
    return [
        Settings(**{"hidden_size": h, "learning_rate": r, "init_scale": s, "seeds": 16, "epochs": 600} | changes)
        for h in (2, 3)
        for r in (0.05, 0.5, 5.0)
        for s in (0.3, 1.0)
    ]


@pytest.fixture(scope="module")
def xnor() -> Sweep:
    """A grid of twelve settings."""
    return Sweep(*grid())


@pytest.fixture(scope="module")
def two() -> Sweep:
    """Two settings, for what a small page shows as well."""
    return Sweep(*[Settings(hidden_size=3, seeds=16, epochs=800, learning_rate=rate) for rate in (0.5, 2.0)])


IMPORTANCE = {"recovery_rate": {"hidden_size": 0.2, "learning_rate": 0.7, "init_scale": 0.1}}


@pytest.fixture(scope="module")
def page(xnor: Sweep) -> str:
    """Its report."""
    return xnor.report(importance=IMPORTANCE, planned=12)


class Tags(HTMLParser):
    """Collects what a page links to, its identifiers, and whether its tags are closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Notes identifiers and addresses."""
        if tag not in ("meta", "br", "link", "img"):
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in ("src", "href", "xlink:href"):
                self.links.append(value or "")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Notes the same of a tag that closes itself."""
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        """Checks that what is closed was the last opened."""
        assert self.open.pop() == tag


def parsed(html: str) -> Tags:
    """The page's tags, closed in order."""
    tags = Tags()
    tags.feed(html)
    assert not tags.open
    return tags


def test_the_page_is_complete_and_needs_no_network(page: str) -> None:
    """Every link stays inside the page, every identifier is unique, and it is under 3 MB."""
    tags = parsed(page)
    assert len(set(tags.ids)) == len(tags.ids)
    assert all(link.startswith(("#", "data:")) for link in tags.links)
    assert {link[1:] for link in tags.links if link.startswith("#")} <= set(tags.ids)
    assert "<script" not in page
    assert not re.search(r"@import|url\((?!#)", page)
    assert len(page.encode()) < 3_000_000


def test_the_page_has_every_part(page: str) -> None:
    """Answer, tables, phase diagrams, families, losses, times, importance, interactions and the network are there."""
    sections = ("network", "factors", "phase-recovery", "phase-mirror", "phase-solved", "families", "loss", "solving")
    ids = parsed(page).ids
    for section in (*sections, "importance", "interactions", "ranked", "answer"):
        assert section in ids
    for words in ("learning rate", "initial scale", "hand-designed", "not re-tested", "95% interval"):
        assert words in page


def test_the_logic_table_is_that_of_the_source(page: str) -> None:
    """The logic table of the hand-designed network is beside the truth tables of the learned one."""
    for heading in ("a1 = x1 and x2", "a2 = not x1 and not x2", "output = a1 or a2"):
        assert f">{heading}</th>" in page.replace("\n", " ")


def test_the_same_sweep_has_the_same_page(two: Sweep) -> None:
    """Drawn again, the page is the same to the byte, so that it is replaced by itself in a store."""
    assert two.report() == two.report()


def test_a_missing_artifact_is_named_and_the_rest_is_used(xnor: Sweep) -> None:
    """Without one table and with an unreadable best network the page says which, and shows what there is."""

    def networks_of(trial: int) -> pa.Table:
        if trial == 5:
            raise NnexpError("the file is damaged")
        return missing(trial) if trial == 7 else xnor.tables[trial]

    summary = summarize_records("small", xnor.records)
    assert summary.best is not None
    report = build_report(summary, collect(xnor.records, networks_of), missing, xnor.curves.__getitem__)
    ids = parsed(report).ids
    assert "networks.parquet of trial 7" in report
    assert "trial 5 (the file is damaged)" in report
    assert f"the best network of trial {summary.best.trial}" in report
    assert "network" not in ids
    assert {"phase-recovery", "solving", "loss"} <= set(ids)


def test_no_tables_and_no_curves_at_all(xnor: Sweep) -> None:
    """From the runs' metrics alone there are still rankings, phase diagrams and families."""
    report = bare_report(xnor.records)
    ids = parsed(report).ids
    assert {"families", "phase-solved", "ranked"} <= set(ids)
    assert "networks.parquet of 12 trials (0, 1, 2, 3, 4, 5, 6, 7, …)" in report


def test_a_table_of_a_run_that_lacks_metrics_is_left_out(xnor: Sweep) -> None:
    """A finished run without metrics is not ranked; its table of networks does not break the page."""
    records = [replace(one, metrics={}) if one.trial == 3 else one for one in xnor.records]
    summary = summarize_records("small", records)
    report = build_report(
        summary, collect(records, xnor.tables.__getitem__), xnor.best.__getitem__, xnor.curves.__getitem__
    )
    assert "Not ranked: 1 trial finished without a recovery rate." in report
    assert "families" in parsed(report).ids


def test_a_running_sweep_has_a_report(two: Sweep) -> None:
    """One that is not finished works, and says so."""
    report = two.report(planned=50)
    assert "still running" in report
    assert "2 of 50 trials are done" in report


def test_nothing_finished_has_a_report() -> None:
    """The page of a sweep without a result says so, and has no figure."""
    report = bare_report([run(0, status="RUNNING")])
    parsed(report)
    assert "No setting has a result yet" in report
    assert "<figure" not in report


def test_one_trial_has_a_report() -> None:
    """One setting alone can be shown."""
    report = Sweep(Settings(seeds=8, epochs=300)).report()
    parsed(report)
    assert "in 1 setting." in report


DEGENERATE: dict[str, dict[str, Any]] = {
    "all rates 0": {"recovery_rate": 0.0, "solved_rate": 0.0, "mirror_rate": 0.0},
    "all rates 1": {"recovery_rate": 1.0, "solved_rate": 1.0, "mirror_rate": 0.0},
    "one setting": {"trials": 1},
    "equal settings": {"learning_rate": 0.1, "init_scale": 1.0, "hidden_size": 2},
    "one learning rate": {"learning_rate": 0.1},
    "one hidden size": {"hidden_size": 2},
    "undefined rates": {"recovery_rate": math.nan, "contains_rate": math.nan, "mirror_rate": math.nan},
    "some undefined rates": {"undefined": (0, 3)},
}


def made_up(trials: int = 12, undefined: tuple[int, ...] = (), **fixed: float) -> list[RunRecord]:
    """Finished runs whose settings and rates all differ, but for those that are given."""
    names = {"init": "glorot_uniform", "activation": "tanh"}
    found = []
    for i in range(trials):
        part = i / 12
        values = {"hidden_size": 2 + i % 3, "learning_rate": 0.01 * 2**i, "init_scale": 0.1 + part}
        values |= {"recovery_rate": part / 2, "contains_rate": part / 2, "solved_rate": part, "mirror_rate": part / 4}
        values |= {"diverged_rate": 0.0, **fixed}
        if i in undefined:
            values |= dict.fromkeys(("recovery_rate", "contains_rate", "solved_rate"), math.nan)
        found.append(run(i, **names, **values))
    return found


@pytest.mark.parametrize("kind", sample(list(DEGENERATE), 3, "degenerate sweeps"))
def test_every_figure_of_a_degenerate_sweep_is_drawn(kind: str) -> None:
    """Ranges without width, rates without a spread, and rates that are not there: a whole page, and no warning."""
    records = made_up(**DEGENERATE[kind])
    importance = {"recovery_rate": dict.fromkeys(("learning_rate", "hidden_size"), math.nan if "un" in kind else 0.0)}
    report = bare_report(records, importance=importance)
    parsed(report)
    assert "phase-solved" in report
    text = re.sub(r"<[^>]*>", " ", report.split("<body>")[1])
    assert not re.findall(r"\b(?:nan|NaN|inf|None)\b", text)


def wide(*, every_factor: bool) -> list[RunRecord]:
    """Finished runs with cells as wide as they get; they differ in the factors that are always shown, or in all."""
    rates = {"recovery_rate": 0.996, "contains_rate": 0.996, "solved_rate": 0.996, "confident_rate": 0.996}
    medians = {"epochs_to_solve_median": 12_345, "reference_distance_median": 0.512}
    found = []
    for i in range(12):
        j = i if every_factor else 0
        made = run(
            i,
            networks=1000,
            hidden_size=2 + i,
            learning_rate=1.23e-5 * 2**i,
            init=("glorot_uniform", "orthogonal")[i % 2],
            init_scale=0.0123 * 2**i,
            activation=("sigmoid", "tanh")[j % 2],
            momentum=0.123 + j / 50,
            encoding=("bipolar", "binary")[j // 4 % 2],
            mirror_rate=0.0031,
            diverged_rate=0.0,
            **rates,
            **medians,
        )
        loss = ("cross_entropy", "mse")[j // 2 % 2]
        found.append(replace(made, params={**made.params, "loss": loss}))
    return found


@pytest.mark.browser
@pytest.mark.slow
def test_tables_fit_a_page_and_scroll_in_a_narrower_window(tmp_path: Path) -> None:
    """Nothing is cut at 1280 pixels, whatever is varied; at 700 the table moves, not the page."""
    widths = "boxes => boxes.map(box => [box.clientWidth, box.scrollWidth])"
    page = tmp_path / "report.html"
    with chromium() as browser:
        for every_factor, columns_shown in ((False, 13), (True, 17)):
            records = wide(every_factor=every_factor)
            page.write_text(bare_report(records))
            tab = browser.new_page(viewport={"width": 1280, "height": 800})
            tab.goto(page.as_uri())
            tab.locator("details").evaluate_all("all => all.forEach(one => { one.open = true })")
            boxes = tab.locator(".scroll")
            assert tab.locator("#ranked ~ .scroll th").count() == columns_shown
            assert all(content <= box for box, content in boxes.evaluate_all(widths))
            tab.set_viewport_size({"width": 700, "height": 800})
            assert any(content > box for box, content in boxes.evaluate_all(widths))
            assert tab.evaluate("document.documentElement.scrollWidth") == 700


def test_a_task_of_ones_own_without_a_reference() -> None:
    """A truth table without a hand-designed network gets a report without recovery; its names cannot break the page."""
    task = '{"inputs": [[0,0,0],[0,1,1],[1,0,1],[1,1,0]], "targets": [0,1,1,1]}'
    report = Sweep(*[Settings(task=task, seeds=8, epochs=300, learning_rate=r) for r in (0.1, 1.0)]).report()
    parsed(report)
    assert "Which settings solve the task?" in report
    assert "recover" not in report.split("<body>")[1]


def test_parity_with_its_reference() -> None:
    """Three inputs: recovery and weights are shown, a decision surface is not drawn."""
    report = Sweep(*[Settings(task="parity:3", hidden_size=h, seeds=8, epochs=500) for h in (3, 6)]).report()
    parsed(report)
    assert "phase-recovery" in report
    assert "at least 2 of 3" in report


def test_sigmoid_bipolar_mse_and_several_objectives() -> None:
    """Further factors, and a Pareto front, have their place on the page."""
    fixed = {"activation": "sigmoid", "seeds": 8, "epochs": 300, "learning_rate": 3.0, "momentum": 0.9}
    settings = [
        Settings(**fixed, encoding=e, loss=loss) for e, loss in (("binary", "mse"), ("bipolar", "cross_entropy"))
    ]
    objective = {"objective": ("recovery_rate", "solved_rate"), "directions": ("maximize", "maximize")}
    report = Sweep(*settings).report(**objective)
    assert "pareto" in parsed(report).ids
    assert "loss function" in report


def test_names_are_escaped() -> None:
    """A sweep's name cannot put tags into the page."""
    report = bare_report([run(0, status="RUNNING")], name="<b>x</b>")
    assert "<b>x</b>" not in report


def test_a_retested_setting_shows_both_rates(two: Sweep) -> None:
    """The page has the rate that it was selected by and the rate on fresh networks."""
    first = summarize_records("small", two.records).best
    assert first is not None
    fresh = {"retest_networks": 100.0, "retest_rate": 0.4}
    records = [replace(one, metrics={**one.metrics, **fresh}) for one in two.records if one.trial == first.trial]
    html = bare_report(records)
    assert "re-tested on fresh networks" in html
    assert "in the sweep (selected)" in html
    assert "The first is re-tested: 40% of 100." in html


def test_exact_families_agree_with_the_metrics(xnor: Sweep) -> None:
    """Shares read from the tables add up to one, and to what the runs' metrics say."""
    outcomes = collect(xnor.records, xnor.tables.__getitem__)
    summary = summarize_records("small", xnor.records)
    shares = family_shares(outcomes, summary.ranked)
    assert shares is not None
    kinds = ["hand-designed", "both", "mirror", "other", "none"]
    assert shares[kinds].sum(axis=1).tolist() == pytest.approx([1.0, 1.0])
    hand_designed = (shares["hand-designed"] + shares["both"]).tolist()
    assert hand_designed == pytest.approx(summary.families["hand_designed"].tolist())
