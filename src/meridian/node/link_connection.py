"""One authenticated connection to one peer, and the state of that peer which outlives its connections.

Three loops share the connection: *receive* reads frames as fast as the peer's allowance permits and
hands messages on; *send* writes what waits, small before bulk, cutting bulk messages into pieces so
that a vote waits behind one piece at most; *watch* pings and notices silence. Law: the first loop
that fails ends all three and nothing else; what waits in the queues stays for the next connection,
what was half sent is lost (links are best effort, the protocol resends).
"""

import asyncio
import logging
import socket
import ssl
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from meridian.node.link_frames import (
    CHUNK_BYTES,
    FrameParser,
    Kind,
    PeerFault,
    encode_frame,
)
from meridian.node.link_queue import FrameQueue, QueueLimits, TokenBucket
from meridian.primitives.ids import Address, address_text

_log = logging.getLogger(__name__)

_MIB = 1024 * 1024
_FRAMES_PER_TURN = 32
_SMALL = QueueLimits(frames_max=1024, bytes_max=8 * _MIB)
_BULK = QueueLimits(frames_max=256, bytes_max=16 * _MIB)


@dataclass(frozen=True, slots=True)
class LinkLimits:
    """Every bound and every time of the links; the defaults suit committees of up to 128 members."""

    frame_max_bytes: int = 2 * _MIB
    """Longest message, small or bulk."""
    small: QueueLimits = _SMALL
    """What may wait per peer in the queue of votes and other small messages."""
    bulk: QueueLimits = _BULK
    """What may wait per peer in the queue of bodies."""
    inbound_messages_per_s: int = 2000
    inbound_messages_burst: int = 4000
    inbound_bytes_per_s: int = 16 * _MIB
    inbound_bytes_burst: int = 32 * _MIB
    pending_max: int = 64
    """Inbound connections that have not yet proved who they are; one more evicts the oldest."""
    handshake_ms: int = 5_000
    """From connecting to the end of the hello."""
    ping_ms: int = 5_000
    dead_ms: int = 15_000
    """A peer that neither sends nor takes a byte for this long is disconnected."""
    reconnect_first_ms: int = 200
    reconnect_max_ms: int = 10_000
    stable_ms: int = 5_000
    """A connection that lived this long resets the reconnect backoff."""


class PeerLink:
    """All that we keep about one peer: queues, allowance, counters, and the current connection if any."""

    __slots__ = ("address", "bulk", "bytes", "connection", "counters", "messages", "small", "wake")

    def __init__(self, address: Address, limits: LinkLimits, now_s: float) -> None:
        self.address = address
        self.small = FrameQueue(limits.small)
        self.bulk = FrameQueue(limits.bulk)
        self.messages = TokenBucket(
            limits.inbound_messages_per_s, limits.inbound_messages_burst, now_s
        )
        self.bytes = TokenBucket(limits.inbound_bytes_per_s, limits.inbound_bytes_burst, now_s)
        self.connection: Connection | None = None
        self.counters: Counter[str] = Counter()
        self.wake = asyncio.Event()

    def put(self, frame: bytes, *, bulk: bool, slot: bytes | None) -> None:
        """Let a message wait for this peer, connected or not."""
        (self.bulk if bulk else self.small).put(frame, slot)
        self.wake.set()

    def statistics(self) -> dict[str, int]:
        """Return counters and gauges as they stand."""
        return dict(self.counters) | {
            "connected": int(self.connection is not None),
            "small_waiting": len(self.small),
            "small_waiting_bytes": self.small.waiting_bytes,
            "small_dropped": self.small.dropped,
            "bulk_waiting": len(self.bulk),
            "bulk_waiting_bytes": self.bulk.waiting_bytes,
            "bulk_dropped": self.bulk.dropped,
            "replaced": self.small.replaced + self.bulk.replaced,
        }


class Connection:
    """One live connection; `run` returns when it has ended."""

    def __init__(
        self,
        link: PeerLink,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        limits: LinkLimits,
        on_frame: Callable[[Address, bytes], None],
    ) -> None:
        self._link = link
        self._reader = reader
        self._writer = writer
        self._limits = limits
        self._on_frame = on_frame
        self._clock = asyncio.get_running_loop().time
        self._heard_at_s = self._clock()
        self._ping_due = False
        self._pong_due = False
        self._bulk_out: memoryview | None = None
        self._bulk_in = bytearray()
        self._close_reason: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.ended = asyncio.Event()

    def close(self, reason: str) -> None:
        """Ask the connection to end; `ended` tells when it has."""
        if not self._close_reason.done():
            self._close_reason.set_result(reason)

    async def run(self) -> None:
        """Serve the connection until either side ends it; never raises for what a peer did."""
        self._link.connection = self
        self._link.counters["connections"] += 1
        self._writer.transport.set_write_buffer_limits(high=CHUNK_BYTES)
        # Not a TaskGroup: in Python 3.11 it swallows a cancellation that coincides with an error.
        loops = [
            asyncio.create_task(_as_peer_fault(loop))
            for loop in (self._receive(), self._send(), self._watch(), self._await_close())
        ]
        try:
            ended, _ = await asyncio.wait(loops, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._link.connection = None
            self.ended.set()
            self._writer.transport.abort()
            for loop in loops:
                loop.cancel()
            await asyncio.gather(*loops, return_exceptions=True)
        try:
            ended.pop().result()
        except PeerFault as fault:
            self._link.counters[f"ended_{fault.reason}"] += 1
            _log.info("link to %s ended: %s", address_text(self._link.address), fault)

    async def _receive(self) -> None:
        parser = FrameParser(self._limits.frame_max_bytes)
        while True:
            chunk = await self._reader.read(CHUNK_BYTES)
            if not chunk:
                raise PeerFault("garbage" if parser.inside else "closed")
            self._note_alive()
            frames = parser.feed(chunk)
            for first in range(0, len(frames), _FRAMES_PER_TURN):
                if first:
                    await asyncio.sleep(0)  # The other peers want their turn.
                await self._take(frames[first : first + _FRAMES_PER_TURN])

    async def _take(self, frames: Sequence[tuple[Kind, bytes]]) -> None:
        payload_bytes = sum(len(payload) for _, payload in frames)
        self._link.counters["frames_in"] += len(frames)
        self._link.counters["bytes_in"] += payload_bytes
        await self._throttle(len(frames), payload_bytes)
        for kind, payload in frames:
            match kind:
                case Kind.SMALL:
                    self._deliver(payload)
                case Kind.BULK_PART | Kind.BULK_END:
                    self._take_bulk(payload, last=kind is Kind.BULK_END)
                case Kind.PING:
                    self._pong_due = True
                    self._link.wake.set()
                case Kind.PONG:
                    pass
                case Kind.HELLO:
                    raise PeerFault("garbage", "a second hello")

    def _take_bulk(self, payload: bytes, *, last: bool) -> None:
        if len(self._bulk_in) + len(payload) > self._limits.frame_max_bytes:
            raise PeerFault("length", "a bulk message passes the limit")
        self._bulk_in += payload
        if last:
            message, self._bulk_in = bytes(self._bulk_in), bytearray()
            self._deliver(message)

    def _note_alive(self) -> None:
        self._heard_at_s = self._clock()

    async def _throttle(self, frames: int, payload_bytes: int) -> None:
        """Spend the peer's allowance; beyond it we simply read later, and TCP makes the peer wait."""
        now_s = self._clock()
        delay_s = max(
            self._link.messages.delay_s(frames, now_s),
            self._link.bytes.delay_s(payload_bytes, now_s),
        )
        if delay_s > 0:
            self._link.counters["throttled"] += 1
            await asyncio.sleep(delay_s)
            self._note_alive()

    def _deliver(self, message: bytes) -> None:
        self._link.counters["messages_in"] += 1
        try:
            self._on_frame(self._link.address, message)
        except Exception as error:  # noqa: BLE001 - a peer's bytes end that peer's connection only.
            _log.exception("a message of %s was not digested", address_text(self._link.address))
            raise PeerFault("indigestible", type(error).__name__) from None

    async def _send(self) -> None:
        transport = self._writer.transport
        while True:
            batch = self._next_batch()
            if not batch:
                self._link.wake.clear()
                await self._link.wake.wait()
                continue
            self._writer.write(batch)
            if transport.get_write_buffer_size() <= CHUNK_BYTES and not transport.is_closing():
                if self._link.small or self._link.bulk or self._bulk_out is not None:
                    await asyncio.sleep(0)  # The others want their turn.
                continue
            try:
                async with asyncio.timeout(self._limits.dead_ms / 1000):
                    await self._writer.drain()
            except TimeoutError:
                raise PeerFault("stalled", "the peer takes no bytes") from None

    def _next_batch(self) -> bytes:
        """Return what to write next: all that waits, as far as a piece of a bulk message is long."""
        pieces: list[bytes] = []
        batch_bytes = 0
        while batch_bytes < CHUNK_BYTES:
            piece = self._next_piece()
            if piece is None:
                break
            pieces.append(piece)
            batch_bytes += len(piece)
        self._link.counters["frames_out"] += len(pieces)
        self._link.counters["bytes_out"] += batch_bytes
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _next_piece(self) -> bytes | None:
        """Return the bytes to write next: pong, ping, small messages, then one piece of a bulk message."""
        if self._pong_due:
            self._pong_due = False
            return encode_frame(Kind.PONG)
        if self._ping_due:
            self._ping_due = False
            return encode_frame(Kind.PING)
        if (small := self._link.small.take()) is not None:
            return encode_frame(Kind.SMALL, small)
        if self._bulk_out is None:
            bulk = self._link.bulk.take()
            if bulk is None:
                return None
            self._bulk_out = memoryview(bulk)
        piece, rest = self._bulk_out[:CHUNK_BYTES], self._bulk_out[CHUNK_BYTES:]
        self._bulk_out = rest if len(rest) else None
        return encode_frame(Kind.BULK_PART if len(rest) else Kind.BULK_END, bytes(piece))

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._limits.ping_ms / 1000)
            if self._clock() - self._heard_at_s > self._limits.dead_ms / 1000:
                raise PeerFault("silent", "nothing heard")
            self._ping_due = True
            self._link.wake.set()

    async def _await_close(self) -> None:
        raise PeerFault(await self._close_reason)


async def _as_peer_fault(loop: Coroutine[Any, Any, None]) -> None:
    """Run one loop; every way in which a socket can fail means that this connection is over."""
    try:
        await loop
    except (OSError, EOFError, ssl.SSLError) as error:
        raise PeerFault("lost", type(error).__name__) from None


def tune_socket(connected: socket.socket, limits: LinkLimits) -> None:
    """Set the TCP options of a link, as far as this system has them."""
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # A partition must surface as an error.
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, limits.dead_ms)
    if hasattr(socket, "TCP_NOTSENT_LOWAT"):  # Bulk must queue here, where votes can pass it.
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, 2 * CHUNK_BYTES)
