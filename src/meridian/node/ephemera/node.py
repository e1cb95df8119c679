"""`EphemeraNode`: one member of an Ephemera network, for programs that embed it.

Links, block driver and, if the program brings one, the driver of the agreement work over one mesh:
a frame's second byte says whose it is. Nothing here decides a rule of the protocol.

    node = EphemeraNode(home, key=key, identity=identity, settings=BlockSettings(), hooks=AcceptAll())
    await node.start(member_set)
    await node.submit(sign_message(realm, key, number=0, created_ms=now, label="greeting", data=b"hello"))
    with node.subscribe() as blocks:
        block = await blocks.next()
    await node.stop()
"""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeVar

from meridian.ephemera.context import Context
from meridian.ephemera.effects import Misbehaviour
from meridian.ephemera.messages.hooks import Hooks
from meridian.ephemera.messages.message import Realm, SignedMessage
from meridian.ephemera.messages.replica import BlockReplica, BlockStatus
from meridian.ephemera.messages.settings import BlockSettings
from meridian.errors import InvalidInput
from meridian.node.ephemera.driver import BlockDriver
from meridian.node.ephemera.home import Home
from meridian.node.ephemera.member_set import MemberSet
from meridian.node.ephemera.storage import BlockQuery, FinalisedBlock, Storage, StoredEntry
from meridian.node.ephemera.subscribers import QUEUE_BLOCKS, Subscribers, Subscription
from meridian.node.link_connection import LinkLimits
from meridian.node.link_identity import LinkIdentity
from meridian.node.links import Links, Peer
from meridian.node.replica_driver import ReplicaDriver
from meridian.primitives.ids import Address
from meridian.primitives.keys import PrivateKey

FIRST_BLOCK_KIND: Final = 32
"""Kinds of frames from here on are the block core's, lower ones the agreement's."""

KEPT_MEMBER_SETS: Final = 2
"""Open member sets: the present one, and one before it for those who still catch up."""

log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Health:
    """Whether the node can do its part."""

    reasons: tuple[str, ...]
    """What is wrong; empty if all is well."""
    connected: int
    """Members with a standing link, without ourselves."""
    members: int
    quorum: int


class EphemeraNode:
    """One member. Make it, `start` it once, and `stop` it; `join` returns when it ends by itself."""

    def __init__(
        self,
        home: Home,
        *,
        key: PrivateKey,
        identity: LinkIdentity,
        realm: Realm,
        settings: BlockSettings,
        hooks: Hooks,
        agreement: ReplicaDriver | None = None,
        listen: tuple[str, int] | None = None,
        limits: LinkLimits | None = None,
        on_misbehaviour: Callable[[Misbehaviour], None] | None = None,
    ) -> None:
        """Prepare a node; it owns `home` and `agreement` from here on and ends them with itself.

        Args:
            home: Our directory, opened.
            key: Signs our part of the protocol.
            identity: Our link key pair.
            realm: Where messages are valid.
            settings: How we take part.
            hooks: What the application decides.
            agreement: A driver of the agreement that shall share the links.
            listen: Where our links listen, if it is not what our entry in the member set says.
            limits: Bounds of the links.
            on_misbehaviour: Called with evidence against a member; must return at once.
        """
        self._home = home
        self._key = key
        self._identity = identity
        self._realm = realm
        self._agreement = agreement
        self._listen = listen
        self._limits = limits
        self._on_misbehaviour = on_misbehaviour
        self._subscribers = Subscribers()
        self._counters: Counter[str] = Counter(frames_unknown=0, misbehaviour=0)
        self._driver = BlockDriver(
            BlockReplica(key, realm, settings, hooks, home.storage),
            home.storage,
            hooks,
            on_block=self._subscribers.publish,
            on_misbehaviour=self._note_misbehaviour,
        )
        self._links: Links | None = None
        self._sets: dict[int, MemberSet] = {}
        self._observe_through = -1

    # --- life ---

    async def start(self, present: MemberSet) -> None:
        """Open the links and the present member set.

        Raises:
            InvalidInput: We are not a member, the set is of another realm or had other members under its
                number, or we cannot listen. The node has ended then.
            StorageFailure: The storage failed.
        """
        assert self._links is None, "a node starts once"
        try:
            self._check(present)
            newest = max(self._home.storage.member_sets(), default=0)
            if present.number < newest:
                raise InvalidInput("member set", f"{present.number} is older than {newest}")
            self._sets[present.number] = present
            self._observe_through = self._home.observe_through(present.number)
            self._links = Links(
                self._identity,
                present.members,
                self._on_frame,
                address=self.address,
                network=self._realm.network,
                listen=self._listen,
                limits=self._limits,
            )
            await self._links.start()
            await self._driver.start(self._links)
            if self._agreement is not None:
                await self._agreement.start(self._links)
            for context in self._earlier_sets(present.number):
                await self._driver.open(context, observer=self._observes(context.epoch))
            await self._driver.open(present.context(), observer=self._observes(present.number))
        except BaseException:
            with contextlib.suppress(Exception):  # what went wrong first is what counts
                await self.stop()
            raise

    async def change_members(self, present: MemberSet) -> bool:
        """Go on with a newer member set, or with new addresses of the present one's members.

        The set before stays open, so that members that were away can still catch up with it; older
        ones are closed. Returns whether a new set was opened.

        Raises:
            InvalidInput: The set is older than the present one, of another realm, without us, or had other
                members under this number.
            StorageFailure: The storage failed.
        """
        assert self._links is not None, "start the node first"
        self._check(present)
        newest = max(self._sets)
        if present.number < newest:
            raise InvalidInput("member set", f"{present.number} is older than {newest}")
        opened = present.number > newest
        self._sets[present.number] = present
        if opened:
            for number in sorted(self._driver.epochs)[: 1 - KEPT_MEMBER_SETS or None]:
                await self._driver.close(number)
                self._sets.pop(number, None)
        self._links.update_peers(self._peers())
        if opened:
            await self._driver.open(present.context(), observer=self._observes(present.number))
        return opened

    async def join(self) -> None:
        """Wait until links or drivers end; raises what ended them if it was not `stop`."""
        assert self._links is not None, "start the node first"
        parts = [self._links.join(), self._driver.join()]
        if self._agreement is not None:
            parts.append(self._agreement.join())
        tasks = [asyncio.create_task(part) for part in parts]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def stop(self) -> None:
        """End everything. Raises what had ended a driver before."""
        self._subscribers.end()
        try:
            if self._agreement is not None:
                await self._agreement.stop()
        finally:
            try:
                await self._driver.stop()
            finally:
                if self._links is not None:
                    await self._links.stop()
                self._home.storage.close()

    def _check(self, member_set: MemberSet) -> None:
        if member_set.realm != self._realm:
            raise InvalidInput("member set", "is of another domain or network")
        if self.address not in member_set:
            raise InvalidInput("member set", "does not hold our own address")
        known = self._home.storage.member_set(member_set.number)
        if known not in {None, member_set.context()}:
            raise InvalidInput(
                "member set", f"{member_set.number} had other members; a change needs a number"
            )

    def _observes(self, number: int) -> bool:
        return number <= self._observe_through

    def _earlier_sets(self, present: int) -> list[Context]:
        """Return the remembered sets before the present one that are still served."""
        storage = self._home.storage
        numbers = [number for number in storage.member_sets() if number < present]
        contexts = [storage.member_set(number) for number in numbers[1 - KEPT_MEMBER_SETS :]]
        return [c for c in contexts if c is not None and c.index_of(self.address) is not None]

    def _peers(self) -> list[Peer]:
        """Return the members of all open sets; where they differ, the newest set says how to reach one."""
        peers: dict[Address, Peer] = {}
        for number in sorted(self._sets):
            peers |= {peer.address: peer for peer in self._sets[number].members}
        return list(peers.values())

    # --- what users do ---

    async def submit(self, message: SignedMessage) -> None:
        """Let a message wait for our next block; see `BlockDriver.submit` for what it raises."""
        await self._driver.submit(message)

    async def put(self, key: bytes, value: bytes) -> None:
        """Write to the replicated key-value store; see `BlockDriver.put` for what it raises."""
        await self._driver.put(key, value)

    async def get(self, key: bytes) -> StoredEntry | None:
        """Return the present value of a key, as far as it has come to this node."""
        return await self._ask(lambda storage: storage.entry(key))

    async def block(self, block_hash: bytes) -> FinalisedBlock | None:
        """Return a finalised block by its hash."""
        return await self._ask(lambda storage: storage.block(block_hash))

    async def block_at(self, epoch: int, creator: Address, height: int) -> FinalisedBlock | None:
        """Return a finalised block by member set, creator and height."""
        return await self._ask(lambda storage: storage.block_at(epoch, creator, height))

    async def last_block(self, creator: Address | None = None) -> FinalisedBlock | None:
        """Return the block that was finalised last here, of one creator or of all."""
        return await self._ask(lambda storage: storage.last_block(creator))

    async def blocks(self, query: BlockQuery) -> tuple[FinalisedBlock, ...]:
        """Return finalised blocks in the order in which they came to this node."""
        return await self._ask(lambda storage: storage.blocks(query))

    async def find_message(self, message_hash: bytes) -> tuple[bytes, int] | None:
        """Return (block hash, index) of a finalised message."""
        return await self._ask(lambda storage: storage.find_message(message_hash))

    def subscribe(
        self, *, blocks_max: int = QUEUE_BLOCKS, creator: Address | None = None
    ) -> Subscription:
        """Return a bounded queue of the blocks that will be finalised from now on.

        Raises:
            Overloaded: If there are too many subscribers.
        """
        return self._subscribers.subscribe(blocks_max=blocks_max, creator=creator)

    async def _ask(self, question: Callable[[Storage], T]) -> T:
        return await asyncio.to_thread(question, self._home.storage)

    # --- what it is and how it does ---

    @property
    def address(self) -> Address:
        """Our address."""
        return self._key.address

    @property
    def link_key(self) -> bytes:
        """Our Ed25519 link key, public."""
        return self._identity.link_key

    @property
    def realm(self) -> Realm:
        """Where messages are valid."""
        return self._realm

    @property
    def member_set(self) -> MemberSet:
        """The present member set."""
        return self._sets[max(self._sets)]

    @property
    def storage(self) -> Storage:
        """The storage; call it from a thread, it reads the disk."""
        return self._home.storage

    @property
    def port(self) -> int:
        """The port that our links listen on."""
        assert self._links is not None, "start the node first"
        return self._links.port

    def connected(self) -> frozenset[Address]:
        """Return the members with a standing link, without ourselves."""
        return self._links.connected() if self._links is not None else frozenset()

    def health(self) -> Health:
        """Return whether the node can do its part, and if not, why."""
        context = self.member_set.context()
        connected = len(self.connected() & set(context.members))
        reasons = []
        if not self._driver.running:
            reasons.append("the block driver does not run")
        if self._home.storage.failure is not None:
            reasons.append(f"the storage failed: {self._home.storage.failure}")
        if connected + 1 < context.quorum:
            reasons.append(
                f"{connected + 1} of {context.n} members connected, {context.quorum} needed"
            )
        return Health(tuple(reasons), connected, context.n, context.quorum)

    def status(self) -> BlockStatus:
        """Return where the block core stands."""
        return self._driver.status()

    def statistics(self) -> Mapping[str, Mapping[str, int]]:
        """Return counters and gauges of links and drivers, by part."""
        parts: dict[str, Mapping[str, int]] = {
            "blocks": self._driver.statistics(),
            "rejects": self._driver.rejects(),
            "node": dict(self._counters) | {"subscribers": len(self._subscribers)},
        }
        if self._links is not None:
            parts |= self._links.statistics()
        if self._agreement is not None:
            parts["agreement"] = self._agreement.statistics()
        return parts

    # --- what happens to it ---

    def _on_frame(self, sender: Address, frame: bytes) -> None:
        if len(frame) > 1 and frame[1] >= FIRST_BLOCK_KIND:
            self._driver.deliver(sender, frame)
        elif self._agreement is not None:
            self._agreement.deliver(sender, frame)
        else:
            self._counters["frames_unknown"] += 1

    def _note_misbehaviour(self, effect: Misbehaviour) -> None:
        self._counters["misbehaviour"] += 1
        if self._on_misbehaviour is not None:
            self._on_misbehaviour(effect)
