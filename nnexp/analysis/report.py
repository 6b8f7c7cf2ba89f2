"""The report of a sweep: one HTML page that needs no other file."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jinja2
import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.figure import Figure

from nnexp.analysis import format as fmt
from nnexp.analysis import narrative, tables
from nnexp.analysis.figures import network, style, training
from nnexp.analysis.figures import settings as figures
from nnexp.analysis.figures.training import Points
from nnexp.analysis.outcomes import SweepOutcomes, family_shares
from nnexp.analysis.summary import Summary
from nnexp.errors import NnexpError
from nnexp.recovery.alignment import AlignedNetwork

BestNetworkOf = Callable[[int], AlignedNetwork | None]
CurvesOf = Callable[[int], Mapping[str, Points]]

#: Rows of the ranked table on the first screen, and at the end.
FIRST_ROWS, ALL_ROWS = 5, 30
ALL_COLUMNS = (
    "networks",
    "recovery_rate",
    "solved_rate",
    "confident_rate",
    "mirror_rate",
    "epochs_to_solve_median",
    "reference_distance_median",
)
FIRST_COLUMNS = ("networks", "recovery_rate", "solved_rate", "mirror_rate")
DRAWN_SETTINGS = 6


@dataclass(frozen=True)
class Section:
    """A part of the report: a heading, a caption, a figure and a table."""

    key: str
    heading: str
    caption: str
    figure: Figure | None = None
    table: pd.DataFrame | None = None


def build_report(summary: Summary, outcomes: SweepOutcomes, best_network_of: BestNetworkOf, curves_of: CurvesOf) -> str:
    """The report of a sweep as an HTML page.

    Args:
        summary: its summary.
        outcomes: the results of the single networks.
        best_network_of: returns a trial's best network, or None; raises `NnexpError` if it cannot be read.
        curves_of: returns a trial's curves by name, each a list of (epoch, value); raises the same.

    Returns:
        The page. It names the artifacts that could not be read, and shows everything else.
    """
    missing = list(outcomes.missing)
    drawn = _best_network(summary, best_network_of, missing)
    sections = _sections(summary, outcomes, _curves(summary, curves_of, missing), drawn)
    summary = dataclasses.replace(summary, missing=tuple(missing))
    summary = dataclasses.replace(summary, notes=narrative.notes(summary))
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("nnexp.analysis"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("report.html.j2").render(_context(summary, sections, drawn))


def _best_network(summary: Summary, best_network_of: BestNetworkOf, missing: list[str]) -> AlignedNetwork | None:
    """The best network of the first setting."""
    if summary.best is None:
        return None
    try:
        return best_network_of(summary.best.trial)
    except NnexpError as error:
        missing.append(f"the best network of trial {summary.best.trial} ({error})")
        return None


def _curves(summary: Summary, curves_of: CurvesOf, missing: list[str]) -> dict[int, Mapping[str, Points]]:
    """The curves of the first settings of the ranking."""
    found: dict[int, Mapping[str, Points]] = {}
    for trial in summary.ranked["trial"].head(DRAWN_SETTINGS).tolist():
        try:
            found[trial] = curves_of(trial)
        except NnexpError as error:
            missing.append(f"curves of trial {trial} ({error})")
    return found


def _sections(
    summary: Summary, outcomes: SweepOutcomes, curves: Mapping[int, Mapping[str, Points]], drawn: AlignedNetwork | None
) -> list[Section]:
    """The parts of the report, without those that have nothing to show."""
    ranked = summary.ranked
    if ranked.empty:
        return []
    parts = [_network_section(drawn), _marginal_section(summary)]
    rates = [rate for rate in ("recovery_rate", "mirror_rate", "solved_rate") if ranked[rate].notna().any()]
    parts += [_phase_section(ranked, rate) for rate in rates]
    parts += [
        _family_section(summary, outcomes),
        _band_section(summary, curves),
        _solving_section(summary, outcomes),
        *_importance_sections(summary),
    ]
    return [part for part in parts if part is not None]


def _network_section(drawn: AlignedNetwork | None) -> Section | None:
    if drawn is None:
        return None
    recovered = "" if drawn.reference is None else "those that recovered the solution; where there are none, among "
    parts = [
        f"{drawn.title.capitalize()}: the lowest loss among {recovered}the solved; where there are none, among all."
    ]
    if drawn.task.n_inputs == 2:
        parts.append(
            "Colours: the network's output, from 0 (dark) to 1 (bright), ½ on the dotted line. A hidden unit changes "
            "sign at its thick line; thin lines are units without a partner in the hand-designed network."
        )
    if drawn.reference is not None:
        parts.append(
            "Units have the order and the signs of the hand-designed network: reordering hidden units, or changing the "
            "sign of one, does not change what the network computes."
        )
    return Section("network", "The best network", " ".join(parts), network.network_figure(drawn))


def _marginal_section(summary: Summary) -> Section:
    caption = (
        "Each point is the mean over all settings with that level, with a 95% interval over settings; a cross is the "
        "best setting with that level."
    )
    figure = figures.marginal_points(summary.marginals, summary.measure, summary.factors)
    return Section("factors", "What each factor does", caption, figure, tables.marginals_table(summary))


def _phase_section(ranked: pd.DataFrame, rate: str) -> Section:
    words = {
        "recovery_rate": ("Where the hand-designed logic is recovered", "recovered it"),
        "mirror_rate": ("Where the mirror logic is found", "found its mirror alone"),
        "solved_rate": ("Where the task is solved", "solved the task"),
    }
    heading, verb = words[rate]
    x, y = (fmt.label(factor) for factor in figures.phase_axes(ranked))
    caption = f"Mean share of networks that {verb}, by {x} and {y}. Empty cells hold no setting."
    return Section(f"phase-{rate.removesuffix('_rate')}", heading, caption, figures.phase_diagram(ranked, rate))


def _family_section(summary: Summary, outcomes: SweepOutcomes) -> Section | None:
    shares = family_shares(outcomes, summary.ranked)
    if shares is None:
        shares = summary.families
    if shares.empty:
        return None
    table = tables.families_table(shares)
    caption = (
        "By what a network contains: the hand-designed logic, its mirror (the reference with x1 complemented and the "
        "output negated), both, or neither. The others did not solve the task."
        if "solved" not in shares
        else "Networks that solved the task."
    )
    return Section("families", "Solutions by hidden size", caption, figures.family_bars(shares), table)


def _title(summary: Summary, trial: int) -> str:
    row = summary.ranked[summary.ranked["trial"] == trial].iloc[0]
    start = f"{row['init']} × {row['init_scale']:.3g}"
    return f"trial {trial}: {row['hidden_size']} hidden, rate {row['learning_rate']:.3g}, {start}"


def _band_section(summary: Summary, curves: Mapping[int, Mapping[str, Points]]) -> Section | None:
    ranked = summary.ranked
    plateaus = bool((ranked["loss_function"] == "cross_entropy").all()) and summary.task in ("xnor", "xor")
    figure = training.loss_bands({_title(summary, t): keyed for t, keyed in curves.items()}, plateaus=plateaus)
    if figure is None:
        return None
    caption = (
        "The loss of the first settings of the ranking."
        + " Dotted lines mark the plateaus at which training can stop making progress." * plateaus
    )
    return Section("loss", "How the loss falls", caption, figure)


def _solving_section(summary: Summary, outcomes: SweepOutcomes) -> Section | None:
    known = outcomes.epochs_to_solve
    first = [trial for trial in summary.ranked["trial"].head(DRAWN_SETTINGS).tolist() if trial in known]
    sizes = summary.ranked.set_index("trial")["hidden_size"]
    pooled: dict[str, list[np.ndarray[Any, Any]]] = {}
    for trial in sorted(set(known) & set(sizes.index), key=lambda t: (sizes[t], t)):
        pooled.setdefault(str(sizes[trial]), []).append(known[trial])
    epochs = int(summary.ranked["epochs"].max())
    joined = {name: np.concatenate(parts) for name, parts in pooled.items()}
    settings = {f"trial {trial} ({sizes[trial]} hidden)": known[trial] for trial in first}
    figure = training.solving_curves(settings, joined, epochs)
    if figure is None:
        return None
    caption = (
        "The share of networks that have solved the task after so many epochs. Where a curve ends below 100%, the "
        f"others did not solve it within {epochs:,} epochs."
    )
    return Section("solving", "How soon networks solve it", caption, figure)


def _importance_sections(summary: Summary) -> list[Section]:
    sections = []
    if any(len(shares) for shares in summary.importance.values()):
        caption = "The share of the differences between settings that each factor explains (PED-ANOVA)."
        figure = figures.importance_bars({k: v for k, v in summary.importance.items() if v})
        sections.append(Section("importance", "Which factors matter", caption, figure))
    maps = figures.interaction_maps(summary.ranked, summary.measure, summary.factors)
    if maps is not None:
        caption = (
            f"Mean {fmt.label(summary.measure)} for each pair of factors, averaged over the others. Where the pattern "
            "of a row changes from column to column, the two factors interact."
        )
        sections.append(Section("interactions", "How factors interact", caption, maps))
    return sections


def _context(summary: Summary, sections: Sequence[Section], drawn: AlignedNetwork | None) -> dict[str, Any]:
    shown = tables.ranked_table(summary, ALL_ROWS, ALL_COLUMNS) if len(summary.ranked) else None
    return {
        "summary": summary,
        "percent": fmt.percent,
        "interval": fmt.interval,
        "question": _question(summary),
        "first": tables.ranked_table(summary, FIRST_ROWS, FIRST_COLUMNS) if len(summary.ranked) else None,
        "measure": fmt.label(summary.measure),
        "contenders": tables.contenders_table(summary),
        "ranked": shown,
        "pareto": tables.pareto_table(summary),
        "sections": [
            {
                "key": s.key,
                "heading": s.heading,
                "caption": s.caption,
                # The SVG is Matplotlib's own output; texts in it were escaped there.
                "svg": Markup(style.svg(s.figure, s.key)) if s.figure is not None else None,  # noqa: S704
                "table": s.table,
            }
            for s in sections
        ],
        "network": drawn,
        "logic_tables": _logic(drawn),
    }


def _question(summary: Summary) -> str:
    if summary.measure == "recovery_rate":
        return "Which settings recover the hand-designed solution?"
    return "Which settings solve the task?"


def _logic(drawn: AlignedNetwork | None) -> list[tuple[str, pd.DataFrame]]:
    """The truth tables of the gates of the network and of the hand-designed one."""
    if drawn is None:
        return []
    found = []
    for title, explained in ((f"learned: {drawn.title}", drawn.explained), ("hand-designed", drawn.designed)):
        if explained is None:
            continue
        units = explained["hidden"][:8]
        names = {unit["name"]: f"{unit['name']} = {unit['formula']}" for unit in units}
        output = explained["output"]
        rows = []
        for row in explained["rows"][:16]:
            cells = {f"x{j + 1}": str(row[f"x{j + 1}"]) for j in range(drawn.task.n_inputs)}
            for position, unit in enumerate(units):
                cells[names[unit["name"]]] = f"{row[unit['name']]}  ({row['hidden'][position]:.3g})"
            cells[f"output = {output['formula']}"] = f"{row['output']}  ({row['probability']:.3g})"
            rows.append(cells | {"target": str(row["target"])})
        found.append((title, pd.DataFrame(rows)))
    return found
