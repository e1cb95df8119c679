"""A few `BlockReplica`s in one process: every frame is delivered at once, or held back by a rule of the test."""

from collections import deque
from collections.abc import Callable

from meridian.ephemera.broadcast import frame as frames
from meridian.ephemera.context import Context
from meridian.ephemera.effects import (
    Broadcast,
    Delivered,
    Effect,
    Forget,
    Misbehaviour,
    Persist,
    Record,
    Rejected,
    Send,
)
from meridian.ephemera.messages.block import BLOCK_CHANNEL, MessageBlock
from meridian.ephemera.messages.hooks import AcceptAll, Hooks
from meridian.ephemera.messages.message import Realm, SignedMessage, sign_message
from meridian.ephemera.messages.replica import BlockReplica
from meridian.ephemera.messages.settings import BlockSettings
from meridian.primitives.eip712 import Domain
from meridian.primitives.ids import Address, network_id
from meridian.primitives.keys import PrivateKey
from meridian.sim.broadcast_hosts import MemoryArchive

DOMAIN = Domain(314, Address(bytes(19) + b"\x07"))
NETWORK = network_id("cluster")
REALM = Realm(DOMAIN, NETWORK)
SETTINGS = BlockSettings(interval_ms=100, resend_ms=50, fetch_ms=30, sync_ms=200)

Rule = Callable[[int, int, object], bool]


def keys_of(count: int, first: int = 1) -> list[PrivateKey]:
    """Keys whose addresses ascend."""
    made = [PrivateKey((first + i).to_bytes(32, "big")) for i in range(count)]
    return sorted(made, key=lambda key: key.address)


def context_of(keys: list[PrivateKey], epoch: int = 1) -> Context:
    return Context(DOMAIN, NETWORK, epoch, tuple(sorted(key.address for key in keys)))


def message_of(key: PrivateKey, label: str = "label", data: bytes = b"data", number: int = 1):
    return sign_message(REALM, key, number=number, created_ms=5, label=label, data=data)


class Node:
    """One member: replica, disk and archive."""

    def __init__(self, key: PrivateKey, context: Context, settings: BlockSettings, hooks: Hooks):
        self.key = key
        self.context = context
        self.settings = settings
        self.hooks = hooks
        self.disk: dict[tuple[str, bytes], Record] = {}
        self.archive = MemoryArchive(context)
        self.rejected: list[Rejected] = []
        self.evidence: list[bytes] = []
        self.persisted: list[Record] = []
        self.replica = self.made()

    def made(self) -> BlockReplica:
        return BlockReplica(self.key, REALM, self.settings, self.hooks, self.archive)

    @property
    def index(self) -> int:
        found = self.context.index_of(self.key.address)
        assert found is not None
        return found

    def blocks(self, creator: int) -> list[MessageBlock]:
        """Delivered blocks of a creator, in order."""
        return [
            MessageBlock.decode(payload)
            for slot, (payload, _) in sorted(self.archive.deliveries.items())
            if slot.channel == BLOCK_CHANNEL and slot.sender == creator
        ]


class Cluster:
    """Members on one clock, with a queue of frames."""

    def __init__(
        self,
        count: int,
        *,
        settings: BlockSettings = SETTINGS,
        hooks: Callable[[], Hooks] = AcceptAll,
        silent: tuple[int, ...] = (),
    ) -> None:
        self.keys = keys_of(count)
        self.context = context_of(self.keys)
        self.now_ms = 1_000
        self.silent = set(silent)
        self.drop: Rule = lambda *_: False
        self.queue: deque[tuple[int, int, bytes]] = deque()
        self.nodes = [Node(key, self.context, settings, hooks()) for key in self.keys]
        for node in self.nodes:
            self.start(node.index)
        self.run()

    def start(self, index: int, *, observer: bool = False) -> None:
        """(Re)start a member from its disk."""
        node = self.nodes[index]
        node.replica = node.made()
        records = list(node.disk.values())
        self.do(index, node.replica.open(self.context, records, self.now_ms, observer=observer))

    def submit(self, index: int, message: SignedMessage) -> None:
        self.do(index, self.nodes[index].replica.submit(message, self.now_ms))
        self.run()

    def put(self, index: int, key: bytes, value: bytes) -> None:
        self.do(index, self.nodes[index].replica.put(key, value, self.now_ms))
        self.run()

    def give(self, index: int, sender: int, message: frames.BroadcastMessage) -> None:
        """Hand a frame of `sender` to a member, and let everything follow."""
        frame = frames.encode(message, self.context.epoch)
        node = self.nodes[index]
        address = self.context.members[sender]
        self.do(index, node.replica.receive(address, frame, self.now_ms))
        self.run()

    def pass_time(self, ms: int) -> None:
        """Let the clock run in steps of 10 ms."""
        for _ in range(ms // 10):
            self.now_ms += 10
            for node in self.nodes:
                due = node.replica.next_deadline_ms()
                if due is not None and due <= self.now_ms:
                    self.do(node.index, node.replica.tick(self.now_ms, self.now_ms))
            self.run()

    def run(self) -> None:
        """Deliver every frame in the queue, and those that follow."""
        while self.queue:
            sender, to, frame = self.queue.popleft()
            if sender in self.silent or to in self.silent:
                continue
            if self.drop(sender, to, frames.decode(frame, self.context)):
                continue
            address = self.context.members[sender]
            self.do(to, self.nodes[to].replica.receive(address, frame, self.now_ms))

    def do(self, index: int, effects: list[Effect]) -> None:
        node = self.nodes[index]
        for effect in effects:
            match effect:
                case Persist(record):
                    node.disk[record.kind, record.key] = record
                    node.persisted.append(record)
                case Forget(_, kind, key):
                    node.disk.pop((kind, key), None)
                case Delivered():
                    node.archive.add(effect)
                    for kind in ("send", "payload", "echo", "vote"):
                        node.disk.pop((kind, effect.slot.key()), None)
                case Send(to, frame, _):
                    self._post(index, to, frame)
                case Broadcast(members, frame):
                    for to in members:
                        self._post(index, to, frame)
                case Misbehaviour():
                    node.evidence.append(effect.evidence)
                case Rejected():
                    node.rejected.append(effect)

    def _post(self, index: int, to: Address, frame: bytes) -> None:
        receiver = self.context.index_of(to)
        assert receiver is not None
        self.queue.append((index, receiver, frame))
