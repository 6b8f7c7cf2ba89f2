"""`new`, `sweep`, `submit`, `stop` and `delete`: creating, running and removing sweeps."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nnexp.cli.options import command, json_output, named, offline, overrides, stores, training_pool

if TYPE_CHECKING:
    from nnexp.search.sweep_file import Sweep
    from nnexp.stores import Stores


@command("nnexp new my-sweep.toml")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--force", is_flag=True, help="Overwrite an existing file.")
def new(file: Path, force: bool) -> None:
    """Write a commented sweep file to start from."""
    from nnexp.errors import UsageError
    from nnexp.search.sweep_file import starter

    try:
        with file.open("w" if force else "x", encoding="utf-8") as out:
            out.write(starter())
    except FileExistsError:
        raise UsageError(f"{file}: exists already; give another name, or --force to overwrite it") from None
    except FileNotFoundError:
        raise UsageError(f"{file}: no such directory {str(file.parent)!r}") from None
    click.echo(f"wrote {file}; next: nnexp sweep {file}", err=True)


def _load(file: str, changes: tuple[str, ...], name: str | None) -> Sweep:
    from nnexp.search.sweep_file import load

    sweep = load(file, changes)
    return sweep if name is None else sweep.replace(name=name)


@command(
    "nnexp sweep experiments/xnor.toml",
    "nnexp sweep my-sweep.toml --dry-run",
    "nnexp sweep my-sweep.toml --set trials=20 --set space.init='[\"normal\"]' --name quick",
)
@click.argument("file")
@overrides
@named
@click.option("--dry-run", is_flag=True, help="Only show the number of trials and networks, disk space and time.")
@training_pool
@offline
@stores
@json_output
def sweep(
    file: str,
    overrides: tuple[str, ...],
    name: str | None,
    dry_run: bool,
    jobs: int | None,
    pool: str | None,
    offline: bool,
    stores: Stores,
    as_json: bool,
) -> None:
    """Run the sweep of FILE, or continue it.

    Prints the summary after the last trial. The sweep may be killed at any instant: the same command then continues
    with the trials that are left.
    """
    source = _load(file, overrides, name)
    if dry_run:
        from nnexp.cli.output import print_json, print_pairs
        from nnexp.runner.plan import plan

        facts = plan(source, jobs)
        if as_json:
            print_json(vars(facts))
        else:
            print_pairs(facts.words().items())
        return
    from nnexp.analysis import formats
    from nnexp.cli.output import printable, terminal_width
    from nnexp.cli.progress_bar import Display
    from nnexp.runner import sweeps

    with Display() as display:
        summary = sweeps.sweep(source, stores=stores, jobs=jobs, pool=pool, offline=offline, progress=display)
    if summary is not None:
        text = formats.to_json(summary) if as_json else formats.to_text(summary, width=terminal_width())
        click.echo(printable(text), nl=False)


@command("nnexp submit experiments/xnor.toml --storage postgresql://nnexp@db/optuna")
@click.argument("file")
@overrides
@named
@stores
def submit(file: str, overrides: tuple[str, ...], name: str | None, stores: Stores) -> None:
    """Add the sweep of FILE to the shared store, for workers."""
    source = _load(file, overrides, name)
    from nnexp.runner import sweeps

    sweeps.submit(source, stores=stores)
    click.echo(f"submitted {source.name}: {source.trials:,} trials; next: nnexp worker --drain", err=True)


@command("nnexp stop xnor")
@click.argument("name")
@stores
def stop(name: str, stores: Stores) -> None:
    """Stop a sweep in all its workers.

    Finished trials are kept; `nnexp sweep` continues the sweep.
    """
    from nnexp.runner import sweeps

    sweeps.stop(name, stores=stores)
    click.echo(f"stopped {name}: its workers finish the trials in training and claim no more", err=True)


@command("nnexp delete xnor", "nnexp delete xnor --yes")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@stores
def delete(name: str, yes: bool, stores: Stores) -> None:
    """Delete a sweep and its runs from both stores."""
    from nnexp.errors import NnexpError, UsageError

    if not yes:
        if not sys.stdin.isatty():
            raise UsageError("--yes: missing; delete needs it where it cannot ask for confirmation on a terminal")
        if not click.confirm(f"Delete sweep {name} with all its runs and networks?", err=True):
            raise NnexpError("nothing was deleted")
    from nnexp.runner import sweeps

    sweeps.delete(name, stores=stores)
    click.echo(f"deleted {name}", err=True)
