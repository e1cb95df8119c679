"""The founding document's way: everyone averages the rows of its own finalised block, and the contract takes the first.

A row is a signed message; messages wait in every Nym-Api's mempool; each makes a block of them when n - f rows of the epoch
are there (and after a grace, if not all are), and has it finalised by reliable broadcast. Blocks of different Nym-Apis may
hold different rows: which result wins depends on who is first, and its maker chose the last rows. The losers hold the
winner's block too, and check the accepted result against it.

A block holds rows of one epoch: the rules choose it, and the rows of others come back to the mempool afterwards.
"""

import asyncio
import contextlib
import logging
from collections import defaultdict
from pathlib import Path
from typing import Final

from meridian.audit.evidence import Link, State
from meridian.ephemera.broadcast.slot import DeliveryCertificate
from meridian.ephemera.effects import Misbehaviour
from meridian.ephemera.messages.block import MessageBlock
from meridian.ephemera.messages.message import SignedMessage, sign_message
from meridian.ephemera.messages.settings import BlockSettings, MempoolLimits
from meridian.errors import InvalidInput, Overloaded
from meridian.node.ephemera.home import Home
from meridian.node.ephemera.member_set import MemberSet
from meridian.node.ephemera.node import EphemeraNode
from meridian.node.ephemera.storage import BlockQuery, FinalisedBlock
from meridian.node.link_identity import LinkIdentity
from meridian.node.process import event_line
from meridian.nym.api_store import ApiStore, StoredDecision
from meridian.nym.contract_client import ContractClient, ContractClock
from meridian.nym.evidence import BLOCK, Case, check_case
from meridian.nym.network import MEMBER_SET, NymNetwork
from meridian.nym.race_rules import LABEL, RaceRules, check_rows
from meridian.nym.rewards import Report, Submission, sign_submission
from meridian.nym.rows import Row, aggregate
from meridian.nym.submitting import submit_until_settled
from meridian.primitives.keys import PrivateKey

GRACE_MS: Final = 300
"""How long an own block waits for the last rows."""
INTERVAL_MS: Final = 100
"""How often an own block is tried."""
RESEND_S: Final = 2.0
"""How often our own row is handed to the mempool again, which does nothing as long as it is there."""
ROWS_WAITING_MAX: Final = 64
"""Rows of one Nym-Api that wait in a mempool."""
BLOCK_PATIENCE_S: Final = 20.0
"""How long the winner's block may take to come here; what is final at one member comes to all."""
OWN_BLOCKS_MAX: Final = 64
POLL_S: Final = 0.1

log = logging.getLogger(__name__)


def block_settings(apis: int) -> BlockSettings:
    """Return how Nym-Apis take part: their messages are few and short."""
    limits = MempoolLimits(
        messages_max=ROWS_WAITING_MAX * apis,
        per_sender_max=ROWS_WAITING_MAX,
        data_bytes_max=1 << 16,
    )
    return BlockSettings(interval_ms=INTERVAL_MS, sync_ms=1_000, mempool=limits)


class RaceWay:
    """See `way.Way`."""

    def __init__(
        self,
        network: NymNetwork,
        keys: tuple[PrivateKey, LinkIdentity],
        home: Path,
        store: ApiStore,
        client: ContractClient,
        clock: ContractClock,
    ) -> None:
        self._network = network
        self._key, identity = keys
        self._store = store
        self._client = client
        loop = asyncio.get_running_loop()
        self._own: dict[int, asyncio.Future[MessageBlock]] = defaultdict(loop.create_future)
        """Epoch -> our own finalised block."""
        realm = network.realm
        self._rules = RaceRules(
            realm,
            network.members,
            network.mixnodes,
            grace_ms=GRACE_MS,
            now_ms=lambda: int(loop.time() * 1000),
            current=lambda: clock.epoch() if clock.is_set else -1,
            on_block=self._on_block,
        )
        self._node = EphemeraNode(
            Home(home, network=realm.network, member=self._key.address),
            key=self._key,
            identity=identity,
            realm=realm,
            settings=block_settings(len(network.apis)),
            hooks=self._rules,
            on_misbehaviour=_on_misbehaviour,
        )

    def _on_block(self, block: MessageBlock, certificate: DeliveryCertificate) -> None:
        del certificate  # the node's storage keeps it
        creator = self._network.context(MEMBER_SET).members[block.header.creator]
        event_line(
            "finalised",
            epoch=block.messages[0].round,
            creator="0x" + creator.hex(),
            rows=len(block.messages),
        )
        if creator == self._key.address:
            self._take_own(block)

    def _take_own(self, block: MessageBlock) -> None:
        """Note our own finalised block; the first of an epoch counts."""
        epoch = block.messages[0].round
        if not self._own[epoch].done():
            self._own[epoch].set_result(block)
        self._rules.close(epoch)
        for old in sorted(e for e, own in self._own.items() if own.done())[:-OWN_BLOCKS_MAX]:
            del self._own[old]

    async def start(self) -> None:
        """Open links and member set, and take up our latest own blocks."""
        await self._node.start(MemberSet.of(MEMBER_SET, self._network.realm, self._network.peers))
        last = await self._node.last_block(self._key.address)
        if last is None:
            return
        first = max(1, last.block.header.height - OWN_BLOCKS_MAX + 1)
        query = BlockQuery(creator=self._key.address, from_height=first, limit=OWN_BLOCKS_MAX)
        for finalised in await self._node.blocks(query):
            self._take_own(finalised.block)

    async def resume(self, current: int) -> None:
        """Nothing more: the node catches up by itself."""
        del current

    async def watch(self) -> None:
        """Wait as long as the node works."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._node.join())
            group.create_task(self._bring_back())

    async def _bring_back(self) -> None:
        """Hand rows to the mempool again that had to leave it for another epoch's block."""
        while True:
            for message in self._rules.take_parked():
                await self._submit(message)
            await asyncio.sleep(POLL_S)

    async def contribute(self, epoch: int, row: Row | None) -> None:
        """Send our row, wait for our own block, average its columns and race."""
        block = await self._own_block(epoch, row)
        network = self._network
        rows = check_rows(block.messages, network.members, network.mixnodes)
        rewards = aggregate(
            network.aggregate,
            list(rows.values()),
            mixnodes=network.mixnodes,
            apis=len(network.apis),
        )
        report = Report(epoch, block.hash, network.aggregate, rewards)
        await submit_until_settled(self._client, sign_submission(network.realm, report, self._key))

    async def _own_block(self, epoch: int, row: Row | None) -> MessageBlock:
        """Send our row, and wait for our own finalised block of the epoch."""
        while not self._own[epoch].done():
            if row is not None:
                await self._submit(self._message(row))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(RESEND_S):
                    await asyncio.shield(self._own[epoch])
        return self._own[epoch].result()

    def _message(self, row: Row) -> SignedMessage:
        """Return our row's message: the same whenever it is made, so that it never is a second row."""
        return sign_message(
            self._network.realm,
            self._key,
            number=row.epoch,
            created_ms=0,
            label=LABEL,
            data=row.encode(),
        )

    async def _submit(self, message: SignedMessage) -> None:
        try:
            await self._node.submit(message)
        except InvalidInput as refusal:
            if refusal.field not in {"duplicate", "replay"}:
                log.warning("epoch %d: a row is refused: %s", message.round, refusal)
        except Overloaded as full:
            log.warning("epoch %d: %s", message.round, full)

    async def check(self, accepted: Submission) -> list[Link]:
        """Check an accepted result against the winner's block, which reliable broadcast brings to everybody."""
        network, report = self._network, accepted.report
        self._rules.close(report.epoch)
        finalised = await self._finalised(report.block_hash)
        case = Case(
            network.terms,
            report.epoch,
            network.aggregate,
            network.context(MEMBER_SET),
            accepted,
        )
        if finalised is None:
            missing = f"{report.block_hash.hex()[:16]}… was not finalised here"
            return [check_case(case)[0], Link(BLOCK, State.BROKEN, missing)]
        case.block_bytes = finalised.block.encode()
        case.certificate_bytes = finalised.certificate.encode()
        stored = StoredDecision(case.block_bytes, case.certificate_bytes, ())
        await asyncio.to_thread(self._store.keep_decision, report.epoch, stored)
        return check_case(case)

    async def _finalised(self, block_hash: bytes) -> FinalisedBlock | None:
        """Wait for a block; None if it does not come."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(BLOCK_PATIENCE_S):
                while True:
                    found = await self._node.block(block_hash)
                    if found is not None:
                        return found
                    await asyncio.sleep(POLL_S)
        return None

    async def close(self) -> None:
        """Stop the node."""
        await self._node.stop()


def _on_misbehaviour(effect: Misbehaviour) -> None:
    log.warning("member %d misbehaved: %s", effect.member, effect.kind)
    event_line("misbehaviour", member=effect.member, kind=effect.kind)
