"""`status`, `summarize`, `report`, `compare`, `show` and `export`: reading the stores, printing or writing results."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from nnexp.cli.options import command, json_output, output, stores

if TYPE_CHECKING:
    from nnexp.stores import Stores


@command("nnexp status", "nnexp status xnor --json")
@click.argument("name", required=False)
@stores
@json_output
def status(name: str | None, stores: Stores, as_json: bool) -> None:
    """Show the sweeps, their progress and their workers."""
    from nnexp.cli.output import print_json, print_records
    from nnexp.runner.status import status

    found = status(stores, name)
    if as_json:
        print_json(found)
        return
    sweeps = [
        {
            "sweep": sweep.name,
            "state": sweep.state,
            "trials": f"{sweep.finished}/{sweep.budget}",
            "failed": sweep.failed,
            "running": sweep.running,
            "workers": len(sweep.workers),
            "best": "–" if sweep.best is None else f"{sweep.objective} {sweep.best:.4g}",
        }
        for sweep in found
    ]
    print_records(sweeps, "Sweeps" if sweeps else "No sweeps in this store")
    workers = [{"sweep": sweep.name, **worker} for sweep in found for worker in sweep.workers]
    if workers:
        print_records(workers, "Workers")


@command("nnexp summarize xnor", "nnexp summarize xnor --format csv > xnor.csv")
@click.argument("name")
@click.option(
    "--format",
    "style",
    type=click.Choice(["table", "markdown", "csv", "json"]),
    default="table",
    show_default=True,
    help="What to print.",
)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option("--top", type=click.IntRange(min=1), default=10, show_default=True, help="Settings in the table.")
@output("the summary (in the format of the ending .txt, .md, .csv, .json or .parquet), and print nothing,")
@stores
def summarize(name: str, style: str, as_json: bool, top: int, output: Path | None, stores: Stores) -> None:
    """Show which settings recover the hand-designed network.

    Every rate is printed with its confidence interval.
    """
    from nnexp.analysis import formats, results
    from nnexp.cli.output import printable, terminal_width

    summary = results.summarize(name, stores)
    if output:
        formats.write(summary, output)
        return
    style = "json" if as_json else style
    if style == "table":
        text = formats.to_text(summary, top, terminal_width())
    elif style == "markdown":
        text = formats.to_markdown(summary, top)
    else:
        text = (formats.to_csv if style == "csv" else formats.to_json)(summary)
    click.echo(printable(text), nl=False)


@command("nnexp report xnor", "nnexp report xnor --output xnor.html")
@click.argument("name")
@output("the report as one HTML file (NAME-report.html by default),")
@click.option("--no-log", is_flag=True, help="Do not log it to the sweep's MLflow run.")
@stores
def report(name: str, output: Path | None, no_log: bool, stores: Stores) -> None:
    """Write the report with its figures as one HTML file."""
    from nnexp.analysis import results

    page = output or Path(f"{name}-report.html")
    results.report(name, stores, page, log=not no_log)
    click.echo(page)


@command("nnexp compare xnor xnor-bipolar")
@click.argument("first")
@click.argument("second")
@stores
@json_output
def compare(first: str, second: str, stores: Stores, as_json: bool) -> None:
    """Compare two sweeps or two runs."""
    from nnexp.analysis import results
    from nnexp.cli.output import print_json, print_prose, print_records

    found = results.compare(first, second, stores)
    if as_json:
        print_json(found.plain())
        return
    for line in found.answer:
        print_prose(line)
    for title, rows in found.tables().items():
        click.echo()
        print_records(rows, title)


@command("nnexp show 4f0c2b7e9d1a4c55a5e8f1d2b3c4d5e6", "nnexp show xnor#12 --json")
@click.argument("run")
@click.option("--network", type=click.IntRange(min=0), help="Index of the network in the run.  [default: the best]")
@stores
@json_output
def show(run: str, network: int | None, stores: Stores, as_json: bool) -> None:
    """Explain how a run's network solves its task.

    Shows the truth table and the gate of each hidden unit and of the output.

    RUN is MLflow's run id, or a sweep's name with the trial's number: xnor#12.
    """
    from nnexp.analysis import results
    from nnexp.cli.explain import print_network
    from nnexp.cli.output import print_json

    facts = results.explain(run, stores, network)
    if as_json:
        print_json(facts)
    else:
        print_network(facts)


@command("nnexp export xnor", "nnexp export xnor --output xnor.csv")
@click.argument("name")
@output("one row per network of the sweep (.parquet or .csv; NAME.parquet by default)")
@stores
def export(name: str, output: Path | None, stores: Stores) -> None:
    """Write every network of a sweep as one table.

    The table has one row per network: its setting, grades and weights.
    """
    from nnexp.analysis import results

    click.echo(results.export(name, stores, output or Path(f"{name}.parquet")))
