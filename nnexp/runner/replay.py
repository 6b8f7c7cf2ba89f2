"""Training a run again from its params, and comparing every bit with the networks in its artifact."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nnexp.network.model import WEIGHTS
from nnexp.recovery import networks_table
from nnexp.stores import Stores
from nnexp.tracking import provenance
from nnexp.tracking.schema import EPOCHS
from nnexp.tracking.store import Tracking
from nnexp.training import trainer

#: Possible cause of a difference -> the tag of the run that holds it.
ENVIRONMENT = {"nnexp": "nnexp.version", "numpy": "nnexp.numpy_version", "cpu": "nnexp.cpu_features"}


@dataclass(frozen=True)
class Replay:
    """The result of a replay.

    Attributes:
        identical: whether every weight of every network has the same bits.
        difference: the first weight that differs, in words; empty if they are identical.
        recorded, here: versions and CPU features of the run, and of this machine.
    """

    run: str
    networks: int
    identical: bool
    difference: str
    recorded: dict[str, str]
    here: dict[str, str]

    @property
    def text(self) -> str:
        """The result in words."""
        if self.identical:
            return f"identical: all weights of {self.networks:,} networks"
        changed = [
            f"{key}: recorded with {self.recorded[key]}, here {self.here[key]}"
            for key in ENVIRONMENT
            if self.recorded[key] != self.here[key]
        ]
        cause = "; ".join(changed) or "versions and CPU features are the same on both sides"
        return f"different: {self.difference} ({cause})"


def replay(run: str, stores: Stores) -> Replay:
    """Train ``run`` again and compare every weight with its networks.parquet.

    Raises:
        NotFoundError: no such run, or it has no networks.
    """
    tracking = Tracking(stores.tracking_uri)
    record = tracking.run(run)
    settings = record.settings
    table = tracking.networks(record.run_id)
    index = np.asarray(table.column("index").to_numpy(), dtype=np.int64)
    until = int(record.tags.get(EPOCHS, settings.epochs))
    again = trainer.advance([trainer.start(settings, index)], until)[0].network
    kept = networks_table.read_network(table, settings)
    difference = ""
    for name in WEIGHTS:
        old, new = getattr(kept, name), getattr(again, name)
        # Bits, not values: nan equals nan here, and 0 differs from -0.
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
        recorded={key: record.tags.get(tag, "unknown") for key, tag in ENVIRONMENT.items()},
        here={key: mine[tag] for key, tag in ENVIRONMENT.items()},
    )
