"""An aggregator that lies: the real measure service with one step of the sealing replaced, in one epoch.

``drops-jobs``: one node's jobs are left out. ``inflates-sum``: one node's row counts jobs that do not exist.
``duplicates-job``: a job of the epoch before is counted again. ``withholds-data``: the jobs are not published.
``double-receipts``: every receipt of the epoch has the number of the epoch's first.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import click
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from meridian.measure import commitment as commitments
from meridian.measure.commitment import EpochCommitment
from meridian.measure.manifest import Manifest, Nodes
from meridian.measure.order import sort_order
from meridian.measure.receipt import Receipt, SignedReceipt
from meridian.node.measure import intake, seal, service, settling
from meridian.node.measure.frames import digest_rows
from meridian.node.measure.seal import SealedJobs
from meridian.primitives.cid import cid_text
from meridian.primitives.eip712 import Domain
from meridian.primitives.keys import PrivateKey
from meridian.primitives.sumtree import HASH_BYTES

LIES: Final = ("drops-jobs", "inflates-sum", "duplicates-job", "withholds-data", "double-receipts")
MADE_UP_JOBS: Final = 1_000
_INTAKE: Any = intake
_SEAL: Any = seal
_SETTLING: Any = settling
"""Modules whose steps are replaced, which no type checker would allow."""
_COUNT: Final = slice(92, 100)
"""The number of jobs in a node row."""


class Liar:
    """Replaces steps of the sealing, from outside, in this process.

    Args:
        lie: One of `LIES`.
        epoch: When it lies.
        victim: The node that it lies about.
    """

    def __init__(self, lie: str, epoch: int, victim: str) -> None:
        self._lie, self._epoch, self._victim = lie, epoch, victim
        self._gathered: list[pa.Table] = []
        self._gather, self._publish = _SETTLING.gather, _SETTLING.publish_epoch
        self._commit_rows = _SEAL.commit_rows
        self._sequence: int | None = None

    def install(self) -> None:
        """Replace the steps."""
        _SETTLING.gather = self.gather
        _SETTLING.publish_epoch = self.publish_epoch
        if self._lie == "double-receipts":
            _INTAKE.SignedReceipt = self

    def sign(self, receipt: Receipt, domain: Domain, key: PrivateKey) -> SignedReceipt:
        """Sign a receipt in the place of `SignedReceipt.sign`; in the lying epoch all get the first one's number."""
        if receipt.deadline_epoch == self._epoch:
            if self._sequence is None:
                self._sequence = receipt.sequence
            receipt = replace(receipt, sequence=self._sequence)
        return SignedReceipt.sign(receipt, domain, key)

    def gather(self, schema: Any, batches: Sequence[Any]) -> SealedJobs:
        """Return an epoch's jobs, remembered for later."""
        jobs: SealedJobs = self._gather(schema, batches)
        self._gathered.append(jobs.table)
        return jobs

    def publish_epoch(self, publication: Any, schema: Any, **facts: Any) -> Manifest:
        """Publish an epoch, with the lie if it is time."""
        manifest: Manifest
        if facts["epoch"] != self._epoch:
            manifest = self._publish(publication, schema, **facts)
            return manifest
        if self._lie == "inflates-sum":
            _SEAL.commit_rows = self._inflated
        facts["jobs"] = self._falsified(facts["jobs"])
        manifest = self._publish(publication, schema, **facts)
        _SEAL.commit_rows = self._commit_rows
        if self._lie == "withholds-data":
            for segment in manifest.segments:
                (publication.root / "objects" / cid_text(segment.digest)).unlink()
        return manifest

    def _falsified(self, jobs: SealedJobs) -> SealedJobs:
        table = jobs.table
        if self._lie == "drops-jobs":
            return replace(jobs, table=table.filter(pc.not_equal(table["node_id"], self._victim)))
        if self._lie == "duplicates-job":
            before = self._gathered[-2]
            again = before.filter(pc.equal(before["node_id"], self._victim)).slice(0, 1)
            flags = pa.array([1], again["flags"].type)
            place = again.column_names.index("flags")
            again = again.set_column(place, again.schema.field("flags"), flags)
            both = pa.concat_tables([table, again])
            keys = digest_rows(both.column("job_key"))
            order = sort_order(both.column("node_id"), keys)
            return replace(jobs, table=both.take(order))
        return jobs

    def _inflated(self, schema: Any, epoch: int, *rest: Any) -> EpochCommitment:
        """Commit with a node row that claims too many jobs; everything above it adds up."""
        true: EpochCommitment = self._commit_rows(schema, epoch, *rest)
        rows = true.nodes.rows.copy()
        place = true.nodes.ids.index(self._victim)
        count = int.from_bytes(rows[place, _COUNT].tobytes(), "big") + MADE_UP_JOBS
        rows[place, _COUNT] = np.frombuffer(count.to_bytes(8, "big"), dtype=np.uint8)
        top = commitments.node_tree(rows, schema.lanes.kind).root
        return replace(
            true,
            root=commitments.committed_root(epoch, len(true.nodes.ids), top),
            annotation=top[HASH_BYTES:],
            nodes=Nodes(true.nodes.ids, rows),
        )


@click.command()
@click.option("--config", "path", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--lie", type=click.Choice(LIES), required=True)
@click.option("--epoch", type=int, required=True)
@click.option("--victim", required=True)
def command(path: Path, lie: str, epoch: int, victim: str) -> None:
    """Run a measure service that lies in one epoch."""
    Liar(lie, epoch, victim).install()
    raise SystemExit(service.main(["--config", str(path)]))


if __name__ == "__main__":
    command()
