"""`worker` and `ui`: commands that run until they are stopped."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from nnexp.cli.options import command, offline, stores, training_pool

if TYPE_CHECKING:
    from nnexp.stores import Stores


@command("nnexp worker --drain", "nnexp worker --sweep xnor --jobs 4 --max-minutes 50", "nnexp worker --healthy")
@click.option("--sweep", "sweeps", multiple=True, metavar="NAME", help="Work on this sweep only.  [repeatable]")
@click.option("--drain", is_flag=True, help="Exit when no trial is left, as a batch job does.")
@click.option(
    "--max-minutes",
    type=click.FloatRange(min=0, min_open=True),
    help="Claim nothing more after this time; exit when the trials in training are finished.",
)
@click.option("--healthy", is_flag=True, help="Only check whether a worker is alive here: exit status 0, else 1.")
@training_pool
@offline
@stores
def worker(
    sweeps: tuple[str, ...],
    drain: bool,
    max_minutes: float | None,
    healthy: bool,
    jobs: int | None,
    pool: str | None,
    offline: bool,
    stores: Stores,
) -> None:
    """Work on all open sweeps of the shared store."""
    if healthy:
        from nnexp.runner import liveness

        click.echo(liveness.check(), err=True)
        return
    from nnexp.cli.progress_bar import Display
    from nnexp.runner.service import work

    with Display() as display:
        work(
            stores,
            sweeps=sweeps,
            drain=drain,
            max_minutes=max_minutes,
            jobs=jobs,
            pool=pool,
            offline=offline,
            progress=display,
        )


@command("nnexp ui", "nnexp ui xnor --port 5001")
@click.argument("name", required=False)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=5000, show_default=True, help="Port; 0 for any free one."
)
@click.option("--allowed-hosts", metavar="HOSTS", help='Host headers to accept besides local ones, such as "server:*".')
@click.option("--no-open", is_flag=True, help="Do not open a browser.")
@stores
def ui(name: str | None, host: str, port: int, allowed_hosts: str | None, no_open: bool, stores: Stores) -> None:
    """Open MLflow's UI.

    It opens at the settings of sweep NAME, best first, if a name is given, and runs until it is interrupted.
    """
    import signal

    from nnexp.errors import Interrupted
    from nnexp.tracking.ui import serve_ui

    def stop(number: int, _frame: object) -> None:
        raise Interrupted(number, "the UI was stopped")

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    serve_ui(
        stores.tracking_uri,
        click.echo,
        page=_page(name, stores) if name else "",
        host=host,
        port=port,
        allowed_hosts=allowed_hosts,
        open_browser=False if no_open else None,
    )


def _page(name: str, stores: Stores) -> str:
    """The page with the sweep's settings in MLflow's UI."""
    from nnexp.tracking import saved_view
    from nnexp.tracking.store import Tracking

    return saved_view.page(Tracking(stores.tracking_uri).sweep(name).experiment_id)
