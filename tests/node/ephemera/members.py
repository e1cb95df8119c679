"""Members of an Ephemera network inside the test's process: real links, storages and core on loopback."""

import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mesh import NETWORK, QUICK, free_port, member_identity

from meridian.ephemera.messages.block import MessageBlock
from meridian.ephemera.messages.hooks import AcceptAll
from meridian.ephemera.messages.message import Realm, SignedMessage, sign_message
from meridian.ephemera.messages.settings import BlockSettings
from meridian.node.ephemera.home import Home
from meridian.node.ephemera.member_set import MemberSet
from meridian.node.ephemera.node import EphemeraNode
from meridian.node.links import Peer
from meridian.primitives.eip712 import Domain
from meridian.primitives.ids import Address
from meridian.primitives.keys import PrivateKey

KEYS = sorted(
    (PrivateKey(hashlib.sha256(b"ephemera member %d" % i).digest()) for i in range(5)),
    key=lambda key: key.address,
)
REALM = Realm(Domain(chain_id=31337, contract=Address(b"\xe0" * 20)), NETWORK)
SETTINGS = BlockSettings(interval_ms=50, resend_ms=100, fetch_ms=200, sync_ms=200)


def message(i: int, data: bytes, label: str = "test", number: int = 0) -> SignedMessage:
    """A message of member `i`, made now."""
    now_ms = time.time_ns() // 1_000_000
    return sign_message(REALM, KEYS[i], number=number, created_ms=now_ms, label=label, data=data)


class Heard(AcceptAll):
    """The application: remembers what it was told."""

    def __init__(self) -> None:
        self.blocks: list[MessageBlock] = []

    def deliver_block(self, block: MessageBlock, certificate: object) -> None:
        self.blocks.append(block)


class Network:
    """`n` members; each may be started, stopped and started again."""

    def __init__(self, folder: Path, n: int = 4, settings: BlockSettings = SETTINGS) -> None:
        self.folder = folder
        self.settings = settings
        self.peers = [
            Peer(KEYS[i].address, member_identity(i).link_key, "127.0.0.1", free_port())
            for i in range(n)
        ]
        self.nodes: dict[int, EphemeraNode] = {}
        self.heard: dict[int, Heard] = {}

    def home(self, i: int) -> Path:
        return self.folder / f"node-{i}"

    def member_set(self, number: int = 1, *members: int) -> MemberSet:
        peers = [self.peers[i] for i in members] if members else self.peers[:4]
        return MemberSet.of(number, REALM, peers)

    async def start(
        self, *members: int, present: MemberSet | None = None, set_up: bool = True, **more: Any
    ) -> None:
        for i in members or range(len(self.peers)):
            if set_up:
                Home.set_up(self.home(i), network=NETWORK, member=KEYS[i].address)
            self.heard.setdefault(i, Heard())
            self.nodes[i] = EphemeraNode(
                Home(self.home(i), network=NETWORK, member=KEYS[i].address),
                key=KEYS[i],
                identity=member_identity(i),
                realm=REALM,
                settings=self.settings,
                hooks=self.heard[i],
                limits=QUICK,
                **more,
            )
            await self.nodes[i].start(present or self.member_set())

    async def stop(self, *members: int) -> None:
        for i in members or tuple(self.nodes):
            await self.nodes.pop(i).stop()

    def all(self, holds: Callable[[EphemeraNode], bool]) -> Callable[[], bool]:
        return lambda: all(holds(node) for node in self.nodes.values())
