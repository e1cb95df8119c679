"""A lying member of a broadcast world: two blocks in one slot, echoes and votes for everything, old and odd frames."""

from __future__ import annotations

import random

from meridian.ephemera.broadcast import frame as frames
from meridian.ephemera.broadcast.frame import (
    BroadcastMessage,
    Certified,
    Echo,
    Fetch,
    Frontier,
    Payload,
    Send,
    Vote,
)
from meridian.ephemera.broadcast.slot import DeliveryCertificate, Kind, Slot, statement
from meridian.ephemera.context import Context
from meridian.ephemera.messages.block import BLOCK_CHANNEL, MessageBlock, make_block
from meridian.ephemera.messages.message import Realm, sign_message
from meridian.ephemera.messages.store_channel import STORE_CHANNEL, StoreEntry, entry_digest
from meridian.errors import InvalidInput
from meridian.primitives.keys import PrivateKey
from meridian.sim.broadcast_hosts import Post

SPOKEN_MAX = 300


class BroadcastLiar:
    """One lying member. It cannot forge signatures of others."""

    def __init__(
        self, member: int, key: PrivateKey, context: Context, rng: random.Random, post: Post
    ) -> None:
        self.member = member
        self._key = key
        self._context = context
        self._rng = rng
        self._post = post
        self._realm = Realm(context.domain, context.network)
        self._height = 1
        self._previous = context.digest
        self._payloads: dict[bytes, bytes] = {}
        self._heard: list[bytes] = []
        self._supported: set[tuple[Slot, bytes]] = set()
        self._spoken = 0

    def wake(self) -> None:
        """Lead a slot with two payloads, replay something old, claim to be far ahead."""
        if self._spoken > SPOKEN_MAX:
            return
        self._spoken += 1
        self._send_two()
        if self._heard and self._rng.random() < 0.5:
            self._post(self.member, self._anybody(), self._rng.choice(self._heard))
        if self._rng.random() < 0.2:
            number = self._rng.randint(1, 1 << 40)
            self._tell(self._anybody(), Frontier(((BLOCK_CHANNEL, self.member, number),)))
        if self._rng.random() < 0.1:
            self._post(self.member, self._anybody(), self._rng.randbytes(self._rng.randint(1, 200)))

    def receive(self, sender: int, frame: bytes) -> None:
        """Support everything, to some; serve rubbish."""
        self._heard = [*self._heard[-20:], frame]
        try:
            message = frames.decode(frame, self._context)
        except InvalidInput:
            return
        match message:
            case Send(slot, _, payload):
                if slot.channel == STORE_CHANNEL:
                    self._support(slot, entry_digest(payload))
            case Echo(_, slot, digest, _) | Vote(_, slot, digest, _):
                self._support(slot, digest)
            case Fetch(slot, digest):
                payload = self._payloads.get(digest, b"rubbish")
                self._tell(sender, Payload(slot, digest, payload))
            case Certified(certificate):
                fewer = certificate.votes[:-1]
                forged = DeliveryCertificate(certificate.slot, certificate.digest, fewer)
                self._tell(self._anybody(), Certified(forged))
            case _:
                pass

    def _send_two(self) -> None:
        slot = Slot(BLOCK_CHANNEL, self.member, self._height)
        variants = [self._block_payload(b"a"), self._block_payload(b"b")]
        if self._rng.random() < 0.3:
            slot = Slot(STORE_CHANNEL, self.member, self._height)
            variants = [StoreEntry(b"key 1", value, 9).encode() for value in (b"a", b"b")]
        for to in self._others():
            payload = self._rng.choice(variants)
            digest = self._digest(slot, payload)
            self._payloads[digest] = payload
            if self._rng.random() < 0.7:
                self._tell(to, Send(slot, self._sign(Kind.SEND, slot, digest), payload))
        if self._rng.random() < 0.2:
            self._height += 1

    def _block_payload(self, data: bytes) -> bytes:
        message = sign_message(
            self._realm,
            self._key,
            number=1,
            created_ms=0,
            label=f"lie {self._height}",
            data=data,
        )
        block = make_block(
            self._context, self.member, self._height, self._previous, self._height, [message]
        )
        return block.encode()

    def _digest(self, slot: Slot, payload: bytes) -> bytes:
        if slot.channel == STORE_CHANNEL:
            return entry_digest(payload)
        return MessageBlock.decode(payload).hash

    def _support(self, slot: Slot, digest: bytes) -> None:
        if (slot, digest) in self._supported or self._spoken > SPOKEN_MAX:
            return
        self._supported.add((slot, digest))
        self._spoken += 1
        if slot.sender == self.member and slot.channel == BLOCK_CHANNEL:
            self._previous = digest if self._rng.random() < 0.3 else self._previous
        for to in self._others():
            if self._rng.random() < 0.7:
                signature = self._sign(Kind.ECHO, slot, digest)
                self._tell(to, Echo(self.member, slot, digest, signature))
            if self._rng.random() < 0.7:
                signature = self._sign(Kind.VOTE, slot, digest)
                self._tell(to, Vote(self.member, slot, digest, signature))

    def _others(self) -> list[int]:
        return [member for member in range(self._context.n) if member != self.member]

    def _anybody(self) -> int:
        return self._rng.choice(self._others())

    def _sign(self, kind: Kind, slot: Slot, digest: bytes) -> bytes:
        return self._key.sign(statement(self._context, kind, slot, digest))

    def _tell(self, to: int, message: BroadcastMessage) -> None:
        self._post(self.member, to, frames.encode(message, self._context.epoch))
