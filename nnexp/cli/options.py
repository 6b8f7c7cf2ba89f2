"""What all commands share: an example in the help, ``--debug``, and options that mean the same everywhere (floor 5)."""

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
    """Let ``option`` come from NNEXP_<COMMAND>_<OPTION> too, before any variable of its own that all commands share.

    By its long name, the one that users know: click itself would take the Python parameter's.
    """
    long = next(name for name in option.opts if name.startswith("--"))
    own = [option.envvar] if isinstance(option.envvar, str) else option.envvar or []
    option.envvar = [f"NNEXP_{command}_{long[2:]}".replace("-", "_").upper(), *own]
    option.allow_from_autoenv = False


class Command(click.Command):
    """A command whose help ends with examples and which takes ``--debug``; any option also comes as a variable."""

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
        """The examples, indented, as they can be pasted."""
        with formatter.section("Example" if len(self.examples) == 1 else "Examples"):
            for example in self.examples:
                formatter.write(f"{'':>{formatter.current_indent}}{example}\n")


def command(*examples: str) -> Callable[[Callable[..., Any]], Command]:
    """Make a function the command of its own name, its docstring the help."""

    def decorate(function: Callable[..., Any]) -> Command:
        return click.command(function.__name__, cls=Command, examples=examples)(function)

    return decorate


def stores(function: Function) -> Function:
    """``--tracking-uri``, ``--storage`` and ``--spool``, given to the command as one ``stores``."""

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
    """``--json``: results as one JSON document on stdout, given as ``as_json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")(function)


def output(what: str) -> Callable[[Function], Function]:
    """``--output FILE`` for ``what``, given as ``output``."""
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


def workforce(function: Function) -> Function:
    """``--jobs`` and ``--pool``: what trains."""
    function = click.option(
        "--jobs", type=click.IntRange(min=1), help="Processes that train.  [default: one for each core]"
    )(function)
    return click.option(
        "--pool",
        callback=_pool,
        metavar="POOL",
        help="What trains: inline, processes[:N] or dask://HOST:PORT.  [default: processes]",
    )(function)


def overrides(function: Function) -> Function:
    """``--set key=value`` over the sweep file, given as ``overrides``."""
    return click.option(
        "--set",
        "overrides",
        multiple=True,
        metavar="KEY=VALUE",
        help="Put a value over the file's: trials=20, space.learning_rate.high=3.  [repeatable]",
    )(function)


def named(function: Function) -> Function:
    """``--name``: another life for a sweep file."""
    return click.option("--name", help="Another name for the sweep, in place of the file's.")(function)


def offline(function: Function) -> Function:
    """``--offline``: no tracking now."""
    return click.option(
        "--offline", is_flag=True, help="Keep finished trials in the spool; `nnexp doctor --deliver` logs them later."
    )(function)
