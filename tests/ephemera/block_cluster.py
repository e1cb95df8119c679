"""`broadcast_cluster.Cluster` with liars: members in `byzantine` have no say of their own, `BlockVoice` speaks for them."""

from collections.abc import Callable, Sequence

from broadcast_cluster import REALM, SETTINGS, Cluster, context_of, keys_of

from meridian.ephemera.broadcast import frame as frames
from meridian.ephemera.broadcast.frame import BroadcastMessage, Certified, Echo, Gossip, Send, Vote
from meridian.ephemera.broadcast.slot import DeliveryCertificate, Kind, Slot, statement
from meridian.ephemera.effects import Effect, Misbehaviour, Rejected
from meridian.ephemera.messages.block import BLOCK_CHANNEL, MessageBlock, make_block
from meridian.ephemera.messages.hooks import AcceptAll, Hooks
from meridian.ephemera.messages.message import SignedMessage, sign_message
from meridian.ephemera.messages.settings import BlockSettings
from meridian.primitives.ids import Address

STEPS_MAX = 3_000

Allow = Callable[[int, int, Kind], bool]


class BlockCluster(Cluster):
    """n members; frames pass `allow(sender, receiver, kind)`; members in `down` neither hear nor wake."""

    def __init__(
        self,
        n: int = 4,
        *,
        byzantine: Sequence[int] = (),
        settings: BlockSettings = SETTINGS,
        hooks: Callable[[], Hooks] = AcceptAll,
    ) -> None:
        self.correct = [i for i in range(n) if i not in byzantine]
        self.seen: list[list[Effect]] = [[] for _ in range(n)]
        self.down: set[int] = set()
        self.allow: Allow = lambda a, b, kind: True
        self.sent: list[tuple[int, int, BroadcastMessage]] = []
        super().__init__(n, settings=settings, hooks=hooks, silent=tuple(byzantine))
        self.drop = lambda a, b, said: bool(self.down & {a, b})
        self.settings = settings
        self.realm = REALM
        self.voice = BlockVoice(n)

    @property
    def replicas(self):
        return [node.replica for node in self.nodes]

    @property
    def archives(self):
        return [node.archive for node in self.nodes]

    @property
    def disks(self):
        return [node.disk for node in self.nodes]

    @property
    def hooks(self):
        return [node.hooks for node in self.nodes]

    def restart(self, i: int) -> None:
        """Come back with what is durable: the records and the archive."""
        self.down.discard(i)
        self.start(i)

    def message(self, i: int, data: bytes, **more) -> SignedMessage:
        return self.voice.message(i, data, **more)

    def submit(self, i: int, data: bytes | SignedMessage) -> SignedMessage:
        made = data if isinstance(data, SignedMessage) else self.message(i, data)
        super().submit(i, made)
        return made

    def do(self, i: int, effects: list[Effect]) -> list[Effect]:
        self.seen[i].extend(effects)
        super().do(i, effects)
        return effects

    def _post(self, i: int, to: Address, frame: bytes) -> None:
        j = self.context.members.index(to)
        if self.allow(i, j, Kind(frame[1])):
            self.sent.append((i, j, frames.decode(frame, self.context)))
            super()._post(i, to, frame)

    def inject(self, i: int, j: int, said: BroadcastMessage | bytes) -> list[Effect]:
        """Member i says something to member j, which acts on it; nothing else happens yet."""
        frame = said if isinstance(said, bytes) else frames.encode(said, self.context.epoch)
        return self.do(j, self.replicas[j].receive(self.context.members[i], frame, self.now_ms))

    def tell(self, i: int, said: BroadcastMessage, to: Sequence[int] | None = None) -> None:
        """Member i says something to all correct members, or to some."""
        for j in self.correct if to is None else to:
            if j != i:
                self.inject(i, j, said)

    def run(self, for_ms: int = 0, done: Callable[[], bool] = lambda: False) -> None:
        """Let frames arrive, and the clock go on from deadline to deadline."""
        until_ms = self.now_ms + for_ms
        for _ in range(STEPS_MAX):
            super().run()
            if done() or not for_ms:
                return
            awake = [i for i in self.correct if i not in self.down]
            due = {i: self.replicas[i].next_deadline_ms() for i in awake}
            first = min((d for d in due.values() if d is not None), default=None)
            if first is None or first > until_ms:
                self.now_ms = until_ms
                return
            self.now_ms = max(self.now_ms, first)
            for i, deadline in due.items():
                if deadline is not None and deadline <= self.now_ms:
                    self.do(i, self.replicas[i].tick(self.now_ms, self.now_ms))
        raise AssertionError("the members are busy without end")

    def delivered(self, i: int, channel: int = BLOCK_CHANNEL) -> dict[Slot, bytes]:
        """What member i delivered: slot -> digest."""
        found = self.archives[i].deliveries
        return {slot: found[slot][1].digest for slot in sorted(found) if slot.channel == channel}

    def blocks(self, i: int, creator: int | None = None) -> list[MessageBlock]:
        """Delivered blocks at member i, of one creator or of all."""
        found = self.archives[i].deliveries
        return [
            MessageBlock.decode(found[slot][0])
            for slot in sorted(found)
            if slot.channel == BLOCK_CHANNEL and creator in {None, slot.sender}
        ]

    def said(self, i: int, kind: type) -> list:
        """Everything of a type that member i sent to anybody, each statement once."""
        found = [said for sender, _, said in self.sent if sender == i and isinstance(said, kind)]
        return list(dict.fromkeys(found))

    def effects(self, i: int, kind: type) -> list:
        return [effect for effect in self.seen[i] if isinstance(effect, kind)]

    def rejected(self, i: int) -> list[Rejected]:
        return self.effects(i, Rejected)

    def guilt(self, i: int) -> list[Misbehaviour]:
        return self.effects(i, Misbehaviour)

    def unfinished(self, i: int) -> tuple[Slot, ...]:
        return self.replicas[i].status().member_sets[-1].unfinished

    def all_equal(self, members: Sequence[int] | None = None) -> bool:
        """Whether members delivered the same, and something."""
        found = [self.delivered(i) for i in (self.correct if members is None else members)]
        return bool(found[0]) and all(other == found[0] for other in found)


class BlockVoice:
    """Says anything in the name of any member: what real signatures allow it to say."""

    def __init__(self, n: int = 4) -> None:
        self.keys = keys_of(n)
        self.context = context_of(self.keys)

    def message(self, i: int, data: bytes, *, number: int = 1, label: str = "test"):
        return sign_message(
            REALM, self.keys[i], number=number, created_ms=1, label=label, data=data
        )

    def block(
        self,
        creator: int,
        messages: Sequence[SignedMessage],
        *,
        height: int = 1,
        previous: bytes | None = None,
        created_ms: int = 5,
    ) -> MessageBlock:
        before = self.context.digest if previous is None else previous
        return make_block(self.context, creator, height, before, created_ms, messages)

    def sign(self, i: int, kind: Kind, slot: Slot, digest: bytes) -> bytes:
        return self.keys[i].sign(statement(self.context, kind, slot, digest))

    def send(self, block: MessageBlock, signer: int | None = None) -> Send:
        """The SEND of a block, signed by its creator or by somebody else."""
        slot = block.header.slot
        who = slot.sender if signer is None else signer
        return Send(slot, self.sign(who, Kind.SEND, slot, block.hash), block.encode())

    def echo(self, i: int, slot: Slot, digest: bytes) -> Echo:
        return Echo(i, slot, digest, self.sign(i, Kind.ECHO, slot, digest))

    def vote(self, i: int, slot: Slot, digest: bytes) -> Vote:
        return Vote(i, slot, digest, self.sign(i, Kind.VOTE, slot, digest))

    def gossip(self, message: SignedMessage) -> Gossip:
        return Gossip(message.encode())

    def certified(
        self, slot: Slot, digest: bytes, members: Sequence[int], kind: Kind = Kind.VOTE
    ) -> Certified:
        votes = tuple((i, self.sign(i, kind, slot, digest)) for i in members)
        return Certified(DeliveryCertificate(slot, digest, votes))
