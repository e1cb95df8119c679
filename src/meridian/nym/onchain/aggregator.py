"""The aggregator: opens epochs on chain, and commits after each what the Nym-Apis have published of it.

The Commitments contract takes an aggregator's epochs in order, without gaps, so epochs in which nobody measured are
committed too. It waits for the readings of all, or, once n - f are there, for a grace.
"""

import asyncio
import logging
from pathlib import Path
from typing import Final

import click
import msgspec

from meridian.errors import InvalidInput, MeridianError, RemoteFault
from meridian.journey.chain_setup import open_epochs
from meridian.node.chain.rpc import Rpc
from meridian.node.chain.sender import Sender
from meridian.node.chain_view import ChainView
from meridian.node.durable_file import read_whole
from meridian.node.keystore import load_or_create_key
from meridian.node.measure.publication import Publication
from meridian.node.network_file import NetworkFile
from meridian.node.process import (
    bound_recursion,
    event_line,
    ready_line,
    serve_until_stopped,
    start_logging,
)
from meridian.nym.network import NymLayout, NymNetwork
from meridian.nym.onchain.calendar import AGGREGATOR, ChainClock, calendar_of, readings_index
from meridian.nym.onchain.measurements import Measurements, ReadingLog
from meridian.nym.race_rules import rows_min
from meridian.primitives.cid import cid_text, digest_of, parse_cid
from meridian.primitives.ids import Address, address_text

GRACE_S: Final = 1.0
"""How long it waits for the last readings once n - f are there."""
PATIENCE_S: Final = 5.0
"""How long it waits for n - f: those that are down measured nothing."""
POLL_S: Final = 0.1
RETRY_S: Final = 1.0

log = logging.getLogger(__name__)


class Aggregator:
    """The aggregator of one data directory."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._network = NymNetwork.load(root)
        self._file = NetworkFile.load(root)
        self._key = load_or_create_key(NymLayout(root).key("aggregator"))
        (root / AGGREGATOR).mkdir(exist_ok=True)
        self._publication = Publication(root / AGGREGATOR / "public")
        self._rpc = Rpc(self._file.rpc_url)
        self._view = ChainView(self._rpc, self._file.contracts)
        self._sender = Sender(self._rpc, self._key, root / AGGREGATOR / "transactions.sqlite")

    def close(self) -> None:
        """Close journal and connection."""
        self._sender.close()
        self._rpc.close()

    async def run(self) -> None:
        """Commit until cancelled."""
        clock = ChainClock(await asyncio.to_thread(calendar_of, self._view))
        ready_line(aggregator=address_text(self._key.address))
        while True:
            try:
                await self._commit_ended(clock)
            except RemoteFault as fault:
                log.warning("chain: %s", fault)
                await asyncio.sleep(RETRY_S)
            await asyncio.sleep(POLL_S)

    async def _commit_ended(self, clock: ChainClock) -> None:
        """Commit the next epoch if it has ended."""
        epoch = await asyncio.to_thread(
            self._view.commitments.read, "next_epoch", self._key.address
        )
        if epoch >= clock.epoch():
            return
        logs = await self._gather(int(epoch), clock)
        readings = sum(len(log.readings) for log in logs.values())
        digests = {member: digest_of(found.encode()) for member, found in logs.items()}
        mixnodes = self._network.mixnodes
        made = Measurements(self._file.network_id, epoch, mixnodes, readings, digests)
        await asyncio.to_thread(self._commit, made)
        event_line("committed", epoch=epoch, logs=len(logs), readings=readings)

    async def _gather(self, epoch: int, clock: ChainClock) -> dict[Address, ReadingLog]:
        """Wait for the published readings of an epoch."""
        end_ms = clock.calendar.end_us(epoch) // 1000
        enough_ms: int | None = None
        while True:
            logs = await asyncio.to_thread(self._published, epoch, clock)
            now_ms = clock.now_ms()
            if len(logs) == len(self._network.apis):
                return logs
            if len(logs) >= rows_min(len(self._network.apis)):
                enough_ms = now_ms if enough_ms is None else enough_ms
                if now_ms >= enough_ms + GRACE_S * 1000:
                    return logs
            elif now_ms >= end_ms + PATIENCE_S * 1000:
                return logs
            await asyncio.sleep(POLL_S)

    def _published(self, epoch: int, clock: ChainClock) -> dict[Address, ReadingLog]:
        """Return the good logs that Nym-Apis have published; a bad one counts as none."""
        found: dict[Address, ReadingLog] = {}
        calendar = clock.calendar
        domain = self._file.domain(self._file.contracts.commitments)
        for number in self._network.numbers:
            member = self._network.address(number)
            public = NymLayout(self._root).api(number) / "public"
            path = readings_index(public, epoch)
            if not path.exists():
                continue
            try:
                cid = msgspec.json.decode(read_whole(path), type=dict[str, object])["readings"]
                data = read_whole(public / "objects" / str(cid))
                if digest_of(data) != parse_cid(str(cid))[1]:
                    raise InvalidInput("readings", "are not what their name says")
                one = ReadingLog.decode(data)
                if (one.member, one.epoch, one.network) != (member, epoch, self._file.network_id):
                    raise InvalidInput("readings", "are of another member, epoch or network")
                start_ms, end_ms = calendar.start_us(epoch) // 1000, calendar.end_us(epoch) // 1000
                one.check(domain, self._network.mixnodes, start_ms, end_ms)
            except (MeridianError, msgspec.DecodeError, KeyError) as problem:
                log.warning("epoch %d: readings of nym-api-%d: %s", epoch, number, problem)
                continue
            found[member] = one
        return found

    def _commit(self, made: Measurements) -> None:
        """Publish the list, then commit to it; doing it again changes nothing."""
        open_epochs(self._sender, self._view, made.epoch)
        digest = self._publication.put(made.encode())
        self._publication.write_index(
            made.epoch, {"epoch": made.epoch, "manifest": cid_text(digest)}
        )
        data = self._view.commitments.encode(
            "commit", made.epoch, made.tree_hash, made.mixnodes, made.annotation, digest
        )
        purpose = f"commit/{made.epoch}"
        self._sender.transact(self._view.commitments.address, data, purpose=purpose)


async def serve(root: Path) -> None:
    """Run the aggregator of a data directory until cancelled."""
    aggregator = Aggregator(root)
    try:
        await aggregator.run()
    finally:
        await asyncio.to_thread(aggregator.close)


@click.command()
@click.option("--data-dir", type=click.Path(path_type=Path, exists=True), required=True)
def command(data_dir: Path) -> None:
    """Run the aggregator of a data directory."""
    bound_recursion()
    start_logging("aggregator")
    raise SystemExit(serve_until_stopped(lambda: serve(data_dir)))


if __name__ == "__main__":
    command()
