"""One TCP connection as a source and sink of frames: TLS 1.3 below, the frames of `link_frames` above.

What arrives is decrypted and cut into frames in the one callback that the socket causes: no task is woken and no
bytes wait in between. (asyncio's own TLS and streams cost more than the rest of a link: several buffers and
task switches for each frame.) Law: before the hello no frame longer than a hello is stored, and nothing behind
it is read until `serve`; what is held is one read of the socket (256 KiB) and one admissible frame.
"""

import asyncio
import ssl
from collections.abc import Sequence
from typing import Protocol

from meridian.node.link_frames import CHUNK_BYTES, HELLO_BYTES, FrameParser, Kind, PeerFault

RECORD_BYTES = 16 * 1024
"""The longest plaintext of a TLS record (RFC 8446 section 5.1)."""

READ_BYTES = 256 * 1024
"""The most that is read from the socket at once."""

Frames = Sequence[tuple[Kind, bytes]]


class Listener(Protocol):
    """Who a stream serves once its hello is read."""

    def take_frames(self, frames: Frames) -> None:
        """Take frames in their order; raises PeerFault to end the stream."""
        ...

    def note_alive(self) -> None:
        """Bytes arrived, perhaps no whole frame yet."""
        ...

    def end(self, fault: PeerFault) -> None:
        """The stream has ended."""
        ...

    def pause_writing(self) -> None:
        """More than a chunk waits for the socket."""
        ...

    def resume_writing(self) -> None:
        """The socket took nearly all."""
        ...


class LinkStream(asyncio.BufferedProtocol):
    """A connection from its handshake to its end."""

    def __init__(
        self, tls: ssl.SSLContext | None, *, server_side: bool, buffer: memoryview | None = None
    ) -> None:
        """Prepare.

        Args:
            tls: None means bare TCP, on which nobody proves anything (benchmarks only).
            server_side: Whether the peer called.
            buffer: Where the socket's bytes are put, to be used up at once: all streams of one loop may share it.
        """
        loop = asyncio.get_running_loop()
        self._buffer = memoryview(bytearray(READ_BYTES)) if buffer is None else buffer
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = (
            None
            if tls is None
            else tls.wrap_bio(self._incoming, self._outgoing, server_side=server_side)
        )
        self._parser = FrameParser(HELLO_BYTES)
        self._listener: Listener | None = None
        self._transport: asyncio.Transport | None = None
        self._shaken = False
        self._said_goodbye = False
        self._over = False
        self.established: asyncio.Future[None] = loop.create_future()
        """The handshake is done; or why not: PeerFault, OSError (ssl.SSLError is one)."""
        self.hello: asyncio.Future[bytes] = loop.create_future()
        """The payload of the first frame; or why there is none."""

    def write(self, data: bytes) -> None:
        """Let bytes leave after those before; what the socket does not take waits in the transport."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if self.tls is not None:
            try:
                self.tls.write(data)
            except ssl.SSLError as error:
                self._fail(error)
                return
            data = self._outgoing.read()
        transport.write(data)

    def serve(self, listener: Listener, payload_max_bytes: int) -> None:
        """Hand over every frame behind the hello, from now on."""
        self._listener = listener
        self._parser.payload_max_bytes = payload_max_bytes
        self.resume_reading()
        self._guarded(b"")

    def pause_reading(self) -> None:
        """Leave further bytes to the kernel, which lets the peer wait."""
        if self._transport is not None and not self._over:
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read again."""
        if self._transport is not None and not self._over:
            self._transport.resume_reading()

    def abort(self) -> None:
        """Cut the connection; what was not sent is lost.

        Whom it served is let go: the two name each other, and a dead pair would keep its buffers, which may be
        hundreds of KiB that Python's collector does not see, until there are thousands of such pairs.
        """
        self._over = True
        self._listener = None
        if self._transport is not None:
            self._transport.abort()

    # --- what asyncio calls ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(high=CHUNK_BYTES)
        try:
            self._shake_hands()
        except ssl.SSLError as error:
            self._fail(error)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002
        """See asyncio."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """See asyncio."""
        if self._listener is not None:
            self._listener.note_alive()
        if self.tls is None:
            self._guarded(bytes(self._buffer[:nbytes]))
            return
        self._incoming.write(self._buffer[:nbytes])
        try:
            if not self._shaken:
                self._shake_hands()
            if self._shaken:
                self._guarded(self._decrypted(self.tls))
                if self._said_goodbye:
                    self._fail(self._ended())
        except ssl.SSLError as error:
            self._fail(error)

    def eof_received(self) -> None:
        """See asyncio; the transport closes."""

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio."""
        self._fail(exc or self._ended())

    def pause_writing(self) -> None:
        """See asyncio."""
        if self._listener is not None:
            self._listener.pause_writing()

    def resume_writing(self) -> None:
        """See asyncio."""
        if self._listener is not None:
            self._listener.resume_writing()

    # --- inside ---

    def _shake_hands(self) -> None:
        if self.tls is not None:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                self._flush()
                return
            self._flush()
        self._shaken = True
        if not self.established.done():  # Who waited may have gone.
            self.established.set_result(None)

    def _flush(self) -> None:
        """Send what TLS itself has to say."""
        assert self._transport is not None
        if self._outgoing.pending:
            self._transport.write(self._outgoing.read())

    def _decrypted(self, tls: ssl.SSLObject) -> bytes:
        parts: list[bytes] = []
        # Asked first: an SSLWantReadError for every read would cost more than the read.
        while self._incoming.pending or tls.pending():
            try:
                part = tls.read(RECORD_BYTES)
            except ssl.SSLWantReadError:  # The rest of the record is still to come.
                break
            if not part:  # The peer's TLS says goodbye: nothing counts that may follow.
                self._said_goodbye = True
                break
            parts.append(part)
        self._flush()
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _ended(self) -> PeerFault:
        return PeerFault("garbage" if self._parser.inside else "closed")

    def _guarded(self, data: bytes) -> None:
        """Cut bytes into frames and hand them over; a fault of the peer ends the stream."""
        try:
            if self._listener is not None:
                frames = self._parser.feed(data)
                if frames:
                    self._listener.take_frames(frames)
            elif not self.hello.done():
                for kind, payload in self._parser.feed(data, frames_max=1):
                    if kind is not Kind.HELLO:
                        raise PeerFault("garbage", "no hello")
                    self.pause_reading()
                    self.hello.set_result(payload)
            elif data:
                self._parser.keep(data)
        except PeerFault as fault:
            self._fail(fault)

    def _fail(self, error: Exception) -> None:
        if self._over:
            error = PeerFault("closed")
        listener = self._listener
        self.abort()
        for promised in (self.established, self.hello):
            if not promised.done():
                promised.set_exception(error)
                promised.exception()  # Nobody need be waiting.
        if listener is not None:
            lost = PeerFault("lost", type(error).__name__)
            listener.end(error if isinstance(error, PeerFault) else lost)
