"""The wire format of a link: length-prefixed frames, and the hello that opens every connection.

::

    frame   u32 length of the rest | u8 kind | payload
    hello   u16 version | network 32 | sender 20 | receiver 20

Law: a length is judged before one byte of the payload is stored, and a payload is stored as it
arrives, never allocated in advance; so a peer cannot make us hold more than it has sent, nor more
than the limit.
"""

from dataclasses import dataclass
from enum import IntEnum
from struct import Struct

from meridian.errors import InvalidInput, RemoteFault
from meridian.primitives.codec import Reader, Writer
from meridian.primitives.ids import Address

VERSION = 1
HEADER_BYTES = 5
CHUNK_BYTES = 64 * 1024

_HEADER = Struct(">IB")


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
    return _HEADER.pack(len(payload) + 1, kind) + payload


class FrameParser:
    """Cuts what arrives into frames; holds no more than one chunk and one admissible frame."""

    __slots__ = ("_buffer", "payload_max_bytes")

    def __init__(self, payload_max_bytes: int) -> None:
        self.payload_max_bytes = payload_max_bytes
        self._buffer = bytearray()

    @property
    def inside(self) -> bool:
        """Whether the beginning of a frame waits for its rest."""
        return bool(self._buffer)

    def keep(self, chunk: bytes) -> None:
        """Take a chunk and look at it later."""
        self._buffer += chunk

    def feed(self, chunk: bytes, frames_max: int | None = None) -> list[tuple[Kind, bytes]]:
        """Take a chunk; return the frames that it completes, in order, and at most `frames_max` of them.

        Raises:
            PeerFault: On an inadmissible length or an unknown kind, as soon as the header is here.
        """
        buffer = self._buffer
        data: bytes | bytearray = chunk
        if buffer:
            buffer += chunk
            data = buffer
        frames: list[tuple[Kind, bytes]] = []
        at, arrived = 0, len(data)
        with memoryview(data) as view:
            while arrived - at >= HEADER_BYTES and len(frames) != frames_max:
                kind, payload_bytes = _judge(data, at, self.payload_max_bytes)
                begin = at + HEADER_BYTES
                if begin + payload_bytes > arrived:
                    break
                at = begin + payload_bytes
                frames.append((kind, bytes(view[begin:at])))
        if data is buffer:
            del buffer[:at]
        else:
            buffer += chunk[at:]
        return frames


def _judge(data: bytes | bytearray, at: int, payload_max_bytes: int) -> tuple[Kind, int]:
    """Kind and payload length of the frame that begins at `at`; raises PeerFault."""
    rest_bytes, code = _HEADER.unpack_from(data, at)
    payload_bytes = rest_bytes - 1
    if not 0 <= payload_bytes <= payload_max_bytes:
        raise PeerFault("length", f"{payload_bytes} bytes announced, {payload_max_bytes} allowed")
    kind = _KINDS.get(code)
    if kind is None:
        raise PeerFault("garbage", f"frame kind {code}")
    return kind, payload_bytes
