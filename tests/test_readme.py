"""The pages for readers: the generated parts are up to date, and the links and the named paths exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.helpers.generate_readme import README, refreshed

ROOT = README.parent
PAGES = [README, ROOT / "docs/CONTRIBUTING.md", ROOT / "experiments/README.md", ROOT / "experiments/batch/README.md"]


def test_the_generated_parts_are_up_to_date() -> None:
    """`python -m tests.helpers.generate_readme` updates them."""
    text = README.read_text(encoding="utf-8")
    assert refreshed(text) == text, "stale: run python -m tests.helpers.generate_readme"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_existing_files(page: Path) -> None:
    """Every relative link is relative to the folder of its page."""
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8"))
    assert [target for target in targets if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_named_paths_exist(page: Path) -> None:
    """Every path below `nnexp/`, `tests/` or `experiments/` that a page names as code is one of the repository."""
    paths = re.findall(r"`((?:nnexp|tests|experiments)/[^`\s:]*)`", page.read_text(encoding="utf-8"))
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_the_contributors_page_names_what_exists_in_the_code() -> None:
    """A name in code style that follows `in` or precedes a path is found in the file of that path."""
    text = (ROOT / "docs/CONTRIBUTING.md").read_text(encoding="utf-8")
    named = re.findall(r"`(_?[A-Za-z_]+)` in\s+`(nnexp/[\w/]+\.py)`", text)
    assert len(named) >= 8
    assert [(name, path) for name, path in named if name not in (ROOT / path).read_text(encoding="utf-8")] == []
