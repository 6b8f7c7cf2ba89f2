"""The command line: help, errors and exit statuses, output, progress, and the commands that need no store."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest

from nnexp import __version__, cli
from nnexp.cli import MODULES, SECTIONS, networks, run
from nnexp.cli.exit_status import Flags, handle_error, one_line
from nnexp.cli.explain import print_network
from nnexp.cli.options import Command
from nnexp.cli.progress_bar import Display, format_duration
from nnexp.errors import Interrupted, NotFoundError, StoreError, UsageError
from nnexp.network.model import Network
from nnexp.network.settings import Settings
from nnexp.recovery.gates import explain_network
from nnexp.runner.progress import Progress
from nnexp.search.sweep_file import parse, starter

ROOT = Path(__file__).parents[2]
#: The commands that the design promises.
CONTRACT = {
    *("train", "sweep", "summarize", "report", "status", "show", "reference", "predict", "replay", "export", "submit"),
    *("worker", "stop", "delete", "compare", "new", "doctor", "ui"),
}
#: Commands that print a result, and so have --json.
PRINTING = {"train", "sweep", "summarize", "status", "show", "reference", "predict", "replay", "compare", "doctor"}


@pytest.fixture(autouse=True)
def _workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("MLFLOW_TRACKING_URI", "NNEXP_STORAGE", "NNEXP_SPOOL"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.chdir(tmp_path)


def called(*args: str) -> tuple[int, str, str]:
    """Run a command line in this process; returns its exit status, stdout and stderr."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = run(args)
    return status, out.getvalue(), err.getvalue()


def program(*args: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a command line in a new process."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **options.pop("env", {})}
    return subprocess.run(
        [sys.executable, "-m", "nnexp", *args],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        **{"stdout": subprocess.PIPE, **options},
    )


def every_command() -> list[Command]:
    """All commands, as the group loads them."""
    context = click.Context(cli.nnexp)
    found = [cli.nnexp.get_command(context, name) for name in MODULES]
    return [command for command in found if isinstance(command, Command)]


def test_all_commands_of_the_contract_are_there_and_listed() -> None:
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


def test_the_options_of_train_are_the_fields_of_settings() -> None:
    """Names, defaults and choices are written twice, since the help must not import `Settings`; they must agree."""
    fields = Settings.model_fields
    assert list(networks.SETTINGS) == list(fields)
    for name, (kind, default, _) in networks.SETTINGS.items():
        assert default == str(fields[name].default)
        if isinstance(kind, click.Choice):
            assert all(getattr(Settings(**{name: word}), name) == word for word in kind.choices)
            with pytest.raises(UsageError, match=", ".join(kind.choices)):
                Settings(**{name: "?"})


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


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (UsageError("trials = 0: expected more"), 2, "nnexp: error: trials = 0: expected more\n"),
        (NotFoundError("no sweep 'x'"), 1, "nnexp: error: no sweep 'x'\n"),
        (StoreError("cannot open\n  postgresql://me:secret@db/x"), 1, "cannot open postgresql://me:***@db/x\n"),
        (Interrupted(15), 143, "stopped by signal 15"),
        (Interrupted(2), 130, "stopped by signal 2"),
        (KeyboardInterrupt(), 130, "nnexp: interrupted\n"),
        (click.Abort(), 130, "nnexp: interrupted\n"),
        (
            ValueError("odd\nthing"),
            1,
            "unexpected ValueError: odd thing; run it again with --debug for the traceback\n",
        ),
        (OSError(28, "No space left on device"), 1, "No space left on device\n"),
        (MemoryError(), 1, "out of memory"),
        (BrokenPipeError(32, "Broken pipe"), 1, ""),
    ],
)
def test_an_error_becomes_one_line_and_an_exit_status(
    error: BaseException, status: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """No traceback, no line break, no password."""
    assert handle_error(error, Flags()) == status
    stderr = capsys.readouterr().err
    assert line in stderr
    assert stderr.count("\n") == bool(line)
    assert "Traceback" not in stderr


def test_a_value_of_a_megabyte_does_not_hide_the_key() -> None:
    """Control characters are escaped, and the line is truncated."""
    line = one_line("key = '\x1b[2J" + "x" * 10**6)
    assert line.startswith("key = '\\x1b[2Jxxx")
    assert len(line) <= 700


def test_debug_shows_the_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    """As an option before or after the command, or from the environment; not otherwise."""
    broken = ["reference", "--task", "and"]
    for args in (["--debug", *broken], [*broken, "--debug"]):
        status, _, err = called(*args)
        assert status == 2
        assert "Traceback" in err
    assert "Traceback" not in called(*broken)[2]
    monkeypatch.setenv("NNEXP_DEBUG", "1")
    assert "Traceback" in called(*broken)[2]


def test_any_option_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_options_with_other_parameter_names_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_a_reader_that_leaves_early_is_no_error() -> None:
    """`nnexp reference | head` prints nothing on stderr."""
    reading, writing = os.pipe()
    os.close(reading)
    done = program("reference", stdout=writing)
    os.close(writing)
    assert done.stderr == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_under_stdout_is_an_error() -> None:
    """One line, exit status 1."""
    with Path("/dev/full").open("w") as full:
        done = program("reference", stdout=full)
    assert done.returncode == 1
    assert done.stderr.startswith("nnexp: error: ")
    assert done.stderr.count("\n") == 1


def test_new_writes_a_valid_file_and_overwrites_only_with_force(tmp_path: Path) -> None:
    """The file is the starter of `nnexp.search`."""
    assert called("new", "my.toml")[0] == 0
    assert (tmp_path / "my.toml").read_text() == starter()
    (tmp_path / "my.toml").write_text("mine")
    status, _, err = called("new", "my.toml")
    assert status == 2
    assert "--force" in err
    assert (tmp_path / "my.toml").read_text() == "mine"
    assert called("new", "my.toml", "--force")[0] == 0
    parse((tmp_path / "my.toml").read_text())


def test_the_reference_is_shown_as_in_the_source() -> None:
    """The truth table, the weights and cost of both forms, and the result of the literal reading with tanh."""
    status, out, err = called("reference")
    assert (status, err) == (0, "")
    for words in ("a1 = x1 and x2", "a2 = not x1 and not x2", "output = a1 or a2", "[[20, 20], [-20, -20]]"):
        assert words in out
    assert "[[10, 10], [-10, -10]]" in out
    assert out.count("4.546e-05, 4 of 4 rows right") == 2
    assert "2 of 4 rows right" in out
    facts = json.loads(called("reference", "--json")[1])
    assert facts["sigmoid"]["loss"] == pytest.approx(4.546e-5, rel=1e-3)
    assert facts["tanh"]["loss"] == pytest.approx(facts["sigmoid"]["loss"], rel=1e-9)
    assert facts["literal_tanh"]["rows_right"] == 2


def test_train_prints_rates_with_intervals() -> None:
    """The table and JSON agree."""
    args = ["train", "--hidden-size", "2", "--seeds", "40", "--epochs", "1500", "--learning-rate", "2"]
    status, out, err = called(*args)
    assert (status, err) == (0, "")
    facts = json.loads(called(*args, "--json")[1])
    assert facts["settings"] == Settings(hidden_size=2, seeds=40, epochs=1500, learning_rate=2.0).model_dump()
    solved = facts["rates"]["solved"]
    assert 0 < solved["low"] < solved["rate"] == solved["count"] / 40 < solved["high"] < 1
    assert sum(facts["families"].values()) == 40
    assert any(line.split()[:2] == ["solved", str(solved["count"])] for line in out.splitlines())


def test_networks_that_diverge_are_counted() -> None:
    """An infinite median loss is null in JSON."""
    args = ["train", "--learning-rate", "1e308", "--init-scale", "1e300", "--seeds", "5", "--epochs", "10"]
    facts = json.loads(called(*args, "--json")[1])
    assert facts["diverged"] == 5
    assert facts["loss_median"] is None
    assert "diverged" in called(*args)[1]


def test_train_writes_every_network(tmp_path: Path) -> None:
    """In the same form as a run of a sweep."""
    from nnexp.recovery.networks_table import read_networks

    assert called("train", "--seeds", "7", "--epochs", "20", "--output", "networks.parquet")[0] == 0
    assert read_networks(tmp_path / "networks.parquet").num_rows == 7


def weights(path: Path, **changes: object) -> Path:
    """The hand-designed network as a file of weights."""
    facts = json.loads(called("reference", "--json")[1])["sigmoid"]
    given = {key: facts[key] for key in ("W1", "b1", "W2", "b2")}
    path.write_text(json.dumps({**given, "activation": "sigmoid", **changes}))
    return path


def test_training_from_the_reference_keeps_it(tmp_path: Path) -> None:
    """`--initial` reads the weights and the activation from the file."""
    file = str(weights(tmp_path / "reference.json"))
    facts = json.loads(called("train", "--initial", file, "--epochs", "5", "--json")[1])
    assert facts["settings"]["activation"] == "sigmoid"
    assert (facts["networks"], facts["settings"]["hidden_size"]) == (1, 2)
    assert facts["rates"]["recovered"]["count"] == 1
    status, _, err = called("train", "--initial", file, "--hidden-size", "3")
    assert status == 2
    assert "2 hidden units" in err


def test_predict_computes_the_truth_table(tmp_path: Path) -> None:
    """From options and from a CSV file with a header."""
    file = str(weights(tmp_path / "reference.json"))
    (tmp_path / "inputs.csv").write_text("x1,x2\n1,0\n1,1\n")
    status, out, err = called("predict", "--model", file, "--x", "0,0", "--x", "0,1", "--csv", "inputs.csv", "--json")
    assert (status, err) == (0, "")
    facts = json.loads(out)
    assert [line["x"] for line in facts["predictions"]] == [[0, 0], [0, 1], [1, 0], [1, 1]]
    assert [line["answer"] for line in facts["predictions"]] == [1, 0, 0, 1]
    assert "probability of 1" in called("predict", "--model", file, "--x", "0,0")[1]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"b1": [1.0]}, "b1: shape [1], expected [2]"),
        ({"W1": [[1, 2], [3]]}, "W1: expected numbers"),
        ({"W2": ["a", "b"]}, "W2: expected numbers"),
        ({"b2": float("nan")}, "b2: expected finite"),
        ({"activation": "relu"}, "activation = 'relu'"),
        ({"activation": None}, "activation: missing; expected tanh or sigmoid"),
    ],
)
def test_a_wrong_file_of_weights_is_named(tmp_path: Path, changes: dict[str, object], words: str) -> None:
    """By the file, the key and what was expected."""
    file = str(weights(tmp_path / "reference.json", **changes))
    status, _, err = called("predict", "--model", file, "--x", "0,1")
    assert status == 2
    assert words in err
    assert "reference.json" in err


def test_a_constant_network_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    """Where no hidden unit depends on the inputs, the output is a constant."""
    constant = Network(np.zeros((1, 2, 2)), np.ones((1, 2)), np.zeros((1, 2)), [-1.0], activation="tanh")
    print_network(explain_network(constant, "xnor"))
    shown = capsys.readouterr().out
    assert "output = constant 0" in shown
    assert "2 of 4" in shown


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"\xff\xfe,1\n", "can't decode byte"), (b"1" * 200_000 + b",1\n", "field larger than field limit")],
)
@pytest.mark.parametrize("table", ["inputs.csv", "-"])
def test_an_unreadable_csv_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, words: str, table: str
) -> None:
    """From a file or from stdin."""
    (tmp_path / "inputs.csv").write_bytes(content)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content), encoding="utf-8"))
    status, out, err = called("predict", "--model", str(weights(tmp_path / "reference.json")), "--csv", table)
    assert (status, out) == (2, "")
    assert err.startswith(f"nnexp: error: --csv {'stdin' if table == '-' else table}: cannot be read (")
    assert words in err
    assert err.count("\n") == 1


def test_delivering_from_an_empty_spool_does_not_say_sound() -> None:
    """The message is only that the spool is empty, since the stores were not compared."""
    for args, words in (
        ((), "is empty: nothing to deliver"),
        (("typo",), "has no trials of 'typo': nothing to deliver"),
    ):
        status, out, err = called("doctor", *args, "--deliver")
        assert (status, out) == (0, "")
        assert "nnexp-spool" in err
        assert words in err
        assert "sound" not in err
    assert called("doctor", "--deliver", "--json")[1] == "[]\n"


def test_the_help_says_that_a_stop_lets_trials_finish() -> None:
    """Only a signal hands trials back; after `nnexp stop` and at a deadline the trials in training are finished."""
    for name in ("stop", "worker"):
        assert "hand back" not in called(name, "--help")[1].lower()
    assert "claim nothing more" in " ".join(called("worker", "--help")[1].lower().split())


def test_completion_is_printed_for_each_shell() -> None:
    """The shell then completes the commands."""
    for shell in ("bash", "zsh", "fish"):
        assert "nnexp" in called("completion", shell)[1]
    offered = program(env={"_NNEXP_COMPLETE": "bash_complete", "COMP_WORDS": "nnexp su", "COMP_CWORD": "1"})
    assert {"plain,summarize", "plain,submit"} == set(offered.stdout.split())


class Terminal(io.StringIO):
    """A stream in memory that claims to be a terminal."""

    def isatty(self) -> bool:
        """Always true."""
        return True


def test_progress_is_plain_lines_at_intervals_without_a_terminal() -> None:
    """The first state, at most one line per five seconds, and always the last state."""
    now, stream = [0.0], io.StringIO()
    with Display(stream, lambda: now[0]) as display:
        for done in range(11):
            now[0] = done * 2.0
            display(Progress(done, 10, 1234.5, best=0.25, failed=done // 9))
    lines = stream.getvalue().splitlines()
    assert [line.split(",")[0] for line in lines] == [f"nnexp: {n}/10 trials" for n in (0, 3, 6, 9, 10)]
    assert lines[1] == "nnexp: 3/10 trials, about 14 s left, 1,234 networks/s, best recovery_rate 0.25"
    assert lines[-1].endswith("1 failed")


def test_the_time_left_does_not_count_trials_of_an_earlier_start() -> None:
    """A sweep that continues at 90 of 100 trials is measured from there."""
    now = [0.0]
    display = Display(io.StringIO(), lambda: now[0])
    display(Progress(90, 100))
    assert display.seconds_left(Progress(90, 100)) is None
    now[0] = 10.0
    assert display.seconds_left(Progress(95, 100)) == pytest.approx(10.0)


def test_progress_on_a_terminal_is_a_bar_with_the_state_of_the_sweep() -> None:
    """The percentage, the trials, the rate, the best value, and why the sweep waits."""
    stream = Terminal()
    with Display(stream) as display:
        display(Progress(1, 4, 100.0, best=0.5, waiting_for_tracking=True, spool=3))
    shown = " ".join(stream.getvalue().split())  # regardless of where the line is wrapped
    for words in (
        "25%",
        "1/4 trials",
        "100 networks/s",
        "0.5",
        "3 waiting in the spool",
        "training waits for tracking",
    ):
        assert words in shown


def test_durations_have_at_most_two_units() -> None:
    """Seconds, minutes and seconds, or hours and minutes."""
    assert [format_duration(s) for s in (0.4, 59.6, 90, 3600 * 25 + 60)] == [
        "0 s",
        "1 min 0 s",
        "1 min 30 s",
        "25 h 1 min",
    ]
