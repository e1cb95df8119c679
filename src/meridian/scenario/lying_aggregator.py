"""An aggregator that lies: the real measure service with one step of the sealing replaced, in one epoch.

``drops-jobs``: one node's jobs are left out. ``inflates-sum``: one node's row counts jobs that do not exist.
``duplicates-job``: a job of the epoch before is counted again. ``withholds-data``: the jobs are not published.
``double-receipts``: every receipt of the epoch has the number of the epoch's first.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import click
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from meridian.measure.commitment import EpochCommitment, committed_root, node_tree
from meridian.measure.epoch_builder import EpochBuilder
from meridian.measure.manifest import Manifest, Nodes
from meridian.measure.receipt import Receipt, SignedReceipt
from meridian.measure.schema import NetworkSchema
from meridian.node.measure import intake, seal, service, settling
from meridian.primitives.cid import cid_text
from meridian.primitives.eip712 import Domain
from meridian.primitives.ids import Address
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
        self._sealed: list[pa.Table] = []
        self._publish = _SETTLING.publish_epoch
        self._sequence: int | None = None

    def install(self) -> None:
        """Replace the steps."""
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

    def publish_epoch(self, publication: Any, schema: Any, **facts: Any) -> Manifest:
        """Publish an epoch, with the lie if it is time."""
        manifest: Manifest
        epoch, groups = facts["epoch"], [table for table in facts["frames"] if table.num_rows]
        own = [table.filter(pc.equal(table["epoch"], epoch)) for table in groups]
        if own:
            self._sealed.append(pa.concat_tables(own))
        if epoch != self._epoch:
            manifest = self._publish(publication, schema, **facts)
            return manifest
        if self._lie == "inflates-sum":
            _SEAL.EpochBuilder = partial(_Inflated, self._victim)
            facts["sealed"] = None
        facts["frames"] = self._falsified(own)
        manifest = self._publish(publication, schema, **facts)
        _SEAL.EpochBuilder = EpochBuilder
        if self._lie == "withholds-data":
            for segment in manifest.segments:
                (publication.root / "objects" / cid_text(segment.digest)).unlink()
        return manifest

    def _falsified(self, groups: list[pa.Table]) -> list[pa.Table]:
        if self._lie == "drops-jobs":
            return [one.filter(pc.not_equal(one["node_id"], self._victim)) for one in groups]
        if self._lie == "duplicates-job":
            before = self._sealed[-2]
            again = before.filter(pc.equal(before["node_id"], self._victim)).slice(0, 1)
            for name, value in (("flags", 1), ("epoch", self._epoch)):
                place = again.column_names.index(name)
                values = pa.array([value], again[name].type)
                again = again.set_column(place, again.schema.field(name), values)
            return [*groups, again]
        return groups


class _Inflated(EpochBuilder):
    """Commits with a node row that claims too many jobs; everything above it adds up."""

    def __init__(self, victim: str, schema: NetworkSchema, epoch: int, *rest: Any) -> None:
        super().__init__(schema, epoch, *rest)
        self._victim, self._lanes = victim, schema.lanes.kind

    def finish(self, payees: Mapping[str, Address]) -> EpochCommitment:
        """Return the inflated commitment."""
        true = super().finish(payees)
        rows = true.nodes.rows.copy()
        place = true.nodes.ids.index(self._victim)
        count = int.from_bytes(rows[place, _COUNT].tobytes(), "big") + MADE_UP_JOBS
        rows[place, _COUNT] = np.frombuffer(count.to_bytes(8, "big"), dtype=np.uint8)
        top = node_tree(rows, self._lanes).root
        return replace(
            true,
            root=committed_root(true.epoch, len(true.nodes.ids), top),
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
