"""All commands together: help, examples, versions, wrong usage, completion."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

import click
import pytest

from nnexp import __version__
from nnexp.cli import MODULES, SECTIONS
from nnexp.cli.options import Command
from tests.helpers.command_line import called, every_command

#: The commands that the design promises.
CONTRACT = {
    *("train", "sweep", "summarize", "report", "status", "show", "reference", "predict", "replay", "export", "submit"),
    *("worker", "stop", "delete", "compare", "new", "doctor", "ui"),
}
#: Commands that print a result, and so have --json.
PRINTING = {"train", "sweep", "summarize", "status", "show", "reference", "predict", "replay", "compare", "doctor"}


def test_all_commands_exist_and_are_listed() -> None:
    """Each under one section of the help, with its one line in full."""
    assert set(MODULES) >= CONTRACT
    assert sum(map(len, SECTIONS.values())) == len(MODULES) == len(every_command())
    status, out, err = called("--help")
    assert (status, err) == (0, "")
    assert "..." not in out.partition("\n")[2]
    assert all(f"\n  {name} " in out for name in MODULES)
    assert called()[:2] == (0, out)


@pytest.mark.parametrize("command", every_command(), ids=lambda command: command.name)
def test_every_command_has_help_with_valid_examples(command: Command) -> None:
    """The examples are indented and parsed without an error; every option has a help text."""
    status, out, err = called(str(command.name), "--help")
    assert (status, err) == (0, "")
    for example in command.examples:
        assert f"\n  {example}\n" in out
        if example.startswith("eval"):
            continue
        words = shlex.split(example, comments=True)
        assert words[:2] == ["nnexp", command.name]
        args = words[2 : words.index(">")] if ">" in words else words[2:]
        command.make_context(str(command.name), args)
    for param in command.params:
        assert isinstance(param, click.Argument) or param.help
    assert command.help
    assert command.help.splitlines()[0].endswith(".")


def test_commands_that_print_results_have_json() -> None:
    """So that programs can read the results."""
    having = {c.name for c in every_command() if any("--json" in p.opts for p in c.params)}
    assert having == PRINTING


def test_version() -> None:
    """The version of the package."""
    assert called("--version") == (0, f"nnexp {__version__}\n", "")


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["swep"], ["'swep'", "did you mean 'sweep'?"]),
        (["sweep", "x.toml", "--dri-run"], ["--dri-run", "--dry-run", "nnexp sweep --help"]),
        (["sweep"], ["FILE"]),
        (["train", "--init", "normall"], ["--init", "normall", "glorot_uniform"]),
        (["train", "--learning-rate", "nan"], ["learning_rate", "nan", "finite"]),
        (["sweep", "none.toml"], ["none.toml", "no such file", "nnexp new"]),
        (["doctor", "--repair", "--deliver"], ["--repair", "--deliver", "one after the other"]),
    ],
)
def test_wrong_usage_is_one_line_and_exit_status_two(args: Sequence[str], words: Sequence[str]) -> None:
    """The line names what is wrong and what was expected."""
    status, out, err = called(*args)
    assert (status, out) == (2, "")
    assert err.startswith("nnexp: error: ")
    assert err.count("\n") == 1
    assert all(word in err for word in words), err


def test_the_help_says_that_a_stop_lets_trials_finish() -> None:
    """Only a signal hands trials back; after `nnexp stop` and at a deadline the trials in training are finished."""
    for name in ("stop", "worker"):
        assert "hand back" not in called(name, "--help")[1].lower()
    assert "claim nothing more" in " ".join(called("worker", "--help")[1].lower().split())
