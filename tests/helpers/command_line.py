"""Command lines of `nnexp`, run in this process or in a new one."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import click

from nnexp import cli
from nnexp.cli.options import Command

ROOT = Path(__file__).parents[2]
#: The variables that choose stores.
STORES = ("MLFLOW_TRACKING_URI", "NNEXP_STORAGE", "NNEXP_SPOOL")


class Ended(NamedTuple):
    """The exit status and the output of a command line."""

    status: int
    stdout: str
    stderr: str


def called(*args: str) -> Ended:
    """Run a command line in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = cli.run(args)
    return Ended(status, out.getvalue(), err.getvalue())


def environment() -> dict[str, str]:
    """The environment without variables that choose stores or set options."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW_", "NNEXP_"))}
    return {**kept, "PYTHONPATH": str(ROOT), "MLFLOW_DISABLE_TELEMETRY": "true"}


def program(*args: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a command line in a new process, with `subprocess.run`'s ``options``; ``env`` adds variables."""
    variables = {**environment(), **options.pop("env", {})}
    streams: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.run(
        [sys.executable, "-m", "nnexp", *args], env=variables, text=True, check=False, **{**streams, **options}
    )


def every_command() -> list[Command]:
    """All commands, as the group imports them."""
    context = click.Context(cli.nnexp)
    found = [cli.nnexp.get_command(context, name) for name in cli.MODULES]
    return [command for command in found if isinstance(command, Command)]
