"""The report: one page that holds everything, legible where data is scarce or missing."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
import pytest

from nnexp.analysis.figures.settings import Cuts
from nnexp.analysis.outcomes import collect, family_shares
from nnexp.analysis.report import Report, build_report, settings_of
from nnexp.analysis.significance import Outcomes
from nnexp.analysis.summary import summarize_records
from nnexp.errors import NnexpError
from nnexp.network.settings import Settings
from nnexp.recovery import networks_table
from nnexp.recovery.grades import assess, columns
from nnexp.training.trainer import train
from tests.helpers.chromium import chromium
from tests.helpers.made_up_sweep import Run, run

Curves = dict[str, list[tuple[int, float]]]


class Sweep:
    """A small sweep that was really trained."""

    def __init__(self, *settings: Settings) -> None:
        self.records: list[Run] = []
        self.tables: dict[int, pa.Table] = {}
        self.curves: dict[int, Curves] = {}
        for trial, one in enumerate(settings):
            result = train(one)
            grades = assess(result.parameters, one.truth_table, one.activation, one.encoding, one.loss)
            flat = columns(grades)
            metrics = {"solved_rate": grades.solved.mean(), "diverged_rate": result.diverged.mean()}
            if grades.recovered is not None and grades.contains is not None:
                metrics |= {"recovery_rate": grades.recovered.mean(), "contains_rate": grades.contains.mean()}
            if grades.family is not None:
                metrics["mirror_rate"] = (grades.family == "mirror").mean()
            params = {name: str(value) for name, value in one.model_dump().items()}
            self.records.append(Run(trial, f"run{trial}", "FINISHED", params, metrics))
            self.tables[trial] = networks_table.networks_table(result, flat)
            bands = {"loss_median": 0.5, "loss_p10": 0.1, "loss_p90": 0.9}
            self.curves[trial] = {
                key: list(zip(result.history.epochs.tolist(), np.quantile(result.history.loss, q, axis=1), strict=True))
                for key, q in bands.items()
            }

    def report(self, *, pictures: bool = False, **given: object) -> Report:
        """Its report, with everything there is."""
        summary = summarize_records("small", self.records, **given)  # type: ignore[arg-type]
        return build_report(
            summary, self.records, self.tables.get, curves_of=self.curves.__getitem__, pictures=pictures
        )


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
def page(xnor: Sweep) -> Report:
    """Its report."""
    return xnor.report(pictures=True, importance=IMPORTANCE, planned=12)


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


def test_the_page_is_whole_and_needs_no_network(page: Report) -> None:
    """Every link stays inside the page, every identifier is unique, and it is under 3 MB."""
    tags = parsed(page.html)
    assert len(set(tags.ids)) == len(tags.ids)
    assert all(link.startswith(("#", "data:")) for link in tags.links)
    assert {link[1:] for link in tags.links if link.startswith("#")} <= set(tags.ids)
    assert "<script" not in page.html
    assert not re.search(r"@import|url\((?!#)", page.html)
    assert len(page.html.encode()) < 3_000_000


def test_the_page_has_every_part(page: Report) -> None:
    """Answer, tables, phase diagrams, families, losses, times, importance, interactions and the network are there."""
    sections = ("network", "factors", "phase-recovery", "phase-mirror", "phase-solved", "families", "loss", "solving")
    ids = parsed(page.html).ids
    for section in (*sections, "importance", "interactions", "ranked", "answer"):
        assert section in ids
    for words in ("learning rate", "initial scale", "hand-designed", "not re-tested", "95% interval"):
        assert words in page.html


def test_the_logic_table_is_the_sources(page: Report) -> None:
    """Beside the learned network's truth tables stands the logic table of the hand-designed one."""
    for heading in ("a1 = x1 and x2", "a2 = not x1 and not x2", "output = a1 or a2"):
        assert f">{heading}</th>" in page.html.replace("\n", " ")
        assert heading in page.markdown


def test_the_twin_says_the_same(page: Report, tmp_path: Path) -> None:
    """The Markdown holds the answer, the tables and a picture for each of the page's; all are written."""
    answer = re.findall(r"<p>(.*?)</p>", page.html)[0]
    assert answer in page.markdown
    page.write(tmp_path / "report.html")
    page.write(tmp_path / "xnor report.html")
    pictures = re.findall(r"!\[.*?\]\((.*?)\)", page.markdown)
    elsewhere = re.findall(r"!\[.*?\]\((.*?)\)", (tmp_path / "xnor report.md").read_text())
    assert len(pictures) == page.html.count("<figure")
    assert all((tmp_path / unquote(name)).read_bytes().startswith(b"\x89PNG") for name in [*pictures, *elsewhere])
    assert (tmp_path / "report.html").read_text() == page.html


def test_the_same_sweep_gives_the_same_page(two: Sweep) -> None:
    """Drawn again, the page is the same to the byte, so that it is replaced by itself in a store."""
    assert two.report().html == two.report().html


def test_a_missing_artifact_is_named_and_the_rest_is_used(xnor: Sweep) -> None:
    """Without the best trial's table and with an unreadable one the page says which, and shows what there is."""
    summary = summarize_records("small", xnor.records)
    assert summary.best is not None

    def networks_of(trial: int) -> pa.Table | None:
        if trial == 5:
            raise NnexpError("the file is torn")
        return None if summary.best and trial == summary.best.trial else xnor.tables[trial]

    report = build_report(summary, xnor.records, networks_of)
    ids = parsed(report.html).ids
    assert f"networks.parquet of trial {summary.best.trial}" in report.html
    if summary.best.trial != 5:
        assert "trial 5 (the file is torn)" in report.html
    assert "network" not in ids
    assert "phase-recovery" in ids
    assert "solving" in ids


def test_no_tables_and_no_curves_at_all(xnor: Sweep) -> None:
    """From the runs' metrics alone there are still rankings, phase diagrams and families."""
    report = build_report(summarize_records("small", xnor.records), xnor.records, lambda _: None)
    ids = parsed(report.html).ids
    assert {"families", "phase-solved", "ranked"} <= set(ids)
    assert "networks.parquet of 12 trials (0, 1, 2, 3, 4, 5, 6, 7, …)" in report.html


def test_a_running_sweep_has_a_report(two: Sweep) -> None:
    """One that is not finished works, and says so."""
    report = two.report(planned=50)
    assert "still running" in report.html
    assert "2 of 50 trials are done" in report.html


def test_nothing_finished_has_a_report() -> None:
    """A sweep without a result yet gives a page that says so, without pictures."""
    records = [Run(0, "run0", "RUNNING")]
    report = build_report(summarize_records("small", records), records, lambda _: None)
    parsed(report.html)
    assert "No setting has a result yet" in report.html
    assert "<figure" not in report.html


def test_one_trial_has_a_report() -> None:
    """One setting alone can be shown."""
    report = Sweep(Settings(seeds=8, epochs=300)).report()
    parsed(report.html)
    assert "in 1 setting." in report.html


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


def made_up(trials: int = 12, undefined: tuple[int, ...] = (), **fixed: float) -> list[Run]:
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


@pytest.mark.parametrize("kind", DEGENERATE)
def test_every_figure_of_a_degenerate_sweep_is_drawn(kind: str) -> None:
    """Ranges without width, rates without a spread, and rates that are not there: a whole page, and no warning."""
    records = made_up(**DEGENERATE[kind])
    importance = {"recovery_rate": dict.fromkeys(("learning_rate", "hidden_size"), math.nan if "un" in kind else 0.0)}
    report = build_report(summarize_records("small", records, importance=importance), records, lambda _: None)
    parsed(report.html)
    assert "phase-solved" in report.html
    text = re.sub(r"<[^>]*>", " ", report.html.split("<body>")[1])
    assert not re.findall(r"\b(?:nan|NaN|inf|None)\b", text)


def wide(*, every_factor: bool) -> list[Run]:
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
            page.write_text(build_report(summarize_records("small", records), records, lambda _: None).html)
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
    parsed(report.html)
    assert "Which settings solve the task?" in report.html
    assert "recover" not in report.html.split("<body>")[1]


def test_parity_with_its_reference() -> None:
    """Three inputs: recovery and weights are shown, a decision surface is not drawn."""
    report = Sweep(*[Settings(task="parity:3", hidden_size=h, seeds=8, epochs=500) for h in (3, 6)]).report()
    parsed(report.html)
    assert "phase-recovery" in report.html
    assert "at least 2 of 3" in report.html


def test_sigmoid_bipolar_mse_and_several_objectives() -> None:
    """Further factors, and a Pareto front, have their place on the page."""
    fixed = {"activation": "sigmoid", "seeds": 8, "epochs": 300, "learning_rate": 3.0, "momentum": 0.9}
    settings = [
        Settings(**fixed, encoding=e, loss=loss) for e, loss in (("binary", "mse"), ("bipolar", "cross_entropy"))
    ]
    objective = {"objective": ("recovery_rate", "solved_rate"), "directions": ("maximize", "maximize")}
    report = Sweep(*settings).report(**objective)
    assert "pareto" in parsed(report.html).ids
    assert "loss function" in report.html


def test_names_are_escaped() -> None:
    """A sweep's name cannot put tags into the page."""
    records = [Run(0, "run0", "RUNNING")]
    report = build_report(summarize_records("<b>x</b>", records), records, lambda _: None)
    assert "<b>x</b>" not in report.html


def test_a_retested_winner_shows_both_figures(two: Sweep) -> None:
    """The page has what was selected and what fresh networks gave."""
    best = summarize_records("small", two.records).best
    assert best is not None
    fresh = {best.trial: Outcomes(np.arange(16, 116), np.arange(100) < 40)}
    html = two.report(retests=fresh).html
    assert "re-tested on fresh networks" in html
    assert "in the sweep (selected)" in html
    assert "The first is re-tested: 40% of 100." in html


def test_exact_families_agree_with_the_metrics(xnor: Sweep) -> None:
    """Shares read from the tables add up to one, and to what the runs' metrics say."""
    population = collect(xnor.records, xnor.tables.get)
    summary = summarize_records("small", xnor.records)
    shares = family_shares(population, summary.ranked)
    assert shares is not None
    kinds = ["hand-designed", "both", "mirror", "other", "none"]
    assert shares[kinds].sum(axis=1).tolist() == pytest.approx([1.0, 1.0])
    hand_designed = (shares["hand-designed"] + shares["both"]).tolist()
    assert hand_designed == pytest.approx(summary.families["hand_designed"].tolist())


def test_settings_come_back_from_a_run() -> None:
    """Every field of a setting survives the store's text."""
    one = Settings(hidden_size=5, learning_rate=0.1234567890123, loss="mse", momentum=0.5, stop="solved", seed=2**62)
    record = Run(3, "run3", params={name: str(value) for name, value in one.model_dump().items()})
    assert settings_of(record) == one


def test_cuts_put_each_value_into_the_cell_of_its_range() -> None:
    """Ranges are powers of ten; the largest value is in the last cell even where it is that cell's end."""
    import pandas as pd

    values = pd.Series(np.geomspace(0.001, 10, 41))
    cut = Cuts(values, "learning_rate", cells=4)
    assert cut.edges == ["0.001", "0.01", "0.1", "1", "10"]
    assert cut.index.max() == len(cut) - 1
    for value, cell in zip(values, cut.index, strict=True):
        assert float(cut.edges[cell]) * 0.999 <= value <= float(cut.edges[cell + 1]) * 1.001
    grouped = Cuts(pd.Series(range(2, 40)), "hidden_size", cells=8)
    assert len(grouped) == 8
    assert grouped.names[0] == "2–6"
