"""A Nym-Api on a chain: an evaluator of Meridian that measures for itself instead of fetching jobs.

After each epoch it publishes its signed readings, waits for the aggregator's commitment on chain, and gives the row that
follows from its readings. All the rest (agreement, reports, catch-up, publication) is the evaluator's.
"""

import asyncio
import contextlib
import logging
from pathlib import Path
from typing import Final

import msgspec

from meridian.committee.settlement import EpochTerms, Settled
from meridian.errors import InvalidInput, NotFound
from meridian.evaluate.inputs import inputs_root
from meridian.evaluate.row import RowHeader
from meridian.measure.epoch import Calendar
from meridian.node.chain.rpc import Rpc
from meridian.node.chain_view import AcceptedReport, ChainView, Commitment, EpochCommitments
from meridian.node.durable_file import read_whole, write_durably
from meridian.node.evaluator.config import EvaluatorConfig
from meridian.node.evaluator.service import EvaluatorService
from meridian.node.evaluator.state import EpochState
from meridian.node.evaluator.work import EpochWork
from meridian.node.network_file import FILE_NAME, NetworkFile
from meridian.node.process import event_line
from meridian.nym.api_process import api_command, close_quietly
from meridian.nym.api_store import ApiStore, Finding
from meridian.nym.collector import Collector
from meridian.nym.network import NymLayout, NymNetwork
from meridian.nym.onchain import uptime
from meridian.nym.onchain.calendar import AGGREGATOR, ChainClock, calendar_of, readings_index
from meridian.nym.onchain.measurements import Measurements, ReadingLog, sign_readings
from meridian.nym.rows import Row
from meridian.primitives.cid import cid_text, digest_of

POLL_S: Final = 0.1

log = logging.getLogger(__name__)


class ChainNymApi(EvaluatorService):
    """One Nym-Api.

    Args:
        config: As an evaluator's.
        system: The simulation.
        store: Its readings and findings.
    """

    def __init__(self, config: EvaluatorConfig, system: NymNetwork, store: ApiStore) -> None:
        self._system = system
        self._store = store
        super().__init__(config, uptime.UptimeRules(system.mixnodes))

    # -- what was measured ------------------------------------------------------------------------

    async def seal_ended(self, collector: Collector, clock: ChainClock) -> None:
        """Publish our readings of every epoch in which we ran, once it has ended; until cancelled."""
        while True:
            current = clock.epoch()
            if current >= 0:
                await asyncio.to_thread(self._store.see, current)
            for epoch in await asyncio.to_thread(self._store.unsettled):
                if epoch < current and not self._index(epoch).exists():
                    await collector.catch_up(clock.calendar.end_us(epoch) // 1000)
                    await asyncio.to_thread(self._seal, epoch, clock)
            await asyncio.sleep(POLL_S)

    def _index(self, epoch: int) -> Path:
        return readings_index(self._publication.root, epoch)

    def _seal(self, epoch: int, clock: ChainClock) -> None:
        calendar = clock.calendar
        start_ms, end_ms = calendar.start_us(epoch) // 1000, calendar.end_us(epoch) // 1000
        domain = self._network.domain(self._network.contracts.commitments)
        readings = self._store.readings(start_ms, end_ms)
        made = sign_readings(domain, self._network.network_id, epoch, self._key, readings)
        digest = self._publication.put(made.encode())
        index = {"epoch": epoch, "readings": cid_text(digest)}
        write_durably(self._index(epoch), msgspec.json.encode(index) + b"\n")
        event_line("averaged", epoch=epoch, readings=len(readings))

    # -- our row ----------------------------------------------------------------------------------

    def _prepare_once(
        self, commitment: Commitment, known: EpochCommitments, *, gives_up: bool
    ) -> EpochWork | None:
        """Return the epoch's terms and our own row, in a thread; None if we are no member.

        There is one commitment of the list of mixnodes: what else stands has no meaning here.

        Raises:
            InvalidInput: If the committed list is not what the chain says, or the rules are not ours.
            NotFound: If the epoch is not open, or a mixnode is not registered.
        """
        del known, gives_up
        view, mixnodes = self._chain.view, self._system.mixnodes
        epoch = commitment.epoch
        listed = self._listed(epoch, commitment.manifest)
        stated = (listed.root, listed.mixnodes, listed.annotation)
        if stated != (commitment.root, commitment.n_nodes, commitment.annotation):
            raise InvalidInput("measurements", "are not what was committed")
        parameters = uptime.parameters(self._system.aggregate)
        if view.schedule(epoch) != (uptime.FUNCTION_DIGEST, parameters.digest):
            raise InvalidInput("schedule", "names other rules than ours")
        members = view.committee(epoch)
        if not members:
            raise NotFound(f"epoch {epoch} is not open: its members are not fixed")
        if self._key.address not in members:
            return None
        header = RowHeader(
            network=self._network.network_id,
            epoch=epoch,
            commitment=commitment.digest,
            function=uptime.FUNCTION_DIGEST,
            parameters=parameters.digest,
            inputs_root=inputs_root({}),
        )
        registered, keys = view.nodes(), uptime.node_keys(mixnodes)
        lacking = [number for key, number in keys.items() if key not in registered]
        if lacking:
            raise NotFound(f"mixnode {lacking[0]} is not registered on chain")
        terms = EpochTerms(
            header=header,
            members=members,
            parameters=parameters,
            budget_atto=view.budget_atto(epoch, commitment.block),
            payees={key: registered[key].payee for key in keys},
        )
        names = {key: uptime.node_id(number) for key, number in keys.items()}
        own = uptime.observation(header, self._own_row(epoch, listed), mixnodes)
        return EpochWork(commitment, terms, own, names)

    def _listed(self, epoch: int, digest: bytes) -> Measurements:
        data = read_whole(
            self._config.network_dir / AGGREGATOR / "public" / "objects" / cid_text(digest)
        )
        if digest_of(data) != digest:
            raise InvalidInput("measurements", "the published bytes are not what the chain names")
        listed = Measurements.decode(data)
        if (listed.epoch, listed.network) != (epoch, self._network.network_id):
            raise InvalidInput("measurements", "are of another epoch or network")
        return listed

    def _own_row(self, epoch: int, listed: Measurements) -> Row:
        """Return our averages; nothing where our readings are not in the committed list."""
        digest = listed.logs.get(self._key.address)
        if digest is None:
            return Row(epoch, ())
        return ReadingLog.decode(self._publication.get(digest)).row()

    # -- what became of it ------------------------------------------------------------------------

    async def _publish(self, report: AcceptedReport, state: EpochState, settled: Settled) -> bool:
        published = await super()._publish(report, state, settled)
        if published:
            detail = "the accepted report is the one that we computed"
            finding = Finding(report.epoch, report.transmitter, holds=True, detail=detail)
            await asyncio.to_thread(self._store.keep_finding, finding)
        return published


def config_of(root: Path, system: NymNetwork, number: int) -> EvaluatorConfig:
    """Return the evaluator's configuration of a Nym-Api."""
    layout = NymLayout(root)
    return EvaluatorConfig(
        network_dir=root,
        data_dir=layout.api(number),
        key_file=layout.key(f"api-{number}"),
        link_key_file=layout.key(f"link-{number}"),
        listen_port=system.apis[number - 1].port,
        poll_ms=200,
        stage_ms=1_000,
    )


async def serve(root: Path, number: int) -> None:
    """Run one Nym-Api until cancelled."""
    while not (root / FILE_NAME).exists():  # noqa: ASYNC110 - the contracts are being set up
        await asyncio.sleep(POLL_S)
    system = NymNetwork.load(root)
    config = config_of(root, system, number)
    async with contextlib.AsyncExitStack() as stack:
        store = ApiStore(NymLayout(root).api_store(number))
        stack.callback(store.close)
        service = ChainNymApi(config, system, store)
        stack.push_async_callback(close_quietly, service)
        clock = ChainClock(await asyncio.to_thread(_calendar, root))
        collector = Collector(number, system.world, store, clock, liar=number <= system.liars)
        collector.begin()
        async with asyncio.TaskGroup() as group:
            group.create_task(service.run(), name="evaluator")
            group.create_task(collector.run(), name="collector")
            group.create_task(service.seal_ended(collector, clock), name="seals")


def _calendar(root: Path) -> Calendar:
    file = NetworkFile.load(root)
    with contextlib.closing(Rpc(file.rpc_url)) as rpc:
        return calendar_of(ChainView(rpc, file.contracts))


command = api_command(serve, "Run one Nym-Api of a data directory on a chain.")


if __name__ == "__main__":
    command()
