"""`new`, `sweep`, `submit`, `stop` and `delete`: a sweep's life (floor 5)."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nnexp.cli.options import command, json_output, named, offline, overrides, stores, workforce

if TYPE_CHECKING:
    from nnexp.search.sweep_file import Sweep
    from nnexp.stores import Stores


@command("nnexp new my-sweep.toml")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--force", is_flag=True, help="Write over a file that is there.")
def new(file: Path, force: bool) -> None:
    """Write a commented sweep file to start from."""
    from nnexp.errors import UsageError
    from nnexp.search.sweep_file import STARTER

    try:
        with file.open("w" if force else "x", encoding="utf-8") as out:
            out.write(STARTER)
    except FileExistsError:
        raise UsageError(f"{file}: is there already; give another name, or --force to write over it") from None
    except FileNotFoundError:
        raise UsageError(f"{file}: no such directory {str(file.parent)!r}") from None
    click.echo(f"wrote {file}; next: nnexp sweep {file}", err=True)


def _loaded(file: str, changes: tuple[str, ...], name: str | None) -> Sweep:
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
@click.option("--dry-run", is_flag=True, help="Show trials, networks, disk and time, and do nothing.")
@workforce
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
    """Run the sweep of FILE, or go on where it ended.

    Prints the summary when the last trial is done. Killed at any instant, the same command goes on with what is left.
    """
    from nnexp.cli import output

    plan = _loaded(file, overrides, name)
    if dry_run:
        from nnexp.runner import plan as planning

        facts = planning.plan(plan, jobs)
        if as_json:
            output.document(vars(facts))
        else:
            output.pairs(facts.words().items())
        return
    from nnexp.analysis import formats
    from nnexp.cli.progress_bar import Display
    from nnexp.runner import sweeps

    with Display() as display:
        summary = sweeps.sweep(plan, stores=stores, jobs=jobs, pool=pool, offline=offline, progress=display)
    if summary is not None:
        click.echo(formats.to_json(summary) if as_json else formats.to_text(summary), nl=False)


@command("nnexp submit experiments/xnor.toml --storage postgresql://nnexp@db/optuna")
@click.argument("file")
@overrides
@named
@stores
def submit(file: str, overrides: tuple[str, ...], name: str | None, stores: Stores) -> None:
    """Put the sweep of FILE into the shared store for workers."""
    plan = _loaded(file, overrides, name)
    from nnexp.runner import sweeps

    sweeps.submit(plan, stores=stores)
    click.echo(f"submitted {plan.name}: {plan.trials:,} trials; next: nnexp worker --drain", err=True)


@command("nnexp stop xnor")
@click.argument("name")
@stores
def stop(name: str, stores: Stores) -> None:
    """End a sweep for all its workers.

    What is finished stays; `nnexp sweep` goes on with it.
    """
    from nnexp.runner import sweeps

    sweeps.stop(name, stores=stores)
    click.echo(f"stopped {name}: its workers finish what is in training and claim nothing more", err=True)


@command("nnexp delete xnor", "nnexp delete xnor --yes")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@stores
def delete(name: str, yes: bool, stores: Stores) -> None:
    """Remove a sweep and its runs from both stores, after asking."""
    from nnexp.errors import NnexpError, UsageError

    if not yes:
        if not sys.stdin.isatty():
            raise UsageError("--yes: missing; without a terminal to ask on, delete needs it")
        if not click.confirm(f"Delete sweep {name} with all its runs and networks?", err=True):
            raise NnexpError("nothing was deleted")
    from nnexp.runner import sweeps

    sweeps.delete(name, stores=stores)
    click.echo(f"deleted {name}", err=True)
