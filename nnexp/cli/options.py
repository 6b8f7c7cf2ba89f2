"""Shared by the commands: examples in the help, ``--debug``, and options with the same meaning in every command."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from nnexp.cli.exit_status import Flags

Function = TypeVar("Function", bound=Callable[..., Any])


def _set_debug(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value:
        ctx.find_root().ensure_object(Flags).debug = True


def _take_variable(option: click.Option, command: str) -> None:
    """Let ``option`` be set by the variable NNEXP_<COMMAND>_<OPTION>, which precedes a variable that commands share.

    <OPTION> is the long name, which users know; click by itself would use the name of the Python parameter.
    """
    long = next(name for name in option.opts if name.startswith("--"))
    own = [option.envvar] if isinstance(option.envvar, str) else option.envvar or []
    option.envvar = [f"NNEXP_{command}_{long[2:]}".replace("-", "_").upper(), *own]
    option.allow_from_autoenv = False


class Command(click.Command):
    """A command with examples in its help, the option ``--debug``, and a variable for each option."""

    def __init__(self, *args: Any, examples: tuple[str, ...], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.examples = examples
        self.params.append(
            click.Option(
                ["--debug"],
                is_flag=True,
                expose_value=False,
                callback=_set_debug,
                help="Show the traceback of an error.",
            )
        )
        for param in self.params:
            if isinstance(param, click.Option):
                _take_variable(param, str(self.name))

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002  click's
        """Write the examples, each in a line of its own that can be pasted into a shell."""
        with formatter.section("Example" if len(self.examples) == 1 else "Examples"):
            for example in self.examples:
                formatter.write(f"{'':>{formatter.current_indent}}{example}\n")


def command(*examples: str) -> Callable[[Callable[..., Any]], Command]:
    """Turn a function into the command of the same name; its docstring is the help."""

    def decorate(function: Callable[..., Any]) -> Command:
        return click.command(function.__name__, cls=Command, examples=examples)(function)

    return decorate


def stores(function: Function) -> Function:
    """``--tracking-uri``, ``--storage`` and ``--spool``, passed to the command as one ``stores``."""

    @click.option(
        "--tracking-uri",
        envvar="MLFLOW_TRACKING_URI",
        metavar="URI",
        help="MLflow's store.  [env: MLFLOW_TRACKING_URI; default: sqlite:///mlflow.db]",
    )
    @click.option(
        "--storage",
        envvar="NNEXP_STORAGE",
        metavar="URL",
        help="Optuna's store.  [env: NNEXP_STORAGE; default: nnexp.journal]",
    )
    @click.option(
        "--spool",
        envvar="NNEXP_SPOOL",
        metavar="DIRECTORY",
        type=click.Path(file_okay=False, path_type=Path),
        help="Where finished trials wait for MLflow.  [env: NNEXP_SPOOL; default: nnexp-spool]",
    )
    @functools.wraps(function)
    def with_stores(
        *args: Any, tracking_uri: str | None, storage: str | None, spool: Path | None, **kwargs: Any
    ) -> Any:
        from nnexp.stores import Stores

        return function(*args, stores=Stores.choose(tracking_uri, storage, spool), **kwargs)

    return with_stores  # type: ignore[return-value]


def json_output(function: Function) -> Function:
    """``--json``: the result is printed as one JSON document; passed as ``as_json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")(function)


def output(what: str) -> Callable[[Function], Function]:
    """``--output FILE``: where to write ``what``; passed as ``output``."""
    return click.option(
        "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help=f"Write {what} to FILE."
    )


def _pool(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    kind, _, size = (value or "").partition(":")
    if value is None or value == "inline" or (kind == "processes" and (not size or (size.isdecimal() and int(size)))):
        return value
    if kind == "dask" and size.startswith("//") and ":" in size:
        return value
    raise click.BadParameter(f"{value!r}: expected inline, processes, processes:N or dask://HOST:PORT")


def training_pool(function: Function) -> Function:
    """``--jobs`` and ``--pool``: the processes that train."""
    function = click.option(
        "--jobs", type=click.IntRange(min=1), help="Processes that train.  [default: one per core]"
    )(function)
    return click.option(
        "--pool",
        callback=_pool,
        metavar="POOL",
        help="Where to train: inline, processes[:N] or dask://HOST:PORT.  [default: processes]",
    )(function)


def overrides(function: Function) -> Function:
    """``--set KEY=VALUE``: values that replace those of the sweep file; passed as ``overrides``."""
    return click.option(
        "--set",
        "overrides",
        multiple=True,
        metavar="KEY=VALUE",
        help="Replace a value of the file: trials=20, space.learning_rate.high=3.  [repeatable]",
    )(function)


def named(function: Function) -> Function:
    """``--name``: the sweep's name, instead of the file's."""
    return click.option("--name", help="The sweep's name, instead of the file's.")(function)


def offline(function: Function) -> Function:
    """``--offline``: nothing is logged to MLflow now."""
    return click.option(
        "--offline", is_flag=True, help="Keep finished trials in the spool; `nnexp doctor --deliver` logs them later."
    )(function)
