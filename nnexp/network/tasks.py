"""Truth tables: what a network is trained on.

Axes: N inputs, M samples. Inputs are 0/1 here; `model.encode` converts them to a network's encoding.
"""

from __future__ import annotations

import functools
import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nnexp.errors import UsageError, nearest

#: A hand-designed network as a user writes it: W1 (K rows of N), b1 (K), W2 (K), b2; sigmoid hidden units, 0/1 inputs.
ReferenceWeights = tuple[tuple[tuple[float, ...], ...], tuple[float, ...], tuple[float, ...], float]

MAX_SAMPLES = 4096


@dataclass(frozen=True)
class Task:
    """A truth table.

    Attributes:
        spec: its name in `Settings.task`: a known name, or the table itself as compact JSON.
        inputs: M rows of N bits.
        targets: M bits.
        reference: the hand-designed network of a `[task]` table; those of known tasks are in `nnexp.network.reference`.
    """

    spec: str
    inputs: tuple[tuple[int, ...], ...]
    targets: tuple[int, ...]
    reference: ReferenceWeights | None = None

    @property
    def n_inputs(self) -> int:
        """N."""
        return len(self.inputs[0])

    @property
    def n_samples(self) -> int:
        """M."""
        return len(self.inputs)

    @property
    def is_custom(self) -> bool:
        """Whether it is a `[task]` table, not a known name."""
        return self.spec.startswith("{")


def _all_inputs(n: int) -> tuple[tuple[int, ...], ...]:
    return tuple(itertools.product((0, 1), repeat=n))


_TWO_INPUT: dict[str, Callable[[int, int], bool]] = {
    "xnor": lambda a, b: a == b,
    "xor": lambda a, b: a != b,
    "and": lambda a, b: bool(a and b),
    "or": lambda a, b: bool(a or b),
    "nand": lambda a, b: not (a and b),
    "nor": lambda a, b: not (a or b),
}
_N_INPUT: dict[str, Callable[[Sequence[int]], bool]] = {
    "parity": lambda row: sum(row) % 2 == 1,
    "majority": lambda row: 2 * sum(row) > len(row),
    "symmetry": lambda row: tuple(row) == tuple(reversed(row)),
}
NAMES = (*_TWO_INPUT, *(f"{name}:N" for name in _N_INPUT))


@functools.lru_cache(maxsize=256)
def get(spec: str) -> Task:
    """The task that ``spec`` names: a name, with 2 to 10 inputs as in ``parity:3``, or a table as JSON.

    Raises:
        UsageError: an unknown name, an N out of range, or a table that is not a truth table.
    """
    if spec.startswith("{"):
        try:
            table = json.loads(spec)
        except json.JSONDecodeError as error:
            raise UsageError(f"task = {spec[:60]!r}: not a table as JSON ({error.msg})") from None
        return from_table(table)
    if spec in _TWO_INPUT:
        rule = _TWO_INPUT[spec]
        inputs = _all_inputs(2)
        return Task(spec, inputs, tuple(int(rule(a, b)) for a, b in inputs))
    name, _, size = spec.partition(":")
    if name in _N_INPUT:
        if not size.isdecimal() or not 2 <= int(size) <= 10 or str(int(size)) != size:
            raise UsageError(f"task = {spec!r}: expected {name}:N with N a whole number from 2 to 10, such as {name}:3")
        if name == "majority" and int(size) % 2 == 0:
            raise UsageError(f"task = {spec!r}: majority needs an odd number of inputs, such as majority:3")
        inputs = _all_inputs(int(size))
        return Task(spec, inputs, tuple(int(_N_INPUT[name](row)) for row in inputs))
    raise UsageError(f"task = {spec!r}: unknown task{nearest(spec, NAMES)}")


def _bits(key: str, values: object) -> tuple[int, ...]:
    if not isinstance(values, list | tuple) or not values:
        raise UsageError(f"task.{key} = {values!r}: expected a non-empty list of 0 and 1")
    for value in values:
        if isinstance(value, bool | int | float) and value in (0, 1):
            continue
        raise UsageError(f"task.{key}: found {value!r}, expected 0 or 1")
    return tuple(int(value) for value in values)


def from_table(table: Mapping[str, Any]) -> Task:
    """A task from a `[task]` table: ``inputs``, ``targets``, and optionally ``reference`` (W1, b1, W2, b2).

    Raises:
        UsageError: unknown keys, rows of unequal length, values other than 0 and 1, duplicate rows, targets of another
            length or all equal, or a reference of a wrong shape (`reference` checks whether it solves the task).
    """
    for key in table:
        if key not in ("inputs", "targets", "reference"):
            raise UsageError(f"task.{key}: unknown key{nearest(key, ('inputs', 'targets', 'reference'))}")
    for key in ("inputs", "targets"):
        if key not in table:
            raise UsageError(f"task.{key}: missing; a [task] table needs inputs and targets")
    rows = table["inputs"]
    if not isinstance(rows, list | tuple) or not rows:
        raise UsageError(f"task.inputs = {rows!r}: expected a list of rows, such as [[0, 0], [0, 1]]")
    if len(rows) > MAX_SAMPLES:
        raise UsageError(f"task.inputs: {len(rows)} rows, expected at most {MAX_SAMPLES}")
    inputs = tuple(_bits(f"inputs[{i}]", row) for i, row in enumerate(rows))
    for i, row in enumerate(inputs):
        if len(row) != len(inputs[0]):
            raise UsageError(f"task.inputs[{i}]: {len(row)} values, expected {len(inputs[0])} as in the first row")
    targets = _bits("targets", table["targets"])
    if len(targets) != len(inputs):
        raise UsageError(f"task.targets: {len(targets)} values, expected {len(inputs)}, one for each row of inputs")
    first: dict[tuple[int, ...], int] = {}
    for i, (row, target) in enumerate(zip(inputs, targets, strict=True)):
        if row in first:
            j = first[row]
            clash = "different targets" if targets[j] != target else "the same target"
            raise UsageError(f"task.inputs[{i}]: the same row as inputs[{j}], with {clash}; give each row once")
        first[row] = i
    if len(set(targets)) == 1:
        raise UsageError(f"task.targets: all are {targets[0]}; a constant needs no network")
    reference = None
    if table.get("reference") is not None:
        reference = _reference(table["reference"], len(inputs[0]))
    plain: dict[str, Any] = {"inputs": inputs, "targets": targets}
    if reference is not None:
        plain["reference"] = dict(zip(("W1", "b1", "W2", "b2"), reference, strict=True))
    return Task(json.dumps(plain, separators=(",", ":")), inputs, targets, reference)


def _reference(given: object, n: int) -> ReferenceWeights:
    if not isinstance(given, Mapping) or set(given) != {"W1", "b1", "W2", "b2"}:
        raise UsageError("task.reference: expected a table with exactly W1, b1, W2 and b2")

    def numbers(key: str, values: object, length: int | None) -> tuple[float, ...]:
        ok = isinstance(values, list | tuple) and values and (length is None or len(values) == length)
        if not ok or not all(isinstance(v, int | float) and abs(v) < 1e6 for v in values):  # type: ignore[attr-defined]
            wanted = "a list of finite numbers" if length is None else f"{length} finite numbers"
            raise UsageError(f"task.reference.{key} = {values!r}: expected {wanted}")
        return tuple(float(v) for v in values)  # type: ignore[attr-defined]

    b1 = numbers("b1", given["b1"], None)
    W1 = given["W1"]
    if not isinstance(W1, list | tuple) or len(W1) != len(b1):
        raise UsageError(f"task.reference.W1: expected {len(b1)} rows of {n} numbers, one row for each entry of b1")
    rows = tuple(numbers(f"W1[{k}]", row, n) for k, row in enumerate(W1))
    (b2,) = numbers("b2", [given["b2"]], 1)
    return rows, b1, numbers("W2", given["W2"], len(b1)), b2
