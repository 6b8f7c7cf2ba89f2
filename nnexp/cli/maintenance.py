"""`doctor`, `replay` and `completion`: checks of stores and runs, and the shell's completion."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from nnexp.cli.options import command, json_output, stores

if TYPE_CHECKING:
    from nnexp.stores import Stores


@command("nnexp doctor", "nnexp doctor xnor --repair", "nnexp doctor --deliver")
@click.argument("name", required=False)
@click.option("--repair", is_flag=True, help="Repair what is wrong.")
@click.option("--deliver", is_flag=True, help="Only log to MLflow the finished trials that wait in the spool.")
@stores
@json_output
def doctor(name: str | None, repair: bool, deliver: bool, stores: Stores, as_json: bool) -> int:
    """Compare the stores and explain what is wrong.

    The exit status is 1 if anything is still wrong at the end.
    """
    from nnexp.cli.output import print_json, print_prose
    from nnexp.errors import UsageError
    from nnexp.runner import doctor

    if repair and deliver:
        raise UsageError("--repair and --deliver: run one after the other; --deliver examines only the spool")
    found = doctor.deliver(stores, name) if deliver else doctor.examine(stores, name, repair=repair)
    if as_json:
        print_json(found)
    else:
        for finding in found:
            print_prose(finding.line)
    left = [finding for finding in found if not finding.repaired]
    if not found and deliver:
        what = f"has no trials of {name!r}" if name else "is empty"
        click.echo(f"spool {stores.spool} {what}: nothing to deliver", err=True)
    elif not found:
        click.echo("no faults: nothing is lost, duplicated or left behind", err=True)
    elif left and not repair:
        click.echo("`nnexp doctor --repair` repairs this", err=True)
    return 1 if left else 0


@command("nnexp replay xnor#12")
@click.argument("run")
@stores
@json_output
def replay(run: str, stores: Stores, as_json: bool) -> int:
    """Train a run again and compare every weight, bit by bit.

    RUN is MLflow's run id, or a sweep's name with the trial's number: xnor#12.
    """
    from nnexp.cli.output import print_json, print_prose
    from nnexp.runner.replay import replay

    result = replay(run, stores)
    if as_json:
        print_json(result)
    else:
        print_prose(result.text)
    return 0 if result.identical else 1


@command('eval "$(nnexp completion bash)"')
@click.argument("shell", metavar="SHELL", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script for SHELL."""
    from click.shell_completion import get_completion_class

    root = click.get_current_context().find_root()
    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101  the three shells above are click's own
    click.echo(kind(root.command, {}, "nnexp", "_NNEXP_COMPLETE").source())
