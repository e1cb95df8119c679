"""The short way of a plain ``POST /v1/jobs``: from the bytes of a connection to the intake and back, without a task.

Law: where there are no other servers, a connection goes the short way while all that comes is of one narrow shape
(`plain_request`) and bears a token that is known. From the first request that is otherwise the connection is aiohttp's
for good, with that request. So what is right is decided in one place (`jobs_route`), what is malformed in another
(aiohttp), and here neither: a request is answered as it would have been there, with the same limits of load, size and time.
"""

import asyncio
import time
from collections.abc import Callable
from email.utils import formatdate
from typing import Any, Final

from aiohttp.http import SERVER_SOFTWARE

from meridian.errors import MeridianError, Overloaded
from meridian.node.measure.http import refusal
from meridian.node.measure.jobs_route import JobsRoute
from meridian.node.measure.limits import Share
from meridian.node.measure.plain_request import PlainHead, read_head

BACKLOG: Final = 1024
LOOK_S: Final = 1.0
"""Pause between looks for connections that have waited too long."""
DRAIN_S: Final = 0.01


class JobsConnections:
    """The connections of a server.

    Args:
        route: Decides.
        ordinary: Makes the protocol that takes over a connection.
        keepalive_s: How long a connection may be idle.
        is_alone: Whether there are no other servers; an answer that one of them has must be fetched, which only the
            ordinary way does (`forwarding`), so then all connections are ordinary.
    """

    def __init__(
        self,
        route: JobsRoute,
        ordinary: Callable[[], asyncio.Protocol],
        *,
        keepalive_s: float,
        is_alone: bool,
    ) -> None:
        self.route, self.ordinary = route, ordinary
        self.loop = asyncio.get_running_loop()
        self.open: Final[set[_Connection]] = set()
        """Those that are not aiohttp's."""
        self._keepalive_s, self._is_alone = keepalive_s, is_alone
        self._server: asyncio.Server | None = None
        self._second_s, self._tail = -1, b""
        self._look = self.loop.call_later(LOOK_S, self._look_again)

    async def listen(self, host: str, port: int) -> tuple[str, int]:
        """Take connections; return the address and the port, chosen by the system if 0 was given."""
        self._server = await self.loop.create_server(
            lambda: _Connection(self) if self._is_alone else self.ordinary(),
            host,
            port,
            backlog=BACKLOG,
        )
        found: tuple[str, int] = self._server.sockets[0].getsockname()[:2]
        return found

    async def close(self, wait_s: float) -> None:
        """Take none any more; close what is idle, and the rest when it is answered, for so many seconds at most."""
        self._look.cancel()
        if self._server is not None:
            self._server.close()
        deadline_s = self.loop.time() + wait_s
        while sum(connection.close_idle() for connection in self.open.copy()):
            if self.loop.time() >= deadline_s:
                return
            await asyncio.sleep(DRAIN_S)

    def head(self, length: int) -> bytes:
        """Return the head of an answer of success with so many bytes, as aiohttp writes it."""
        now_s = int(time.time())
        if now_s != self._second_s:
            self._second_s = now_s
            date = formatdate(now_s, usegmt=True)
            self._tail = f"\r\nDate: {date}\r\nServer: {SERVER_SOFTWARE}\r\n\r\n".encode()
        return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d%b" % (
            length,
            self._tail,
        )

    def refusal(self, error: MeridianError) -> bytes:
        """Return a whole answer that refuses, as aiohttp writes it."""
        answer = refusal(error)
        assert isinstance(answer.body, bytes)
        lines = [f"HTTP/1.1 {answer.status} {answer.reason}"]
        lines += [f"{name}: {value}" for name, value in answer.headers.items()]
        lines += [f"Content-Length: {len(answer.body)}"]
        self.head(0)
        return "\r\n".join(lines).encode() + self._tail + answer.body

    def _look_again(self) -> None:
        now_s = self.loop.time()
        for connection in self.open.copy():
            connection.look(now_s, self._keepalive_s)
        self._look = self.loop.call_later(LOOK_S, self._look_again)


class _Reply:
    """Who waits for the answer to a request (`group_commit.Waiting`)."""

    __slots__ = ("_connection", "_is_done", "share")

    def __init__(self, connection: "_Connection") -> None:
        self._connection = connection
        self._is_done = False
        self.share: Share | None = None

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """Return where the answer is awaited."""
        return self._connection.connections.loop

    def done(self) -> bool:
        """Return whether it has come."""
        return self._is_done

    def set_result(self, answer: bytes, /) -> None:
        """Answer with success."""
        self._answer(self._connection.connections.head(len(answer)) + answer)

    def set_exception(self, error: BaseException, /) -> None:
        """Answer with a refusal."""
        assert isinstance(error, MeridianError)
        self._answer(self._connection.connections.refusal(error))

    def _answer(self, answer: bytes) -> None:
        assert self.share is not None
        self._is_done = True
        self.share.give_back()
        self._connection.answer(answer)


class _Connection(asyncio.Protocol):
    """One connection."""

    def __init__(self, connections: JobsConnections) -> None:
        self.connections: Final = connections
        self._transport: asyncio.Transport
        self._buffer = b""
        self._head: PlainHead | None = None
        self._parts: list[bytes] = []
        """What has come of the body behind the buffer, which then ends where it began."""
        self._missing = 0
        """Bytes of the body that have not come."""
        self._share: Share | None = None
        """Of the body that is waited for."""
        self._holder: str | None = None
        """Of the token in the head."""
        self._is_asking = False
        """A request is submitted and not answered."""
        self._since_s = 0.0
        """When the connection became idle, or the head came."""
        self._is_full = False

    # -- the transport ----------------------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        """Begin."""
        self._transport = transport
        self._since_s = self.connections.loop.time()
        self.connections.open.add(self)

    def connection_lost(self, _error: Exception | None) -> None:
        """End; what is submitted stays in work until it would be answered."""
        self.connections.open.discard(self)
        self._give_back()

    def pause_writing(self) -> None:
        """Note that the other side does not read."""
        self._is_full = True

    def resume_writing(self) -> None:
        """Note that it does again."""
        self._is_full = False

    def data_received(self, data: bytes) -> None:
        """Take bytes; what comes before the answer to what came waits."""
        if self._missing > 0:
            self._parts.append(data)
            self._missing -= len(data)
            if self._missing <= 0:
                self._go_on()
            return
        self._buffer = self._buffer + data if self._buffer else data
        if self._is_asking:
            self._transport.pause_reading()
        else:
            self._go_on()

    def look(self, now_s: float, keepalive_s: float) -> None:
        """Close a connection that is idle for too long; leave a slow body to aiohttp, which gives it up in time."""
        waits_s = 0.0 if self._is_asking else now_s - self._since_s
        if self._buffer and waits_s > LOOK_S:
            self._hand_over()
        elif waits_s > keepalive_s:
            self._transport.close()

    def close_idle(self) -> bool:
        """Close the connection unless an answer is due; return whether one is."""
        if not self._is_asking:
            self._transport.close()
        return self._is_asking

    def answer(self, answer: bytes) -> None:
        """Answer the request that was submitted."""
        self._is_asking = False
        self._since_s = self.connections.loop.time()
        if self._transport.is_closing():
            return
        self._transport.write(answer)
        if self._buffer:
            self._transport.resume_reading()
            self._go_on()

    # -- the request ------------------------------------------------------------------------------

    def _go_on(self) -> None:
        """Take what has come, until an answer or more bytes are needed."""
        while self._buffer and not self._is_asking:
            if self._head is None and not self._begin():
                self._hand_over()
                return
            assert self._head is not None
            if not self._parts and len(self._buffer) < self._head.body_end:
                if not self._wait():
                    self._hand_over()
                return
            try:
                self._submit()
            except MeridianError as error:
                self._transport.write(self.connections.refusal(error))

    def _begin(self) -> bool:
        """Read a head; return whether it is one to be taken here."""
        head = None if self._is_full else read_head(self._buffer)
        if head is None:
            return False
        self._holder = self.connections.route.holder(head.authorization)
        self._head = head
        self._since_s = self.connections.loop.time()
        return self._holder is not None

    def _wait(self) -> bool:
        """Wait for the rest of a body, without copying what has come each time; return whether there is room for it."""
        assert self._head is not None
        try:
            self._share = self.connections.route.room(self._head.body_end - self._head.body_at)
        except Overloaded:
            return False
        self._missing = self._head.body_end - len(self._buffer)
        return True

    def _body(self, head: PlainHead) -> bytes:
        """Take the body out of what has come; the next request may stand behind it."""
        if not self._parts:
            data = self._buffer[head.body_at : head.body_end]
            self._buffer = self._buffer[head.body_end :]
            return data
        last = self._parts[-1]
        end = len(last) + self._missing
        data = b"".join((memoryview(self._buffer)[head.body_at :], *self._parts[:-1], last[:end]))
        self._buffer, self._parts, self._missing = last[end:], [], 0
        return data

    def _submit(self) -> None:
        head, holder, share = self._head, self._holder, self._share
        assert head is not None
        assert holder is not None
        data = self._body(head)
        self._head = self._share = None
        reply = _Reply(self)
        route = self.connections.route
        reply.share = route.submit(holder, head.content_type, head.seed, data, reply, share)
        self._is_asking = True

    def _give_back(self) -> None:
        if self._share is not None:
            self._share.give_back()
            self._share = None

    def _hand_over(self) -> None:
        """Make the connection aiohttp's."""
        self.connections.open.discard(self)
        transport, protocol = self._transport, self.connections.ordinary()
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        if self._is_full:
            protocol.pause_writing()
        self._give_back()
        protocol.data_received(b"".join((self._buffer, *self._parts)))
