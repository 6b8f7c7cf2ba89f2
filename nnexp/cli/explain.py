"""Printing the explanation of a network: the bodies of `nnexp reference` and `nnexp show`."""

from __future__ import annotations

from typing import Any

import click

from nnexp.cli.output import format_value, print_pairs, print_prose, print_table


def print_reference(facts: dict[str, Any]) -> None:
    """Print `gates.explain_reference`."""
    units = {unit["name"]: f"{unit['name']} = {unit['formula']}" for unit in facts["hidden"]}
    output = f"output = {facts['output']['formula']}"
    print_table(
        [*facts["inputs"], *units.values(), output, "network's output"],
        [[*_bits(row, [*facts["inputs"], *units, "output"]), f"{row['probability']:.6f}"] for row in facts["rows"]],
        f"The hand-designed network for {_task(facts)}",
    )
    count = len(facts["rows"])
    for form, title in (
        ("sigmoid", "As designed: sigmoid hidden units"),
        ("tanh", "Its exact equivalent with tanh hidden units"),
        ("literal_tanh", "The weights as designed, used with tanh hidden units"),
    ):
        found = facts[form]
        click.echo()
        print_prose(title)
        print_pairs(
            [
                *((f"  {key}", _numbers(found[key])) for key in ("W1", "b1", "W2", "b2")),
                ("  logits", _numbers(found["logits"])),
                ("  cost", f"{found['loss']:.4g}, {found['rows_right']} of {count} rows right"),
            ]
        )
    print_prose(f"  {facts['literal_tanh']['why']}")


def print_network(facts: dict[str, Any]) -> None:
    """Print `gates.explain_network`, below the title if ``facts`` has one."""
    if facts.get("title"):
        print_prose(facts["title"])
        click.echo()
    columns = ["unit", "gate", "weights", "bias", "to the output", "matches"]
    rows = []
    for unit in facts["hidden"]:
        gate = unit["formula"] if unit["saturated"] else f"{unit['formula']} (not saturated)"
        line = [f"{unit['name']}", gate, _numbers(unit["weights"]), _number(unit["bias"])]
        rows.append([*line, _number(unit["output_weight"]), _match(unit["matches"])])
    print_table(columns, rows, f"Hidden units ({facts['activation']}), task {_task(facts)}")
    output, count = facts["output"], len(facts["rows"])
    print_prose(f"output = {output['formula']}" + ("" if output["explains"] else "  (does not explain all answers)"))
    click.echo()
    names = [key for key in facts["rows"][0] if key not in ("output", "target", "hidden", "logit", "probability")]
    print_table(
        [*names, "output", "target", "probability"],
        [[*_bits(row, [*names, "output", "target"]), _number(row["probability"])] for row in facts["rows"]],
    )
    grades = ", ".join(
        f"{key} {format_value(value)}" for key, value in facts["grades"].items() if value not in (None, "")
    )
    print_pairs(
        [("cost", _number(facts["loss"])), ("rows right", f"{facts['rows_right']} of {count}"), ("grades", grades)]
    )


def _task(facts: dict[str, Any]) -> str:
    return "the given table" if facts["task"].startswith("{") else str(facts["task"])


def _bits(row: dict[str, Any], names: list[str]) -> list[str]:
    return [str(row[name]) for name in names]


def _match(found: dict[str, Any] | None) -> str:
    if found is None:
        return "–"
    flipped = ", negated" if found["flipped"] else ""
    return f"{found['gate']} of the {'hand-designed' if found['design'] == 'reference' else 'mirror'} network{flipped}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def _numbers(values: Any) -> str:
    if isinstance(values, list):
        return "[" + ", ".join(map(_numbers, values)) + "]"
    return _number(values)
