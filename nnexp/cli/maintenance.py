"""`doctor`, `replay` and `completion` (floor 5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from nnexp.cli.options import command, json_output, stores

if TYPE_CHECKING:
    from nnexp.stores import Stores


@command("nnexp doctor", "nnexp doctor xnor --repair", "nnexp doctor --deliver")
@click.argument("name", required=False)
@click.option("--repair", is_flag=True, help="Mend what is found.")
@click.option("--deliver", is_flag=True, help="Only log to MLflow what waits in the spool.")
@stores
@json_output
def doctor(name: str | None, repair: bool, deliver: bool, stores: Stores, as_json: bool) -> int:
    """Compare the stores and explain what is wrong.

    The exit status is 1 if anything still is.
    """
    from nnexp.cli import output
    from nnexp.errors import UsageError
    from nnexp.runner import doctor as examination

    if repair and deliver:
        raise UsageError("--repair and --deliver: run one after the other; --deliver looks at the spool alone")
    found = examination.deliver(stores, name) if deliver else examination.examine(stores, name, repair=repair)
    if as_json:
        output.document([finding.plain() for finding in found])
    for finding in found if not as_json else ():
        click.echo(finding.line)
    open_ones = [finding for finding in found if not finding.repaired]
    if not found and deliver:
        what = f"holds nothing of {name!r}" if name else "is empty"
        click.echo(f"spool {stores.spool} {what}: nothing waits", err=True)
    elif not found:
        click.echo("sound: nothing is lost, doubled or left behind", err=True)
    elif open_ones and not repair:
        click.echo("`nnexp doctor --repair` mends this", err=True)
    return 1 if open_ones else 0


@command("nnexp replay xnor#12")
@click.argument("run")
@stores
@json_output
def replay(run: str, stores: Stores, as_json: bool) -> int:
    """Train a run again and compare every weight, to the bit.

    RUN is MLflow's run id, or a sweep's name with the trial's number: xnor#12.
    """
    from nnexp.cli import output
    from nnexp.runner import replay as again

    outcome = again.replay(run, stores)
    if as_json:
        output.document(outcome.plain())
    else:
        click.echo(outcome.text)
    return 0 if outcome.identical else 1


@command('eval "$(nnexp completion bash)"')
@click.argument("shell", metavar="SHELL", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print what makes SHELL complete commands and options."""
    from click.shell_completion import get_completion_class

    root = click.get_current_context().find_root()
    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101  the three shells above are click's own
    click.echo(kind(root.command, {}, "nnexp", "_NNEXP_COMPLETE").source())
