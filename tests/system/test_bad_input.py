"""More than 2,000 wrong sweep files and command lines: exit status 2, one line that names the error, no file."""

from __future__ import annotations

import io
import json
import os
import random
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import pytest

from nnexp.cli import MODULES, nnexp
from nnexp.search.space import KINDS
from nnexp.search.sweep_file import Sweep, starter
from tests.helpers import sampling
from tests.helpers.command_line import STORES, Ended, called, program
from tests.helpers.sampling import sample

SEED = 20240229
STARTER = starter()
PLAIN = """\
name = "bad"
task = "xnor"
trials = 12
seeds = 64
epochs = 100
seed = 0
sampler = "tpe"
pruner = "none"
objective = "recovery_rate"
stop = "none"
dtype = "float64"
batch = 4
lease = 30

[space]
hidden_size = { low = 2, high = 8 }
learning_rate = { low = 1e-3, high = 10.0, log = true }
init = ["glorot_uniform", "normal"]
init_scale = 1.0
momentum = 0.5
activation = "tanh"
loss = ["cross_entropy", "mse"]
encoding = "binary"
"""
WHOLE = ["trials", "seeds", "epochs", "seed", "batch"]
WORDS = ["task", "sampler", "pruner", "objective", "stop", "dtype"]


@dataclass(frozen=True)
class Case:
    """A command line and a text that its error must contain; ``text`` is the content of the sweep file, if any."""

    args: tuple[str, ...]
    names: str
    text: bytes | None = None


def file_case(text: str | bytes, names: str) -> Case:
    """The case of a wrong sweep file."""
    return Case(("sweep", "bad.toml"), names, text.encode() if isinstance(text, str) else text)


def with_value(key: str, literal: str) -> str:
    """The plain file with ``key = literal`` in place of its own value."""
    return "\n".join(f"{key} = {literal}" if line.split(" =")[0] == key else line for line in PLAIN.splitlines()) + "\n"


def word(rng: random.Random) -> str:
    """A word that is not a name of anything."""
    return "".join(rng.choices("abcdefghijklmnopqrstuvwxyz_", k=rng.randint(3, 12))) + "q"


def typo(rng: random.Random, name: str, known: set[str]) -> str:
    """A word close to ``name`` that is not in ``known``; the dashes of an option are kept."""
    while True:
        at = rng.randrange(3 if name.startswith("--") else 1, len(name) + 1)
        changed = rng.choice(
            [name[:at] + name[at + 1 :], name[:at] + name[at - 1] + name[at:], name + rng.choice("sxz")]
        )
        if changed not in known:
            return changed


def wrong_types(rng: random.Random) -> list[str]:
    """TOML values of types that no key accepts."""
    date = f"20{rng.randint(10, 99)}-0{rng.randint(1, 9)}-1{rng.randint(0, 9)}"
    return [
        "true",
        "false",
        date,
        f"{date}T07:32:00Z",
        "[]",
        "[[1], [2]]",
        "{}",
        f"{{ {word(rng)} = 1 }}",
        '""',
        "nan",
        "inf",
    ]


def wrong_whole(rng: random.Random) -> list[str]:
    """TOML values that are not positive whole numbers."""
    return [
        str(-rng.randint(1, 10**6)),
        str(10 ** rng.randint(20, 300)),
        f"{rng.uniform(0, 99):.3f}",
        f'"{rng.randint(1, 99)}"',
        f'"{word(rng)}"',
        "-inf",
    ]


def wrong_real(rng: random.Random, least: float) -> list[str]:
    """TOML values that are not finite numbers above ``least``."""
    return [repr(least - 10 ** rng.uniform(-9, 9)), f'"{rng.random()}"', "-inf", "-nan", "1" + "0" * 400]


def bad_values(rng: random.Random) -> Iterator[Case]:
    """Each key of the file with a value of the wrong type, out of range or unknown."""
    for key in WHOLE:
        for literal in wrong_whole(rng) + wrong_types(rng):
            yield file_case(with_value(key, literal), key)
    for key in WORDS:
        for literal in [f'"{word(rng)}"', str(rng.randint(2, 99)), f"{rng.random()}", *wrong_types(rng)]:
            yield file_case(with_value(key, literal), key)
    for literal in wrong_real(rng, 0.0) + wrong_types(rng):
        yield file_case(with_value("lease", literal), "lease")
    for name in ["", " ", "a b", "../up", "-x", ".x", "é", "x" * 65, "a\\nb", "a/b", word(rng) + "*"]:
        yield file_case(with_value("name", f'"{name}"'), "name")
    for literal in [str(rng.randint(0, 9)), *(w for w in wrong_types(rng) if w != '""')]:
        yield file_case(with_value("name", literal), "name")


def bad_space(rng: random.Random) -> Iterator[Case]:
    """Each key of [space] with a wrong value, list or range."""
    for key, kind in KINDS.items():
        literals = wrong_types(rng)
        if kind is str:
            literals += [f'"{word(rng)}"', f'["{word(rng)}"]', "3", "{ low = 1, high = 2 }", "[1, 2]"]
        else:
            singles = [*wrong_whole(rng), "0"] if kind is int else wrong_real(rng, 0.0)
            low, high = (rng.randint(2, 9), rng.randint(10, 99)) if kind is int else (rng.uniform(0.1, 0.4), 0.5)
            literals += singles + [f"[{single}]" for single in singles]
            literals += [f"{{ low = {single}, high = {high} }}" for single in singles]
            literals += [f"{{ low = {low}, high = {single} }}" for single in singles]
            literals += [
                f"{{ low = {high}, high = {low} }}",
                f"{{ low = {low} }}",
                f"{{ high = {high} }}",
                f'{{ low = {low}, high = {high}, log = "{word(rng)}" }}',
                f"{{ low = {low}, high = {high}, log = 1 }}",
                f"{{ low = {low}, high = {high}, {word(rng)} = true }}",
                f"{{ low = [{low}], high = {high} }}",
                f"[{low}, {low}]",
            ]
        for literal in literals:
            yield file_case(with_value(key, literal), f"space.{key}")


def bad_keys(rng: random.Random) -> Iterator[Case]:
    """Keys that are misspelt, missing or in the wrong place."""
    known = {*Sweep.model_fields, *KINDS}
    lines = PLAIN.splitlines()
    for at, line in enumerate(lines):
        if " = " not in line:
            continue
        key, _, value = line.partition(" = ")
        for _ in range(6):
            wrong = typo(rng, key, known)
            yield file_case("\n".join([*lines[:at], f"{wrong} = {value}", *lines[at + 1 :]]), wrong)
        other = [f"{key} = {value}", *lines] if key in KINDS else [*lines, f"{key} = {value}"]
        yield file_case("\n".join(other), key)
    for _ in range(40):
        key = word(rng)
        yield file_case(f"{key} = 1\n" + PLAIN, key)
        yield file_case(PLAIN + f"{key} = 1\n", f"space.{key}")
        yield file_case(PLAIN + f"[{key}]\nx = 1\n", key)
    yield file_case(PLAIN.replace('name = "bad"\n', ""), "name")
    yield file_case(PLAIN.split("[space]")[0], "space")
    yield file_case("", "name")


def bad_together(rng: random.Random) -> Iterator[Case]:
    """Values that contradict each other."""
    for pruner in ("median", "asha"):
        text = with_value("pruner", f'"{pruner}"').replace('"recovery_rate"', '["recovery_rate", "loss"]')
        yield file_case(text, "pruner")
    yield file_case(with_value("sampler", '"grid"'), "space.hidden_size")
    grid = with_value("sampler", '"grid"').replace("{ low = 2, high = 8 }", "[2, 3]")
    grid = grid.replace("{ low = 1e-3, high = 10.0, log = true }", "0.5")
    for trials in [7, 9, *(rng.randint(10, 10**6) for _ in range(8))]:
        yield file_case(grid.replace("trials = 12", f"trials = {trials}"), "trials")
    for task in ("and", "or", "nand", "nor", "majority:3", "majority:5"):
        for metric in ("recovery_rate", "contains_rate", "mirror_rate", "reference_distance_median"):
            text = PLAIN.replace('"xnor"', f'"{task}"').replace('"recovery_rate"', f'"{metric}"')
            yield file_case(text, "objective")
    for directions in ('"up"', '["maximize", "minimize"]', "3", '["max"]', "[]"):
        yield file_case(f"directions = {directions}\n" + PLAIN, "directions")
    for seeds in (
        "{ min = 1 }",
        "{ min = 9, max = 3, width = 0.1 }",
        "{ min = 1, max = 3, width = 2 }",
        '{ min = "a" }',
    ):
        yield file_case(with_value("seeds", seeds), "seeds.")
    for task in ("parity", "parity:1", "parity:11", "parity:x", "majority:4", "parity:03", "majority:", "xnor:2"):
        yield file_case(with_value("task", f'"{task}"'), "task")


def bad_tables(rng: random.Random) -> Iterator[Case]:
    """[task] tables that are not truth tables."""
    rows, targets = [[0, 0], [0, 1], [1, 0], [1, 1]], [1, 0, 0, 1]
    good = {"W1": [[20, 20], [-20, -20]], "b1": [-30, 10], "W2": [20, 20], "b2": -10}
    tables: list[tuple[dict[str, object], str]] = [
        ({"inputs": rows}, "task.targets"),
        ({"targets": targets}, "task.inputs"),
        ({"inputs": rows, "targets": targets[:3]}, "task.targets"),
        ({"inputs": rows, "targets": [1, 1, 1, 1]}, "task.targets"),
        ({"inputs": [*rows, [0, 1]], "targets": [*targets, 1]}, "task.inputs[4]"),
        ({"inputs": [], "targets": []}, "task.inputs"),
        ({"inputs": rows, "targets": targets, "reference": {**good, "b2": 10}}, "task.reference"),
        ({"inputs": rows, "targets": targets, "reference": {**good, "b1": [1]}}, "task.reference"),
        ({"inputs": rows, "targets": targets, "reference": {"W1": [[1, 1]]}}, "task.reference"),
    ]
    for _ in range(40):
        row, column = rng.randrange(4), rng.randrange(2)
        changed = [list(r) for r in rows]
        changed[row][column] = rng.choice([2, -1, 7])
        tables.append(({"inputs": changed, "targets": targets}, f"task.inputs[{row}]"))
        ragged = [r[: 1 + (i != row)] for i, r in enumerate(rows)]
        tables.append(({"inputs": ragged, "targets": targets}, "task.inputs["))
        key = word(rng)
        tables.append(({"inputs": rows, "targets": targets, key: 1}, f"task.{key}"))
    head = PLAIN.replace('task = "xnor"\n', "")
    for table, names in tables:
        lines = [f"{key} = {inline(value)}" for key, value in table.items()]
        yield file_case("\n".join([head, "[task]", *lines]), names)


def inline(value: object) -> str:
    """A value as TOML has it in one line."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {inline(item)}" for key, item in value.items()) + " }"
    return json.dumps(value)


def bad_syntax(rng: random.Random) -> Iterator[Case]:
    """Files with characters removed or inserted so that they are not TOML, and files that are not UTF-8."""
    found = 0
    while found < 300:
        at = rng.randrange(len(STARTER))
        inserted = rng.choice(['"', "[", "]", "{", "=", "'", "\x00", "= =", '"""', "\\"])
        text = rng.choice([STARTER[:at], STARTER[:at] + inserted + STARTER[at:], STARTER[:at] + STARTER[at + 1 :]])
        try:
            tomllib.loads(text)
        except tomllib.TOMLDecodeError:
            found += 1
            yield file_case(text, "line ")
    for _ in range(60):
        at = rng.randrange(len(PLAIN))
        yield file_case(PLAIN[:at].encode() + bytes([rng.randint(0xF8, 0xFF)]) + PLAIN[at:].encode(), "UTF-8")
    for text in ("x = " + "[" * 5000, "trials = " + "9" * 5000):
        yield file_case(text, "not valid TOML")


def bad_overrides(rng: random.Random) -> Iterator[Case]:
    """Wrong values in ``--set``, with a valid file."""
    for key in WHOLE:
        for literal in wrong_whole(rng):
            yield Case(("sweep", "bad.toml", "--set", f"{key}={literal}"), key, PLAIN.encode())
    for key, kind in KINDS.items():
        for literal in [word(rng), "[]"] + ([] if kind is str else ["nan", '"x"', f"{{ low = {rng.random()} }}"]):
            yield Case(("sweep", "bad.toml", "--set", f"space.{key}={literal}"), f"space.{key}", PLAIN.encode())
    for _ in range(60):
        key = word(rng)
        yield Case(("submit", "bad.toml", "--set", f"{key}=1"), key, PLAIN.encode())
        yield Case(("sweep", "bad.toml", "--set", key), "--set", PLAIN.encode())
        yield Case(("sweep", "bad.toml", "--dry-run", "--name", key + "/" + key), "name", PLAIN.encode())
        yield Case(("sweep", "bad.toml", "--set", f"trials=[{key}"), "--set", PLAIN.encode())
    for args in ("sweep", "submit"):
        for _ in range(10):
            missing = word(rng) + ".toml"
            yield Case((args, missing), missing)
        yield Case((args, "."), "directory")


def arguments(cmd: click.Command) -> list[str]:
    """One word for each argument that a command requires."""
    return [{"file": "new.toml", "shell": "bash"}.get(str(p.name), "some") for p in cmd.params if _required(p)]


def _required(param: click.Parameter) -> bool:
    return isinstance(param, click.Argument) and param.required


def bad_lines(rng: random.Random) -> Iterator[Case]:
    """For each command: unknown options, missing and wrong values of options, too few and too many arguments."""
    context = click.Context(nnexp)
    for name in MODULES:
        cmd = nnexp.get_command(context, name)
        assert cmd is not None
        given = [name, *arguments(cmd)]
        options = [param for param in cmd.params if isinstance(param, click.Option)]
        known = {opt for option in options for opt in option.opts} | {"--help"}
        for option in options:
            long = max(option.opts, key=len)
            for _ in range(2):
                wrong = typo(rng, long, known)
                yield Case((*given, wrong), wrong)
            if option.is_flag:
                yield Case((*given, f"{long}={word(rng)}"), long)
                continue
            yield Case((*given, long), long)
            for value in wrong_option_values(rng, option):
                yield Case((*given, f"{long}={value}"), long)
        for _ in range(6):
            unknown = "--" + word(rng)
            yield Case((*given, unknown), unknown)
            extra = word(rng)
            optional = [extra] * sum(isinstance(p, click.Argument) and not p.required for p in cmd.params)
            yield Case((*given, *optional, extra), extra)
        needed = [param for param in cmd.params if _required(param)]
        for number, param in enumerate(needed):
            yield Case(tuple(given[: 1 + number]), str(param.name).upper())
    for _ in range(150):
        yield Case((wrong := typo(rng, rng.choice(list(MODULES)), set(MODULES)),), wrong)
        yield Case((unknown := "--" + word(rng), rng.choice(list(MODULES))), unknown)


def wrong_option_values(rng: random.Random, option: click.Option) -> list[str]:
    """Texts that an option of this type does not accept."""
    if isinstance(option.type, click.IntRange):
        return [word(rng), f"{rng.uniform(0, 9):.2f}", "-5", "1e3", ""]
    if isinstance(option.type, click.FloatRange):
        return [word(rng), "-5", ""]
    if isinstance(option.type, click.types.IntParamType | click.types.FloatParamType):
        return [word(rng), "1,5", ""]
    if isinstance(option.type, click.Choice):
        return [word(rng), "", "None"]
    if isinstance(option.type, click.Path):
        return ["/"] if option.type.file_okay else [__file__]
    if option.name == "pool":
        return [word(rng), "processes:0", "processes:x", "dask", "dask://", "processes:-1", "inline:2", ""]
    return []


def bad_settings(rng: random.Random) -> Iterator[Case]:
    """`train` with values of the right type but out of range, and `predict` with inputs that are not numbers."""
    values = {
        "hidden_size": ["0", "-3", "1025"],
        "learning_rate": ["0", "-1", "nan", "inf"],
        "init_scale": ["0", "-0.5", "nan", "-inf"],
        "momentum": ["1", "-0.1", "nan"],
        "epochs": ["0", "-7", "10000001"],
        "seeds": ["0", "-1"],
        "seed": ["-1", str(2**63)],
        "task": [word(rng), "parity:1", "{", "[]", "xnor "],
    }
    for key, wrong in values.items():
        for value in wrong:
            yield Case(("train", f"--{key.replace('_', '-')}={value}"), key)
    for _ in range(20):
        yield Case(("predict", "--model", "weights.json", "--x", word(rng)), "--x")
        yield Case(("reference", "--task", task := word(rng)), task)
    for points in (["0,1", "0"], ["nan,1"], ["inf,0"], [""], ["0;1"], ["0,,1"]):
        yield Case(("predict", "--model", "weights.json", *(f"--x={point}" for point in points)), "--x")
    yield Case(("predict", "--model", "weights.json"), "--x")
    yield Case(("predict", "--model", "none.json", "--x", "0,1"), "none.json")
    yield Case(("delete", "some"), "--yes")


GENERATORS: list[Callable[[random.Random], Iterator[Case]]] = [
    bad_values,
    bad_space,
    bad_keys,
    bad_together,
    bad_tables,
    bad_syntax,
    bad_overrides,
    bad_lines,
    bad_settings,
]


def cases(generator: Callable[[random.Random], Iterator[Case]]) -> list[Case]:
    """The cases of a generator: the same in each run, without repetitions."""
    return list(dict.fromkeys(generator(random.Random(SEED))))  # noqa: S311  no secret


def assert_rejected(case: Case, ended: Ended, directory: Path, before: set[str]) -> None:
    """What holds for every wrong input."""
    status, out, err = ended
    seen = f"{case}\n→ status {status}\nstdout: {out[:300]}\nstderr: {err[:900]}"
    assert status == 2, seen
    assert out == "", seen
    assert err.startswith("nnexp: error: "), seen
    assert err.count("\n") == 1, seen
    assert len(err) < 900, seen
    assert "Traceback" not in err, seen
    assert case.names in err, seen
    assert set(os.listdir(directory)) == before, seen


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, without variables that choose stores and without a terminal."""
    for variable in STORES:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr("sys.stdin", io.StringIO())
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("generator", GENERATORS, ids=lambda generator: generator.__name__)
def test_bad_input_is_named_and_nothing_is_written(
    generator: Callable[[random.Random], Iterator[Case]], workplace: Path
) -> None:
    """Exit status 2, an empty stdout, one line on stderr that names the offending key or option, no file.

    The gate takes a sample of each generator's cases.
    """
    for case in sample(cases(generator), 60, generator.__name__):
        if case.text is not None:
            (workplace / "bad.toml").write_bytes(case.text)
        before = set(os.listdir(workplace))
        assert_rejected(case, called(*case.args), workplace, before)


def test_there_are_at_least_two_thousand() -> None:
    """Different cases."""
    assert len({case for generator in GENERATORS for case in cases(generator)}) >= 2000


def test_a_sample_of_them_as_real_programs(workplace: Path) -> None:
    """In new processes, with their own exit status and streams."""
    everything = [case for generator in GENERATORS for case in cases(generator)]
    for case in sampling.generator("real programs").sample(everything, 24 if sampling.LONG else 4):
        if case.text is not None:
            (workplace / "bad.toml").write_bytes(case.text)
        before = set(os.listdir(workplace))
        done = program(*case.args)
        assert_rejected(case, Ended(done.returncode, done.stdout, done.stderr), workplace, before)
