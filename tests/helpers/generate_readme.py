"""Writes the generated parts of README.md: `python -m tests.helpers.generate_readme`; `test_readme` checks them.

A part is between the lines ``<!-- generated: NAME -->`` and ``<!-- end of NAME -->``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import click

from nnexp.cli import SECTIONS, nnexp
from nnexp.cli.options import Command

README = Path(__file__).parents[2] / "README.md"


def commands() -> str:
    """Every command by section: its usage, the first line of its help, and its examples."""
    context = click.Context(nnexp)
    lines: list[str] = []
    examples: list[str] = []
    for section, names in SECTIONS.items():
        lines += [f"| {section} | |", "|---|---|"]
        for name in names:
            command = nnexp.get_command(context, name)
            assert isinstance(command, Command)
            words = [str(param.name).upper() for param in command.params if isinstance(param, click.Argument)]
            needed = [param.required for param in command.params if isinstance(param, click.Argument)]
            shown = [word if must else f"[{word}]" for word, must in zip(words, needed, strict=True)]
            lines.append(f"| `{' '.join(['nnexp', name, *shown])}` | {(command.help or '').splitlines()[0]} |")
            examples += command.examples
        lines.append("")
    return "\n".join([*lines, "```sh", *examples, "```"])


PARTS: dict[str, Callable[[], str]] = {"commands": commands}


def part(name: str) -> re.Pattern[str]:
    """Matches the content of the part ``name``, between its markers."""
    return re.compile(rf"(?<=<!-- generated: {name} -->\n)(.*?)(?=\n<!-- end of {name} -->)", re.DOTALL)


def refreshed(text: str) -> str:
    """The ``text`` of a README with every part generated again."""
    for name, make in PARTS.items():
        fresh = make()
        text, found = part(name).subn(lambda _, fresh=fresh: fresh, text)  # type: ignore[misc]
        assert found == 1, f"README.md: expected one part {name!r} between its markers, found {found}"
    return text


if __name__ == "__main__":
    README.write_text(refreshed(README.read_text(encoding="utf-8")), encoding="utf-8")
