"""Options: every option can be set by a variable."""

from __future__ import annotations

import json

import click
import pytest

from nnexp import cli
from nnexp.cli.options import Command
from tests.helpers.command_line import called, every_command


def test_any_option_can_be_set_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """As NNEXP_<COMMAND>_<OPTION>; the error of a wrong value names the option."""
    monkeypatch.setenv("NNEXP_REFERENCE_TASK", "xor")
    assert "network for xor" in called("reference")[1]
    monkeypatch.setenv("NNEXP_TRAIN_SEEDS", "many")
    status, _, err = called("train")
    assert status == 2
    assert "--seeds" in err


def long_options() -> list[tuple[Command, click.Option, str]]:
    """Every command with each of its options, and the long name of the option without dashes."""
    return [
        (command, param, next(name[2:] for name in param.opts if name.startswith("--")))
        for command in every_command()
        for param in command.params
        if isinstance(param, click.Option)
    ]


@pytest.mark.parametrize(("command", "option", "name"), long_options(), ids=lambda value: getattr(value, "name", value))
def test_every_option_has_its_variable(
    monkeypatch: pytest.MonkeyPatch, command: Command, option: click.Option, name: str
) -> None:
    """It is built from the long name of the option, not from the name of the Python parameter."""
    above = click.Context(cli.nnexp, info_name="nnexp", **cli.nnexp.context_settings)
    context = click.Context(command, parent=above, info_name=command.name)
    start = f"NNEXP_{command.name}_".upper()
    variable = start + name.replace("-", "_").upper()
    monkeypatch.setenv(start + str(option.name).upper(), "parameter")
    monkeypatch.setenv(variable, "given")
    assert option.resolve_envvar_value(context) == "given"
    monkeypatch.delenv(variable)
    assert option.resolve_envvar_value(context) is None


def test_options_with_other_parameter_names_can_be_set_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flags, options that may be given several times, and options with a variable that commands share."""
    monkeypatch.setenv("NNEXP_REFERENCE_JSON", "1")
    assert "literal_tanh" in json.loads(called("reference")[1])
    assert called("new", "my.toml")[0] == 0
    monkeypatch.setenv("NNEXP_SWEEP_SET", "trials=3 seeds=7")
    monkeypatch.setenv("NNEXP_SWEEP_JSON", "1")
    assert json.loads(called("sweep", "my.toml", "--dry-run")[1])["trials"] == 3
    monkeypatch.setenv("NNEXP_STORAGE", "everywhere.journal")
    monkeypatch.setenv("NNEXP_STATUS_STORAGE", "here.journal")
    assert "here.journal" in called("status")[2]
