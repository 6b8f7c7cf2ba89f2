"""MLflow's UI on the sweeps' runs (floor 4)."""

from __future__ import annotations

import signal
from collections.abc import Callable

from nnexp import server, tracking_views
from nnexp.errors import Interrupted
from nnexp.stores import Stores
from nnexp.tracking import Tracking


def serve(
    stores: Stores, announce: Callable[[str], None], *, name: str | None, host: str, port: int, browser: bool
) -> None:
    """Serves the UI until a signal ends it.

    Args:
        stores: whose runs are shown.
        announce: is given the page's address once the server answers.
        name: the sweep whose page that is; None for all experiments.
        host: what to listen on.
        port: 0 for any free one.
        browser: whether to open one where there is a display.

    Raises:
        Interrupted: SIGINT or SIGTERM; the server is stopped.
        NotFoundError: no such sweep. UsageError: the port is taken. StoreError: the server does not start.
    """
    page = "#/experiments"
    if name is not None:
        page = tracking_views.page(Tracking(stores.tracking_uri).sweep(name).experiment_id)

    def end(number: int, _frame: object) -> None:
        raise Interrupted(number)

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        server.serve_ui(
            stores.tracking_uri, announce, page=page, host=host, port=port, open_browser=None if browser else False
        )
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
