"""A run trained again from its params, and compared with its artifact to the bit (floor 4)."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from nnexp.analysis.report import settings_of
from nnexp.network.model import WEIGHTS
from nnexp.recovery import networks_table
from nnexp.stores import Stores
from nnexp.tracking import provenance
from nnexp.tracking.store import Tracking
from nnexp.tracking.trial_run import EPOCHS
from nnexp.training import trainer

#: Tag of a run -> what this machine says.
SIDES = {"nnexp": "nnexp.version", "numpy": "nnexp.numpy_version", "cpu": "nnexp.cpu_features"}


@dataclass(frozen=True)
class Replay:
    """What came of it.

    Attributes:
        identical: every weight of every network, to the bit.
        difference: the first that differs, in words; empty when identical.
        recorded, here: versions and CPU features of both sides.
    """

    run: str
    networks: int
    identical: bool
    difference: str
    recorded: dict[str, str]
    here: dict[str, str]

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)

    @property
    def text(self) -> str:
        """For people."""
        if self.identical:
            return f"identical: all weights of {self.networks:,} networks"
        sides = [f"{key}: recorded with {self.recorded[key]}, here {self.here[key]}" for key in SIDES]
        changed = [line for line, key in zip(sides, SIDES, strict=True) if self.recorded[key] != self.here[key]]
        cause = "; ".join(changed) or "versions and CPU features are the same on both sides"
        return f"different: {self.difference} ({cause})"


def replay(run: str, stores: Stores) -> Replay:
    """Trains ``run`` again and compares every weight with its networks.parquet.

    Raises:
        NotFoundError: no such run, or it has no networks.
    """
    tracking = Tracking(stores.tracking_uri)
    record = tracking.run(run)
    settings = settings_of(record)
    table = tracking.networks(record.run_id)
    index = np.asarray(table.column("index").to_numpy(), dtype=np.int64)
    until = int(record.tags.get(EPOCHS, settings.epochs))
    again = trainer.advance([trainer.start(settings, index)], until)[0].network
    kept = networks_table.read_network(table, settings)
    difference = ""
    for name in WEIGHTS:
        old, new = getattr(kept, name), getattr(again, name)
        # Bits, not values: nan equals nan, and 0 is not -0.
        differs = np.frombuffer(old.tobytes(), np.uint8) != np.frombuffer(new.astype(old.dtype).tobytes(), np.uint8)
        if differs.any():
            place = np.unravel_index(int(np.flatnonzero(differs)[0]) // old.itemsize, old.shape)
            where = ", ".join(str(int(i)) for i in place[1:])
            difference = (
                f"{name}[{where}] of network {index[place[0]]} is {new[place]!r}, the artifact has {old[place]!r}"
            )
            break
    mine = provenance.tags()
    return Replay(
        run=record.run_id,
        networks=len(index),
        identical=not difference,
        difference=difference,
        recorded={key: record.tags.get(tag, "unknown") for key, tag in SIDES.items()},
        here={key: mine[tag] for key, tag in SIDES.items()},
    )
