"""The wire format of a link: length-prefixed frames, and the hello that opens every connection.

::

    frame   u32 length of the rest | u8 kind | payload
    hello   u16 version | network 32 | sender 20 | receiver 20

Law: a length is judged before one byte of the payload is stored, and a payload is stored as it
arrives, never allocated in advance; so a peer cannot make us hold more than it has sent, nor more
than the limit.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

from meridian.errors import InvalidInput, RemoteFault
from meridian.primitives.codec import Reader, Writer
from meridian.primitives.ids import Address

VERSION = 1
HEADER_BYTES = 5
CHUNK_BYTES = 64 * 1024


class Kind(IntEnum):
    """What a frame is; numbers are never used again for something else."""

    HELLO = 1
    PING = 2
    PONG = 3
    SMALL = 4
    """One whole message that must not wait."""
    BULK_PART = 5
    """A piece of a large message; more pieces follow. Small frames may stand between pieces."""
    BULK_END = 6
    """The last piece of a large message."""


_KINDS = {int(kind): kind for kind in Kind}


class PeerFault(RemoteFault):
    """One connection must end; `reason` is a short constant that the counters and the log know."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Hello:
    """The first frame in each direction: who speaks to whom, in which network."""

    network: bytes
    sender: Address
    receiver: Address

    def encode(self) -> bytes:
        """Return the payload of the hello frame."""
        writer = Writer().u16(VERSION).fixed(self.network, 32)
        return writer.fixed(self.sender, 20).fixed(self.receiver, 20).bytes()


HELLO_BYTES = 2 + 32 + 20 + 20


def decode_hello(payload: bytes) -> Hello:
    """Read a hello.

    Raises:
        PeerFault: If it is malformed or of another version.
    """
    try:
        reader = Reader(payload)
        version = reader.u16()
        if version != VERSION:
            raise PeerFault("version", f"{version} where {VERSION} is spoken")
        hello = Hello(reader.fixed(32), Address(reader.fixed(20)), Address(reader.fixed(20)))
        reader.finish()
    except InvalidInput as error:
        raise PeerFault("garbage", str(error)) from None
    return hello


def encode_frame(kind: Kind, payload: bytes = b"") -> bytes:
    """Return the bytes of one frame on the wire."""
    return (len(payload) + 1).to_bytes(4, "big") + bytes((kind,)) + payload


class FrameParser:
    """Cuts what arrives into frames; holds no more than one chunk and one admissible frame."""

    __slots__ = ("_buffer", "_payload_max_bytes")

    def __init__(self, payload_max_bytes: int) -> None:
        self._payload_max_bytes = payload_max_bytes
        self._buffer = bytearray()

    @property
    def inside(self) -> bool:
        """Whether the beginning of a frame waits for its rest."""
        return bool(self._buffer)

    def feed(self, chunk: bytes) -> list[tuple[Kind, bytes]]:
        """Take a chunk; return the frames that it completes, in order.

        Raises:
            PeerFault: On an inadmissible length or an unknown kind, as soon as the header is here.
        """
        self._buffer += chunk
        frames: list[tuple[Kind, bytes]] = []
        at, arrived = 0, len(self._buffer)
        with memoryview(self._buffer) as view:
            while arrived - at >= HEADER_BYTES:
                kind, payload_bytes = _judge(view[at : at + HEADER_BYTES], self._payload_max_bytes)
                end = at + HEADER_BYTES + payload_bytes
                if end > arrived:
                    break
                frames.append((kind, bytes(view[at + HEADER_BYTES : end])))
                at = end
        del self._buffer[:at]
        return frames


def _judge(header: bytes | memoryview, payload_max_bytes: int) -> tuple[Kind, int]:
    """Kind and payload length of a frame; raises PeerFault."""
    payload_bytes = int.from_bytes(header[:4], "big") - 1
    if not 0 <= payload_bytes <= payload_max_bytes:
        raise PeerFault("length", f"{payload_bytes} bytes announced, {payload_max_bytes} allowed")
    kind = _KINDS.get(header[4])
    if kind is None:
        raise PeerFault("garbage", f"frame kind {header[4]}")
    return kind, payload_bytes


async def read_frame(
    reader: asyncio.StreamReader, payload_max_bytes: int, progressed: Callable[[], None]
) -> tuple[Kind, bytes]:
    """Read one frame, calling `progressed` whenever bytes arrived.

    Raises:
        PeerFault: On an inadmissible length, an unknown kind, or the end of the stream.
    """
    try:
        header = await reader.readexactly(HEADER_BYTES)
    except asyncio.IncompleteReadError as error:
        raise PeerFault("garbage" if error.partial else "closed") from None
    progressed()
    kind, payload_bytes = _judge(header, payload_max_bytes)
    payload = bytearray()
    while len(payload) < payload_bytes:
        chunk = await reader.read(min(CHUNK_BYTES, payload_bytes - len(payload)))
        if not chunk:
            raise PeerFault("garbage", "the stream ends inside a frame")
        payload += chunk
        progressed()
    return kind, bytes(payload)
