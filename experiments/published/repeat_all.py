"""Repeat every published result and write the comparison: `python experiments/published/repeat_all.py`."""

from __future__ import annotations

import sys
from pathlib import Path

import handbook
import hidden_units
import initial_range
import stationary
import thirty_seeds

REPEATS = (handbook, thirty_seeds, hidden_units, stationary, initial_range)
RESULT = Path(__file__).parents[1] / "results" / "published.md"


def report() -> str:
    """All comparisons as Markdown, a section a source."""
    lines = ["# Published results, repeated", ""]
    for module in REPEATS:
        title, _, rest = (module.__doc__ or "").partition("\n")
        lines += [f"## {title}", "", rest.strip(), "", "| what | published | ours | |", "|---|---|---|---|"]
        lines += ["| " + " | ".join(row) + " |" for row in module.repeat()] + [""]
        print(module.__name__, file=sys.stderr)
    return "\n".join(lines)


if __name__ == "__main__":
    RESULT.write_text(report(), encoding="utf-8")
