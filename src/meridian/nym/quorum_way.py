"""The way that nobody can steer: all decide one matrix, and one report carries the signatures of a quorum.

The agreement of `meridian.ephemera` decides the block: rows are signed messages, n - f of them at least, and every row
that reached all in time is in it. The report is a function of the block; q members sign it, and they take turns to bring
it to the contract (`committee.transmission`).
"""

import asyncio
import logging
from collections import defaultdict
from pathlib import Path
from typing import Final

from meridian.audit.evidence import Link
from meridian.committee.transmission import turn
from meridian.ephemera.effects import Attested, Decided, Misbehaviour
from meridian.ephemera.limits import Limits, Timing
from meridian.ephemera.replica import Replica
from meridian.errors import InvalidInput
from meridian.node.evaluator.safety import observe_through, open_safety_log
from meridian.node.link_identity import LinkIdentity
from meridian.node.links import Links
from meridian.node.process import event_line
from meridian.node.replica_driver import ReplicaDriver
from meridian.nym.api_store import ApiStore, StoredDecision
from meridian.nym.contract_client import ContractClient
from meridian.nym.evidence import Case, check_case
from meridian.nym.network import NymNetwork
from meridian.nym.rewards import Report, Submission, sign_submission
from meridian.nym.rows import Row, aggregate, decode_row
from meridian.nym.submitting import submit_until_settled
from meridian.primitives.ids import Address
from meridian.primitives.keys import PrivateKey

STAGE_S: Final = 1.0
"""How long a member waits for the one before it to submit."""
OPEN_EPOCHS_MAX: Final = 32
"""Epochs that are open at once; the one that was not worked for longest is closed, and answered from the safety log."""
ANSWERED_MAX: Final = 1024
"""Decided epochs of an earlier life that slower members may still ask about."""
ATTEMPT: Final = bytes(32)
"""There is one way to make the report of a block, so there is one attempt."""

log = logging.getLogger(__name__)


class RowRules:
    """The protocol's `Application`: a row is of its epoch, of known mixnodes, and in range."""

    def __init__(self, mixnodes: int) -> None:
        self._mixnodes = mixnodes

    def check_row(self, epoch: int, member: Address, body: bytes) -> str | None:
        """Return why a row is refused, or None."""
        del member  # the protocol has checked the signature
        try:
            decode_row(body, epoch=epoch, mixnodes=self._mixnodes)
        except InvalidInput as error:
            return str(error)
        return None


class QuorumWay:
    """See `way.Way`."""

    def __init__(
        self,
        network: NymNetwork,
        keys: tuple[PrivateKey, LinkIdentity],
        directory: Path,
        store: ApiStore,
        client: ContractClient,
    ) -> None:
        self._network = network
        self._key, identity = keys
        self._directory = directory
        self._store = store
        self._client = client
        self._observe_through = -1
        self._open: list[int] = []
        """Open epochs, the one worked last at the end."""
        loop = asyncio.get_running_loop()
        self._decided: dict[int, asyncio.Future[Decided]] = defaultdict(loop.create_future)
        self._attested: dict[int, asyncio.Future[Attested]] = defaultdict(loop.create_future)
        self._safety = open_safety_log(directory, network.realm.network, self._key.address)
        self._driver = ReplicaDriver(
            Replica(
                self._key,
                Timing(),
                Limits(epochs_max=OPEN_EPOCHS_MAX),
                RowRules(network.mixnodes),
                archive=self._safety,
            ),
            self._safety,
            on_decided=self._on_decided,
            on_attested=self._on_attested,
            on_misbehaviour=_on_misbehaviour,
        )
        self._links = Links(
            identity,
            network.peers,
            self._driver.deliver,
            address=self._key.address,
            network=network.realm.network,
        )

    def _on_decided(self, effect: Decided) -> None:
        if not self._decided[effect.epoch].done():
            self._decided[effect.epoch].set_result(effect)
            event_line("decided", epoch=effect.epoch, rows=len(effect.block.rows))

    def _on_attested(self, effect: Attested) -> None:
        if not self._attested[effect.epoch].done():
            self._attested[effect.epoch].set_result(effect)

    async def start(self) -> None:
        """Open the links."""
        await self._links.start()
        await self._driver.start(self._links)

    async def resume(self, current: int) -> None:
        """Answer for what was decided before, so that slower members can catch up from us."""
        self._observe_through = await asyncio.to_thread(
            observe_through, self._directory, self._safety, [current]
        )
        decided = self._store.decided(ANSWERED_MAX)
        await self._driver.answer_for([self._network.context(epoch) for epoch in decided])

    async def watch(self) -> None:
        """Wait as long as driver and links work."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._driver.join())
            group.create_task(self._links.join())

    async def _open_epoch(self, epoch: int) -> None:
        """Open an epoch, with what the safety log holds about it; undecided ones may be closed and opened again."""
        if epoch in self._open:
            self._open.remove(epoch)
            self._open.append(epoch)
            return
        while len(self._open) >= OPEN_EPOCHS_MAX:
            old = self._open.pop(0)
            await self._driver.close_epoch(old)
            self._decided.pop(old, None)
            self._attested.pop(old, None)
        self._open.append(epoch)
        observer = epoch <= self._observe_through
        await self._driver.open_epoch(self._network.context(epoch), observer=observer)

    async def _decision(self, epoch: int) -> Decided:
        """Wait until an epoch is decided and stored here."""
        await self._open_epoch(epoch)
        decided = await asyncio.shield(self._decided[epoch])
        stored = StoredDecision(
            decided.block.encode(), decided.certificate.encode(), decided.bodies
        )
        await asyncio.to_thread(self._store.keep_decision, epoch, stored)
        return decided

    async def contribute(self, epoch: int, row: Row | None) -> None:
        """Give our row, sign the report of what is decided, and submit it when it is our turn."""
        await self._open_epoch(epoch)
        if row is not None and epoch > self._observe_through:
            await self._driver.submit_row(epoch, row.encode())
        decided = await self._decision(epoch)
        report = self._report(decided)
        await self._driver.submit_report(epoch, ATTEMPT, report.digest(self._network.realm))
        attested = await asyncio.shield(self._attested[epoch])
        place = turn(self._network.members, report.block_hash, self._key.address)
        await asyncio.sleep(place * STAGE_S)
        submission = sign_submission(self._network.realm, report, self._key, attested.signatures)
        await submit_until_settled(self._client, submission)

    def _report(self, decided: Decided) -> Report:
        network = self._network
        rows = [
            decode_row(body, epoch=decided.epoch, mixnodes=network.mixnodes)
            for body in decided.bodies
        ]
        rewards = aggregate(
            network.aggregate, rows, mixnodes=network.mixnodes, apis=len(network.apis)
        )
        return Report(decided.epoch, decided.block.hash, network.aggregate, rewards)

    async def check(self, accepted: Submission) -> list[Link]:
        """Check an accepted result against the block that we decided."""
        network, epoch = self._network, accepted.report.epoch
        decided = await self._decision(epoch)
        case = Case(
            network.terms,
            epoch,
            network.aggregate,
            network.context(epoch),
            accepted,
            decided.block.encode(),
            decided.certificate.encode(),
            decided.bodies,
        )
        return check_case(case)

    async def close(self) -> None:
        """Stop driver and links, and release the safety log."""
        try:
            await self._driver.stop()
        finally:
            await self._links.stop()
            self._safety.close()


def _on_misbehaviour(effect: Misbehaviour) -> None:
    log.warning("member %d misbehaved in epoch %d: %s", effect.member, effect.epoch, effect.kind)
    event_line("misbehaviour", epoch=effect.epoch, member=effect.member, kind=effect.kind)
