"""The logic of a network in words: what each hidden unit computes, and how the output combines them.

All results are JSON values; numbers that are not finite are None. A unit is "on" (its bit is 1) at a sample where its
value on the scale of tanh is positive (a sigmoid unit: above ½).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnexp.errors import UsageError
from nnexp.network import reference, tasks
from nnexp.network.model import WEIGHTS, Array, Network, encode, hidden, logits, losses, sigmoid
from nnexp.network.network_file import plain
from nnexp.network.settings import ACTIVATIONS
from nnexp.network.tasks import Task
from nnexp.recovery.grades import assess, columns
from nnexp.recovery.matching import SATURATED

Bits = NDArray[np.bool_]

#: The output gate is found from all sign patterns of up to this many hidden units; of more, from those that occur.
MAX_GATE_INPUTS = 12
THRESHOLD = "threshold"
CONSTANT = ("constant 0", "constant 1")


@dataclass(frozen=True)
class Gate:
    """A Boolean function in words.

    Attributes:
        name: "AND", "NOR", "x1 and not x2", "at least 2 of 3", "constant 0", ...; "threshold" where no short name fits.
        formula: the same in terms of its variables where that is short, such as "not x1 and not x2" for NOR.
    """

    name: str
    formula: str


def name_gate(bits: Sequence[bool] | Bits, points: Sequence[Sequence[int]] | Bits, names: Sequence[str]) -> Gate:
    """The name of a Boolean function.

    Args:
        bits: its value at each of P points.
        points: (P, V) the values of its V variables; if these are not all 2^V points, the name is valid on these only.
        names: the names of the variables.
    """
    f, x = np.asarray(bits, dtype=bool), np.asarray(points, dtype=bool)
    if not f.any() or f.all():
        constant = CONSTANT[int(f.all())]
        return Gate(constant, constant)
    for joint, target in (("and", f), ("or", ~f)):  # a disjunction is the negation of a conjunction of negations
        literals = _conjunction(target, x)
        if literals is not None:
            signs = {j: positive == (joint == "and") for j, positive in literals.items()}
            formula = f" {joint} ".join(names[j] if positive else f"not {names[j]}" for j, positive in signs.items())
            return Gate(_short(joint, signs, len(names)) or formula, formula)
    return _counting(f, x, names) or Gate(THRESHOLD, f"a threshold of {', '.join(names)}")


def _conjunction(f: Bits, x: Bits) -> dict[int, bool] | None:
    """The fewest literals {variable: its value} whose conjunction is f; None if f is no conjunction."""
    on = x[f]
    constant = {j: bool(on[0, j]) for j in range(x.shape[1]) if (on[:, j] == on[0, j]).all()}

    def holds(literals: dict[int, bool]) -> Bits:
        return (
            np.logical_and.reduce([x[:, j] == value for j, value in literals.items()]) if literals else x[:, 0] | True
        )

    if (holds(constant) != f).any():
        return None
    for j in list(constant):
        fewer = {i: value for i, value in constant.items() if i != j}
        if (holds(fewer) == f).all():
            constant = fewer
    return constant


def _short(joint: str, signs: dict[int, bool], n_variables: int) -> str | None:
    """AND, NOR, OR or NAND if all variables occur, and all or none of them are negated."""
    if n_variables < 2 or len(signs) < n_variables or len(set(signs.values())) > 1:
        return None
    positive = next(iter(signs.values()))
    return {("and", True): "AND", ("and", False): "NOR", ("or", True): "OR", ("or", False): "NAND"}[joint, positive]


def _counting(f: Bits, x: Bits, names: Sequence[str]) -> Gate | None:
    """The name of a function of how many variables are 1."""
    ones, n = x.sum(axis=1), len(names)
    for k in range(n + 1):
        for words, holds in ((f"at least {k} of {n}", ones >= k), (f"at most {k} of {n}", ones <= k)):
            if (f == holds).all():
                return Gate(words, f"{words} ({', '.join(names)})")
    for odd, pair, words in ((1, "XOR", "an odd number"), (0, "XNOR", "an even number")):
        if (f == (ones % 2 == odd)).all():
            if n == 2:
                return Gate(pair, f" {pair.lower()} ".join(names))
            return Gate(f"{words} of {n}", f"{words} of {n} ({', '.join(names)})")
    return None


def explain_network(network: Network, task: Task | str) -> dict[str, Any]:
    """How one network solves, or does not solve, its task.

    Args:
        network: R = 1.
        task: the task that it was trained on.

    Returns:
        ``hidden``: a list with each unit's ``gate`` and ``formula`` (of x1, x2, ...), its ``bits`` over the rows,
        whether it is ``saturated``, its weights, and which unit of the reference or the mirror it ``matches``.
        ``output``: the gate (of a1, a2, ...) for hidden units that are fully on or off, and whether it ``explains``
        all answers. ``rows``: each sample with hidden bits, logit, probability and answer. ``loss``,
        ``rows_right``, and ``grades``.

    Raises:
        UsageError: not one network, or one of another shape than the task needs.
    """
    table = tasks.get(task) if isinstance(task, str) else task
    if len(network) != 1:
        raise UsageError(
            f"network: {len(network)} networks, expected 1 to explain; choose one with network.select([i])"
        )
    p = network.astype(np.float64)
    grades = assess(p, table)
    X, Y = encode(table, p.encoding)
    A = hidden(p, X)
    h = (A if p.activation == "tanh" else 2 * A - 1)[0]
    Z2 = logits(p, A)
    answers = Z2[0] > 0
    output = _output_gate(p, h > 0)
    output["explains"] = bool((output.pop("answers") == answers).all())
    return {
        "task": table.spec,
        "activation": p.activation,
        "encoding": p.encoding,
        "hidden": _hidden_units(p, table, h, _designs(table)),
        "output": output,
        "rows": _rows(table, h > 0, A[0], Z2[0]),
        "rows_right": int(((2 * Y - 1) * Z2[0] > 0).sum()),
        "loss": plain(losses(Z2, Y, "cross_entropy")[0]),
        "grades": {key: plain(values[0]) for key, values in columns(grades).items()},
    }


def explain_reference(task: Task | str = "xnor") -> dict[str, Any]:
    """The hand-designed network of a task with sigmoid and with tanh units, and its sigmoid weights used in tanh units.

    Returns:
        ``rows``: the logic table of the source text: x1, x2, ..., a1, a2, ..., and the network's output and its target.
        ``hidden`` and ``output``: the gates. ``sigmoid`` and ``tanh``: weights, outputs and cost in both.
        ``literal_tanh``: the sigmoid form's weights in tanh units: logits, rows right and ``why``.

    Raises:
        UsageError: the task has no reference.
    """
    table = tasks.get(task) if isinstance(task, str) else task
    designed = reference.reference(table, "sigmoid")
    explained = explain_network(designed, table)
    forms: dict[str, Any] = {form: _form(reference.reference(table, form), table) for form in ACTIVATIONS}
    return {
        "task": table.spec,
        "inputs": [f"x{j + 1}" for j in range(table.n_inputs)],
        "units": [unit["name"] for unit in explained["hidden"]],
        "hidden": [{key: unit[key] for key in ("name", "gate", "formula", "bits")} for unit in explained["hidden"]],
        "output": explained["output"],
        "rows": explained["rows"],
        **forms,
        "literal_tanh": _literal_tanh(designed, table),
    }


def _form(p: Network, task: Task) -> dict[str, Any]:
    X, Y = encode(task, p.encoding)
    A = hidden(p, X)
    Z2 = logits(p, A)
    return {
        **_weights(p),
        "hidden": plain(A[0]),
        "logits": plain(Z2[0]),
        "outputs": plain(sigmoid(Z2)[0]),
        "loss": plain(losses(Z2, Y, "cross_entropy")[0]),
        "rows_right": int(((2 * Y - 1) * Z2[0] > 0).sum()),
    }


def _literal_tanh(designed: Network, task: Task) -> dict[str, Any]:
    """The designed weights used as the source text prints them, with tanh hidden units and y = tanh(z2)."""
    form = _form(replace(designed, activation="tanh"), task)
    z2, right, m = form["logits"], form["rows_right"], task.n_samples
    shown = ", ".join(f"{z:.4g}" for z in z2)
    if right == m:
        why = "a unit that is off is -1 with tanh, but 0 with sigmoid; these weights happen to work for both."
    else:
        constant = "" if len({z > 0 for z in z2}) > 1 else f": the answer is {int(z2[0] > 0)} for every row"
        why = (
            f"a unit that is off is -1 with tanh, but 0 with sigmoid, so it subtracts its weight instead of adding"
            f" nothing, and the output bias no longer fits: the logits are {shown}{constant}."
        )
    return {**form, "outputs": plain(np.tanh(np.array(z2))), "why": why}


def _designs(task: Task) -> dict[str, Bits]:
    """The bits of each hidden unit over the samples, (K, M) for the reference and (R K, M) for its R mirrors."""
    if not reference.has_reference(task):
        return {}
    found = {"reference": reference.reference(task, "tanh"), "mirror": reference.mirrors(task)}
    X, _ = encode(task, "binary")
    return {
        key: hidden(design, X).reshape(-1, task.n_samples) > 0 for key, design in found.items() if design is not None
    }


def _hidden_units(p: Network, task: Task, h: Array, designs: dict[str, Bits]) -> list[dict[str, Any]]:
    names = [f"x{j + 1}" for j in range(task.n_inputs)]
    units = []
    for k, values in enumerate(h):
        bits, saturated = values > 0, bool((np.abs(values) >= SATURATED).all())
        gate = name_gate(bits, task.inputs, names)
        units.append(
            {
                "name": f"a{k + 1}",
                "gate": gate.name,
                "formula": gate.formula,
                "bits": bits.astype(int).tolist(),
                "saturated": saturated,
                "values": plain(values),
                "weights": plain(p.W1[0, k]),
                "bias": plain(p.b1[0, k]),
                "output_weight": plain(p.W2[0, k]),
                "matches": _match(bits, designs, task) if saturated else None,
            }
        )
    return units


def _match(bits: Bits, designs: dict[str, Bits], task: Task) -> dict[str, Any] | None:
    """The first unit of the reference, or else of a mirror, with these bits up to a flip."""
    names = [f"x{j + 1}" for j in range(task.n_inputs)]
    for design, units in designs.items():
        same = np.flatnonzero((units == bits).all(axis=1) | (units != bits).all(axis=1))
        if same.size:
            unit = units[same[0]]
            gate = name_gate(unit, task.inputs, names).name
            return {"design": design, "unit": int(same[0]) + 1, "gate": gate, "flipped": bool((unit != bits).all())}
    return None


def _output_gate(p: Network, on: Bits) -> dict[str, Any]:
    """The output as a function of which hidden units are on (H, M), for units that are fully on or off.

    Units with the same bit at every sample are kept at it; they are not variables of the gate.
    """
    low = -1.0 if p.activation == "tanh" else 0.0

    def answers(patterns: Bits) -> Bits:
        """For P patterns of the H units, (P, H): whether the logit is positive."""
        positive: Bits = logits(p, np.where(patterns.T, 1.0, low)[None])[0] > 0
        return positive

    varying = np.flatnonzero((on != on[:, :1]).any(axis=1))
    names = [f"a{k + 1}" for k in varying]
    if len(varying) <= MAX_GATE_INPUTS:
        points = np.array(list(itertools.product((False, True), repeat=len(varying))), dtype=bool)
        points = points.reshape(2 ** len(varying), len(varying))
    else:
        points = np.unique(on[varying].T, axis=0)
    patterns = np.repeat(on[:, :1].T, len(points), axis=0)
    patterns[:, varying] = points
    gate = name_gate(answers(patterns), points, names)
    return {"gate": gate.name, "formula": gate.formula, "of": names, "bias": plain(p.b2[0]), "answers": answers(on.T)}


def _rows(task: Task, on: Bits, A: Array, z2: Array) -> list[dict[str, Any]]:
    """One row per sample: the bits x1, x2, ..., a1, a2, ..., output and target, and the values of units and output."""
    probabilities = sigmoid(z2)
    rows = []
    for i, (inputs, target) in enumerate(zip(task.inputs, task.targets, strict=True)):
        row: dict[str, Any] = {f"x{j + 1}": bit for j, bit in enumerate(inputs)}
        row |= {f"a{k + 1}": int(bit) for k, bit in enumerate(on[:, i])}
        row |= {
            "output": int(z2[i] > 0),
            "target": target,
            "hidden": plain(A[:, i]),
            "logit": plain(z2[i]),
            "probability": plain(probabilities[i]),
        }
        rows.append(row)
    return rows


def _weights(p: Network) -> dict[str, Any]:
    return {name: plain(array[0]) for name, array in zip(WEIGHTS, p.weights, strict=True)}
