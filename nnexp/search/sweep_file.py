"""Sweep files: read, validated, frozen, and written back in one canonical form (floor 2)."""

from __future__ import annotations

import difflib
import errno
import json
import math
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from nnexp.errors import NnexpError, UsageError, nearest
from nnexp.network import tasks
from nnexp.network.reference import has_reference, mirrors
from nnexp.network.settings import DType, Settings, Stop, describe
from nnexp.search import space
from nnexp.search.space import Choice, Dimension, Fixed, FloatRange, IntRange

Sampler = Literal["tpe", "random", "qmc", "grid", "nsga2"]
Pruner = Literal["none", "median", "asha"]
Direction = Literal["maximize", "minimize"]

#: Final metrics (and so possible objectives) that only a task with a hand-designed reference has.
REFERENCE_METRICS = (
    "recovery_rate",
    "recovery_rate_low",
    "recovery_rate_high",
    "contains_rate",
    "mirror_rate",
    "needed_rate",
    "design_share_median",
    "reference_distance_median",
)
#: Metrics of every task; ``accuracy`` is called ``xnor_accuracy`` where the task is xnor.
COMMON_METRICS = (
    "solved_rate",
    "correct_rate",
    "confident_rate",
    "diverged_rate",
    "accuracy",
    "loss",
    "loss_median",
    "loss_p10",
    "loss_p90",
    "epochs_to_solve_median",
    "train_seconds",
)
_MINIMIZED = re.compile(r"loss|diverged|epochs|distance|seconds")
_MAX_BYTES = 4_000_000  # a 4,096-row task table of ten inputs is 150 kB


class AdaptiveSeeds(BaseModel):
    """Train ``min`` networks, then more in rounds, until recovery's interval is under ``width`` wide, or at ``max``."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    min: Annotated[int, Field(ge=1, le=10_000_000)]
    max: Annotated[int, Field(ge=1, le=10_000_000)]
    width: Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise UsageError(describe(error, tuple(type(self).model_fields), "seeds.")) from None
        if self.min > self.max:
            raise UsageError(f"seeds.min = {self.min}: expected at most seeds.max, which is {self.max}")


class Sweep(BaseModel):
    """A sweep: which settings to try, how often, and what to look for. Every field is a key of the sweep file.

    ``space`` holds all eight searchable settings in the order of `space.KINDS`; those that the file does not name
    are `Fixed` at `Settings`' defaults. ``task`` is a known name or a table as compact JSON (`tasks.get` reads both).

    Raises:
        UsageError: naming the key, its value and what was expected.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: Annotated[str, Field(max_length=64)]
    task: str = "xnor"
    trials: Annotated[int, Field(ge=1, le=1_000_000)] = 200
    seeds: Annotated[int, Field(ge=1, le=10_000_000)] | AdaptiveSeeds = 256
    epochs: Annotated[int, Field(ge=1, le=10_000_000)] = 5000
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    sampler: Sampler = "tpe"
    pruner: Pruner = "none"
    objective: tuple[str, ...]
    directions: tuple[Direction, ...]
    stop: Stop = "none"
    dtype: DType = "float64"
    batch: Annotated[int, Field(ge=1, le=10_000)] = 8
    lease: Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)] = 60.0
    space: dict[str, Dimension]

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise UsageError(describe(error, tuple(type(self).model_fields))) from None

    @model_validator(mode="before")
    @classmethod
    def _plain_to_fields(cls, values: Any) -> Any:
        """What a file may write in several ways becomes one form; what depends on other keys gets its default."""
        try:
            return _normalized(dict(values), tuple(cls.model_fields))
        except UsageError as error:
            raise ValueError(str(error)) from None

    @model_validator(mode="after")
    def _keys_agree(self) -> Sweep:
        if len(self.objective) > 1 and self.pruner != "none":
            raise ValueError(f'pruner = {self.pruner!r}: expected "none", since the objective is a list')
        if self.sampler == "grid":
            for key, dim in self.space.items():
                if isinstance(dim, IntRange | FloatRange):
                    raise ValueError(f'space.{key}: a range, but sampler = "grid" takes lists; list its values')
            if self.trials != self.grid_size:
                raise ValueError(f"trials = {self.trials}: expected {self.grid_size}, the number of points of the grid")
        return self

    @property
    def truth_table(self) -> tasks.Task:
        """The task itself."""
        return tasks.get(self.task)

    @property
    def searched(self) -> dict[str, IntRange | FloatRange | Choice]:
        """The dimensions that a sampler draws, in order."""
        return {key: dim for key, dim in self.space.items() if not isinstance(dim, Fixed)}

    @property
    def grid_size(self) -> int | None:
        """The number of points of the grid; None where a range makes them countless."""
        if any(isinstance(dim, IntRange | FloatRange) for dim in self.space.values()):
            return None
        return math.prod(len(dim.values) for dim in self.space.values() if isinstance(dim, Choice))

    def settings(self, params: Mapping[str, Any], seeds: int | None = None) -> Settings:
        """The setting with the searched values ``params``; ``seeds`` defaults to the file's (its first round's).

        Raises:
            UsageError: a searched value is missing, or one is given that is not searched.
        """
        if set(params) != set(self.searched):
            raise UsageError(f"params {sorted(params)}: expected exactly {sorted(self.searched)}")
        fixed: dict[str, Any] = {key: dim.value for key, dim in self.space.items() if isinstance(dim, Fixed)}
        if seeds is None:
            seeds = self.seeds if isinstance(self.seeds, int) else self.seeds.min
        same: dict[str, Any] = {key: getattr(self, key) for key in ("task", "epochs", "stop", "dtype", "seed")}
        return Settings(**same, **fixed, **params, seeds=seeds)

    def replace(self, **changes: Any) -> Sweep:
        """A copy with some fields changed, validated again."""
        return Sweep(**{**{key: getattr(self, key) for key in type(self).model_fields}, **changes})

    def plain(self) -> dict[str, Any]:
        """The sweep as a TOML document's values, every key given."""
        values = {key: getattr(self, key) for key in type(self).model_fields}
        task = self.truth_table
        values["task"] = json.loads(task.spec) if task.is_custom else task.spec
        values["seeds"] = self.seeds if isinstance(self.seeds, int) else self.seeds.model_dump()
        for key in ("objective", "directions"):
            values[key] = list(values[key]) if len(values[key]) > 1 else values[key][0]
        values["space"] = {key: space.plain(dim) for key, dim in self.space.items()}
        return values

    @property
    def text(self) -> str:
        """The canonical TOML of this sweep: `parse` of it gives an equal sweep."""
        values = self.plain()
        tables = {key: values.pop(key) for key in ("task", "space") if isinstance(values[key], dict)}
        lines = [f"{key} = {_toml(value)}" for key, value in values.items()]
        for name, table in tables.items():
            lines += ["", f"[{name}]", *(f"{key} = {_toml(value)}" for key, value in table.items())]
        return "\n".join(lines) + "\n"


def metrics(task: tasks.Task) -> tuple[str, ...]:
    """The final metrics that a sweep of ``task`` logs: what may be an objective.

    Raises:
        UsageError: the task's own reference does not solve it.
    """
    known: tuple[str, ...] = (*REFERENCE_METRICS, *COMMON_METRICS) if has_reference(task) else COMMON_METRICS
    if mirrors(task) is None:
        known = tuple(name for name in known if name != "mirror_rate")
    return tuple("xnor_accuracy" if name == "accuracy" and task.spec == "xnor" else name for name in known)


def _normalized(values: dict[str, Any], known: tuple[str, ...]) -> dict[str, Any]:
    for key in values:
        if key in space.KINDS:
            raise UsageError(f"{key}: belongs in [space]; write it below that line")
        if key not in known:
            raise UsageError(f"{key}: unknown key{nearest(key, known)}")
    if "name" not in values:
        raise UsageError('name: missing; a sweep needs a name, such as name = "xnor"')
    name = values["name"]
    if isinstance(name, str) and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name):
        raise UsageError(f"name = {name[:80]!r}: expected 1 to 64 of A-Z a-z 0-9 . _ -, a letter or digit first")
    task = _task(values.get("task", "xnor"))
    values["task"] = task.spec
    if isinstance(values.get("seeds"), Mapping):
        values["seeds"] = AdaptiveSeeds(**{str(key): value for key, value in values["seeds"].items()})
    elif "seeds" in values and not isinstance(values["seeds"], AdaptiveSeeds):
        # Checked here, since a union's own error would name its members rather than the key.
        try:
            Settings(seeds=values["seeds"])
        except UsageError as error:
            raise UsageError(f"{error}, or a table of min, max and width") from None
    values["objective"], values["directions"] = _objectives(values, task)
    values["space"] = _space(values.get("space"))
    if "trials" not in values and values.get("sampler") == "grid":
        sizes = (len(dim.values) for dim in values["space"].values() if isinstance(dim, Choice))
        values["trials"] = math.prod(sizes)
    return values


def _task(given: object) -> tasks.Task:
    if isinstance(given, tasks.Task):
        return given
    if isinstance(given, Mapping):
        return tasks.from_table(given)
    if not isinstance(given, str):
        raise UsageError(f"task = {given!r}: expected a name ({', '.join(tasks.NAMES)}) or a [task] table")
    return tasks.get(given)


def _names(key: str, given: object) -> tuple[str, ...]:
    names = (given,) if isinstance(given, str) else given
    if not isinstance(names, list | tuple) or not names or not all(isinstance(name, str) for name in names):
        raise UsageError(f"{key} = {given!r}: expected a name or a list of names")
    return tuple(names)


def _objectives(values: Mapping[str, Any], task: tasks.Task) -> tuple[tuple[str, ...], tuple[Any, ...]]:
    """``objective`` and ``directions`` as tuples of equal length, defaults filled in."""
    known = metrics(task)
    default = known[0]
    objective = _names("objective", values.get("objective", default))
    for i, name in enumerate(objective):
        if name in REFERENCE_METRICS and name not in known:
            lacks = "mirror" if has_reference(task) else "hand-designed reference"
            raise UsageError(f"objective = {name!r}: task {task.spec[:40]!r} has no {lacks}; use {default}")
        if name not in known:
            raise UsageError(f"objective = {name!r}: unknown metric{nearest(name, known)}")
        if name in objective[:i]:
            raise UsageError(f"objective: {name!r} is listed twice")
    if "directions" not in values:
        return objective, tuple("minimize" if _MINIMIZED.search(name) else "maximize" for name in objective)
    directions = _names("directions", values["directions"])
    for word in directions:
        if word not in get_args(Direction):
            raise UsageError(f"directions = {word!r}: expected maximize or minimize{_near(word, get_args(Direction))}")
    if len(directions) != len(objective):
        raise UsageError(f"directions: {len(directions)} given, expected {len(objective)}, one for each objective")
    return objective, directions


def _space(given: object) -> dict[str, Dimension]:
    if given is None or given == {}:
        raise UsageError("space: missing; name at least one setting below a line [space], such as hidden_size = [2, 4]")
    if not isinstance(given, Mapping):
        raise UsageError(f"space = {given!r}: expected a table, [space]")
    for key in given:
        if key in Sweep.model_fields:
            raise UsageError(f"space.{key}: belongs at the top of the file; write it above the line [space]")
    dims = {key: space.dimension(key, value) for key, value in given.items()}
    return {key: dims.get(key, space.default(key)) for key in space.KINDS}


def _near(word: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def load(path: str | Path, overrides: Sequence[str] = ()) -> Sweep:
    """The sweep of the file at ``path``, with ``key=value`` overrides put over it.

    Raises:
        UsageError: the file cannot be read or is no valid sweep; the message starts with the file's name.
        NnexpError: this process may open no more files.
    """
    return parse(_read(path), str(path), overrides)


def parse(text: str, source: str = "sweep", overrides: Sequence[str] = ()) -> Sweep:
    """The sweep of a TOML ``text``; ``source`` names it in errors.

    Raises:
        UsageError: not TOML (with line and column), or no valid sweep (with the key).
    """
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{source}: not valid TOML: {_placed(str(error), text)}") from None
    except (RecursionError, ValueError) as error:  # nested too deep, or a number of more than 4,300 digits
        reason = "nested too deep" if isinstance(error, RecursionError) else "a number has too many digits"
        raise UsageError(f"{source}: not valid TOML: {reason}") from None
    for override in overrides:
        _override(values, override)
    try:
        return Sweep(**values)
    except UsageError as error:
        raise UsageError(f"{source}: {error}") from None


def _placed(message: str, text: str) -> str:
    """A TOML error's message with line and column even where the parser says "at end of document"."""
    lines = text.splitlines() or [""]
    return message.replace("(at end of document)", f"(at line {len(lines)}, column {len(lines[-1]) + 1}, the end)")


def _read(path: str | Path) -> str:
    try:
        with Path(path).open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file; `nnexp new {path}` writes a commented starter") from None
    except IsADirectoryError:
        raise UsageError(f"{path}: a directory, expected a sweep file (TOML)") from None
    except (OSError, ValueError) as error:
        if getattr(error, "errno", None) in (errno.EMFILE, errno.ENFILE):  # not the file's fault
            raise NnexpError(f"{path}: Too many open files; raise the limit (ulimit -n)") from None
        raise UsageError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from None
    if len(data) > _MAX_BYTES:
        raise UsageError(f"{path}: more than {_MAX_BYTES:,} bytes; expected a sweep file (TOML)")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UsageError(f"{path}: not UTF-8 text (line {line}, byte {error.start}); save it as UTF-8") from None


def _override(values: dict[str, Any], override: str) -> None:
    """Put one ``key=value`` (dotted key, TOML value or a bare word) over ``values``, in place."""
    key, equals, written = override.partition("=")
    parts = [part.strip() for part in key.split(".")]
    if not equals or not all(parts):
        raise UsageError(f"--set {override}: expected key=value, such as --set trials=20")
    table = values
    for depth, part in enumerate(parts[:-1], 1):
        inner = table.setdefault(part, {})
        if not isinstance(inner, dict):
            raise UsageError(f"--set {override}: {'.'.join(parts[:depth])} is {inner!r} in the file, not a table")
        table = inner
    table[parts[-1]] = _value(override, written.strip())


def _value(override: str, written: str) -> Any:
    try:
        parsed = tomllib.loads(f"value = {written}")
    except (tomllib.TOMLDecodeError, RecursionError, ValueError):
        if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.:-]*", written):
            return written
        if re.fullmatch(r"[+-]?(\d+\.|\.\d+)([eE][+-]?\d+)?", written):
            return float(written)  # .5 and 5. are no TOML, yet what people type
        raise UsageError(f"--set {override}: {written!r} is not a TOML value (a number, a word, a list)") from None
    if len(parsed) != 1:
        raise UsageError(f"--set {override}: expected one value")
    return parsed["value"]


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items()) + " }"
    return repr(value)


def differing_keys(a: Sweep, b: Sweep) -> list[str]:
    """The keys (``trials``, ``space.init``, ``seeds.max`` …) in which two sweeps differ, in the file's order."""
    one, other = a.plain(), b.plain()
    keys: list[str] = []
    for key in one:
        if one[key] == other[key]:
            continue
        if key in ("space", "seeds") and isinstance(one[key], dict) and isinstance(other[key], dict):
            keys += [f"{key}.{part}" for part in one[key] if one[key][part] != other[key][part]]
        else:
            keys.append(key)
    return keys


STARTER = """\
# A sweep: which settings make gradient descent rediscover the hand-designed network?
# Run it with `nnexp sweep FILE`; `nnexp sweep FILE --dry-run` shows the plan first.

name   = "xnor"               # the sweep's name in both stores; a changed file needs a new one
task   = "xnor"               # xnor, xor, and, or, nand, nor, parity:N, majority:N, or a [task] table (see the end)
trials = 100                  # settings to try
seeds  = 256                  # networks trained for each; or { min = 64, max = 4096, width = 0.04 } until sure enough
epochs = 2000                 # updates of full-batch gradient descent
seed   = 0                    # the same file with the same seed draws the same networks

sampler   = "tpe"             # tpe, random, qmc, grid (lists only; trials = their product), nsga2
pruner    = "none"            # none, median, asha: stop hopeless settings early ("none" where the objective is a list)
objective = "recovery_rate"   # any final metric; a list, such as ["recovery_rate", "loss"], gives a Pareto front
# directions = ["maximize", "minimize"]   # for a list, or against the metric's own direction
stop      = "none"            # none, correct, solved, confident: when a network stops training
dtype     = "float64"         # float64, float32
batch     = 8                 # trials asked at once
lease     = 60                # seconds after which the trials of a silent worker are given to another

[space]                       # a range, a list, or one value; what is not named keeps its default
hidden_size   = { low = 2, high = 8 }
learning_rate = { low = 1e-3, high = 10.0, log = true }
init          = ["glorot_uniform", "glorot_normal", "he_normal", "normal", "uniform", "orthogonal"]
init_scale    = { low = 0.01, high = 5.0, log = true }
# momentum   = 0.9
# activation = ["tanh", "sigmoid"]
# loss       = "cross_entropy"          # or "mse"
# encoding   = "binary"                 # inputs 0 and 1, or "bipolar": -1 and +1

# A task of your own, instead of `task = ...` above:
# [task]
# inputs  = [[0, 0], [0, 1], [1, 0], [1, 1]]
# targets = [1, 0, 0, 1]
# reference = { W1 = [[20, 20], [-20, -20]], b1 = [-30, 10], W2 = [20, 20], b2 = -10 }   # optional, for sigmoid units
"""
