"""The command line: `main` is the console script; `run` runs one command line in this process.

`SECTIONS` names the module of each command. The package imports all packages on lower floors, click and rich. At import
time it loads only click, so that `nnexp --help` is quick: each command has its imports in its body.
"""

from __future__ import annotations

import importlib
import signal
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from nnexp import __version__
from nnexp.cli.exit_status import Flags, handle_error
from nnexp.cli.options import Command
from nnexp.errors import nearest

#: Section of the help -> command -> the module of this package that holds it.
SECTIONS: dict[str, dict[str, str]] = {
    "One network or setting": {"reference": "networks", "train": "networks", "predict": "networks"},
    "Sweeps": {
        "new": "sweeps",
        "sweep": "sweeps",
        "status": "results",
        "stop": "sweeps",
        "delete": "sweeps",
    },
    "Results": {
        "summarize": "results",
        "report": "results",
        "compare": "results",
        "show": "results",
        "export": "results",
        "ui": "services",
    },
    "Batch jobs": {"submit": "sweeps", "worker": "services"},
    "Maintenance": {"doctor": "maintenance", "replay": "maintenance", "completion": "maintenance"},
}
MODULES = {name: module for commands in SECTIONS.values() for name, module in commands.items()}


class Commands(click.Group):
    """All commands: each is imported on first use, and listed by section in the help."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  click's signature
        """The names of all commands, in the order of the help."""
        return list(MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import the command called ``cmd_name``; None if there is no such command."""
        if cmd_name not in MODULES:
            return None
        command = getattr(importlib.import_module(f"nnexp.cli.{MODULES[cmd_name]}"), cmd_name)
        assert isinstance(command, Command)  # noqa: S101  every command has an example and --debug
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that ``args`` starts with, or an error that names the nearest command."""
        if args and args[0] not in MODULES and not args[0].startswith("-"):
            raise click.UsageError(f"no such command {args[0]!r}{nearest(args[0], MODULES)}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write each command with the first line of its help, by section."""
        width = formatter.width - 6 - max(map(len, MODULES))
        for section, names in SECTIONS.items():
            commands = [(name, self.get_command(ctx, name)) for name in names]
            with formatter.section(section):
                formatter.write_dl([(name, cmd.get_short_help_str(width)) for name, cmd in commands if cmd])


def _set_debug(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value:
        ctx.ensure_object(Flags).debug = True


@click.group(
    "nnexp",
    cls=Commands,
    invoke_without_command=True,
    context_settings={"auto_envvar_prefix": "NNEXP", "help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="`nnexp COMMAND --help` shows a command's options and an example.",
)
@click.option("--debug", is_flag=True, expose_value=False, callback=_set_debug, help="Show the traceback of an error.")
@click.version_option(__version__, message="%(prog)s %(version)s")
@click.pass_context
def nnexp(ctx: click.Context) -> None:
    """Which training settings make gradient descent rediscover a network that a person designed by hand?"""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def run(args: Sequence[str] | None = None) -> int:
    """Run one command line (`sys.argv` by default) and return its exit status; an error is one line on stderr."""
    flags = Flags()
    try:
        result: Any = nnexp.main(
            None if args is None else list(args), prog_name="nnexp", standalone_mode=False, obj=flags
        )
        sys.stdout.flush()  # a full disk or a closed pipe must fail here, not when the interpreter exits
    except BaseException as error:
        return handle_error(error, flags)
    return result if isinstance(result, int) else 0


def main() -> NoReturn:
    """The console script `nnexp`."""
    signal.signal(signal.SIGTERM, _exit)  # until a command handles it; process 1 of a container ignores it by default
    status = run()
    if status > 128:  # after a signal
        from nnexp.runner.pool import exit_at_once

        sys.stdout.flush()
        exit_at_once(status)
    sys.exit(status)


def _exit(number: int, _frame: object) -> NoReturn:
    raise SystemExit(128 + number)
