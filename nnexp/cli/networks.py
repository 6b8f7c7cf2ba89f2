"""`reference`, `train` and `predict`: showing, training and applying networks without a sweep."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nnexp.cli.options import command, json_output, output, stores

if TYPE_CHECKING:
    from nnexp.network.settings import Activation, Encoding
    from nnexp.stores import Stores

#: Settings' fields as options: type, default as the help shows it, help. A test compares them with `Settings`.
SETTINGS: dict[str, tuple[click.ParamType[Any] | type, str, str]] = {
    "task": (str, "xnor", "xnor, xor, and, or, nand, nor, parity:N, majority:N, symmetry:N, or a table as JSON."),
    "hidden_size": (int, "4", "Hidden units."),
    "learning_rate": (float, "0.5", "Step size of gradient descent."),
    "init": (
        click.Choice(["glorot_uniform", "glorot_normal", "he_normal", "normal", "uniform", "orthogonal"]),
        "glorot_uniform",
        "Distribution of the initial weights.",
    ),
    "init_scale": (float, "1.0", "Factor of the initial weights."),
    "activation": (click.Choice(["tanh", "sigmoid"]), "tanh", "Activation function of the hidden units."),
    "loss": (click.Choice(["cross_entropy", "mse"]), "cross_entropy", "The cost function."),
    "momentum": (float, "0.0", "Classical momentum, from 0 to below 1."),
    "encoding": (click.Choice(["binary", "bipolar"]), "binary", "Inputs as 0/1 or as -1/+1."),
    "epochs": (int, "5000", "Greatest number of updates."),
    "stop": (click.Choice(["none", "correct", "solved", "confident"]), "none", "When a network stops training."),
    "dtype": (click.Choice(["float64", "float32"]), "float64", "Floating-point precision."),
    "seeds": (int, "1000", "Number of networks."),
    "seed": (int, "0", "Seed of the initial weights."),
}


def _setting_options(function: Callable[..., Any]) -> Callable[..., Any]:
    for name, (kind, default, text) in reversed(SETTINGS.items()):
        option = click.option("--" + name.replace("_", "-"), name, type=kind, show_default=default, help=text)
        function = option(function)
    return function


@command("nnexp reference", "nnexp reference --task xor --json")
@click.option("--task", default="xnor", show_default=True, help="xnor, xor, parity:3, or a table as JSON.")
@json_output
def reference(task: str, as_json: bool) -> None:
    """Show the hand-designed network.

    Shows its truth table with the values of the hidden units, its weights and cost, its exact equivalent with tanh
    hidden units, and the result of the original weights with tanh hidden units.
    """
    from nnexp.cli.explain import print_reference
    from nnexp.cli.output import print_json
    from nnexp.recovery.gates import explain_reference

    facts = explain_reference(task)
    if as_json:
        print_json(facts)
    else:
        print_reference(facts)


@command(
    "nnexp train --hidden-size 2 --seeds 1000",
    "nnexp train --task parity:3 --hidden-size 8 --learning-rate 2 --json",
)
@_setting_options
@click.option(
    "--initial",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Start from the weights in this JSON file (W1, b1, W2, b2).",
)
@output("every network with its grades (Parquet)")
@json_output
def train(initial: Path | None, output: Path | None, as_json: bool, **given: Any) -> None:
    """Train one setting from many seeds and grade the networks."""
    import time

    from nnexp.cli.output import print_json
    from nnexp.cli.train import choose_settings, describe_result, print_result, train_with_progress
    from nnexp.recovery.grades import assess

    settings, weights = choose_settings(given, initial)
    started = time.perf_counter()
    result = train_with_progress(settings, weights)
    seconds = time.perf_counter() - started
    grades = assess(result.network, settings.truth_table, settings.loss)
    if output:
        from nnexp import _atomic
        from nnexp.recovery import networks_table

        _atomic.write_with(output, lambda temporary: networks_table.write_networks(temporary, result, grades))
    facts = describe_result(result, grades, seconds)
    if as_json:
        print_json(facts)
    else:
        print_result(facts)


@command("nnexp predict --x 0,1 --x 1,1", "nnexp predict --model best_network.json --csv inputs.csv")
@click.option(
    "--model",
    default="models:/xnor@champion",
    show_default=True,
    metavar="SOURCE",
    help="A JSON file of weights, a run, or an MLflow model's URI.",
)
@click.option("--x", "points", multiple=True, metavar="X1,X2,…", help="One input, such as 0,1.  [repeatable]")
@click.option(
    "--csv",
    "table",
    type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
    metavar="FILE",
    help="Inputs from a CSV file, one per row (- for stdin); a header row is skipped.",
)
@click.option(
    "--activation", type=click.Choice(["tanh", "sigmoid"]), help="Activation, if the JSON file does not name it."
)
@click.option(
    "--encoding", type=click.Choice(["binary", "bipolar"]), help="Encoding, instead of the file's.  [default: binary]"
)
@stores
@json_output
def predict(
    model: str,
    points: tuple[str, ...],
    table: Path | None,
    activation: Activation | None,
    encoding: Encoding | None,
    stores: Stores,
    as_json: bool,
) -> None:
    """Compute the outputs of a network.

    Inputs are 0 and 1, regardless of the network's encoding.
    """
    from nnexp.cli.output import print_json
    from nnexp.cli.predict import load_network, predictions, print_predictions, read_inputs

    rows = read_inputs(points, table)
    facts = predictions(load_network(model, stores, activation, encoding), rows)
    if as_json:
        print_json(facts)
    else:
        print_predictions(facts)
