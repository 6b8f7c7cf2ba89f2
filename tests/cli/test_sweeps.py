"""`new`, which needs no store; `test_stores` has the other commands for sweeps."""

from __future__ import annotations

from pathlib import Path

from nnexp.search.sweep_file import parse, starter
from tests.helpers.command_line import called


def test_new_writes_a_valid_file_and_overwrites_only_with_force(tmp_path: Path) -> None:
    """The file is the starter of `nnexp.search`."""
    assert called("new", "my.toml")[0] == 0
    assert (tmp_path / "my.toml").read_text() == starter()
    (tmp_path / "my.toml").write_text("mine")
    status, _, err = called("new", "my.toml")
    assert status == 2
    assert "--force" in err
    assert (tmp_path / "my.toml").read_text() == "mine"
    assert called("new", "my.toml", "--force")[0] == 0
    parse((tmp_path / "my.toml").read_text())
