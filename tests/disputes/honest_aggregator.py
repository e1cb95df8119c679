"""An aggregator that keeps its rules, small: the real placement and duplicate rules, receipts and commitments."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from published_epochs import batch, published

from meridian.disputes.promises import Promise, SortedEpoch
from meridian.measure.epoch import LATE_FLAG, Calendar, Placement, PlacementRules, place
from meridian.measure.row import JobRow
from meridian.measure.seen_jobs import SeenJobs
from meridian.primitives.eip712 import Domain
from meridian.primitives.ids import node_key
from meridian.primitives.keys import PrivateKey

REMEMBERED = 2


@dataclass
class Aggregator:
    """Takes batches, seals epochs in order, and promises what `place` says."""

    key: PrivateKey
    domain: Domain
    network: bytes
    calendar: Calendar
    rules: PlacementRules = field(init=False)
    seen: SeenJobs = field(init=False)
    open_epoch: int = field(init=False)
    waiting: dict[int, dict[str, list[bytes]]] = field(default_factory=dict)
    promises: list[Promise] = field(default_factory=list)
    epochs: dict[int, SortedEpoch] = field(default_factory=dict)
    batches: int = 0

    def __post_init__(self) -> None:
        self.rules = PlacementRules(self.calendar)
        self.seen = SeenJobs(bytes(32), 10**6)
        self.open_epoch = self.calendar.first_epoch

    def submit(self, rows: Sequence[tuple[str, bytes]], now_us: int) -> None:
        """Take a batch of (node id, job row): what is accepted is promised in one receipt."""
        if not rows:
            return
        ended = np.array([JobRow.decode(row).ended_us for _, row in rows], dtype=np.int64)
        placed = place(ended, self.rules, self.open_epoch, now_us)
        keys = np.frombuffer(b"".join(row[4:36] for _, row in rows), dtype=np.uint8)
        ids = pa.chunked_array([[name for name, _ in rows]])
        hashes = self.seen.hashes(ids, keys.reshape(-1, 32))
        good = np.flatnonzero(placed.outcomes == Placement.PLACED).tolist()
        repeated = self.seen.repeated(hashes[good])
        taken = [at for at, again in zip(good, repeated.tolist(), strict=True) if not again]
        if not taken:
            return
        accepted: dict[str, list[bytes]] = {}
        for at in taken:
            name, row = rows[at]
            flags = int(placed.flags[at]) & LATE_FLAG
            final = row[:2] + flags.to_bytes(2, "big") + row[4:]
            accepted.setdefault(name, []).append(final)
            nodes = self.waiting.setdefault(int(placed.epochs[at]), {})
            nodes.setdefault(name, []).append(final)
        self.seen.add(placed.epochs[taken], hashes[taken])
        deadline = int(placed.epochs[taken].max())
        made = batch(accepted, self.key, self.domain, self.network, deadline, self.batches)
        self.batches += 1
        self.promises += [
            Promise(made.receipt, node_key(name), proof) for (name, _), proof in made.proofs.items()
        ]

    def seal(self) -> SortedEpoch:
        """Commit the open epoch."""
        epoch = self.open_epoch
        jobs = self.waiting.pop(epoch, {})
        self.epochs[epoch] = SortedEpoch(published(epoch, jobs, self.key.address))
        self.open_epoch = epoch + 1
        self.seen.forget_before(self.open_epoch - REMEMBERED)
        return self.epochs[epoch]
