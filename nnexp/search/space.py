"""The search space of a sweep: the values that each setting may take.

In a sweep file a dimension is a range (a table of ``low``, ``high`` and ``log``), a list of values, or one value.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from nnexp.errors import UsageError, nearest
from nnexp.network.settings import Activation, Encoding, Initializer, Loss, Settings

Value = int | float | str


@dataclass(frozen=True)
class IntRange:
    """Whole numbers from ``low`` to ``high``, both included; with ``log`` their logarithm is drawn uniformly."""

    low: int
    high: int
    log: bool = False


@dataclass(frozen=True)
class FloatRange:
    """Numbers from ``low`` to ``high``; with ``log`` their logarithm is drawn uniformly."""

    low: float
    high: float
    log: bool = False


@dataclass(frozen=True)
class Choice:
    """One of ``values``, which are distinct; there is at least one."""

    values: tuple[Value, ...]


@dataclass(frozen=True)
class Fixed:
    """Always ``value``; the setting is not searched."""

    value: Value


Dimension = IntRange | FloatRange | Choice | Fixed

#: The keys of [space] in the order in which a sampler draws them: another order changes what is drawn.
KINDS: dict[str, type[int] | type[float] | type[str]] = {
    "hidden_size": int,
    "learning_rate": float,
    "init": str,
    "init_scale": float,
    "momentum": float,
    "activation": str,
    "loss": str,
    "encoding": str,
}
_WORDS: dict[str, tuple[str, ...]] = {
    "init": get_args(Initializer),
    "activation": get_args(Activation),
    "loss": get_args(Loss),
    "encoding": get_args(Encoding),
}
_RANGE_KEYS: tuple[Literal["low", "high", "log"], ...] = ("low", "high", "log")


def default(key: str) -> Fixed:
    """The dimension of a setting that a sweep file does not name."""
    return Fixed(Settings.model_fields[key].default)


def dimension(key: str, given: object) -> Dimension:
    """The dimension that ``given`` (a range, a list or a value) describes for ``space.key``.

    Raises:
        UsageError: naming ``space.key``, the value found and what was expected.
    """
    if key not in KINDS:
        raise UsageError(f"space.{key}: unknown key{nearest(key, KINDS)}")
    if isinstance(given, IntRange | FloatRange):
        given = {"low": given.low, "high": given.high, "log": given.log}
    elif isinstance(given, Choice):
        given = given.values
    elif isinstance(given, Fixed):
        given = given.value
    if isinstance(given, Mapping):
        return _range(key, given)
    if isinstance(given, list | tuple):
        return _choice(key, given)
    return Fixed(_checked(f"space.{key}", key, given))


def _checked(name: str, key: str, value: Any) -> Value:
    """``value`` as `Settings` accepts it for ``key``; an error calls it ``name``."""
    if isinstance(value, Mapping | list | tuple):
        raise UsageError(f"{name} = {value!r}: expected a single value")
    try:
        checked: Value = getattr(Settings(**{key: value}), key)
    except UsageError as error:
        raise UsageError(name + str(error).removeprefix(key)) from None
    return checked


def _choice(key: str, values: list[Any] | tuple[Any, ...]) -> Choice:
    if not values:
        raise UsageError(f"space.{key} = []: expected at least one value")
    checked = tuple(_checked(f"space.{key}", key, value) for value in values)
    for i, value in enumerate(checked):
        if value in checked[:i]:
            raise UsageError(f"space.{key}: {value!r} is listed twice; list each value once")
    return Choice(checked)


def _range(key: str, table: Mapping[str, Any]) -> IntRange | FloatRange:
    name = f"space.{key}"
    for part in table:
        if part not in _RANGE_KEYS:
            raise UsageError(f"{name}.{part}: unknown key{nearest(part, _RANGE_KEYS)}")
    if key in _WORDS:
        raise UsageError(f"{name}: expected a list of words or one word, not a range (known: {', '.join(_WORDS[key])})")
    for part in ("low", "high"):
        if part not in table:
            raise UsageError(f"{name}.{part}: missing; a range needs low and high")
    log = table.get("log", False)
    if not isinstance(log, bool):
        raise UsageError(f"{name}.log = {log!r}: expected true or false")
    low, high = (_checked(f"{name}.{part}", key, table[part]) for part in ("low", "high"))
    assert not isinstance(low, str)  # noqa: S101  settings that are words were rejected above
    assert not isinstance(high, str)  # noqa: S101
    if low > high:
        raise UsageError(f"{name}.low = {low!r}: expected at most high, which is {high!r}")
    if log and low <= 0:
        raise UsageError(f"{name}.low = {low!r}: expected more than 0, since log = true")
    if KINDS[key] is int:
        return IntRange(int(low), int(high), log)
    return FloatRange(float(low), float(high), log)


def plain(dim: Dimension) -> Any:
    """The dimension in the form of a sweep file: a table, a list or a value."""
    if isinstance(dim, Choice):
        return list(dim.values)
    if isinstance(dim, Fixed):
        return dim.value
    return {"low": dim.low, "high": dim.high, "log": dim.log}
