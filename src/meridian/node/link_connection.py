"""One authenticated connection to one peer, and the state of that peer which outlives its connections.

*Receive*: frames are handed on in the callback in which they arrive, as fast as the peer's allowance permits; beyond
it nothing is read. *Send*: once in a turn of the loop, what waits is written in one piece, small before
bulk; bulk messages are cut, so that a vote waits behind one piece at most. *Watch*: pings, and notices
silence. Law: the first fault ends the connection and nothing else; what waits in the queues stays for
the next connection, what was half sent is lost (links are best effort, the protocol resends).
"""

import asyncio
import logging
import socket
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass

from meridian.node.link_frames import CHUNK_BYTES, Kind, PeerFault, encode_frame
from meridian.node.link_queue import FrameQueue, QueueLimits, TokenBucket
from meridian.node.link_stream import Frames, LinkStream
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

    __slots__ = ("address", "bulk", "bytes", "connection", "counters", "messages", "small")

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

    def put(self, frame: bytes, *, bulk: bool, slot: bytes | None) -> None:
        """Let a message wait for this peer, connected or not."""
        (self.bulk if bulk else self.small).put(frame, slot)
        if self.connection is not None:
            self.connection.wake()

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
    """One live connection; `run` returns when it has ended. The listener of its stream."""

    def __init__(
        self,
        link: PeerLink,
        stream: LinkStream,
        limits: LinkLimits,
        on_frame: Callable[[Address, bytes], None],
    ) -> None:
        self._link = link
        self._stream = stream
        self._limits = limits
        self._on_frame = on_frame
        self._loop = asyncio.get_running_loop()
        self._clock = self._loop.time
        self._heard_at_s = self._clock()
        self._ping_due = False
        self._pong_due = False
        self._bulk_out: memoryview | None = None
        self._bulk_in = bytearray()
        self._held: deque[tuple[Kind, bytes]] = deque()
        self._awake = False
        self._writable = True
        self._stalls: asyncio.TimerHandle | None = None
        self._fault: asyncio.Future[PeerFault] = self._loop.create_future()
        self.ended = asyncio.Event()

    def close(self, reason: str) -> None:
        """Ask the connection to end; `ended` tells when it has."""
        self.end(PeerFault(reason))

    def end(self, fault: PeerFault) -> None:
        """End the connection; the first fault is the one that counts."""
        if not self._fault.done():
            self._fault.set_result(fault)

    async def run(self) -> None:
        """Serve the connection until either side ends it; never raises for what a peer did."""
        self._link.connection = self
        self._link.counters["connections"] += 1
        watching = asyncio.create_task(self._watch())
        self._stream.serve(self, self._limits.frame_max_bytes)
        self.wake()
        try:
            fault = await self._fault
            self._link.counters[f"ended_{fault.reason}"] += 1
            _log.info("link to %s ended: %s", address_text(self._link.address), fault)
        finally:
            self._link.connection = None
            self.ended.set()
            self._stream.abort()
            self.end(PeerFault("stopped"))
            self.resume_writing()
            self._held.clear()
            watching.cancel()
            await asyncio.wait([watching])

    # --- receive ---

    def take_frames(self, frames: Frames) -> None:
        """See `Listener`."""
        if self._held or len(frames) > _FRAMES_PER_TURN:
            self._hold(frames)
            return
        delay_s = self._spend(frames)
        if delay_s > 0:
            self._hold(frames)
            self._loop.call_later(delay_s, self._go_on, len(frames))
            return
        for kind, payload in frames:
            self._take(kind, payload)

    def _hold(self, frames: Frames) -> None:
        """Keep frames for later turns, and read nothing until they are taken."""
        if not self._held:
            self._stream.pause_reading()
            if len(frames) > _FRAMES_PER_TURN:
                self._loop.call_soon(self._go_on)
        self._held.extend(frames)

    def _go_on(self, paid: int = 0) -> None:
        """Take one turn of what is held: what is paid for already, or as much as the allowance permits."""
        if self._fault.done():
            return
        self.note_alive()
        turn = [self._held.popleft() for _ in range(min(paid or _FRAMES_PER_TURN, len(self._held)))]
        delay_s = 0.0 if paid else self._spend(turn)
        if delay_s > 0:
            self._held.extendleft(reversed(turn))
            self._loop.call_later(delay_s, self._go_on, len(turn))
            return
        try:
            for kind, payload in turn:
                self._take(kind, payload)
        except PeerFault as fault:
            self.end(fault)
            return
        if self._held:
            self._loop.call_soon(self._go_on)  # The other peers want their turn.
        else:
            self._stream.resume_reading()

    def _spend(self, frames: Frames) -> float:
        """Spend the peer's allowance; how long to wait before the frames are taken, and more is read."""
        payload_bytes = sum([len(payload) for _, payload in frames])
        link, now_s = self._link, self._clock()
        link.counters["frames_in"] += len(frames)
        link.counters["bytes_in"] += payload_bytes
        delay_s = max(
            link.messages.delay_s(len(frames), now_s), link.bytes.delay_s(payload_bytes, now_s)
        )
        if delay_s > 0:
            link.counters["throttled"] += 1
        return delay_s

    def _take(self, kind: Kind, payload: bytes) -> None:
        match kind:
            case Kind.SMALL:
                self._deliver(payload)
            case Kind.BULK_PART | Kind.BULK_END:
                self._take_bulk(payload, last=kind is Kind.BULK_END)
            case Kind.PING:
                self._pong_due = True
                self.wake()
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

    def note_alive(self) -> None:
        """See `Listener`."""
        self._heard_at_s = self._clock()

    def _deliver(self, message: bytes) -> None:
        self._link.counters["messages_in"] += 1
        try:
            self._on_frame(self._link.address, message)
        except Exception as error:  # noqa: BLE001 - a peer's bytes end that peer's connection only.
            _log.exception("a message of %s was not digested", address_text(self._link.address))
            raise PeerFault("indigestible", type(error).__name__) from None

    # --- send ---

    def wake(self) -> None:
        """Write what waits at the end of this turn of the loop, all in one piece."""
        if not self._awake and self._writable:
            self._awake = True
            self._loop.call_soon(self._write)

    def pause_writing(self) -> None:
        """See `Listener`; a peer that takes nothing for too long is disconnected."""
        self._writable = False
        if self._stalls is None:
            stalled = PeerFault("stalled", "the peer takes no bytes")
            self._stalls = self._loop.call_later(self._limits.dead_ms / 1000, self.end, stalled)

    def resume_writing(self) -> None:
        """See `Listener`."""
        self._writable = True
        if self._stalls is not None:
            self._stalls.cancel()
            self._stalls = None
        if not self._fault.done():
            self.wake()

    def _write(self) -> None:
        self._awake = False
        if self._fault.done() or not self._writable:
            return
        batch = self._next_batch()
        if batch:
            self._stream.write(batch)
            if self._link.small or self._link.bulk or self._bulk_out is not None:
                self.wake()  # After the others' turn.

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

    # --- watch ---

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._limits.ping_ms / 1000)
            if self._clock() - self._heard_at_s > self._limits.dead_ms / 1000:
                self.end(PeerFault("silent", "nothing heard"))
                return
            self._ping_due = True
            self.wake()


def tune_socket(connected: socket.socket, limits: LinkLimits) -> None:
    """Set the TCP options of a link, as far as this system has them."""
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # A partition must surface as an error.
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, limits.dead_ms)
    if hasattr(socket, "TCP_NOTSENT_LOWAT"):  # Bulk must queue here, where votes can pass it.
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, 2 * CHUNK_BYTES)
