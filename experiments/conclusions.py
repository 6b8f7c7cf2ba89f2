"""Write experiments/README.md from the recorded tables: `python experiments/conclusions.py`.

Every number in the conclusions is read from results/; a test checks that README.md is up to date.
"""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import pandas as pd
from scipy import stats

from nnexp.analysis.significance import holm

HERE = Path(__file__).parent
RESULTS = HERE / "results"


def table(name: str) -> pd.DataFrame:
    """A recorded table."""
    return pd.read_csv(RESULTS / f"{name}.csv")


def cell(frame: pd.DataFrame, **point: Any) -> pd.Series:
    """The one row of a table with these values."""
    chosen = frame
    for key, value in point.items():
        chosen = chosen[chosen[key] == value]
    if len(chosen) != 1:
        raise LookupError(f"{point}: {len(chosen)} rows, expected one")
    return chosen.iloc[0]


def rate(row: pd.Series, name: str) -> str:
    """A rate in per cent with its interval."""
    low, middle, high = (100 * float(row[f"{name}_{part}"]) for part in ("low", "rate", "high"))
    return f"{middle:.1f}% ({low:.1f} to {high:.1f})"


def grid_lines() -> dict[str, str]:
    """What the grid, and the training of its small starts, say."""
    grid, best, small = table("grid"), table("grid-best"), table("small")
    usual = {"init": "glorot_uniform", "init_scale": 1.0, "learning_rate": 0.5}
    tiny = usual | {"init_scale": 0.1}
    top = best.iloc[0]
    fast = grid[grid.learning_rate == 10]
    by_rate = table("grid-marginals").query("key == 'learning_rate'")
    eight = {"hidden_size": 8, "init_scale": 0.3, "learning_rate": 0.5}
    independent = grid[(grid.init != "orthogonal") & (grid.init_scale == 1) & (grid.learning_rate == 0.5)]
    spread = independent.pivot_table("recovered_rate", index="init", columns="hidden_size")
    late = {"hidden_size": 8, "init": "orthogonal", "init_scale": 0.1}
    return {
        "best": f"{top.hidden_size:.0f} hidden units, {top.init} × {top.init_scale}, learning rate {top.learning_rate}",
        "best_chosen": f"{100 * top.chosen_at:.1f}%",
        "best_again": rate(top, "recovered"),
        "usual2_recovered": rate(cell(grid, hidden_size=2, **usual), "recovered"),
        "usual2_solved": rate(cell(grid, hidden_size=2, **usual), "solved"),
        "usual2_mirror": rate(cell(grid, hidden_size=2, **usual), "mirror"),
        "tiny2_recovered": rate(cell(grid, hidden_size=2, **tiny), "recovered"),
        "tiny2_solved": rate(cell(grid, hidden_size=2, **tiny), "solved"),
        "usual8_recovered": rate(cell(grid, hidden_size=8, **usual), "recovered"),
        "usual8_solved": rate(cell(grid, hidden_size=8, **usual), "solved"),
        "usual8_contains": f"{cell(grid, hidden_size=8, **usual).contains / 10:.1f}%",
        "usual8_mirror": rate(cell(grid, hidden_size=8, **usual), "mirror"),
        "tiny8_recovered": rate(cell(grid, hidden_size=8, **tiny), "recovered"),
        "orthogonal2": rate(cell(grid, hidden_size=2, init="orthogonal", init_scale=1.0, learning_rate=0.5), "solved"),
        "init_spread": f"{100 * (spread.max() - spread.min()).max():.1f}",
        "small_glorot": rate(cell(grid, init="glorot_normal", **eight), "recovered"),
        "small_normal": rate(cell(grid, init="normal", **eight), "recovered"),
        "rates": ", ".join(f"{100 * row.solved_rate:.0f}%" for row in by_rate.itertuples()),
        "fast_correct": f"{fast.correct.sum() / fast.networks.sum():.0%}",
        "never": str((grid.solved == 0).sum()),
        "late_setting": "orthogonal × 0.1 at rate 2",
        "late": " → ".join(rate(cell(small, epochs=epochs, **late), "recovered") for epochs in (2000, 10000, 40000)),
        "late_needed": " → ".join(
            f"{cell(small, epochs=epochs, **late).needed / 10:.1f}%" for epochs in (2000, 10000, 40000)
        ),
        "late2": " → ".join(
            rate(cell(small, epochs=epochs, **(late | {"hidden_size": 2})), "recovered")
            for epochs in (2000, 10000, 40000)
        ),
        "smaller": rate(cell(small, epochs=40000, **(late | {"init_scale": 0.03})), "recovered"),
    }


def fisher(hits: int, networks: int, other_hits: int, other_networks: int) -> float:
    """The p of Fisher's exact test that two rates are one."""
    return float(stats.fisher_exact([[hits, networks - hits], [other_hits, other_networks - other_hits]])[1])


def symmetry_lines() -> dict[str, str]:
    """What XOR and the encodings say; exact tests, corrected by Holm (whose first step takes the smallest p)."""
    grid, xor, encoding = table("grid"), table("xor"), table("encoding")
    keys = ["hidden_size", "init", "init_scale"]
    both = xor.merge(grid[grid.learning_rate == 0.5], on=keys, suffixes=("_xor", "_xnor"))
    smallest = min(
        fisher(row[f"{grade}_xor"], row.networks_xor, row[f"{grade}_xnor"], row.networks_xnor)
        for grade in ("solved", "recovered", "mirror")
        for _, row in both.iterrows()
    )
    tests = {
        kind: [
            stats.binomtest(row.hand_designed, row.hand_designed + row.mirror).pvalue
            for row in encoding[encoding.encoding == kind].itertuples()
        ]
        for kind in ("binary", "bipolar")
    }
    binary = encoding[encoding.encoding == "binary"]
    tiny = grid[grid.init_scale == 0.1]
    either = [(row.hand_designed, row.hand_designed + row.mirror) for row in tiny.itertuples()]
    apart = holm([stats.binomtest(k, n).pvalue if n else 1.0 for k, n in either]) <= 0.05
    three = {"hidden_size": 3, "init": "glorot_uniform"}
    return {
        "xor_cells": str(len(both)),
        "xor_p": f"{min(1.0, 3 * len(both) * smallest):.2f}",
        "bipolar_p": f"{min(1.0, len(tests['bipolar']) * min(tests['bipolar'])):.2f}",
        "encoding_cells": str(len(tests["bipolar"])),
        "binary_ahead": str(int((binary.mirror > binary.hand_designed).sum())),
        "binary_p": f"{len(tests['binary']) * max(tests['binary']):.0e}",
        "tiny_design": str(int((apart & (tiny.hand_designed > tiny.mirror)).sum())),
        "tiny_mirror": str(int((apart & (tiny.mirror > tiny.hand_designed)).sum())),
        "tiny_cells": str(len(tiny)),
        "binary3": rate(cell(encoding, encoding="binary", **three), "recovered"),
        "bipolar3": rate(cell(encoding, encoding="bipolar", **three), "recovered"),
    }


def other_lines() -> dict[str, str]:
    """What parity of three and the stop rules say."""
    parity, best, stopping = table("parity3"), table("parity3-best"), table("stopping")
    solved = stopping[stopping.stop == "solved"]
    half = {"hidden_size": 4, "learning_rate": 0.5}
    return {
        "parity_best": rate(best.iloc[0], "recovered"),
        "parity_solved": f"{100 * parity.solved_rate.min():.0f}% to {100 * parity.solved_rate.max():.0f}%",
        "parity_other": f"{parity.other.sum() / parity.solved.sum():.0%}",
        "stop_solved": f"{solved.recovered.sum()} of {solved.solved.sum():,}",
        "stop_trained": f"{solved.networks.sum():,}",
        "stop_solved_mirror": f"{solved.mirror.sum() / solved.solved.sum():.0%}",
        "stop_confident": rate(cell(stopping, stop="confident", epochs=20000, **half), "recovered"),
        "stop_none": rate(cell(stopping, stop="none", epochs=20000, **half), "recovered"),
    }


def text() -> str:
    """The README's text with the figures in their places, its paragraphs wrapped again."""
    template = (HERE / "conclusions.md.in").read_text(encoding="utf-8")
    blocks = template.format(**grid_lines(), **symmetry_lines(), **other_lines()).rstrip().split("\n\n")
    return "\n\n".join(wrapped(block) for block in blocks) + "\n"


def wrapped(block: str) -> str:
    """A paragraph or list in lines of at most 120 characters; headings, tables and code stay as they are."""
    if block.startswith(("#", "|", "<", "```")):
        return block
    items = block.split("\n- ") if block.startswith("- ") else [block]
    indent = "  " if block.startswith("- ") else ""
    lines = [" ".join(item.removeprefix("- ").split()) for item in items]
    marks = ["- " + line if indent else line for line in lines]
    return "\n".join(
        textwrap.fill(line, 120, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
        for line in marks
    )


if __name__ == "__main__":
    (HERE / "README.md").write_text(text(), encoding="utf-8")
