"""Sweep files: reading, checking, and writing in canonical form."""

from __future__ import annotations

import errno
import json
import math
import re
import tomllib
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ModelWrapValidatorHandler, ValidationError, model_validator

from nnexp.errors import NnexpError, UsageError, nearest
from nnexp.network import tasks
from nnexp.network.reference import has_reference
from nnexp.network.settings import DType, Settings, Stop, describe
from nnexp.search import space
from nnexp.search.metrics import REFERENCE_METRICS, Direction, metric_directions
from nnexp.search.seeds import AdaptiveSeeds, RaceTable
from nnexp.search.space import Choice, Dimension, Fixed, FloatRange, IntRange

Sampler = Literal["tpe", "random", "qmc", "grid", "nsga2"]
Pruner = Literal["none", "median", "asha", "race"]

_MAX_BYTES = 4_000_000  # the largest task table, 4,096 rows of ten inputs, takes 150 kB


class Sweep(BaseModel):
    """A sweep: which settings to try, with how many networks each, and by which metric to judge them.

    Every field is a key of the sweep file. ``task`` is a known name or a table as compact JSON: `tasks.get` reads both.
    ``objective`` and ``directions`` have the same length. ``space`` holds all eight searchable settings in the order of
    `space.KINDS`; those that the file does not name are `Fixed` at the defaults of `Settings`. ``race`` is None unless
    ``pruner`` is "race".

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
    objective: tuple[str, ...] = ()  # empty: the first of the task's `metric_directions`
    directions: tuple[Direction, ...] = ()  # empty: each metric's own
    stop: Stop = "none"
    dtype: DType = "float64"
    batch: Annotated[int, Field(ge=1, le=10_000)] = 8
    lease: Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)] = 60.0
    race: RaceTable | None = None
    space: dict[str, Dimension]

    @model_validator(mode="wrap")
    @classmethod
    def _checked(cls, values: Any, handler: ModelWrapValidatorHandler[Sweep]) -> Sweep:
        """Normalize the values, then check each key, then the keys that depend on each other."""
        try:
            sweep = handler(_normalized(dict(values), tuple(cls.model_fields)))
        except ValidationError as error:
            raise UsageError(describe(error, tuple(cls.model_fields))) from None
        if len(sweep.objective) > 1 and sweep.pruner != "none":
            raise UsageError(f'pruner = {sweep.pruner!r}: expected "none", since the objective is a list')
        if sweep.race is not None:
            _check_race(sweep)
        if sweep.sampler == "grid":
            for key, dim in sweep.space.items():
                if isinstance(dim, IntRange | FloatRange):
                    raise UsageError(f'space.{key}: a range, but sampler = "grid" takes lists; list its values')
            if sweep.trials != sweep.grid_size:
                raise UsageError(
                    f"trials = {sweep.trials}: expected {sweep.grid_size}, the number of points of the grid"
                )
        return sweep

    @property
    def truth_table(self) -> tasks.Task:
        """The task that ``task`` names."""
        return tasks.get(self.task)

    @property
    def searched(self) -> dict[str, IntRange | FloatRange | Choice]:
        """The dimensions that a sampler draws from, in their order."""
        return {key: dim for key, dim in self.space.items() if not isinstance(dim, Fixed)}

    @property
    def grid_size(self) -> int | None:
        """The number of points of the grid; None where the space contains a range."""
        if any(isinstance(dim, IntRange | FloatRange) for dim in self.space.values()):
            return None
        return math.prod(len(dim.values) for dim in self.space.values() if isinstance(dim, Choice))

    @property
    def first_seeds(self) -> int:
        """The networks that every setting gets: ``seeds``, or those of the first round of adaptive seeds or a race."""
        if isinstance(self.seeds, AdaptiveSeeds):
            return self.seeds.min
        return self.seeds if self.race is None else min(self.race.start, self.seeds)

    def settings(self, params: Mapping[str, Any], seeds: int | None = None) -> Settings:
        """The setting with the searched values ``params``.

        ``seeds`` defaults to `first_seeds`.

        Raises:
            UsageError: ``params`` lacks a searched key, or has one that is not searched.
        """
        if set(params) != set(self.searched):
            raise UsageError(f"params {sorted(params)}: expected exactly {sorted(self.searched)}")
        fixed: dict[str, Any] = {key: dim.value for key, dim in self.space.items() if isinstance(dim, Fixed)}
        if seeds is None:
            seeds = self.first_seeds
        same: dict[str, Any] = {key: getattr(self, key) for key in ("task", "epochs", "stop", "dtype", "seed")}
        return Settings(**same, **fixed, **params, seeds=seeds)

    def replace(self, **changes: Any) -> Sweep:
        """A copy with some fields changed, validated again."""
        return Sweep(**{**{key: getattr(self, key) for key in type(self).model_fields}, **changes})

    def plain(self) -> dict[str, Any]:
        """All keys with their values, as types of TOML; without ``race`` where there is none."""
        values = {key: getattr(self, key) for key in type(self).model_fields}
        del values["race"]
        task = self.truth_table
        values["task"] = json.loads(task.spec) if task.is_custom else task.spec
        values["seeds"] = self.seeds if isinstance(self.seeds, int) else self.seeds.model_dump()
        for key in ("objective", "directions"):
            values[key] = list(values[key]) if len(values[key]) > 1 else values[key][0]
        if self.race is not None:
            values["race"] = self.race.model_dump()
        values["space"] = {key: space.plain(dim) for key, dim in self.space.items()}
        return values

    @property
    def text(self) -> str:
        """The canonical TOML of this sweep: `parse` of it gives an equal sweep."""
        values = self.plain()
        tables = {key: values.pop(key) for key in ("task", "race", "space") if isinstance(values.get(key), dict)}
        lines = [f"{key} = {_toml(value)}" for key, value in values.items()]
        for name, table in tables.items():
            lines += ["", f"[{name}]", *(f"{key} = {_toml(value)}" for key, value in table.items())]
        return "\n".join(lines) + "\n"


def _check_race(sweep: Sweep) -> None:
    """Check the keys on which a race depends."""
    if sweep.pruner != "race":
        raise UsageError(f'race: a table that pruner = {sweep.pruner!r} does not use; write pruner = "race"')
    if not isinstance(sweep.seeds, int):
        raise UsageError('seeds: a table, but pruner = "race" takes a whole number, the most networks of one setting')
    name, direction = sweep.objective[0], sweep.directions[0]
    if not name.endswith("_rate") or direction != "maximize":
        raise UsageError(
            f'objective = {name!r}, {direction}d: pruner = "race" takes a rate of networks to maximize, such as '
            f"{next(iter(metric_directions(sweep.truth_table)))}"
        )


def _normalized(values: dict[str, Any], known: tuple[str, ...]) -> dict[str, Any]:
    """The values in one form, whichever of the allowed forms the file uses, and the defaults that depend on them."""
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
        # Checked here: pydantic's error for a union names the members of the union, not the key.
        try:
            Settings(seeds=values["seeds"])
        except UsageError as error:
            raise UsageError(f"{error}, or a table of min, max and width") from None
    if isinstance(values.get("race"), Mapping):
        values["race"] = RaceTable(**{str(key): value for key, value in values["race"].items()})
    elif values.get("race") is None and values.get("pruner") == "race":
        values["race"] = RaceTable()
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
    """``objective`` and ``directions`` as tuples of equal length, with their defaults."""
    known = metric_directions(task)
    default = next(iter(known))
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
        return objective, tuple(known[name] for name in objective)
    directions = _names("directions", values["directions"])
    for word in directions:
        if word not in get_args(Direction):
            raise UsageError(f"directions = {word!r}: expected maximize or minimize")
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


def starter() -> str:
    """The commented sweep file that `nnexp new` writes."""
    return resources.files(__package__).joinpath("starter.toml").read_text(encoding="utf-8")


def load(path: str | Path, overrides: Sequence[str] = ()) -> Sweep:
    """Read the sweep file at ``path``; each ``key=value`` of ``overrides`` replaces a value of the file.

    Raises:
        UsageError: the file cannot be read or is not a valid sweep; the message starts with the file's name.
        NnexpError: this process has reached its limit of open files.
    """
    return parse(_read(path), str(path), overrides)


def parse(text: str, source: str = "sweep", overrides: Sequence[str] = ()) -> Sweep:
    """Read a sweep from TOML ``text``; ``source`` names the text in errors.

    Raises:
        UsageError: the text is not TOML (with line and column), or not a valid sweep (with the key).
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
    """The message of a TOML error, with line and column instead of "at end of document"."""
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
        if getattr(error, "errno", None) in (errno.EMFILE, errno.ENFILE):  # a limit of the process, not a wrong file
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
    """Set one ``key=value`` in ``values``, in place. The key may be dotted; the value is TOML or a bare word."""
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
            return float(written)  # people type .5 and 5., which TOML does not allow
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
    """The keys in which two sweeps differ (``trials``, ``space.init``, ``seeds.max`` …), in the order of the file."""
    one, other = a.plain(), b.plain()
    keys: list[str] = []
    for key in Sweep.model_fields:
        if one.get(key) == other.get(key):
            continue
        if key in ("space", "seeds", "race") and isinstance(one.get(key), dict) and isinstance(other.get(key), dict):
            keys += [f"{key}.{part}" for part in one[key] if one[key][part] != other[key][part]]
        else:
            keys.append(key)
    return keys
