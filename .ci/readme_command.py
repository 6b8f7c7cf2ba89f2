"""Prints the command that the README marks ``<!-- command: NAME -->``: CI runs what a reader pastes."""

import pathlib
import re
import sys

readme = pathlib.Path(__file__).resolve().parents[1] / "README.md"
found = re.search(
    rf"<!-- command: {re.escape(sys.argv[1])} -->\s*```(?:sh|bash|console)\n(.+?)\n```", readme.read_text("utf-8")
)
if found is None:
    sys.exit(f"README.md: no command marked {sys.argv[1]!r}")
print(found[1])  # noqa: T201  printing is what it is for
